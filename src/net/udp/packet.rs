//! Datagrams with all that goes or comes beside their bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;

use super::{Ancillary, Envelope, Lease};
use crate::sys::abi;
use crate::sys::socket::SockAddr;
use crate::sys::{self, Control};

/// Explicit congestion notification: two bits of each packet (RFC 3168).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ecn {
    /// The sender does not take part.
    NotCapable,
    /// The sender takes part: ECT(0).
    Ect0,
    /// The sender takes part: ECT(1).
    Ect1,
    /// A router on the way was congested.
    CongestionExperienced,
}

impl Ecn {
    fn from_bits(bits: u8) -> Ecn {
        match bits & 0b11 {
            0b00 => Ecn::NotCapable,
            0b01 => Ecn::Ect1,
            0b10 => Ecn::Ect0,
            _ => Ecn::CongestionExperienced,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Ecn::NotCapable => 0b00,
            Ecn::Ect1 => 0b01,
            Ecn::Ect0 => 0b10,
            Ecn::CongestionExperienced => 0b11,
        }
    }
}

/// What the kernel tells of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes were received.
    pub len: usize,
    /// How many there were: more than `len` if the end was cut off for want of room.
    pub full_len: usize,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Which address of this machine it was sent to, with
    /// [`set_recv_pktinfo`](super::UdpSocket::set_recv_pktinfo).
    pub to: Option<IpAddr>,
    /// The number of the network interface that it came in by, with the same.
    pub interface: Option<u32>,
    /// Congestion notification, with [`set_recv_ecn`](super::UdpSocket::set_recv_ecn).
    pub ecn: Option<Ecn>,
    /// With [`set_gro`](super::UdpSocket::set_gro): this is several datagrams of one sender, each of
    /// this length, but for the last, which may be shorter.
    pub segment: Option<usize>,
}

impl Received {
    pub(super) fn new(len: usize, ancillary: &Ancillary) -> Received {
        let from = ancillary.from.as_ref().and_then(SockAddr::as_socket);
        Received {
            len,
            full_len: ancillary.full_len,
            from: from.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)),
            to: ancillary.to,
            interface: ancillary.interface,
            ecn: ancillary.ecn.map(Ecn::from_bits),
            segment: ancillary.segment,
        }
    }

    /// Whether its end was cut off.
    pub fn is_truncated(&self) -> bool {
        self.full_len > self.len
    }
}

/// A datagram in a buffer of the core, and what the kernel tells of it. It dereferences to its bytes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram {
    /// The bytes.
    pub lease: Lease,
    /// Where it comes from.
    pub from: SocketAddr,
    /// What else is known.
    pub received: Received,
}

impl Datagram {
    pub(super) fn new((lease, ancillary): (Lease, Ancillary)) -> Datagram {
        let received = Received::new(lease.len(), &ancillary);
        Datagram { lease, from: received.from, received }
    }

    /// The datagrams that the kernel has put together to this one; itself, if it is one only.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
    /// # use ringpark::net::{Transmit, UdpSocket};
    /// # let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// # let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// server.set_gro(true)?;
    /// let transmit = Transmit::new(server.local_addr()?).segment_size(4);
    /// client.transmit("four byte each", &transmit).await.0?;
    /// let mut all = Vec::new();
    /// while all.len() < 4 {
    ///     all.extend(server.recv().await?.segments().map(<[u8]>::to_vec));
    /// }
    /// assert_eq!(all, [&b"four"[..], b" byt", b"e ea", b"ch"]);
    /// # Ok(()) }) }
    /// ```
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let size = self.received.segment.unwrap_or(usize::MAX).max(1);
        let empty = self.lease.is_empty().then_some(&[][..]);
        self.lease.chunks(size).chain(empty)
    }
}

impl Deref for Datagram {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.lease
    }
}

/// How a datagram is to be sent.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Transmit {
    to: Option<SocketAddr>,
    from: Option<IpAddr>,
    ecn: Option<Ecn>,
    segment: Option<u16>,
}

impl Transmit {
    /// To where the socket is connected.
    pub fn connected() -> Transmit {
        Transmit::default()
    }

    /// To an address: one datagram, as it is.
    pub fn new(address: SocketAddr) -> Transmit {
        Transmit { to: Some(address), ..Transmit::default() }
    }

    /// From this address of the machine, where it has several: to answer from the address that was
    /// asked, say ([`Received::to`]). It must be of the same family as the destination.
    pub fn src_ip(mut self, address: IpAddr) -> Transmit {
        self.from = Some(address);
        self
    }

    /// With this congestion notification. NetBSD and OpenBSD send datagrams of IPv4 without.
    pub fn ecn(mut self, ecn: Ecn) -> Transmit {
        self.ecn = Some(ecn);
        self
    }

    /// As a series of datagrams of this length, the last of which may be shorter: on Linux with one pass
    /// through the kernel for all (`UDP_SEGMENT`, 4.18), elsewhere one after the other.
    pub fn segment_size(mut self, bytes: u16) -> Transmit {
        self.segment = Some(bytes);
        self
    }

    pub(super) fn envelope(&self, socket_is_v6: bool) -> Envelope {
        let mut envelope = Envelope::datagram(self.to.map(Into::into));
        let to_v6 = match self.to.map(|to| to.ip().to_canonical()) {
            Some(ip) => ip.is_ipv6(),
            None => socket_is_v6,
        };
        let control = &mut envelope.control;
        if let Some(ecn) = self.ecn {
            match to_v6 {
                true => {
                    let class = i32::from(ecn.bits()).to_ne_bytes();
                    control.push(abi::IPPROTO_IPV6, abi::IPV6_TCLASS, &class);
                }
                false => sys::push_ecn_v4(control, ecn.bits()),
            }
        }
        match self.from.map(|from| from.to_canonical()) {
            Some(IpAddr::V6(from)) => push_from_v6(control, from),
            Some(IpAddr::V4(from)) if socket_is_v6 => {
                push_from_v6(control, from.to_ipv6_mapped());
            }
            Some(IpAddr::V4(from)) => sys::push_source_v4(control, from),
            None => {}
        }
        #[cfg(target_os = "linux")]
        if let Some(segment) = self.segment.filter(|_| sys::SENDS_SERIES) {
            control.push(abi::SOL_UDP, abi::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        envelope
    }

    /// How long the datagrams are that have to be sent one by one, for want of a kernel that does it.
    pub(super) fn one_by_one(&self) -> Option<usize> {
        let segment = self.segment.filter(|_| !sys::SENDS_SERIES)?;
        Some(segment.max(1).into())
    }
}

fn push_from_v6(control: &mut Control, from: Ipv6Addr) {
    // The address, and no interface.
    let mut info = [0; 20];
    info[..16].copy_from_slice(&from.octets());
    control.push(abi::IPPROTO_IPV6, abi::IPV6_PKTINFO, &info);
}
