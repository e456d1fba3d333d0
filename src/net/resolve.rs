//! From what a user calls an address to socket addresses.
//!
//! What is an address already costs a parse and nothing else: no thread, no allocation. Only a name
//! goes to a helper thread, because the system's resolver (`getaddrinfo`) waits for files and
//! name servers, and a core must not wait with it.
//!
//! What cannot be an address fails here, with one sentence that says what to write instead.

use crate::runtime::blocking;
use std::fmt;
use std::io::{self, ErrorKind};
use std::iter::FusedIterator;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _,
};
use std::vec;

/// What can be turned into socket addresses: to bind to, or to connect to one after the other.
///
/// | type | for example |
/// | --- | --- |
/// | [`SocketAddr`], [`SocketAddrV4`], [`SocketAddrV6`] | |
/// | `(IpAddr, u16)`, `(Ipv4Addr, u16)`, `(Ipv6Addr, u16)` | `(Ipv4Addr::LOCALHOST, 80)` |
/// | `([u8; 4], u16)`, `([u16; 8], u16)` | `([127, 0, 0, 1], 80)` |
/// | `(&str, u16)`, `(String, u16)` | `("localhost", 80)` |
/// | `str`, `String` | `"127.0.0.1:80"`, `"[::1]:80"`, `"localhost:80"` |
/// | `[SocketAddr]`, `[SocketAddr; N]`, `Vec<SocketAddr>` | |
/// | a reference to any of these | `&address` |
///
/// Names are looked up with the system's resolver on a helper thread, so that the core goes on
/// with its other tasks meanwhile. Addresses that are written as numbers are not looked up.
///
/// This trait is sealed: it is implemented for these types only.
pub trait ToSocketAddrs: sealed::Target {}

impl<T: sealed::Target + ?Sized> ToSocketAddrs for T {}

/// Turns what the user calls an address into socket addresses: one or more, in the order in which
/// to try them. A name is looked up with getaddrinfo(3) on a helper thread
/// ([`Builder::max_blocking_threads`](crate::Builder::max_blocking_threads)); what is an address already
/// costs no look-up.
///
/// [`TcpStream::connect`](super::TcpStream::connect) and all that takes an address do this by
/// themselves, and the former tries several side by side. This is for who wants the addresses: to
/// choose among them, or to look up once and connect often.
///
/// Dropping this future does not stop a look-up that has begun; its answer is discarded. The system's
/// resolver has time limits of its own (resolv.conf(5)); for a shorter one there is
/// [`timeout`](crate::time::timeout()).
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::net::lookup_host;
/// for address in lookup_host("localhost:80").await? {
///     assert!(address.ip().is_loopback() && address.port() == 80);
/// }
/// let mut addresses = lookup_host(("127.0.0.1", 53)).await?; // nothing to look up
/// assert_eq!((addresses.len(), addresses.next()), (1, "127.0.0.1:53".parse().ok()));
/// # Ok(()) }) }
/// ```
///
/// # Errors
/// `InvalidInput` for what is not an address, an empty name or list included; `ResourceBusy` if no
/// helper thread can be had; else what the resolver said, as [`std::net::ToSocketAddrs`] has it. The
/// error names the host.
pub async fn lookup_host(address: impl ToSocketAddrs) -> io::Result<Addresses> {
    resolve(address).await
}

/// The same for the library's own use.
///
/// Dropping this future does not stop a look-up that has begun; its answer is discarded.
///
/// # Errors
///
/// `InvalidInput` for what is not an address (an empty list included), else what the resolver said.
pub(crate) async fn resolve(addr: impl ToSocketAddrs) -> io::Result<Addresses> {
    let query = match addr.target()? {
        Target::Known(addresses) => return Ok(addresses),
        Target::Name(query) => query,
    };
    let lookup = blocking::run(move || {
        let found = (query.host.as_str(), query.port).to_socket_addrs();
        found.map_err(|error| query.failed(error.kind(), &error)).map(|found| (query, found))
    });
    let (query, found) = lookup.await??;
    match found.len() {
        0 => Err(query.failed(ErrorKind::NotFound, "it has no addresses")),
        _ => Ok(Addresses(List::Many(found))),
    }
}

/// The addresses that [`lookup_host`] has found, at least one to begin with.
#[derive(Clone, Debug)]
pub struct Addresses(List);

#[derive(Clone, Debug)]
enum List {
    One(Option<SocketAddr>),
    Many(vec::IntoIter<SocketAddr>),
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match &mut self.0 {
            List::One(address) => address.take(),
            List::Many(addresses) => addresses.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match &self.0 {
            List::One(address) => usize::from(address.is_some()),
            List::Many(addresses) => addresses.len(),
        };
        (len, Some(len))
    }
}

impl ExactSizeIterator for Addresses {}
impl FusedIterator for Addresses {}

/// What a user's address turns out to be. (Public only in the eyes of the compiler, as is
/// [`Query`]: both stand in the sealed part of a public trait.)
#[derive(Debug)]
pub enum Target {
    Known(Addresses),
    Name(Query),
}

