//! The io_uring driver: operations are submitted to the core's ring, completions resume tasks.
//!
//! A turn enters the kernel at most once, which both submits and waits, and not at all when there is
//! nothing to say. An operation whose opcode the ring lacks is polled for and attempted.
//!
//! Nothing that is to be submitted can be lost to a full queue: entries that find no room wait in
//! the backlog, cancels in their slots, both in order, until the kernel has taken the ones before.
//!
//! A cancel is a state of the slot: see `Slots::want_cancel`. The notifier is in `doorbell`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use io_uring::IoUring;

use super::buffers::Buffers;
use super::capabilities::{Capabilities, Codes};
use super::config::{Backend, Config, Feature, Features};
use super::engine::{attempt, Counts, Engine, Started, Wait};
use super::error::SetupError;
use super::facts::RingFacts;
use super::slots::Slots;
use crate::buf::{BufferRing, PoolConfig};
use crate::cause::{self, Cause};
use crate::completion::{Completion, Kind, Sink, Token};
use crate::op::{
    self, CancelAnswer, Code, Entry, Interest, Op, Waits, DATAGRAM_GROUP, STREAM_GROUP,
};
use crate::sys::uring::{enter, unregister_ring, ENTER_GETEVENTS, ENTER_REGISTERED_RING};
use crate::sys::{EventFd, Notify};

pub(crate) mod buffers;
pub(crate) mod checks;
mod doorbell;
mod fixed;
pub(crate) mod setup;

use buffers::KernelRing;
use buffers::Kind::{Incremental, Whole};
use doorbell::Doorbell;
use fixed::Fixed;

/// A wait is not counted as one for a disk (6.15), so that a sleeping core does not look busy.
const ENTER_NO_IOWAIT: u32 = 1 << 7;

/// The buffers of a core whose kernel goes on filling one (6.12): few and large.
pub(crate) const INCREMENTAL: PoolConfig =
    PoolConfig { count_base: 16, count_max: 1024, size: 64 << 10 };
/// The buffers of a core whose kernel takes one for each message: many and small.
const WHOLE: PoolConfig = PoolConfig { count_base: 128, count_max: 2048, size: 8 << 10 };

/// The buffers for datagrams: the kernel takes one for each, and touches as much of it as the
/// datagram is long.
const DATAGRAMS: PoolConfig =
    PoolConfig { count_base: 32, count_max: 1024, size: op::DATAGRAM_BUFFER as u32 };

/// How long the end of a ring waits for the notifier's read, ten times.
const END_PATIENCE: Duration = Duration::from_millis(100);

/// The driver of one ring.
pub(super) struct Uring {
    ring: IoUring,
    features: Features,
    refused: Vec<Feature>,
    usable: Codes,
    /// The most that one connection receives before others have their turn; 0 for no cap.
    recv_cap: u32,
    /// What names the ring in `enter`: an index if it is registered, else its descriptor.
    name: RawFd,
    enter_flags: u32,
    /// Entries that found the submission queue full.
    backlog: VecDeque<Entry>,
    /// Where the kernel counts notifies into. On the heap: its address is in an entry.
    notified: Box<[u8; 8]>,
    notifier_armed: bool,
    buffers: Option<KernelRing>,
    /// Why there are none, where they were wanted.
    no_buffers: Option<i32>,
    pool_config: PoolConfig,
    /// Memory that is registered for operations on files.
    fixed: Fixed,
    notifier: Arc<Doorbell>,
    counts: Counts,
    overflowing: bool,
}

