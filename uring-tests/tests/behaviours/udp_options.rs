//! UDP: what is asked of a socket beside its datagrams: congestion marks, destinations, multicast,
//! sizes.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringpark::net::{Ecn, Transmit, UdpSocket};
use ringpark::time::timeout;
use socket2::SockRef;

use crate::harness::*;
use crate::udp::{recv, socket};

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "G6" => datagrams_tell_congestion_and_destination,
    Every: "G6" => an_answer_comes_from_the_address_that_was_asked,
    Every: "G7" => multicast_comes_to_members,
    Every: "G7" => multicast_options_of_both_families_are_set,
    Every: "G7" => options_of_a_udp_socket_take_effect,
];

/// ECN and the destination address, both families.
fn datagrams_tell_congestion_and_destination(variant: &Variant) {
    variant.run(async {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(at).await.expect("a port on loopback");
            let client = UdpSocket::bind(at).await.expect("a port on loopback");
            let to = server.local_addr().expect("it is bound");
            client.send_to("plain", to).await.0.expect("there is room");
            let plain = recv(&server).await.received;
            assert!(plain.ecn.is_none() && plain.to.is_none() && plain.interface.is_none());
            server.set_recv_ecn(true).expect("the option is known");
            server.set_recv_pktinfo(true).expect("the option is known");
            for ecn in [Ecn::Ect0, Ecn::NotCapable, Ecn::Ect1, Ecn::CongestionExperienced] {
                let transmit = Transmit::new(to).ecn(ecn);
                client.transmit("x", &transmit).await.0.expect("there is room");
                let received = recv(&server).await.received;
                assert_eq!(received.ecn, Some(ecn), "{at}");
                assert_eq!(received.to, Some(to.ip()));
                assert_ne!(received.interface, Some(0));
                client.transmit("x", &transmit).await.0.expect("there is room");
                let receive = server.recv_msg(Vec::with_capacity(8));
                let received = promptly("a receive", receive).await.0.expect("a datagram");
                assert_eq!((received.ecn, received.to), (Some(ecn), Some(to.ip())));
            }
        }
    });
}

/// A server on all addresses answers from the one that was asked.
fn an_answer_comes_from_the_address_that_was_asked(variant: &Variant) {
    variant.run(async {
        let server = UdpSocket::bind("0.0.0.0:0").await.expect("a port");
        server.set_recv_pktinfo(true).expect("the option is known");
        let port = server.local_addr().expect("it is bound").port();
        for last in [1, 2, 77] {
            let asked = SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), port);
            let (client, _) = socket().await;
            client.send_to("who", asked).await.0.expect("there is room");
            let question = recv(&server).await;
            let to = question.received.to.expect("it was asked for");
            assert_eq!(to, asked.ip());
            let transmit = Transmit::new(question.from).src_ip(to);
            server.transmit("me", &transmit).await.0.expect("there is room");
            assert_eq!(recv(&client).await.from, asked);
        }
    });
}