/// A host name that has to be looked up, and the port that goes with what is found.
#[derive(Debug)]
pub struct Query {
    host: String,
    port: u16,
}

impl Query {
    fn failed(&self, kind: ErrorKind, cause: impl fmt::Display) -> io::Error {
        io::Error::new(kind, format!("cannot resolve `{}`: {cause}", self.host))
    }
}

mod sealed {
    pub trait Target {
        fn target(&self) -> std::io::Result<super::Target>;
    }
}

impl sealed::Target for SocketAddr {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Known(Addresses(List::One(Some(*self)))))
    }
}

impl sealed::Target for SocketAddrV4 {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::V4(*self).target()
    }
}

impl sealed::Target for SocketAddrV6 {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::V6(*self).target()
    }
}

impl sealed::Target for (IpAddr, u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl sealed::Target for (Ipv4Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl sealed::Target for (Ipv6Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl sealed::Target for ([u8; 4], u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl sealed::Target for ([u16; 8], u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl sealed::Target for [SocketAddr] {
    fn target(&self) -> io::Result<Target> {
        match self {
            [] => Err(invalid("the list of addresses is empty".into())),
            [one] => one.target(),
            many => {
                let many = Vec::from(many).into_iter();
                Ok(Target::Known(Addresses(List::Many(many))))
            }
        }
    }
}

impl<const N: usize> sealed::Target for [SocketAddr; N] {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

impl sealed::Target for Vec<SocketAddr> {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

impl sealed::Target for (&str, u16) {
    fn target(&self) -> io::Result<Target> {
        let &(host, port) = self;
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).target(),
            Err(_) if host.starts_with('[') => {
                Err(invalid(format!("`{host}` is not a host: write it without brackets")))
            }
            Err(_) => name(host, port),
        }
    }
}

impl sealed::Target for (String, u16) {
    fn target(&self) -> io::Result<Target> {
        (self.0.as_str(), self.1).target()
    }
}

impl sealed::Target for str {
    fn target(&self) -> io::Result<Target> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return address.target();
        }
        let (host, port) = split(self)?;
        let port = parse_port(self, port)?;
        match host.strip_prefix('[') {
            None => name(host, port),
            Some(rest) => bracketed(self, rest, port),
        }
    }
}

impl sealed::Target for String {
    fn target(&self) -> io::Result<Target> {
        self.as_str().target()
    }
}

impl<T: sealed::Target + ?Sized> sealed::Target for &T {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}

/// Splits `host:port`. The host keeps its brackets, the port may be anything.
fn split(text: &str) -> io::Result<(&str, &str)> {
    if text.is_empty() {
        return Err(invalid("no address given: write it as host:port".into()));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(invalid(format!("no port given in `{text}`: write it as [{text}]:port")));
    }
    match text.rsplit_once(':') {
        Some((_, port)) if port.ends_with(']') => {
            Err(invalid(format!("no port given in `{text}`: write it as {text}:port")))
        }
        Some(("", _)) => Err(invalid(format!(
            "no host given in `{text}`: write it as host:port (0.0.0.0 for every local address)"
        ))),
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => Err(invalid(format!(
            "`{text}` is not an address: an IPv6 address with a port is written as [address]:port"
        ))),
        Some(parts) => Ok(parts),
        None => Err(invalid(format!("no port given in `{text}`: write it as host:port"))),
    }
}

fn parse_port(text: &str, port: &str) -> io::Result<u16> {
    if port.is_empty() {
        return Err(invalid(format!(
            "no port given in `{text}`: a number belongs behind the colon"
        )));
    }
    // `parse` alone would take a plus sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| digits).ok_or_else(|| {
        let why = if digits {
            "the port must be between 0 and 65535"
        } else {
            "the port must be a number"
        };
        invalid(format!("`{text}` is not an address: {why}"))
    })
}

/// `text` is `[rest:port`. As `SocketAddr` does not parse it, the only thing it may be is an
/// address with a scope by name, `[fe80::1%eth0]:80`, which the resolver knows how to read.
fn bracketed(text: &str, rest: &str, port: u16) -> io::Result<Target> {
    let host = rest.strip_suffix(']').unwrap_or_default();
    match host.split_once('%') {
        Some((ip, scope)) if ip.parse::<Ipv6Addr>().is_ok() && !scope.is_empty() => {
            name(host, port)
        }
        _ => Err(invalid(format!(
            "`{text}` is not an address: there is no IPv6 address within the brackets"
        ))),
    }
}

/// A name to look up, if there is any chance that it is one.
fn name(host: &str, port: u16) -> io::Result<Target> {
    if host.is_empty() {
        return Err(invalid("no host given: the name is empty".into()));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(invalid(format!("{host:?} is not a host name: it has a blank in it")));
    }
    Ok(Target::Name(Query { host: host.into(), port }))
}

fn invalid(sentence: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, sentence)
}

#[cfg(test)]
mod tests;
