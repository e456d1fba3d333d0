//! Options of sockets: what is set is read back, by this library and by the kernel's own word.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use ringpark::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use ringpark::net::{UnixDatagram, UnixListener, UnixStream};
use socket2::SockRef;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "A17" => what_is_set_on_a_tcp_socket_is_read_back,
    Every: "A17" => what_is_set_on_a_udp_socket_is_read_back,
    Every: "A17" => sizes_of_unix_sockets_are_read_back,
    Every: "A17" => a_hop_limit_holds_for_both_families,
    Every: "A10" => connections_inherit_the_options_of_their_listener,
    Every: "A10" => a_connection_that_does_not_linger_is_reset,
    Every: "C1" => options_of_a_closed_socket_are_an_error,
];

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Sets each option to each value, and reads it.
macro_rules! read_back {
    ($socket:expr, $($set:ident, $get:ident: $($value:expr),+;)+) => {
        $($(
            $socket.$set($value).expect(concat!(stringify!($set), ": the option is known"));
            let value = $socket.$get().expect(concat!(stringify!($get), ": the option is known"));
            assert_eq!(value, $value, stringify!($get));
        )+)+
    };
}

/// Sizes are what was asked for, or more: the kernel counts its own records too.
macro_rules! sizes_read_back {
    ($socket:expr) => {
        $socket.set_recv_buffer_size(40_000).expect("the option is known");
        let size = $socket.recv_buffer_size().expect("the option is known");
        assert!((40_000..=80_000).contains(&size), "{size}");
        $socket.set_send_buffer_size(50_000).expect("the option is known");
        let size = $socket.send_buffer_size().expect("the option is known");
        assert!((50_000..=100_000).contains(&size), "{size}");
        assert!($socket.take_error().expect("it can be asked").is_none());
    };
}

macro_rules! ip_options_read_back {
    ($socket:expr) => {
        read_back!($socket,
            set_ttl, ttl: 9, 255;
            set_tos, tos: 0x28, 0xb8, 0;
        );
        assert_kind($socket.set_ttl(256), ErrorKind::InvalidInput);
        sizes_read_back!($socket);
    };
}

macro_rules! tcp_options_read_back {
    ($socket:expr) => {
        read_back!($socket,
            set_nodelay, nodelay: true, false;
            set_keepalive, keepalive: true, false;
            set_keepalive_time, keepalive_time: Duration::from_secs(70);
            set_keepalive_interval, keepalive_interval: Duration::from_secs(7);
            set_keepalive_retries, keepalive_retries: 5;
        );
        assert!($socket.keepalive().expect("the option is known"), "a time turns it on");
        let too_short = $socket.set_keepalive_time(Duration::from_millis(999));
        assert_kind(too_short, ErrorKind::InvalidInput);
        ip_options_read_back!($socket);
    };
}

macro_rules! connection_options_read_back {
    ($socket:expr) => {
        read_back!($socket,
            set_zero_linger, zero_linger: true, false;
            set_quickack, quickack: false, true;
        );
        tcp_options_read_back!($socket);
    };
}

/// Before it connects, listening, and connected, of either family.
fn what_is_set_on_a_tcp_socket_is_read_back(variant: &Variant) {
    variant.run(async {
        for at in LOOPBACKS {
            let address = at.parse().expect("an address");
            let socket = match at.starts_with('[') {
                true => TcpSocket::new_v6().await,
                false => TcpSocket::new_v4().await,
            };
            let socket = socket.expect("a socket");
            read_back!(socket,
                set_reuseaddr, reuseaddr: true, false;
                set_reuseport, reuseport: true, false;
            );
            connection_options_read_back!(socket);
            socket.bind(address).expect("a port on loopback");
            let listener = socket.listen(8).expect("it is bound");
            tcp_options_read_back!(listener);
            let to = listener.local_addr().expect("it is bound");
            let client = TcpStream::connect(to).await.expect("it listens");
            connection_options_read_back!(client);
            let server = listener.accept_stream().await.expect("it has connected");
            connection_options_read_back!(server);
        }
    });
}

