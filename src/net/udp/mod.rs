//! A UDP socket.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::connect::{bind, connect, open};
use super::options;
use super::ports::{self, Protocol};
use super::resolve::{resolve, ToSocketAddrs};
use crate::buf::{BufResult, IoBuf, IoBufMut, Lease};
use crate::handle::{datagram, incomplete, message, IoHandle};
use crate::io::{methods, User};
use crate::op::{Ancillary, Envelope, Outgoing, Socket};
use crate::runtime::Core;
use crate::sys::socket::Domain;

mod packet;
mod settings;

pub use packet::{Datagram, Ecn, Received, Transmit};

/// A UDP socket. Multicast and what a datagram tells beside its bytes are options.
///
/// Datagrams come in one of two ways: [`recv`](UdpSocket::recv) gives them out in a [`Lease`] of the
/// core's own buffers, which on io_uring the kernel fills without being asked each time (6.0), and
/// [`recv_from`](UdpSocket::recv_from) takes a buffer of yours. They may be mixed.
///
/// Dropping the future of a receive loses nothing: a datagram that comes for it is given to the next
/// one. Dropping the future of a send leaves open whether it went out.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::UdpSocket;
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to("ping", server.local_addr()?).await.0?;
/// let datagram = server.recv().await?;
/// assert_eq!(&datagram[..], b"ping");
/// server.send_to(datagram.lease, datagram.from).await.0?; // from where it was received
/// let (received, buffer) = client.recv_from(Vec::with_capacity(64)).await;
/// assert_eq!((received?.0, &buffer[..]), (4, &b"ping"[..]));
/// # Ok(()) }) }
/// ```
pub struct UdpSocket {
    user: User,
    /// Whether it is of IPv6, and so sends by both families.
    v6: bool,
}

impl UdpSocket {
    /// A socket with an address; of several addresses, the first that can be had. In a runtime of
    /// several cores ([`Builder::run`](crate::Builder::run)) the cores that bind the same address
    /// share its port, and each remote address belongs to one core; an address that somebody else
    /// has is in use.
    ///
    /// # Errors
    /// Those of bind(2), above all `AddrInUse`; those of name resolution.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let mut last = None;
        for address in resolve(address).await? {
            match UdpSocket::bind_one(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a name resolves to one address at least"))
    }

    async fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
        let handle = open(Socket::datagram(Domain::for_address(address))).await?;
        let socket = UdpSocket { user: User::new(handle), v6: address.is_ipv6() };
        ports::bind_shared(&Core::current(), Protocol::Udp, address, |sharing| {
            options::with(socket.handle(), |socket| bind(&socket, address, sharing))
        })?;
        Ok(socket)
    }

