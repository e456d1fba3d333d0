//! The task cell: a future, its result, and who may touch what.
//!
//! A task belongs to one core. Everything in it but the first two rows of the table below is touched by
//! that core's thread only, through plain cells: to run it, to wake it from its own core, to await or
//! abort it costs no atomic instruction. Other threads can do two things: hold references (wakers), and
//! wake. A task may be made by another thread (see `runtime/remote.rs`); it is newborn then, and that
//! thread's alone, until it goes into the inbox of its core.
//!
//! ```text
//!             spawn                             1  Core::spawn → schedule
//!               │ 1                             2  Core::run_tasks, budgeted
//!               ▼                               3  poll returned Pending
//!   ┌──▶ scheduled, queued ◀──────────┐         4  wake on the core's own thread, or Core draining
//!   │           │ 2                   │            the inbox
//!   │ 4         ▼                     │ 4       5  poll returned Ready or panicked, or the task was
//!   │        running ─────────────────┤            aborted: the future is dropped, the result kept
//!   │           │ 3        (woken     │            for the JoinHandle
//!   │           ▼        meanwhile)   │
//!   └──────── idle ───────────────────┘
//!               │ 5 (from running)
//!               ▼
//!             done ─── the core lets go of its reference; the last one frees the memory
//! ```
//!
//! | field | who |
//! | --- | --- |
//! | `references` | see `Biased` |
//! | `remote`, `next` | whoever raised `remote` owns `next`, until the core's drain takes it down |
//! | all others | the core's thread; after the core is gone, the thread that has the `JoinHandle` |
//!
//! A wake from another thread raises `remote`; only the one who raised it pushes the task into the
//! core's inbox. The drain takes `remote` down *before* it schedules: a wake that comes later pushes
//! the task again, one that came earlier is covered by the poll that follows.
//!
//! The future and the result are not `Send`. They are dropped on the core's thread, since the core
//! holds a reference until the task is done, and the result belongs to the `JoinHandle`, which is
//! not `Send` either. What other threads may come to free is the memory alone.

mod waker;

use std::cell::{Cell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::error::JoinError;
use super::inbox::Linked;
use super::origin::{Label, Origin};
use crate::runtime::run_queues::{Queued, RunQueues};
use crate::runtime::shared;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::Biased;
use waker::raw_waker;

/// What the threads share of a core with its tasks.
pub(crate) type Shared = shared::Shared<TaskRef>;

/// The part of a task that does not depend on its future. It stands first in the cell.
#[repr(C)]
pub(crate) struct Header {
    references: Biased,
    /// The link of the inbox.
    next: UnsafeCell<*mut Header>,
    shared: Arc<Shared>,
    vtable: &'static Vtable,
    /// Where it was spawned.
    location: &'static Location<'static>,
    /// Its name, if it has one.
    label: Option<Box<Label>>,
    /// When it ran last, by the coarse clock, in nanoseconds.
    last_run: Cell<u64>,
    /// The core's number for it.
    key: Cell<u32>,
    /// The task is in its core's inbox, or about to be.
    remote: AtomicBool,
    pub(super) flags: Flags,
    pub(super) joiner: Cell<Option<Waker>>,
}

// Every task has one. (The atomics of a model are larger.)
#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() <= 88);

impl Header {
    /// The header of a new task, with one reference.
    pub(super) fn new(shared: Arc<Shared>, vtable: &'static Vtable, origin: Origin) -> Header {
        let Origin { location, label, background } = origin;
        Header {
            references: Biased::new(1),
            next: UnsafeCell::new(ptr::null_mut()),
            shared,
            vtable,
            location,
            label,
            last_run: Cell::new(0),
            key: Cell::new(NEWBORN),
            remote: AtomicBool::new(false),
            flags: Flags(Cell::new(if background { Flag::Background as u8 } else { 0 })),
            joiner: Cell::new(None),
        }
    }
}

/// What is true of a task.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Flag {
    /// It can wait: see `Priority`.
    Background = 1,
    /// It is in the queue of its core.
    Scheduled = 2,
    Aborted = 4,
    Done = 8,
    /// A `JoinHandle` exists, which will take the result.
    Joined = 16,
}