/// Multicast within the machine.
fn multicast_comes_to_members(variant: &Variant) {
    variant.run(async {
        // A group of this trial's own: who has left one still gets what comes for other members here.
        let [x, y, z, ..] = variant.seed().to_ne_bytes();
        let group = Ipv4Addr::new(239, x, y, z);
        let member = UdpSocket::bind("0.0.0.0:0").await.expect("a port");
        let port = member.local_addr().expect("it is bound").port();
        let loopback = loopback_number();
        member.join_multicast(group.into(), loopback).expect("a group");
        let (sender, _) = socket().await;
        sender.set_multicast_if_v4(Ipv4Addr::LOCALHOST).expect("the interface is there");
        sender.set_multicast_loop(true).expect("the option is known");
        sender.set_multicast_ttl(1).expect("the option is known");
        let to = SocketAddr::new(group.into(), port);
        sender.send_to("to all", to).await.0.expect("there is room");
        assert_eq!(&recv(&member).await[..], b"to all");
        member.leave_multicast(group.into(), loopback).expect("it is a member");
        sender.send_to("to nobody", to).await.0.expect("there is room");
        assert!(timeout(ms(30), member.recv()).await.is_err());
        let bad = member.join_multicast(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        assert_kind(bad, ErrorKind::InvalidInput);
    });
}

/// Reads an option back.
fn option<R>(socket: &UdpSocket, get: impl FnOnce(SockRef<'_>) -> std::io::Result<R>) -> R {
    let got = socket.with_fd(|fd| get(SockRef::from(&fd)));
    got.expect("it is open").expect("the option is known")
}

/// IPv6 has its own options for the same things. That they arrived is told by the kernel: joining
/// twice and leaving twice are errors.
fn multicast_options_of_both_families_are_set(variant: &Variant) {
    variant.run(async {
        let loopback = loopback_number();
        let six = UdpSocket::bind("[::1]:0").await.expect("a port on loopback");
        let group = "ff12::7269".parse().expect("a group");
        six.join_multicast(group, loopback).expect("a group");
        assert_kind(six.join_multicast(group, loopback), ErrorKind::AddrInUse);
        six.leave_multicast(group, loopback).expect("it is a member");
        assert_kind(six.leave_multicast(group, loopback), ErrorKind::AddrNotAvailable);
        six.set_multicast_if_v6(loopback).expect("the interface is there");
        assert_eq!(option(&six, |it| it.multicast_if_v6()), loopback);
        assert!(six.set_multicast_if_v6(u32::MAX >> 1).is_err(), "there is no such interface");
        let four = UdpSocket::bind(ANY).await.expect("a port on loopback");
        for on in [false, true] {
            six.set_multicast_loop(on).expect("the option is known");
            assert_eq!(option(&six, |it| it.multicast_loop_v6()), on);
            four.set_multicast_loop(on).expect("the option is known");
            assert_eq!(option(&four, |it| it.multicast_loop_v4()), on);
        }
        six.set_multicast_ttl(7).expect("the option is known");
        assert_eq!(option(&six, |it| it.multicast_hops_v6()), 7);
        four.set_multicast_ttl(7).expect("the option is known");
        assert_eq!(option(&four, |it| it.multicast_ttl_v4()), 7);
    });
}

/// Broadcast, hop limit, sizes of the queues; on sockets that std made, too.
fn options_of_a_udp_socket_take_effect(variant: &Variant) {
    variant.run(async {
        let plain = std::net::UdpSocket::bind("0.0.0.0:0").expect("a port");
        let all = UdpSocket::from_std(plain).expect("a socket can join");
        let port = all.local_addr().expect("it is bound").port();
        let to = SocketAddr::new(Ipv4Addr::new(127, 255, 255, 255).into(), port);
        let (sender, from) = socket().await;
        assert_kind(sender.send_to("no", to).await.0, ErrorKind::PermissionDenied);
        sender.set_broadcast(true).expect("the option is known");
        sender.send_to("to all", to).await.0.expect("it may now");
        let datagram = recv(&all).await;
        assert_eq!((&datagram[..], datagram.from), (&b"to all"[..], from));
        sender.set_broadcast(false).expect("the option is known");
        assert_kind(sender.send_to("no", to).await.0, ErrorKind::PermissionDenied);

        let six = UdpSocket::bind("[::1]:0").await.expect("a port on loopback");
        six.set_ttl(9).expect("the option is known");
        assert_eq!(option(&six, |it| it.unicast_hops_v6()), 9);
        sender.set_ttl(9).expect("the option is known");
        assert_eq!(option(&sender, |it| it.ttl_v4()), 9);

        sender.set_send_buffer_size(40_000).expect("the option is known");
        assert!(option(&sender, |it| it.send_buffer_size()) >= 40_000);
        all.set_recv_buffer_size(4096).expect("the option is known");
        assert!((4096..100_000).contains(&option(&all, |it| it.recv_buffer_size())));
    });
}

fn loopback_number() -> u32 {
    // SAFETY: the name is a string that ends with a zero.
    let number = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
    assert_ne!(number, 0, "there is a loopback interface");
    number
}
