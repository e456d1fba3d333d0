//! Which address of this machine a datagram of IPv4 is for, by `IP_PKTINFO`, on Linux and Apple's
//! systems: `dstaddr.rs` is the same list for the others.

use std::io;
use std::net::Ipv4Addr;

use super::flag::{get_flag, set_flag};
use super::{Control, Told};

/// Lets datagrams tell where they were sent to.
pub(super) fn set_recv_destination_v4(socket: &socket2::Socket, on: bool) -> io::Result<()> {
    set_flag(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, on)
}

/// Whether they do.
pub(super) fn recv_destination_v4(socket: &socket2::Socket) -> io::Result<bool> {
    get_flag(socket, libc::IPPROTO_IP, libc::IP_PKTINFO)
}

/// What a control message of IPv4 tells of where its datagram was sent to.
pub(crate) fn destination_v4(kind: libc::c_int, data: &[u8]) -> Told {
    // The interface, the address that is ours, and the one in the datagram.
    match (kind, data.first_chunk(), data.get(8..).and_then(|rest| rest.first_chunk::<4>())) {
        (libc::IP_PKTINFO, Some(interface), Some(&address)) => {
            (Some(address.into()), Some(u32::from_ne_bytes(*interface)))
        }
        _ => (None, None),
    }
}

/// Lets a datagram go out from this address.
pub(crate) fn push_source_v4(control: &mut Control, from: Ipv4Addr) {
    // No interface, the address to send from, and none of a header.
    let mut info = [0; 12];
    info[4..8].copy_from_slice(&from.octets());
    control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
}