/// All of that, in a byte.
pub(super) struct Flags(Cell<u8>);

impl Flags {
    pub(super) fn has(&self, flag: Flag) -> bool {
        self.0.get() & flag as u8 != 0
    }

    pub(super) fn raise(&self, flag: Flag) {
        self.0.set(self.0.get() | flag as u8);
    }

    pub(super) fn lower(&self, flag: Flag) {
        self.0.set(self.0.get() & !(flag as u8));
    }
}

/// The number of a task that no core has taken in yet.
const NEWBORN: u32 = u32::MAX;

pub(super) struct Vtable {
    /// Polls once. True if the task is done.
    pub(super) poll: unsafe fn(*const Header, &mut Context<'_>) -> bool,
    /// Ends the task with this error instead of a result.
    pub(super) fail: unsafe fn(*const Header, JoinError),
    /// Drops the result, if it is still there.
    pub(super) drop_result: unsafe fn(*const Header),
    pub(super) free: unsafe fn(*mut Header),
}

/// A counted reference to a task.
pub(crate) struct TaskRef(NonNull<Header>);

impl TaskRef {
    /// A reference to the task with this header.
    ///
    /// # Safety
    /// The reference must have been counted for the caller, as a new task's is: it is taken over.
    pub(super) unsafe fn of_header(header: NonNull<Header>) -> TaskRef {
        TaskRef(header)
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the reference keeps the task allocated.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn as_ptr(&self) -> *const Header {
        self.0.as_ptr()
    }

    /// The core's number for the task.
    pub(crate) fn key(&self) -> usize {
        self.header().key.get() as usize
    }

    pub(crate) fn set_key(&self, key: usize) {
        let key = u32::try_from(key).ok().filter(|&key| key != NEWBORN);
        self.header().key.set(key.expect("four billion tasks"));
    }

    /// Where it was spawned.
    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.header().location
    }

    /// The name that it was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.header().label.as_ref()?.name.as_deref()
    }