    /// Takes a socket over, made by std or handed in by somebody else.
    ///
    /// # Errors
    /// Of fcntl(2) and getsockname(2).
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        let v6 = socket.local_addr()?.is_ipv6();
        Ok(UdpSocket { user: User::take_over(socket.into())?, v6 })
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.user.handle()
    }

    /// Sets where [`send`](UdpSocket::send) sends to; of several addresses, the first that can be
    /// reached. From then on only what comes from there is received, and a report that nobody
    /// listens there is an error (`ConnectionRefused`) of the next call.
    ///
    /// # Errors
    /// Those of connect(2), and those of name resolution.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let handle = self.handle();
        let mut last = None;
        for address in resolve(address).await? {
            match connect(handle, address.into()).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a name resolves to one address at least"))
    }

    /// Sends a datagram to where the socket is connected: how many bytes, which is all of them. It
    /// waits only while the socket's own queue is full.
    ///
    /// # Errors
    /// Those of send(2), above all `NotConnected`, `ConnectionRefused`, and EMSGSIZE for more than can
    /// go; `TimedOut` after the write deadline; [`Closed`](crate::Closed).
    pub async fn send<B: IoBuf>(&self, buffer: B) -> BufResult<usize, B> {
        message::send(self.handle(), buffer, Envelope::datagram(None)).await
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    /// As for [`send`](UdpSocket::send).
    pub async fn send_to<B: IoBuf>(&self, buffer: B, to: SocketAddr) -> BufResult<usize, B> {
        message::send(self.handle(), buffer, Envelope::datagram(Some(to.into()))).await
    }

    /// Sends a datagram, or a series of them, as `transmit` says: how many bytes, which is all of them.
    ///
    /// # Errors
    /// As for [`send`](UdpSocket::send); EINVAL if the kernel does not take what is asked for, such as
    /// more than 64 segments (128 from Linux 6.9), or a segment longer than the network's packets. Where
    /// a series goes out one by one, [`io::written`](crate::io::written) tells how much went before.
    pub async fn transmit<B: IoBuf>(&self, buffer: B, transmit: &Transmit) -> BufResult<usize, B> {
        let Some(length) = transmit.one_by_one() else {
            return message::send(self.handle(), buffer, transmit.envelope(self.v6)).await;
        };
        let (len, mut buffer, mut sent) = (buffer.bytes_init(), buffer, 0);
        loop {
            let piece = buffer.slice(sent..len.min(sent + length));
            let (result, piece) =
                message::send(self.handle(), piece, transmit.envelope(self.v6)).await;
            buffer = piece.into_inner();
            match result {
                Ok(count) => sent += count,
                Err(error) => return (Err(incomplete(sent, error)), buffer),
            }
            // An empty message is a datagram too.
            if sent == len {
                return (Ok(sent), buffer);
            }
        }
    }

    /// Sends several datagrams, in order, with as few system calls as possible (sendmmsg(2)), and
    /// waits until all have gone: how many went. If one fails after others have gone, the result is
    /// the number of those, and its error that of a next call with the rest.
    ///
    /// # Errors
    /// As for [`send`](UdpSocket::send), of the first datagram.
    pub async fn send_batch<B: IoBuf>(
        &self,
        datagrams: Vec<(B, SocketAddr)>,
    ) -> BufResult<usize, Vec<B>> {
        let outgoing = datagrams.into_iter().map(|(buffer, to)| Outgoing { buffer, to: to.into() });
        let (sent, outgoing) = datagram::send_many(self.handle(), outgoing.collect()).await;
        (sent, outgoing.into_iter().map(|outgoing| outgoing.buffer).collect())
    }

    /// The next datagram, in a buffer of the core. While none comes no buffer is held; when the
    /// core's buffers are all in use this waits until one comes back.
    ///
    /// # Errors
    /// Those of recv(2), above all `ConnectionRefused` on a connected socket; `TimedOut` after the
    /// read deadline; [`Closed`](crate::Closed).
    pub async fn recv(&self) -> io::Result<Datagram> {
        datagram::recv(self.handle()).await.map(Datagram::new)
    }

    /// The next datagram, as [`recv`](UdpSocket::recv), and those that have been received already,
    /// up to `max` in all, behind what is in `datagrams`: how many. While another task waits for a
    /// datagram of this socket it is one: what comes next is the other's.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    pub async fn recv_batch(&self, datagrams: &mut Vec<Datagram>, max: usize) -> io::Result<usize> {
        if max == 0 {
            return Ok(0);
        }
        let take = |datagram| datagrams.push(Datagram::new(datagram));
        datagram::recv_batch(self.handle(), max, take).await
    }

    /// Receives a datagram into the buffer's room: how many bytes there are now, and where it comes
    /// from. What has no room is lost; [`recv_msg`](UdpSocket::recv_msg) tells.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    pub async fn recv_from<B: IoBufMut>(&self, buffer: B) -> BufResult<(usize, SocketAddr), B> {
        let (received, buffer) = self.recv_msg(buffer).await;
        (received.map(|received| (received.len, received.from)), buffer)
    }

    /// Receives a datagram into the buffer's room, and all that the kernel tells of it.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    pub async fn recv_msg<B: IoBufMut>(&self, buffer: B) -> BufResult<Received, B> {
        let (received, buffer) = message::recv_datagram(self.handle(), buffer).await;
        (received.map(|(len, ancillary)| Received::new(len, &ancillary)), buffer)
    }

    /// The address of this side.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        options::local_addr(self.handle())
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    /// `NotConnected`; [`Closed`](crate::Closed).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        options::peer_addr(self.handle())
    }

    methods::readable_methods!("socket");
    methods::writable_methods!("socket");
    methods::deadline_methods!();
    methods::close_methods!("socket");
    options::ip_options!();
    options::socket_options!();
}

methods::descriptor_traits!(UdpSocket);
