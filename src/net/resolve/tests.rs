//! Tests of address parsing and look-up. The only name that is looked up for real is `localhost`.

use super::*;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn resolve_here(addr: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(resolve(addr));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result.map(Iterator::collect),
            Poll::Pending => thread::park(),
        }
    }
}

/// Resolves at the first poll, so surely without another thread.
fn at_once(addr: impl ToSocketAddrs) -> Vec<SocketAddr> {
    match pin!(resolve(addr)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.expect("an address").collect(),
        Poll::Pending => panic!("an address was looked up"),
    }
}

fn refused(addr: impl ToSocketAddrs) -> String {
    let error = resolve_here(addr).expect_err("not an address");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.to_string()
}

/// The name and port that would be looked up.
fn looked_up(addr: impl sealed::Target) -> (String, u16) {
    match addr.target().expect("a name") {
        Target::Name(Query { host, port }) => (host, port),
        Target::Known(addresses) => panic!("{addresses:?} needs no look-up"),
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_in_every_form_resolve_at_once() {
    let (four, six) = (addr("127.0.0.1:80"), addr("[::1]:80"));
    assert_eq!(at_once(four), [four]);
    let SocketAddr::V4(v4) = four else { unreachable!() };
    let SocketAddr::V6(v6) = six else { unreachable!() };
    assert_eq!(at_once(v4), [four]);
    assert_eq!(at_once(v6), [six]);
    assert_eq!(at_once((IpAddr::V4(Ipv4Addr::LOCALHOST), 80)), [four]);
    assert_eq!(at_once(("127.0.0.1", 80)), [four]);
    assert_eq!(at_once(("::1", 80)), [six]);
    assert_eq!(at_once((String::from("::1"), 80)), [six]);
    assert_eq!(at_once("127.0.0.1:80"), [four]);
    assert_eq!(at_once("[::1]:80"), [six]);
    let text = String::from("127.0.0.1:80");
    assert_eq!(at_once(&text), [four]);
    assert_eq!(at_once(text), [four]);
    assert_eq!(at_once(&[four][..]), [four]);
    assert_eq!(at_once(&[six, four][..]), [six, four]);
    assert_eq!(at_once(vec![six, four]), [six, four]);
    assert_eq!(at_once("0.0.0.0:0"), [addr("0.0.0.0:0")]);
    assert_eq!(at_once("1.2.3.4:65535"), [addr("1.2.3.4:65535")]);
    assert_eq!(at_once((Ipv4Addr::LOCALHOST, 80)), [four]);
    assert_eq!(at_once((Ipv6Addr::LOCALHOST, 80)), [six]);
    assert_eq!(at_once(([127, 0, 0, 1], 80)), [four]);
    assert_eq!(at_once(([0, 0, 0, 0, 0, 0, 0, 1], 80)), [six]);
    assert_eq!(at_once([six, four]), [six, four]);
}

// The references are what is tested.
#[allow(clippy::needless_borrows_for_generic_args)]
#[test]
fn references_to_addresses_are_addresses() {
    let (four, six) = (addr("127.0.0.1:80"), addr("[::1]:80"));
    let SocketAddr::V4(v4) = four else { unreachable!() };
    assert_eq!(at_once(&four), [four]);
    assert_eq!(at_once(&&four), [four]);
    assert_eq!(at_once(&v4), [four]);
    assert_eq!(at_once(&(four.ip(), 80)), [four]);
    assert_eq!(at_once(&(Ipv4Addr::LOCALHOST, 80)), [four]);
    assert_eq!(at_once(&("127.0.0.1", 80)), [four]);
    assert_eq!(at_once(&(String::from("127.0.0.1"), 80)), [four]);
    assert_eq!(at_once(&"127.0.0.1:80"), [four]);
    assert_eq!(at_once(&[six, four]), [six, four]);
    assert_eq!(at_once(&vec![six, four]), [six, four]);
    assert_eq!(looked_up(&"localhost:80"), ("localhost".into(), 80));
}

#[test]
fn the_number_of_addresses_left_is_known() {
    let (four, six) = (addr("127.0.0.1:80"), addr("[::1]:80"));
    for list in [vec![four], vec![four, six]] {
        let Target::Known(mut addresses) = sealed::Target::target(&list[..]).unwrap() else {
            panic!("a list was looked up");
        };
        for left in (0..list.len()).rev() {
            assert!(addresses.next().is_some());
            assert_eq!(addresses.len(), left);
        }
        assert_eq!(addresses.next(), None);
        assert_eq!(addresses.next(), None);
    }
}

#[test]
fn names_are_looked_up_with_their_port() {
    assert_eq!(looked_up("localhost:80"), ("localhost".into(), 80));
    assert_eq!(looked_up(("localhost", 80)), ("localhost".into(), 80));
    assert_eq!(looked_up("a.b-c.example:0"), ("a.b-c.example".into(), 0));
    assert_eq!(looked_up("[fe80::1%eth0]:80"), ("fe80::1%eth0".into(), 80));
    assert_eq!(looked_up("münchen.example:80"), ("münchen.example".into(), 80));
}

#[test]
fn localhost_resolves_to_loopback() {
    let found = resolve_here("localhost:4242").expect("every machine knows localhost");
    assert!(!found.is_empty());
    for address in found {
        assert!(address.ip().is_loopback() && address.port() == 4242, "{address}");
    }
}

#[test]
fn a_failed_look_up_names_the_host() {
    // Longer than any name may be, so no resolver goes out to ask for it.
    let host = "x".repeat(300);
    let error = resolve_here((host.as_str(), 80)).expect_err("there is no such host");
    assert!(error.to_string().starts_with(&format!("cannot resolve `{host}`: ")), "{error}");
}

#[test]
fn a_bad_port_is_named() {
    let range = "`foo:99999` is not an address: the port must be between 0 and 65535";
    assert_eq!(refused("foo:99999"), range);
    assert!(refused("1.2.3.4:65536").ends_with("the port must be between 0 and 65535"));
    assert!(refused("[::1]:65536").ends_with("the port must be between 0 and 65535"));
    let number = "`foo:http` is not an address: the port must be a number";
    assert_eq!(refused("foo:http"), number);
    for text in ["foo:+80", "foo:-1", "foo: 80", "foo:80 ", "foo:8\u{662}"] {
        assert!(refused(text).ends_with("the port must be a number"), "{text}");
    }
}

#[test]
fn a_missing_port_is_asked_for() {
    assert_eq!(refused("localhost"), "no port given in `localhost`: write it as host:port");
    assert_eq!(refused("127.0.0.1"), "no port given in `127.0.0.1`: write it as host:port");
    assert_eq!(refused("::1"), "no port given in `::1`: write it as [::1]:port");
    assert_eq!(refused("::1:80"), "no port given in `::1:80`: write it as [::1:80]:port");
    assert_eq!(refused("[::1]"), "no port given in `[::1]`: write it as [::1]:port");
    assert_eq!(refused("foo:"), "no port given in `foo:`: a number belongs behind the colon");
    assert_eq!(refused("[::1]:"), "no port given in `[::1]:`: a number belongs behind the colon");
}

#[test]
fn a_missing_host_is_asked_for() {
    assert_eq!(refused(""), "no address given: write it as host:port");
    let every = "no host given in `:80`: \
                 write it as host:port (0.0.0.0 for every local address)";
    assert_eq!(refused(":80"), every);
    assert!(refused(":").starts_with("no host given in `:`"));
    assert_eq!(refused(("", 80)), "no host given: the name is empty");
}

#[test]
fn brackets_belong_around_ipv6_addresses_with_a_port() {
    let how = "is not an address: an IPv6 address with a port is written as [address]:port";
    assert_eq!(refused("fe80::1%eth0:80"), format!("`fe80::1%eth0:80` {how}"));
    assert_eq!(refused("a:b:80"), format!("`a:b:80` {how}"));
    let nothing = "is not an address: there is no IPv6 address within the brackets";
    for text in ["[localhost]:80", "[]:80", "[::1:80", "[%eth0]:80", "[::1%]:80", "[1.2.3.4]:80"] {
        assert_eq!(refused(text), format!("`{text}` {nothing}"));
    }
    assert_eq!(refused(("[::1]", 80)), "`[::1]` is not a host: write it without brackets");
}

#[test]
fn what_cannot_be_a_name_is_not_looked_up() {
    let blank = "is not a host name: it has a blank in it";
    assert_eq!(refused("local host:80"), format!("\"local host\" {blank}"));
    assert_eq!(refused("nul\0:80"), format!("\"nul\\0\" {blank}"));
    assert_eq!(refused(("\n", 80)), format!("\"\\n\" {blank}"));
}

#[test]
fn an_empty_list_is_an_error() {
    assert_eq!(refused(vec![]), "the list of addresses is empty");
    assert_eq!(refused(&[][..]), "the list of addresses is empty");
}

#[test]
fn no_text_makes_it_panic() {
    let parts = ["", ":", "[", "]", "%", "80", "::1", "a", " ", "\0", "ü", "99999", "."];
    for a in parts {
        for b in parts {
            for c in parts {
                for d in parts {
                    let text = [a, b, c, d].concat();
                    if let Err(error) = sealed::Target::target(text.as_str()) {
                        assert_eq!(error.kind(), ErrorKind::InvalidInput);
                        assert!(!error.to_string().contains('\n'));
                    }
                }
            }
        }
    }
}