    /// Whether it waits in the queue to be run.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.header().flags.has(Flag::Scheduled)
    }

    /// When it ran last, or was spawned.
    pub(crate) fn last_run(&self) -> Duration {
        Duration::from_nanos(self.header().last_run.get())
    }

    /// Notes that it runs, or was spawned, at this time.
    pub(crate) fn set_last_run(&self, at: Duration) {
        self.header().last_run.set(at.as_nanos() as u64);
    }

    /// Calls `run` as if the task ran: the main future, for which a task stands in.
    /// It is named by the data of its waker, which the caller holds.
    pub(crate) fn as_running<R>(id: *const (), run: impl FnOnce() -> R) -> R {
        let _mark = Mark::new(id.cast());
        run()
    }

    /// Whether anybody may wake it: all references but those of the core, of the join handle, and
    /// `own` wakers that are known to be held in vain.
    pub(crate) fn may_be_woken(&self, own: isize) -> bool {
        let header = self.header();
        let known = 1 + isize::from(header.flags.has(Flag::Joined)) + own;
        header.flags.has(Flag::Scheduled) || header.references.count() > known
    }

    /// What tells the task from others: the data of its wakers.
    pub(crate) fn id(&self) -> *const () {
        self.as_ptr().cast()
    }

    /// The `id` of the task that awaits this one, if a task does.
    pub(crate) fn joiner_id(&self) -> Option<*const ()> {
        let joiner = self.header().joiner.take();
        let id = joiner.as_ref().map(Waker::data);
        self.header().joiner.set(joiner);
        id
    }

    /// Whether no core has taken it in yet. The core's thread, or whoever has made the task.
    pub(crate) fn is_newborn(&self) -> bool {
        self.header().key.get() == NEWBORN
    }

    /// Sends a newborn task, which has been admitted, to its core. If the core has ended since, the
    /// task ends too.
    pub(crate) fn deliver(self) {
        debug_assert!(self.is_newborn());
        // Nobody else can wake it yet.
        self.header().remote.store(true, Ordering::Relaxed);
        let shared = self.header().shared.clone();
        if let Err(task) = shared.send(self) {
            task.dismiss();
        }
    }

    /// Puts the task into the core's queue, unless it is there or done; `remote` says that another
    /// thread has woken it. The core's thread.
    pub(crate) fn schedule(&self, queues: &RunQueues, remote: bool) {
        let header = self.header();
        if !header.flags.has(Flag::Scheduled) && !header.flags.has(Flag::Done) {
            header.flags.raise(Flag::Scheduled);
            queues.enqueue(self.0.cast(), header.flags.has(Flag::Background), remote);
        }
    }

    /// Runs a task that was taken from the core's queue. If it is done, `remove` takes it out of the
    /// core's keeping, by its number. The core's thread, not reentrant.
    pub(crate) fn run_queued(queued: Queued, now: Duration, remove: impl FnOnce(usize) -> TaskRef) {
        // SAFETY: what is queued is a header, and the core's own reference outlives the queue's: see
        // `release`.
        let task = ManuallyDrop::new(unsafe { TaskRef::of_header(queued.cast()) });
        task.set_last_run(now);
        task.run();
        // A task that has woken itself before it was done is still in the queue.
        if task.header().flags.has(Flag::Done) && !task.header().flags.has(Flag::Scheduled) {
            remove(task.key()).release();
        }
    }

    fn run(&self) {
        let header = self.header();
        debug_assert!(header.flags.has(Flag::Scheduled));
        header.flags.lower(Flag::Scheduled);
        if header.flags.has(Flag::Done) {
            return;
        }
        if header.flags.has(Flag::Aborted) {
            return self.fail(JoinError::cancelled());
        }
        // SAFETY: the waker takes no reference of its own, and goes before the task can.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw_waker(self.0.as_ptr())) });
        let mut context = Context::from_waker(&waker);
        let _mark = Mark::new(header);
        let span = header.label.as_ref().and_then(|label| label.span.as_ref());
        let _within = span.map(tracing::Span::enter);
        // SAFETY: the vtable is of this task; it is running here and nowhere else.
        if unsafe { (header.vtable.poll)(self.as_ptr(), &mut context) } {
            self.finish();
        } else if header.flags.has(Flag::Aborted) {
            // It aborted itself.
            self.fail(JoinError::cancelled());
        }
    }

    /// Ends the task now, unless it is done. The core's thread, while the task does not run.
    pub(crate) fn fail(&self, error: JoinError) {
        if !self.header().flags.has(Flag::Done) {
            // SAFETY: the vtable is of this task, which is not running.
            unsafe { (self.header().vtable.fail)(self.as_ptr(), error) };
            self.finish();
        }
    }

    fn finish(&self) {
        let header = self.header();
        header.flags.raise(Flag::Done);
        if let Some(joiner) = header.joiner.take() {
            joiner.wake();
        }
        if !header.flags.has(Flag::Joined) {
            self.drop_result();
        }
    }

    pub(super) fn drop_result(&self) {
        // SAFETY: the vtable is of this task, which is done.
        unsafe { (self.header().vtable.drop_result)(self.as_ptr()) };
    }

    /// Wishes the task to end. The core's thread.
    pub(super) fn abort(&self) {
        let header = self.header();
        if !header.flags.has(Flag::Done) && header.shared.is_current() {
            header.flags.raise(Flag::Aborted);
            RunQueues::with_current(|queues| self.schedule(queues, false));
        }
    }

    /// A waker of the task.
    pub(crate) fn waker(&self) -> Waker {
        let header = self.clone_ref().into_raw();
        // SAFETY: the waker takes over the reference that has just been made.
        unsafe { Waker::from_raw(raw_waker(header)) }
    }

    pub(super) fn clone_ref(&self) -> TaskRef {
        // SAFETY: the reference keeps the task allocated.
        unsafe { add_reference(self.0.as_ptr()) };
        TaskRef(self.0)
    }

    /// The core lets go of a task that is done and not queued.
    pub(crate) fn release(self) {
        let header = ManuallyDrop::new(self).0;
        // SAFETY: the reference keeps the task allocated. The core's own share goes, and the
        // owner's half of the count is merged into the shared one.
        unsafe {
            let references = &header.as_ref().references;
            debug_assert!(
                header.as_ref().flags.has(Flag::Done)
                    && !header.as_ref().flags.has(Flag::Scheduled)
            );
            // Both are done, whatever the first says: no short circuit.
            if references.sub_local() | references.merge() {
                (header.as_ref().vtable.free)(header.as_ptr());
            }
        }
    }

    /// Takes a task out of the queue without running it: the core is going.
    pub(crate) fn unschedule(queued: Queued) {
        // SAFETY: the core's own reference outlives the queue's: see `release`.
        unsafe { queued.cast::<Header>().as_ref() }.flags.lower(Flag::Scheduled);
    }
}