impl Uring {
    /// Sets the ring up, and its buffers.
    pub(super) fn open(config: &Config) -> Result<Uring, SetupError> {
        // The ring reads it, and so it must be one that lets a reader wait.
        let notifier = EventFd::new(false).map_err(|source| {
            SetupError::because(Backend::Uring, "eventfd", source, cause::of_descriptors)
        })?;
        let setup::Built { mut ring, mut features, refused, mut usable, recv_cap, registered } =
            setup::build(config)?;
        let needed = [Code::Read, Code::Poll, Code::Cancel];
        if let Some(missing) = needed.into_iter().find(|&code| !usable.has(code)) {
            let source = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
            let step = "looking for what no ring can do without";
            return Err(SetupError::because(Backend::Uring, step, source, |_| {
                vec![Cause::Operation(missing.name().to_owned())]
            }));
        }
        let mut pool_config = config.pool.unwrap_or(INCREMENTAL);
        let mut buffers = None;
        let mut no_buffers = None;
        if usable.has(Code::RecvMulti) {
            let register = |count, kind| KernelRing::register(&ring, STREAM_GROUP, count, kind);
            if features.has(Feature::IncrementalBuffers) {
                buffers = register(pool_config.count_max, Incremental).ok();
            }
            if buffers.is_none() {
                features.remove(Feature::IncrementalBuffers);
                pool_config = config.pool.unwrap_or(WHOLE);
                match register(pool_config.count_max, Whole) {
                    Ok(ring) => buffers = Some(ring),
                    Err(error) => no_buffers = error.raw_os_error(),
                }
            }
            if buffers.is_none() {
                usable.remove(Code::RecvMulti);
            }
        }
        let notifier = Doorbell::new(notifier);
        if features.has(Feature::RingMessage) {
            match checks::takes_messages(&mut ring) {
                true => notifier.use_messages(ring.as_raw_fd()),
                false => features.remove(Feature::RingMessage),
            }
        }
        let mut enter_flags = ENTER_GETEVENTS;
        if ring.params().is_feature_no_iowait() {
            enter_flags |= ENTER_NO_IOWAIT;
        }
        if registered.is_some() {
            enter_flags |= ENTER_REGISTERED_RING;
        }
        Ok(Uring {
            name: registered.map_or(ring.as_raw_fd(), |index| index as RawFd),
            ring,
            features,
            refused,
            usable,
            recv_cap,
            enter_flags,
            backlog: VecDeque::new(),
            notified: Box::new([0; 8]),
            notifier_armed: false,
            buffers,
            no_buffers,
            pool_config,
            fixed: Fixed::default(),
            notifier: Arc::new(notifier),
            counts: Counts::default(),
            overflowing: false,
        })
    }

    /// Whether completions are processed when the core asks for them.
    fn is_deferred(&self) -> bool {
        self.features.has(Feature::DeferTaskrun) && self.features.has(Feature::SingleIssuer)
    }

    /// What came of the set-up.
    pub(super) fn facts(&self, config: &Config) -> RingFacts {
        let in_use = |&feature: &Feature| match feature {
            Feature::CoopTaskrun => !self.is_deferred() && self.features.has(feature),
            Feature::RegisteredRing => self.enter_flags & ENTER_REGISTERED_RING != 0,
            Feature::MultishotAccept => self.has(Code::AcceptMulti),
            Feature::MultishotRecv => self.has(Code::RecvMulti),
            Feature::ZeroCopy => self.has(Code::SendZc),
            Feature::IncrementalBuffers => self.has(Code::RecvMulti) && self.features.has(feature),
            _ => self.features.has(feature),
        };
        let params = self.ring.params();
        let smaller = params.sq_entries() < config.submission_entries.next_power_of_two();
        let short = smaller || self.no_buffers == Some(libc::ENOMEM);
        let needed = setup::locked_bytes(config.submission_entries, config.completion_entries);
        RingFacts {
            features: Feature::ALL.iter().copied().filter(in_use).collect(),
            refused: self.refused.clone(),
            missing: Code::all().filter(|&code| !self.usable.has(code)).collect(),
            entries: [params.sq_entries(), params.cq_entries()],
            buffers: self.buffers.as_ref().map(|_| self.pool_config),
            no_buffers: self.no_buffers,
            short_of: short.then(|| cause::memory(needed)),
        }
    }

    /// Whether the ring takes this operation.
    fn has(&self, code: Code) -> bool {
        self.usable.has(code)
    }

    /// Waits for the readiness of a descriptor.
    fn park(&mut self, slots: &mut Slots, code: Code, fd: RawFd, interest: Interest) -> Started {
        let token = slots.insert(code, fd);
        self.push(op::poll_sqe(fd, interest).user_data(token.bits()));
        Started::Parked(token)
    }

