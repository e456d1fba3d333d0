//! Rings of buffers in their kinds, and bundles of buffers with the question that matters: do the
//! bytes arrive in order? Some kernels (6.12.y to 6.15) lose the order of a bundle that ends short:
//! <https://github.com/axboe/liburing/issues/1409>.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use super::function::{expect, pair, Function, Tried};
use crate::driver::uring::buffers::Kind;
use crate::probe::trial::ask::{Ask, BUNDLE, MULTISHOT};
use crate::probe::trial::Trial;
use crate::probe::Outcome;

pub(super) const LIST: &[Function] = &[
    Function { name: "buffer-ring", since: "5.19", run: whole },
    Function { name: "buffer-ring-mapped", since: "6.4", run: mapped },
    Function { name: "buffer-ring-incremental", since: "6.12", run: incremental },
    Function { name: "buffer-ring-rest", since: "7.1", run: rest },
    Function { name: "recv-bundle", since: "6.10", run: bundle },
    Function { name: "recv-bundle-multishot", since: "6.10", run: bundle_multishot },
    Function { name: "recv-bundle-incremental", since: "6.15", run: bundle_incremental },
    Function { name: "send-bundle", since: "6.10", run: send_bundle },
];

/// The number of a group that has nothing in it.
const REST: u16 = 1000;

/// One receive into a ring of this kind.
fn one(ring: &mut Trial, kind: Kind) -> Tried {
    let (mut ours, theirs) = pair()?;
    let group = ring.add_group(2, kind)?;
    ring.supply(group, 1, 128, 64);
    ours.write_all(b"bytes")?;
    let answer = ring.ask(Ask::recv_pooled(theirs.as_raw_fd(), group, 0, 0))?;
    let len = answer.ok()? as usize;
    expect(answer.buffer() == Some(1), || "it named another buffer".into())?;
    expect(ring.bytes(128, len) == b"bytes", || "other bytes than were sent".into())?;
    Ok(None)
}

fn whole(ring: &mut Trial) -> Tried {
    one(ring, Kind::Whole)
}

fn mapped(ring: &mut Trial) -> Tried {
    one(ring, Kind::Mapped)
}

fn incremental(ring: &mut Trial) -> Tried {
    let (mut ours, theirs) = pair()?;
    let group = ring.add_group(1, Kind::Incremental)?;
    ring.supply(group, 0, 0, 64);
    for word in [b"one", b"two"] {
        ours.write_all(word)?;
        let answer = ring.ask(Ask::recv_pooled(theirs.as_raw_fd(), group, 0, 0))?;
        answer.ok()?;
        expect(answer.buffer() == Some(0), || "it named another buffer".into())?;
        expect(answer.buffer_more(), || "it gave the buffer up after a receive".into())?;
    }
    expect(ring.bytes(0, 6) == b"onetwo", || "the second receive went elsewhere".into())?;
    Ok(None)
}

fn rest(ring: &mut Trial) -> Tried {
    ring.buffers_with_rest(REST, 16)?;
    Ok(Some("a buffer is given up when little is left of it".into()))
}

/// How long each buffer of a bundle is, and how many there are.
const LENGTH: usize = 64;
const COUNT: u16 = 32;

/// What is sent at a time: parts of buffers, whole ones, several and a bit.
const BURSTS: [usize; 12] = [96, 10, 200, 64, 1, 300, 63, 65, 128, 7, 256, 31];

fn bundle(ring: &mut Trial) -> Tried {
    in_order(ring, Kind::Whole, BUNDLE)
}

fn bundle_multishot(ring: &mut Trial) -> Tried {
    in_order(ring, Kind::Whole, BUNDLE | MULTISHOT)
}

fn bundle_incremental(ring: &mut Trial) -> Tried {
    in_order(ring, Kind::Incremental, BUNDLE)
}

/// The buffers that the kernel has, in the order in which it got them.
struct Supplied {
    kind: Kind,
    /// The number of each, and how much of it is filled.
    line: VecDeque<(u16, usize)>,
}

impl Supplied {
    /// The ranges of the arena that a bundle of `len` bytes fills, from buffer `first` on; the
    /// buffers that are the kernel's no more are put into `done`.
    fn take(
        &mut self,
        first: Option<u16>,
        mut len: usize,
        done: &mut Vec<u16>,
    ) -> Result<Vec<(usize, usize)>, Outcome> {
        let head = self.line.front().map(|(id, _)| *id);
        expect(first == head, || format!("a bundle began at {first:?} instead of {head:?}"))?;
        let mut ranges = Vec::new();
        while len > 0 {
            let Some((id, filled)) = self.line.front_mut() else {
                return Err(Outcome::broken("a bundle was longer than all buffers"));
            };
            let part = len.min(LENGTH - *filled);
            ranges.push((usize::from(*id) * LENGTH + *filled, part));
            *filled += part;
            len -= part;
            if self.kind != Kind::Incremental || *filled == LENGTH {
                done.push(*id);
                self.line.pop_front();
            }
        }
        Ok(ranges)
    }
}

fn in_order(ring: &mut Trial, kind: Kind, how: u16) -> Tried {
    let (mut ours, theirs) = pair()?;
    let group = ring.add_group(COUNT, kind)?;
    let mut supplied = Supplied { kind, line: VecDeque::new() };
    for id in 0..COUNT {
        ring.supply(group, id, usize::from(id) * LENGTH, LENGTH);
        supplied.line.push_back((id, 0));
    }
    let recv = Ask::recv_pooled(theirs.as_raw_fd(), group, how, 0);
    let (mut sent, mut received) = (0usize, 0usize);
    let pattern = |at: usize| (at % 251) as u8;
    let mut number = ring.start(recv)?;
    for burst in BURSTS {
        let bytes: Vec<u8> = (sent..sent + burst).map(pattern).collect();
        // In two pieces, so that a receive may find less than it prepared for.
        ours.write_all(&bytes[..burst / 2])?;
        ours.write_all(&bytes[burst / 2..])?;
        sent += burst;
        while received < sent {
            let answer = ring.answer(number)?;
            let len = answer.ok()? as usize;
            expect(len > 0, || "it ended early".into())?;
            let mut done = Vec::new();
            for (at, len) in supplied.take(answer.buffer(), len, &mut done)? {
                let got = ring.bytes(at, len);
                let right = got.iter().enumerate().all(|(i, &byte)| byte == pattern(received + i));
                expect(right, || format!("bytes out of order after {received}"))?;
                received += len;
            }
            for id in done {
                ring.supply(group, id, usize::from(id) * LENGTH, LENGTH);
                supplied.line.push_back((id, 0));
            }
            if !answer.more() {
                number = ring.start(recv)?;
            }
        }
    }
    Ok(Some("in order".into()))
}

fn send_bundle(ring: &mut Trial) -> Tried {
    let (ours, mut theirs) = pair()?;
    let group = ring.add_group(4, Kind::Whole)?;
    ring.put(0, b"one two three");
    ring.supply(group, 0, 0, 4);
    ring.supply(group, 1, 4, 4);
    ring.supply(group, 2, 8, 5);
    let sent = ring.ask(Ask::send_bundle(ours.as_raw_fd(), group))?.ok()? as usize;
    expect(sent == 13, || format!("it sent {sent} bytes of 13"))?;
    let mut got = [0; 13];
    theirs.read_exact(&mut got)?;
    expect(&got == b"one two three", || "other bytes than were given".into())?;
    Ok(None)
}