thread_local! {
    /// The task that runs on this thread, for the stall detector's signal handler.
    static RUNNING: Cell<*const Header> = const { Cell::new(ptr::null()) };
}

/// While it lives, its task is the one that runs on this thread.
struct Mark;

impl Mark {
    fn new(header: *const Header) -> Mark {
        RUNNING.set(header);
        Mark
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        RUNNING.set(ptr::null());
    }
}

/// Tells of the task that runs on this thread, if one does: for a signal handler, which may come
/// between any two instructions, so this only reads.
pub(crate) fn running(tell: &mut dyn FnMut(&'static Location<'static>, Option<&str>)) {
    let header = RUNNING.get();
    if !header.is_null() {
        // SAFETY: the core keeps a task that runs; what is read here was written before it ran.
        let (location, label) = unsafe { ((*header).location, &(*header).label) };
        tell(location, label.as_ref().and_then(|label| label.name.as_deref()));
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: this reference is given up here.
        unsafe { drop_reference(self.0.as_ptr()) };
    }
}

// SAFETY: a task is boxed, and aligned to the words in it. `remote` is raised by whoever puts a task in,
// and taken down by the drain only: so the link is theirs.
unsafe impl Linked for TaskRef {
    type Node = Header;

    fn into_raw(self) -> *mut Header {
        ManuallyDrop::new(self).0.as_ptr()
    }

    unsafe fn from_raw(header: *mut Header) -> TaskRef {
        // SAFETY: `into_raw` gives no null pointer.
        TaskRef(unsafe { NonNull::new_unchecked(header) })
    }

    unsafe fn next(header: *mut Header) -> *mut Header {
        // SAFETY: as the caller vouches.
        unsafe { *(*header).next.get() }
    }

    unsafe fn set_next(header: *mut Header, next: *mut Header) {
        // SAFETY: as the caller vouches.
        unsafe { *(*header).next.get() = next }
    }

    fn taken_out(&self) {
        // AcqRel: what the waker did happens before the poll that this leads to.
        self.header().remote.swap(false, Ordering::AcqRel);
    }

    /// The core's thread for any task, and any thread for a newborn one: what that holds may be
    /// dropped anywhere, since its future has not been made yet (see `runtime/remote.rs`), and its
    /// reference is the one that its core would have had.
    fn dismiss(self) {
        if self.is_newborn() {
            self.fail(JoinError::cancelled());
            self.release();
        }
    }
}

/// # Safety
/// The caller must hold a reference.
unsafe fn add_reference(header: *const Header) {
    // SAFETY: as the caller vouches.
    let header = unsafe { &*header };
    if header.shared.is_current() {
        header.references.add_local();
    } else {
        header.references.add_shared();
    }
}

/// # Safety
/// The caller must hold a reference, and gives it up.
unsafe fn drop_reference(header: *mut Header) {
    // SAFETY: as the caller vouches; the borrow ends before the memory is freed.
    let (last, free) = unsafe {
        let header = &*header;
        let local = header.shared.is_current();
        // Read before the count goes down: after that, another thread may free the task.
        let free = header.vtable.free;
        let references = &header.references;
        (if local { references.sub_local() } else { references.sub_shared() }, free)
    };
    if last {
        // SAFETY: that was the last reference.
        unsafe { free(header) };
    }
}