    fn push(&mut self, entry: Entry) {
        if self.backlog.is_empty() {
            // SAFETY: whoever made the entry keeps what it points to until its completion: see `Op`.
            if unsafe { self.ring.submission().push(&entry.into()) }.is_ok() {
                self.counts.submissions += 1;
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    /// Moves what has waited for room into the submission queue. True if all of it found room.
    fn refill(&mut self, slots: &mut Slots) -> bool {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(&(*entry).into()) }.is_err() {
                return false;
            }
            self.backlog.pop_front();
            self.counts.submissions += 1;
        }
        while !queue.is_full() {
            let Some(target) = slots.next_cancel() else {
                return true;
            };
            // SAFETY: a cancel points to nothing.
            let pushed = unsafe { queue.push(&op::cancel_sqe(target).into()) };
            debug_assert!(pushed.is_ok());
            self.counts.submissions += 1;
        }
        !slots.wants_cancels()
    }

    /// Without the flag that tells of pending work only the kernel can say.
    fn must_ask_always(&self) -> bool {
        self.is_deferred() && !self.features.has(Feature::TaskrunFlag)
    }

    fn note_overflow(&mut self, overflowing: bool) {
        if overflowing && !self.overflowing {
            self.counts.overflows += 1;
        }
        self.overflowing = overflowing;
    }

    fn enter(&mut self, pending: u32, wait: Wait) -> io::Result<()> {
        let (count, timeout) = match wait {
            Wait::No => (0, None),
            Wait::For(time) => (1, Some(time)),
            Wait::Forever => (1, None),
        };
        self.counts.entries += 1;
        let Err(error) = enter(self.name, pending, count, self.enter_flags, timeout) else {
            return Ok(());
        };
        match error.raw_os_error() {
            // The time is over, or a signal came: the core looks round and comes back. What the
            // kernel has not taken stays in the queue.
            Some(libc::ETIME | libc::EINTR) => Ok(()),
            // The completion queue is full, or memory is short: what is there is taken now, and
            // the rest is submitted the next time.
            Some(libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {
                tracing::debug!(target: "ringpark", %error, "the ring asks for patience");
                Ok(())
            }
            // The ring is dead.
            _ => Err(error),
        }
    }

    fn reap(&mut self, slots: &mut Slots, batch: &mut Vec<Completion>) {
        let before = batch.len();
        let mut others = 0;
        for entry in self.ring.completion() {
            let token = Token::from_bits(entry.user_data());
            match token.and_then(|token| token.kind().map(|kind| (kind, token))) {
                Some((Kind::Op, token)) => {
                    let (result, flags) = (entry.result(), entry.flags());
                    batch.push(Completion { token, result, flags });
                    continue;
                }
                Some((Kind::Cancel, token)) => {
                    if CancelAnswer::from_result(entry.result()) == CancelAnswer::NotFound {
                        slots.cancel_again(token.target());
                    }
                }
                Some((Kind::Notify, _)) => self.notifier_armed = false,
                Some((Kind::Message, _)) => {}
                None => slots.stale += 1,
            }
            others += 1;
        }
        self.counts.completions += (batch.len() - before + others) as u64;
    }

    /// Lets a read wait for the next notify.
    fn arm_notifier(&mut self) {
        if !self.notifier_armed {
            let entry = Code::Read.row().entry(self.notifier.eventfd.fd());
            let entry = entry.memory(self.notified.as_mut_ptr(), self.notified.len());
            self.push(entry.user_data(Token::notify().bits()));
            self.notifier_armed = true;
        }
    }
}

impl Engine for Uring {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            operations: self.usable,
            fills_on: self.features.has(Feature::IncrementalBuffers),
            ..Capabilities::default()
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.notifier.clone()
    }

    fn stream_buffers(&mut self, _config: &Config) -> Buffers {
        let ring = self.buffers.take().map(|ring| Box::new(ring) as Box<dyn BufferRing>);
        Buffers { config: self.pool_config, room_min: None, ring }
    }

    /// Without a ring for them datagrams are received one by one, into buffers that the core fills.
    fn datagram_buffers(&mut self) -> Buffers {
        let wanted = self.has(Code::RecvMsgMulti) && self.features.has(Feature::MultishotRecv);
        let registered = wanted.then(|| {
            let count = DATAGRAMS.count_max;
            KernelRing::register(&self.ring, DATAGRAM_GROUP, count, Whole).ok()
        });
        match registered.flatten() {
            Some(ring) => Buffers {
                config: DATAGRAMS,
                room_min: Some(op::DATAGRAM_BUFFER),
                ring: Some(Box::new(ring)),
            },
            None => super::buffers::of_datagrams(),
        }
    }

    unsafe fn register_buffers(
        &mut self,
        memory: NonNull<u8>,
        len: usize,
    ) -> Result<Option<u16>, String> {
        for code in [Code::ReadFixed, Code::WriteFixed] {
            if !self.has(code) {
                return Err(format!("the ring does not take the operation `{}`", code.name()));
            }
        }
        // SAFETY: the caller keeps the memory.
        unsafe { self.fixed.register(&self.ring, memory, len) }.map(Some)
    }

    fn unregister_buffers(&mut self, place: u16) {
        self.fixed.unregister(&self.ring, place);
    }

    /// Submits the operation, or attempts it where the ring has nothing to offer.
    fn start<O: Op>(&mut self, slots: &mut Slots, op: &mut O) -> Started {
        if let Some(token) = self.submit(slots, op) {
            return Started::Submitted(token);
        }
        match attempt(op) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && op.waits() == Waits::ForReadiness =>
            {
                self.park(slots, O::CODE, op.fd(), op.interest())
            }
            result => Started::Done(result),
        }
    }

