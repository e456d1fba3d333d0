//! Which address of this machine a datagram of IPv4 is for, by `IP_RECVDSTADDR` and `IP_SENDSRCADDR`,
//! on the BSDs: the list of `pktinfo.rs`.

use std::io;
use std::net::Ipv4Addr;

use super::flag::{get_flag, set_flag};
use super::{Control, Told};

/// Lets datagrams tell where they were sent to.
pub(super) fn set_recv_destination_v4(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    set_flag(socket, libc::IPPROTO_IP, libc::IP_RECVDSTADDR, on)?;
    set_flag(socket, libc::IPPROTO_IP, libc::IP_RECVIF, on)
}

/// Whether they do.
pub(super) fn recv_destination_v4(socket: &socket2::Socket) -> io::Result<bool> {
    get_flag(socket, libc::IPPROTO_IP, libc::IP_RECVDSTADDR)
}

/// What a control message of IPv4 tells of where its datagram was sent to: one tells the address, one
/// the interface.
pub(crate) fn destination_v4(kind: libc::c_int, data: &[u8]) -> Told {
    match kind {
        libc::IP_RECVDSTADDR => (data.first_chunk::<4>().map(|&it| it.into()), None),
        // An address of the link layer: its length, its family, and the interface.
        libc::IP_RECVIF => {
            let number = data.get(2..).and_then(|rest| rest.first_chunk());
            (None, number.map(|&it| u16::from_ne_bytes(it).into()))
        }
        _ => (None, None),
    }
}

/// Lets a datagram go out from this address.
pub(crate) fn push_source_v4(control: &mut Control, from: Ipv4Addr) {
    control.push(libc::IPPROTO_IP, libc::IP_SENDSRCADDR, &from.octets());
}
