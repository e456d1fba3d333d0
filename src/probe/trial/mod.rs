//! A throw-away ring, in which anything can be tried without harm: it owns all the memory that the
//! kernel is told of, and keeps it until the kernel is done with it.
//!
//! What can be asked stands in `ask.rs`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::IoUring;

use super::Patience;
use crate::buf::BufferRing;
use crate::driver::uring::buffers::{KernelRing, Kind};
use crate::driver::uring::setup;
use crate::driver::{Feature, Features};
use crate::sys::uring::{enter, ENTER_GETEVENTS};
use crate::sys::{own, Mapping};

pub(super) mod ask;
mod registers;

use ask::{Ask, Vectors, ARENA};

/// How long an answer may take before it counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

const ENTRIES: u32 = 16;
const COMPLETIONS: u32 = 64;

/// What a ring says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) result: i32,
    flags: u32,
}

impl Answer {
    /// The count or descriptor, or the error.
    pub(crate) fn ok(self) -> io::Result<u32> {
        match self.result {
            0.. => Ok(self.result as u32),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }

    pub(crate) fn errno(self) -> i32 {
        -self.result.min(0)
    }

    /// More answers follow.
    pub(crate) fn more(self) -> bool {
        self.flags & 1 << 1 != 0
    }

    /// This is the second answer of a zero-copy send.
    pub(crate) fn notification(self) -> bool {
        self.flags & 1 << 3 != 0
    }

    /// The buffer that was filled.
    pub(crate) fn buffer(self) -> Option<u16> {
        (self.flags & 1 != 0).then_some((self.flags >> 16) as u16)
    }

    /// The kernel goes on filling the same buffer.
    pub(crate) fn buffer_more(self) -> bool {
        self.flags & 1 << 4 != 0
    }
}

/// The ring, and all that it may touch.
pub(crate) struct Trial {
    ring: IoUring,
    features: Features,
    arena: Option<Mapping>,
    groups: Vec<(u16, KernelRing)>,
    last_group: u16,
    /// The numbers of what was asked and is not answered for good.
    open: Vec<u64>,
    answers: Vec<(u64, Answer)>,
    /// The numbers whose answers are descriptors, made for whoever takes them.
    descriptors: Vec<u64>,
    next: u64,
    pub(crate) patience: Patience,
}

impl Trial {
    /// Sets one up, by the ladder that the driver climbs too.
    pub(crate) fn open(patience: Patience) -> io::Result<Trial> {
        let build = |features| setup::flags(features, COMPLETIONS, false).build(ENTRIES);
        let (ring, features, _) = patience.retry(|| setup::climb(Features::all(), build))?;
        let arena = Some(Mapping::anonymous(ARENA)?);
        Ok(Trial {
            ring,
            features,
            arena,
            groups: Vec::new(),
            last_group: 0,
            open: Vec::new(),
            answers: Vec::new(),
            descriptors: Vec::new(),
            next: 1,
            patience,
        })
    }