    /// Submits the operation; `None` if the ring has no form of it.
    fn submit<O: Op>(&mut self, slots: &mut Slots, op: &mut O) -> Option<Token> {
        if !self.usable.has(O::CODE) {
            return None;
        }
        let entry = op.sqe()?;
        let token = slots.insert(O::CODE, op.fd());
        self.push(entry.user_data(token.bits()));
        Some(token)
    }

    fn park_after_again(
        &mut self,
        slots: &mut Slots,
        code: Code,
        fd: RawFd,
        interest: Interest,
    ) -> Option<Started> {
        (fd >= 0).then(|| self.park(slots, code, fd, interest))
    }

    /// Submits a multishot operation, or one whose only answer goes the same way.
    fn start_stream(
        &mut self,
        slots: &mut Slots,
        code: Code,
        fd: RawFd,
        sink: Rc<dyn Sink>,
    ) -> io::Result<Token> {
        debug_assert!(self.has(code));
        let token = slots.insert_stream(code, fd, sink);
        let stream =
            code.row().stream.expect("the operation has a form whose answers go to a sink");
        let entry = (stream.entry)(fd, self.recv_cap);
        self.push(entry.user_data(token.bits()));
        Ok(token)
    }

    fn cancel(&mut self, slots: &mut Slots, token: Token) {
        slots.want_cancel(token);
    }

    fn unpark(&mut self, slots: &mut Slots, token: Token) {
        slots.want_cancel(token);
    }

    /// Closes a descriptor with the next entry into the kernel.
    fn close_detached(&mut self, slots: &mut Slots, fd: OwnedFd) {
        if self.has(Code::Close) {
            let fd = fd.into_raw_fd();
            let token = slots.insert_detached(Code::Close, fd);
            self.push(op::close_sqe(fd).user_data(token.bits()));
        }
    }

    fn forget_descriptor(&mut self, _fd: RawFd) {}

    fn release_descriptor(&mut self, _fd: RawFd) {}

    /// Enters the kernel once, if there is a reason to, and takes all completions.
    fn turn(
        &mut self,
        slots: &mut Slots,
        wait: Wait,
        batch: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.arm_notifier();
        let all_fit = self.refill(slots);
        let (pending, overflowing, has_work) = {
            let queue = self.ring.submission();
            (queue.len() as u32, queue.cq_overflow(), queue.taskrun() || queue.cq_overflow())
        };
        self.note_overflow(overflowing);
        let wait = if all_fit && self.ring.completion().is_empty() { wait } else { Wait::No };
        let must_ask = has_work || self.must_ask_always();
        if pending > 0 || wait != Wait::No || (must_ask && slots.in_flight() > 0) {
            self.enter(pending, wait)?;
        }
        self.reap(slots, batch);
        Ok(())
    }

    /// Ends the read of the notifier, into memory that goes with the ring: closing the ring alone
    /// does not stop the kernel at once.
    fn end(&mut self, slots: &mut Slots) {
        let mut none = Vec::new();
        let woken = self.notifier.eventfd.raise();
        for _ in 0..10 {
            if !self.notifier_armed || woken.is_err() {
                break;
            }
            if self.enter(0, Wait::For(END_PATIENCE)).is_err() {
                break;
            }
            self.reap(slots, &mut none);
        }
        if self.notifier_armed {
            tracing::error!(target: "ringpark", "the kernel still reads the notifier: leaked");
            std::mem::forget(std::mem::take(&mut self.notified));
        }
    }

    /// Whether a turn would find completions.
    fn peek(&mut self, _slots: &mut Slots) -> bool {
        if self.must_ask_always() && self.enter(0, Wait::No).is_err() {
            // The turn will find the same error, and tell it.
            return true;
        }
        let queue = self.ring.submission();
        let has_work = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        has_work || !self.ring.completion().is_empty()
    }

    fn end_in_fork(&mut self) {
        self.notifier.close_in_fork();
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}

impl Drop for Uring {
    /// A registered descriptor would keep the ring, and what it has locked, for as long as the
    /// thread lives. In a child of fork there is nothing to give up, which is the error then.
    fn drop(&mut self) {
        self.notifier.close();
        if self.enter_flags & ENTER_REGISTERED_RING != 0 {
            drop(unregister_ring(self.ring.as_raw_fd(), self.name as u32));
        }
    }
}