fn what_is_set_on_a_udp_socket_is_read_back(variant: &Variant) {
    variant.run(async {
        for at in LOOPBACKS {
            let socket = UdpSocket::bind(at).await.expect("a port on loopback");
            ip_options_read_back!(socket);
            read_back!(socket,
                set_gro, gro: true, false;
                set_recv_ecn, recv_ecn: true, false;
                set_recv_pktinfo, recv_pktinfo: true, false;
                set_broadcast, broadcast: true, false;
                set_multicast_loop, multicast_loop: false, true;
                set_multicast_ttl, multicast_ttl: 7, 1;
            );
        }
        let six = UdpSocket::bind("[::1]:0").await.expect("a port on loopback");
        // SAFETY: the name is a string that ends with a zero.
        let number = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        read_back!(six, set_multicast_if_v6, multicast_if_v6: number, 0;);
        let four = UdpSocket::bind("127.0.0.1:0").await.expect("a port on loopback");
        let loopback = std::net::Ipv4Addr::LOCALHOST;
        read_back!(four, set_multicast_if_v4, multicast_if_v4: loopback;);
    });
}

fn sizes_of_unix_sockets_are_read_back(variant: &Variant) {
    variant.run(async {
        let name = format!("ringpark-options-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("it is short");
        let listener = UnixListener::bind_addr(&address).await.expect("it is free");
        sizes_read_back!(listener);
        let (stream, _other) = UnixStream::pair().expect("a pair");
        sizes_read_back!(stream);
        let (datagrams, _other) = UnixDatagram::pair().expect("a pair");
        sizes_read_back!(datagrams);
    });
}

/// A socket of IPv6 sends by IPv4 too, and each family has an option of its own.
fn a_hop_limit_holds_for_both_families(variant: &Variant) {
    fn both(socket: &impl AsFd) -> (u32, u32) {
        let socket = SockRef::from(socket);
        let six = socket.unicast_hops_v6().expect("it is of IPv6");
        (six, socket.ttl_v4().expect("it takes both"))
    }
    variant.run(async {
        let listener = TcpListener::bind("[::]:0").await.expect("a port");
        listener.set_ttl(17).expect("the option is known");
        let port = listener.local_addr().expect("it is bound").port();
        listener.with_fd(|fd| assert_eq!(both(&fd), (17, 17))).expect("it is open");
        let client = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        client.set_ttl(9).expect("the option is known");
        assert_eq!(client.with_fd(|fd| SockRef::from(&fd).ttl_v4().ok()).expect("open"), Some(9));
        let server = listener.accept_stream().await.expect("it has connected");
        server.set_ttl(33).expect("the option is known");
        server.set_tos(0x20).expect("the option is known");
        server.with_fd(|fd| assert_eq!(both(&fd), (33, 33))).expect("it is open");
        let tos = server.with_fd(|fd| SockRef::from(&fd).tos_v4().ok()).expect("it is open");
        assert_eq!(tos, Some(0x20));
    });
}

fn connections_inherit_the_options_of_their_listener(variant: &Variant) {
    variant.run(async {
        let (listener, address) = listener().await;
        listener.set_keepalive_time(Duration::from_secs(90)).expect("the option is known");
        listener.set_keepalive_interval(Duration::from_secs(9)).expect("the option is known");
        listener.set_keepalive_retries(4).expect("the option is known");
        let _client = TcpStream::connect(address).await.expect("it listens");
        let server = listener.accept_stream().await.expect("it has connected");
        assert!(server.keepalive().expect("the option is known"));
        let time = server.keepalive_time().expect("the option is known");
        let interval = server.keepalive_interval().expect("the option is known");
        assert_eq!((time.as_secs(), interval.as_secs()), (90, 9));
        assert_eq!(server.keepalive_retries().expect("the option is known"), 4);
    });
}

/// What was set and unset again leaves the connection alone.
fn a_connection_that_does_not_linger_is_reset(variant: &Variant) {
    variant.run(async {
        for resets in [true, false] {
            let (ours, theirs) = pair();
            ours.set_zero_linger(true).expect("the option is known");
            ours.set_zero_linger(resets).expect("the option is known");
            drop(ours);
            let received = promptly("the end", theirs.recv()).await;
            match resets {
                true => assert_kind(received, ErrorKind::ConnectionReset),
                false => assert!(received.expect("a clean end").is_none()),
            }
        }
    });
}

fn options_of_a_closed_socket_are_an_error(variant: &Variant) {
    variant.run(async {
        let (ours, _theirs) = pair();
        ours.close().await.expect("it is open");
        assert_closed(ours.nodelay());
        assert_closed(ours.set_ttl(3));
        assert_closed(ours.recv_buffer_size());
        assert_closed(ours.take_error());
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port on loopback");
        socket.close().await.expect("it is open");
        assert_closed(socket.set_broadcast(true));
    });
}