    pub(crate) fn ring(&mut self) -> &mut IoUring {
        &mut self.ring
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    fn arena(&self) -> &Mapping {
        self.arena.as_ref().expect("it is there until the end")
    }

    /// Writes to the arena.
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= ARENA);
        // SAFETY: the range lies in the arena, which is no memory of any Rust value.
        unsafe {
            let to = self.arena().pointer().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len());
        }
    }

    /// What is in the arena now.
    pub(crate) fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        assert!(at + len <= ARENA);
        let mut bytes = vec![0; len];
        // SAFETY: as in `put`.
        unsafe {
            let from = self.arena().pointer().add(at);
            std::ptr::copy_nonoverlapping(from.as_ptr(), bytes.as_mut_ptr(), len);
        }
        bytes
    }

    /// Writes vectors to the arena that name ranges of it.
    pub(crate) fn put_vectors(&mut self, at: usize, ranges: &[(usize, usize)]) -> Vectors {
        let base = self.arena().address();
        for (index, &(start, len)) in ranges.iter().enumerate() {
            assert!(start + len <= ARENA);
            self.put(at + index * 16, &((base + start) as u64).to_ne_bytes());
            self.put(at + index * 16 + 8, &(len as u64).to_ne_bytes());
        }
        Vectors { at, count: ranges.len() }
    }

    /// Writes a time to the arena, as the kernel wants it.
    pub(crate) fn put_time(&mut self, at: usize, time: Duration) {
        self.put(at, &time.as_secs().to_ne_bytes());
        self.put(at + 8, &u64::from(time.subsec_nanos()).to_ne_bytes());
    }

    /// Registers a ring of buffers: its number, which is never used again, since 6.1 goes on in a new
    /// ring of an old number where it stopped in the old one.
    pub(crate) fn add_group(&mut self, count: u16, kind: Kind) -> io::Result<u16> {
        self.last_group += 1;
        let ring = KernelRing::register(&self.ring, self.last_group, count, kind)?;
        self.groups.push((self.last_group, ring));
        Ok(self.last_group)
    }

    /// Gives a group a range of the arena to fill.
    pub(crate) fn supply(&mut self, group: u16, id: u16, at: usize, len: usize) {
        assert!(at + len <= ARENA);
        // SAFETY: the range lies in the arena.
        let memory = unsafe { self.arena().pointer().add(at) };
        let ring = self.groups.iter().find(|(number, _)| *number == group);
        ring.expect("it was added").1.supply(id, memory, len as u32);
    }

    /// Asks for something: the number under which it is answered.
    pub(crate) fn start(&mut self, ask: Ask) -> io::Result<u64> {
        let (mut entry, number) = (ask.entry, self.next);
        let base = self.arena().address();
        if ask.arena {
            entry.address += base as u64;
        }
        if let Some(at) = ask.value {
            entry.address3 = (base + at) as u64;
        }
        self.next += 1;
        entry.user_data = number;
        // SAFETY: what it points to lies in the arena, which stays until the last answer.
        unsafe { self.ring.submission().push(&entry.into()) }
            .map_err(|_| io::Error::other("the submission queue is full"))?;
        self.open.push(number);
        if ask.makes_descriptors() {
            self.descriptors.push(number);
        }
        self.enter(0, Duration::ZERO)?;
        Ok(number)
    }

    /// The next answer to what was asked under this number.
    pub(crate) fn answer(&mut self, number: u64) -> io::Result<Answer> {
        self.answer_within(number, PATIENCE)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "the ring never answered"))
    }

    /// The same, if it comes within that time.
    pub(crate) fn answer_within(
        &mut self,
        number: u64,
        time: Duration,
    ) -> io::Result<Option<Answer>> {
        assert!(!self.descriptors.contains(&number), "its answers are descriptors");
        self.wait_for(number, time)
    }

    fn wait_for(&mut self, number: u64, time: Duration) -> io::Result<Option<Answer>> {
        let end = Instant::now() + time;
        loop {
            if let Some(index) = self.answers.iter().position(|(of, _)| *of == number) {
                return Ok(Some(self.answers.remove(index).1));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.enter(1, left)?;
        }
    }

    /// The next descriptor that was made for it, and whether more follow.
    pub(crate) fn descriptor(&mut self, number: u64) -> io::Result<(OwnedFd, bool)> {
        assert!(self.descriptors.contains(&number), "its answers are no descriptors");
        let answer = self.wait_for(number, PATIENCE)?.ok_or(io::ErrorKind::TimedOut)?;
        // SAFETY: the kernel has made it for us, and this is the only record of it.
        let fd = unsafe { own(answer.ok()? as RawFd) };
        Ok((fd, answer.more()))
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, ask: Ask) -> io::Result<Answer> {
        let number = self.start(ask)?;
        self.answer(number)
    }

    /// Completions that lie there already, without a call.
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    fn enter(&mut self, wait: u32, at_most: Duration) -> io::Result<()> {
        let pending = self.ring.submission().len() as u32;
        let (fd, timed) = (self.fd(), self.ring.params().is_feature_ext_arg());
        let entered = match (wait, timed) {
            (0, _) => enter(fd, pending, 0, ENTER_GETEVENTS, None),
            (_, true) => enter(fd, pending, wait, ENTER_GETEVENTS, Some(at_most)),
            // Before 5.11 a wait has no end: the ring is polled like any descriptor.
            (_, false) => enter(fd, pending, 0, ENTER_GETEVENTS, None).and_then(|taken| {
                let mut fds = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
                crate::sys::ppoll(&mut fds, Some(at_most)).map(|_| taken)
            }),
        };
        match entered {
            Err(error)
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
        self.collect();
        Ok(())
    }

    /// Submits so many no-ops, waits for them, and forgets them: for what that costs.
    pub(crate) fn no_ops(&mut self, count: u32) -> io::Result<()> {
        for _ in 0..count {
            // SAFETY: a no-op points to nothing.
            unsafe { self.ring.submission().push(&io_uring::opcode::Nop::new().build()) }
                .map_err(|_| io::Error::other("the submission queue is full"))?;
        }
        enter(self.fd(), count, count, ENTER_GETEVENTS, None)?;
        self.ring.completion().for_each(drop);
        Ok(())
    }

    /// Takes what lies in the completion queue.
    pub(crate) fn collect(&mut self) {
        for entry in self.ring.completion() {
            let (number, flags) = (entry.user_data(), entry.flags());
            let answer = Answer { result: entry.result(), flags };
            if !answer.more() {
                self.open.retain(|&open| open != number);
            }
            self.answers.push((number, answer));
        }
    }

    /// Ends what is still under way, so that the next trial begins afresh: true if all has ended.
    pub(crate) fn settle(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        for number in self.open.clone() {
            if self.open.contains(&number) && self.start(Ask::cancel(number)).is_err() {
                break;
            }
        }
        while !self.open.is_empty() && Instant::now() < end {
            if self.enter(1, Duration::from_millis(20)).is_err() {
                break;
            }
        }
        for (group, ring) in std::mem::take(&mut self.groups) {
            // One that is gone already has been refused before, and that was told.
            drop(self.ring.submitter().unregister_buf_ring(group));
            drop(ring);
        }
        for (number, answer) in std::mem::take(&mut self.answers) {
            if self.descriptors.contains(&number) && answer.result >= 0 {
                // SAFETY: as in `descriptor`.
                drop(unsafe { own(answer.result) });
            }
        }
        self.descriptors.clear();
        self.open.is_empty()
    }

    /// What was asked quietly is done: nothing more is expected of it.
    pub(crate) fn forget(&mut self, number: u64) {
        self.open.retain(|&open| open != number);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.settle() {
            tracing::error!(target: "ringpark", "the kernel still works on a trial: memory leaked");
            std::mem::forget(self.arena.take());
        }
    }
}
