//! TCP, UDP and Unix sockets over the core's driver.
//!
//! All methods take `&self`, so that one task can read while another writes. Each direction has one
//! operation under way; others wait for their turn, in order. Dropped reads and accepts lose nothing.

mod acceptor;
mod connect;
mod dispatch;
mod handoff;
mod kind;
mod listener;
mod options;
mod ports;
mod race;
mod resolve;
mod socket;
mod split;
mod stream;
mod udp;
mod unix;

pub use handoff::{HandOver, Handoff};
pub use listener::TcpListener;
pub use resolve::{lookup_host, Addresses, ToSocketAddrs};
pub use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError, Split};
pub use stream::TcpStream;
pub use udp::{Datagram, Ecn, Received, Transmit, UdpSocket};
pub use unix::{Credentials, UnixDatagram, UnixListener, UnixMessage, UnixStream};
