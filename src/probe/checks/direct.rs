//! Direct descriptors: places in a table of the ring's own.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::function::{expect, Function, Tried};
use super::sockets::listener;
use crate::probe::trial::ask::Ask;
use crate::probe::trial::Trial;

pub(super) const LIST: &[Function] = &[
    Function { name: "direct-accept", since: "5.19", run: accept },
    Function { name: "direct-socket", since: "5.19", run: socket },
    Function { name: "direct-install", since: "6.8", run: install },
];

/// Tries something with a table, and takes it away again.
fn with_table(ring: &mut Trial, run: impl FnOnce(&mut Trial) -> Tried) -> Tried {
    ring.table(4)?;
    let tried = run(ring);
    ring.settle();
    ring.no_table()?;
    tried
}

fn accept(ring: &mut Trial) -> Tried {
    let (listener, address) = listener()?;
    with_table(ring, |ring| {
        let number = ring.start(Ask::accept_direct(listener.as_raw_fd()))?;
        let _client = UnixStream::connect_addr(&address)?;
        let index = ring.answer(number)?.ok()?;
        ring.ask(Ask::close_direct(index))?.ok()?;
        Ok(None)
    })
}

fn socket(ring: &mut Trial) -> Tried {
    with_table(ring, |ring| {
        let index = ring.ask(Ask::socket_direct())?.ok()?;
        ring.ask(Ask::close_direct(index))?.ok()?;
        Ok(None)
    })
}

fn install(ring: &mut Trial) -> Tried {
    with_table(ring, |ring| {
        let index = ring.ask(Ask::socket_direct())?.ok()?;
        let number = ring.start(Ask::install(index))?;
        let (fd, _) = ring.descriptor(number)?;
        ring.ask(Ask::close_direct(index))?.ok()?;
        let kind = socket2::SockRef::from(&fd).r#type()?;
        expect(kind == socket2::Type::STREAM, || "it is not what it was".into())?;
        Ok(None)
    })
}
