//! Sockets: streams of connections and of bytes, sends in their kinds, commands.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};

use super::function::{expect, pair, Function, Tried};
use crate::driver::uring::buffers::Kind;
use crate::driver::uring::checks;
use crate::probe::trial::ask::{Ask, MULTISHOT, POLL_FIRST};
use crate::probe::trial::Trial;
use crate::probe::Outcome;

pub(super) const LIST: &[Function] = &[
    Function { name: "multishot-accept", since: "5.19", run: multishot_accept },
    Function { name: "multishot-recv", since: "6.0", run: multishot_recv },
    Function { name: "multishot-recv-cap", since: "6.17", run: recv_cap },
    Function { name: "multishot-poll", since: "5.13", run: multishot_poll },
    Function { name: "poll-first", since: "5.19", run: poll_first },
    Function { name: "vectored-send", since: "6.17", run: vectored_send },
    Function { name: "socket-inq", since: "6.5", run: inq },
    Function { name: "socket-setsockopt", since: "6.7", run: setsockopt },
    Function { name: "socket-getsockopt", since: "6.7", run: getsockopt },
    Function { name: "socket-getsockopt-tcp", since: "", run: getsockopt_tcp },
];

/// A listener whose name nobody else has, and which nobody else can find.
pub(super) fn listener() -> std::io::Result<(UnixListener, SocketAddr)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ringpark-probe-{}-{count}", std::process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    Ok((UnixListener::bind_addr(&address)?, address))
}

fn multishot_accept(ring: &mut Trial) -> Tried {
    let (listener, address) = listener()?;
    let number = ring.start(Ask::accept_multi(listener.as_raw_fd()))?;
    for _ in 0..2 {
        let _client = UnixStream::connect_addr(&address)?;
        let (_server, more) = ring.descriptor(number)?;
        expect(more, || "it ended after a connection".into())?;
    }
    Ok(None)
}

fn multishot_recv(ring: &mut Trial) -> Tried {
    let (mut ours, theirs) = pair()?;
    let group = ring.add_group(4, Kind::Whole)?;
    for id in 0..4 {
        ring.supply(group, id, usize::from(id) * 64, 64);
    }
    let number = ring.start(Ask::recv_pooled(theirs.as_raw_fd(), group, MULTISHOT, 0))?;
    for word in [b"first", b"again"] {
        ours.write_all(word)?;
        let answer = ring.answer(number)?;
        let len = answer.ok()? as usize;
        let id = answer.buffer().ok_or_else(|| Outcome::broken("it named no buffer"))?;
        expect(len == 5 && id < 4, || format!("{len} bytes in buffer {id}"))?;
        let got = ring.bytes(usize::from(id) * 64, len);
        expect(got == word, || "other bytes than were sent".into())?;
        expect(answer.more(), || "it ended after a message".into())?;
    }
    Ok(None)
}

fn recv_cap(ring: &mut Trial) -> Tried {
    match checks::recv_cap(ring.ring())? {
        0 => Err(Outcome::Absent),
        _ => Ok(None),
    }
}

fn multishot_poll(ring: &mut Trial) -> Tried {
    let (mut ours, mut theirs) = pair()?;
    let number = ring.start(Ask::poll(theirs.as_raw_fd(), true))?;
    for _ in 0..2 {
        ours.write_all(b"x")?;
        let answer = ring.answer(number)?;
        answer.ok()?;
        expect(answer.more(), || "it ended after an event".into())?;
        theirs.read_exact(&mut [0])?;
    }
    Ok(None)
}

fn poll_first(ring: &mut Trial) -> Tried {
    let (mut ours, theirs) = pair()?;
    let group = ring.add_group(1, Kind::Whole)?;
    ring.supply(group, 0, 0, 64);
    let number = ring.start(Ask::recv_pooled(theirs.as_raw_fd(), group, POLL_FIRST, 0))?;
    ours.write_all(b"x")?;
    let got = ring.answer(number)?.ok()?;
    expect(got == 1, || format!("{got} bytes of 1"))?;
    Ok(None)
}

fn vectored_send(ring: &mut Trial) -> Tried {
    let (ours, mut theirs) = pair()?;
    ring.put(0, b"onetwo");
    let vectors = ring.put_vectors(64, &[(3, 3), (0, 3)]);
    let sent = ring.ask(Ask::send_vectored(ours.as_raw_fd(), vectors))?.ok()?;
    let mut got = [0; 64];
    let count = theirs.read(&mut got)?;
    // A kernel that does not know the flag sends the vectors themselves, or refuses.
    if sent != 6 || &got[..count] != b"twoone" {
        return Err(Outcome::Absent);
    }
    Ok(None)
}

fn inq(ring: &mut Trial) -> Tried {
    let (mut ours, theirs) = pair()?;
    ours.write_all(b"four")?;
    // The bytes of a TCP connection arrive in their own time.
    theirs.peek(&mut [0; 4])?;
    let waiting = ring.ask(Ask::socket_command(theirs.as_raw_fd(), 0))?.ok()?;
    expect(waiting == 4, || format!("4 bytes wait, it says {waiting}"))?;
    Ok(None)
}

/// Sets or reads an `int` option: what stands in the arena after it.
fn option(ring: &mut Trial, set: bool, level: i32, name: i32) -> Result<i32, Outcome> {
    let (ours, _theirs) = pair()?;
    ring.put(0, &1i32.to_ne_bytes());
    ring.ask(Ask::socket_option(ours.as_raw_fd(), set, level, name, 0))?.ok()?;
    let bytes = ring.bytes(0, 4);
    Ok(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn setsockopt(ring: &mut Trial) -> Tried {
    option(ring, true, libc::SOL_SOCKET, libc::SO_KEEPALIVE)?;
    Ok(None)
}

fn getsockopt(ring: &mut Trial) -> Tried {
    let kind = option(ring, false, libc::SOL_SOCKET, libc::SO_TYPE)?;
    expect(kind == libc::SOCK_STREAM, || format!("a stream is said to be {kind}"))?;
    Ok(Some("of the level SOL_SOCKET".into()))
}

fn getsockopt_tcp(ring: &mut Trial) -> Tried {
    option(ring, false, libc::IPPROTO_TCP, libc::TCP_NODELAY)?;
    Ok(Some("of the level IPPROTO_TCP".into()))
}
