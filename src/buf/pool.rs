//! The buffers of one core, from which leases are cut.
//!
//! A buffer is a block of memory that is filled from front to back, a lease being the part that one
//! receive has filled; when it is full (or the kernel is done with it) and its last lease has come
//! back, it is drained and empty again: the next to be filled, or the last in the kernel's ring. So small
//! messages share a buffer, and
//! the memory that is hot in the cache stays small.
//!
//! ```text
//!             supply()                 fill()                   last lease dropped
//!   (no memory) ──────▶ empty ─────▶ in use: filling ─────▶ in use: full ────────▶ drained
//!        ▲                ▲                                                          │
//!        │                └───────────────── supply() ───────────────────────────────┤
//!        └─────────── more buffers than needed: its memory is freed ─────────────────┘
//! ```
//!
//! Who fills: the kernel, from a `BufferRing` whose buffers it takes one after the other, or the core
//! itself, into `room()`, attempt by attempt. The pool begins small, grows when a receive found no
//! buffer, up to a limit, and shrinks again. At the limit a receive waits until a buffer comes back,
//! first come, first served.
//!
//! # Threads
//! Everything here belongs to the core's thread, but leases may be dropped anywhere. A lease that
//! comes home from another thread raises the buffer's `back` count, which the core takes in when it
//! next looks. Each field says who touches it.

use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::task::Waker;

use super::lease::Lease;
use crate::sync::{home, Biased, Home, Position, WaitQueue};

/// Leases begin at multiples of this, so that two cores never share a cache line.
const ALIGNMENT: usize = 64;
/// A rest shorter than this is not worth a receive of a stream.
const ROOM_MIN: usize = 1024;

/// After so many drained buffers, half of those that are kept beyond the first are kept no more.
const PEAK_MEMORY: u64 = 4096;

/// How many buffers there may be, and how long each is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolConfig {
    /// How many there are at first; the pool shrinks to this again.
    pub(crate) count_base: u16,
    /// How many there may be.
    pub(crate) count_max: u16,
    /// Bytes each.
    pub(crate) size: u32,
}

/// Where empty buffers go.
pub(crate) trait BufferRing {
    /// Gives the kernel a buffer to fill.
    fn supply(&self, id: u16, memory: NonNull<u8>, len: u32);
}

/// One buffer, without its memory.
pub(super) struct Buffer {
    /// Its number, and the blocks that it belongs to: written once, before there is a lease.
    id: u16,
    blocks: Cell<NonNull<Blocks>>,
    /// Owner: the block; none while the pool is small.
    memory: Cell<Option<NonNull<u8>>>,
    /// Owner: bytes that have been filled.
    filled: Cell<u32>,
    /// Owner: leases cut from it that have not come home.
    leases: Cell<u32>,
    /// Owner: more leases may be cut from it; it is not to be emptied.
    filling: Cell<bool>,
    /// Any thread: leases that have come home elsewhere, and are still in `leases`.
    back: AtomicU32,
}

/// The part of a pool that its leases keep alive.
pub(crate) struct Blocks {
    buffers: Box<[Buffer]>,
    size: u32,
    /// The leases out, and one reference of the pool itself.
    references: Biased,
    /// The core whose thread owns all this.
    home: Arc<dyn Home>,
    /// Any thread: some buffer's `back` is not zero.
    dirty: AtomicBool,
    /// Owner writes, any thread reads: a receive waits for a buffer.
    starving: AtomicBool,
    /// Owner: buffers that nobody fills any more, with all their leases home.
    drained: RefCell<Vec<u16>>,
}

/// Where the next bytes may go.
pub(crate) struct Room {
    pub(crate) memory: NonNull<u8>,
    pub(crate) len: usize,
}

/// The core's own handle of its buffers.
pub(crate) struct Pool {
    blocks: NonNull<Blocks>,
    config: PoolConfig,
    /// A rest of a buffer that is shorter than this is not filled.
    room_min: usize,
    ring: RefCell<Option<Box<dyn BufferRing>>>,
    /// The buffer that the core itself fills.
    current: Cell<Option<u16>>,
    /// Empty buffers with memory, where the core fills them itself. The latest is the hottest.
    empty: RefCell<Vec<u16>>,
    /// Numbers without memory.
    unused: RefCell<Vec<u16>>,
    /// How many empty buffers stay at hand; what comes home beyond that is freed.
    keep: Cell<usize>,
    /// How many buffers have been drained.
    drains: Cell<u64>,
    /// Buffers that the kernel has been given and has not answered for.
    supplied: Cell<usize>,
    /// Receives that found no buffer.
    waiting: RefCell<WaitQueue>,
    /// How often a receive found no buffer.
    pub(crate) shortages: Cell<u64>,
}

impl Blocks {
    fn layout(&self) -> Layout {
        Layout::from_size_align(self.size as usize, ALIGNMENT).expect("a buffer has a sane size")
    }

    /// So many leases of this buffer are out now. Owner.
    fn set_leases(&self, buffer: &Buffer, leases: u32) {
        buffer.leases.set(leases);
        if leases == 0 && !buffer.filling.get() {
            self.drained.borrow_mut().push(buffer.id);
        }
    }
}

impl Buffer {
    /// A lease has come home. Any thread.
    ///
    /// # Safety
    /// `buffer` must be alive, and that of a lease which is gone.
    pub(super) unsafe fn give_back(buffer: NonNull<Buffer>) {
        // SAFETY: the lease's reference keeps the blocks, and the buffer with them, alive until the
        // end of this function.
        let (blocks, buffer) = unsafe { (buffer.as_ref().blocks.get(), buffer.as_ref()) };
        // SAFETY: as above.
        let this = unsafe { blocks.as_ref() };
        let last = if home::is_here(&*this.home) {
            let leases = buffer.leases.get();
            debug_assert!(leases > 0, "a lease came home twice");
            this.set_leases(buffer, leases - 1);
            this.references.sub_local()
        } else {
            // AcqRel, as in `collect_foreign`: if that came too early to see this, then its `dirty`
            // came before the one below, and does not hide it.
            buffer.back.fetch_add(1, Ordering::AcqRel);
            // SeqCst pairs with `Pool::wait`: either its core sees `dirty`, or this sees `starving`.
            this.dirty.store(true, Ordering::SeqCst);
            if this.starving.load(Ordering::SeqCst) {
                this.home.notify();
            }
            this.references.sub_shared()
        };
        if last {
            // SAFETY: that was the last reference, and the pool has let go before.
            drop(unsafe { Box::from_raw(blocks.as_ptr()) });
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for buffer in &self.buffers {
            if let Some(memory) = buffer.memory.take() {
                // SAFETY: allocated with this layout, and no lease is left.
                unsafe { dealloc(memory.as_ptr(), self.layout()) };
            }
        }
    }
}

impl Pool {
    /// A pool whose buffers the core fills itself, until it is given a ring.
    pub(crate) fn new(config: PoolConfig, home: Arc<dyn Home>) -> Rc<Pool> {
        Pool::with_room(config, ROOM_MIN, home)
    }

    /// The same, where each receive must have room for `room_min` bytes, or for a whole buffer.
    pub(crate) fn with_room(config: PoolConfig, room_min: usize, home: Arc<dyn Home>) -> Rc<Pool> {
        assert!(config.count_base > 0 && config.count_base <= config.count_max && config.size > 0);
        let buffer = |id| Buffer {
            id,
            blocks: Cell::new(NonNull::dangling()),
            memory: Cell::new(None),
            filled: Cell::new(0),
            leases: Cell::new(0),
            filling: Cell::new(false),
            back: AtomicU32::new(0),
        };
        let blocks = Box::new(Blocks {
            buffers: (0..config.count_max).map(buffer).collect(),
            size: config.size,
            references: Biased::new(1),
            home,
            dirty: AtomicBool::new(false),
            starving: AtomicBool::new(false),
            drained: RefCell::new(Vec::new()),
        });
        let blocks = NonNull::from(Box::leak(blocks));
        // SAFETY: the pool's own reference keeps them alive.
        unsafe { blocks.as_ref() }.buffers.iter().for_each(|buffer| buffer.blocks.set(blocks));
        Rc::new(Pool {
            blocks,
            config,
            room_min: room_min.min(config.size as usize),
            ring: RefCell::new(None),
            current: Cell::new(None),
            empty: RefCell::new(Vec::new()),
            unused: RefCell::new((0..config.count_max).rev().collect()),
            keep: Cell::new(config.count_base.into()),
            drains: Cell::new(0),
            supplied: Cell::new(0),
            waiting: RefCell::default(),
            shortages: Cell::new(0),
        })
    }

    /// From now on the kernel fills the buffers, from this ring.
    pub(crate) fn attach(&self, ring: Box<dyn BufferRing>) {
        debug_assert_eq!(self.buffers(), 0, "a ring is attached before the first buffer");
        *self.ring.borrow_mut() = Some(ring);
        for _ in 0..self.config.count_base {
            self.add();
        }
    }

    /// Whether the kernel fills the buffers.
    pub(crate) fn has_ring(&self) -> bool {
        self.ring.borrow().is_some()
    }

    /// Nobody fills buffers any more: the driver has ended.
    pub(crate) fn detach(&self) {
        *self.ring.borrow_mut() = None;
    }

    fn blocks(&self) -> &Blocks {
        // SAFETY: the pool's own reference keeps the blocks alive until it is dropped.
        unsafe { self.blocks.as_ref() }
    }

    fn buffer(&self, id: u16) -> &Buffer {
        &self.blocks().buffers[id as usize]
    }

    /// How many buffers have memory.
    pub(crate) fn buffers(&self) -> usize {
        usize::from(self.config.count_max) - self.unused.borrow().len()
    }

    /// How many bytes a buffer takes, and so the longest piece.
    pub(crate) fn buffer_size(&self) -> u32 {
        self.config.size
    }

    /// How many leases are out.
    pub(crate) fn leases(&self) -> usize {
        usize::try_from(self.blocks().references.count() - 1).unwrap_or(0)
    }

    /// Adds a buffer, if the limit allows.
    fn add(&self) -> bool {
        let Some(id) = self.unused.borrow_mut().pop() else {
            return false;
        };
        let layout = self.blocks().layout();
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        self.buffer(id).memory.set(Some(memory));
        self.supply(id);
        true
    }

    /// An empty buffer goes to whoever fills them.
    fn supply(&self, id: u16) {
        let buffer = self.buffer(id);
        debug_assert!(buffer.leases.get() == 0 && !buffer.filling.get());
        buffer.filled.set(0);
        match &*self.ring.borrow() {
            Some(ring) => {
                let memory = buffer.memory.get().expect("a buffer in use has memory");
                buffer.filling.set(true);
                self.supplied.set(self.supplied.get() + 1);
                ring.supply(id, memory, self.config.size);
            }
            None => self.empty.borrow_mut().push(id),
        }
    }

    /// How many empty buffers there are, as far as the core knows.
    fn at_hand(&self) -> usize {
        self.supplied.get() + self.empty.borrow().len()
    }

    /// A receive found no buffer. If none has come home meanwhile, makes more: as many as there were
    /// at first. Says whether there are any now.
    pub(crate) fn grow(&self) -> bool {
        self.shortages.set(self.shortages.get() + 1);
        self.collect();
        if self.at_hand() > 0 {
            return true;
        }
        let grown = (0..self.config.count_base).take_while(|_| self.add()).count();
        if grown > 0 {
            // Whoever needed so many may need them again: they are not freed at once.
            self.keep.set(self.buffers());
            tracing::debug!(target: "ringpark", buffers = self.buffers(), "buffer pool grew");
        }
        grown > 0
    }

    /// Whether a receive that is started now may find a buffer.
    pub(crate) fn has_room(&self) -> bool {
        let at_hand = || self.at_hand() > 0 || self.current_room().is_some();
        if at_hand() {
            return true;
        }
        self.collect();
        at_hand() || self.grow()
    }

    /// Whether somebody waits for a buffer and one has come home on another thread: for a core that
    /// is about to sleep, and has said so to those threads.
    pub(crate) fn has_news(&self) -> bool {
        self.is_starving() && self.blocks().dirty.load(Ordering::SeqCst)
    }

    /// Takes in what has come home.
    pub(crate) fn collect(&self) {
        let blocks = self.blocks();
        // SeqCst pairs with `give_back`: see there.
        if blocks.dirty.load(Ordering::SeqCst) {
            self.collect_foreign();
        }
        while let Some(id) = blocks.drained.borrow_mut().pop() {
            if self.at_hand() >= self.keep.get() && !self.is_starving() {
                self.release(id);
            } else {
                self.supply(id);
            }
            self.forget_peak();
        }
    }

    /// What was needed once need not be kept for ever: half of it goes now and then.
    fn forget_peak(&self) {
        self.drains.set(self.drains.get() + 1);
        if self.drains.get() % PEAK_MEMORY == 0 {
            let base = usize::from(self.config.count_base);
            self.keep.set((self.keep.get() / 2).max(base));
        }
    }

    /// Takes in the leases that were dropped on other threads.
    fn collect_foreign(&self) {
        let blocks = self.blocks();
        blocks.dirty.store(false, Ordering::SeqCst);
        for buffer in &blocks.buffers {
            let back = buffer.back.swap(0, Ordering::AcqRel);
            if back > 0 {
                blocks.set_leases(buffer, buffer.leases.get() - back);
            }
        }
    }

    /// Frees the memory of an empty buffer.
    fn release(&self, id: u16) {
        let buffer = self.buffer(id);
        let memory = buffer.memory.take().expect("a buffer in use has memory");
        buffer.filled.set(0);
        // SAFETY: allocated with this layout; no lease is left, and the kernel is done with it.
        unsafe { dealloc(memory.as_ptr(), self.blocks().layout()) };
        self.unused.borrow_mut().push(id);
    }

    /// Cuts a lease from buffer `id`: the kernel has filled the next `len` bytes, and goes on with
    /// the same buffer if `more`.
    pub(crate) fn filled_by_kernel(&self, id: u16, len: u32, more: bool) -> Lease {
        let buffer = self.buffer(id);
        assert!(buffer.filling.get(), "the kernel filled a buffer that it was not given");
        if !more {
            buffer.filling.set(false);
            self.supplied.set(self.supplied.get() - 1);
        }
        let start = buffer.filled.get();
        let end = start + len;
        assert!(end <= self.config.size, "the kernel filled more than there was room");
        buffer.filled.set(end);
        // SAFETY: the kernel has filled these bytes, and gives them out once.
        unsafe { self.cut(buffer, start, len) }
    }

    /// # Safety
    /// The bytes must be filled, within the buffer, and in no other lease.
    unsafe fn cut(&self, buffer: &Buffer, start: u32, len: u32) -> Lease {
        let memory = buffer.memory.get().expect("a buffer in use has memory");
        buffer.leases.set(buffer.leases.get() + 1);
        self.blocks().references.add_local();
        // SAFETY: within the block, as the caller vouches.
        let bytes = unsafe { memory.add(start as usize) };
        // SAFETY: as the caller vouches; the counts have been raised for this lease.
        unsafe { Lease::new(bytes, len, NonNull::from(buffer)) }
    }

    fn current_room(&self) -> Option<Room> {
        let id = self.current.get()?;
        let buffer = self.buffer(id);
        if buffer.leases.get() == 0 {
            // All its leases are home: it begins anew, at the end that the cache knows.
            buffer.filled.set(0);
        }
        let start = buffer.filled.get() as usize;
        let len = self.config.size as usize - start;
        // SAFETY: `start` is within the block.
        let memory = unsafe { buffer.memory.get().expect("a buffer in use has memory").add(start) };
        (len >= self.room_min).then_some(Room { memory, len })
    }

    /// Room for the core itself to receive into; `None` at the limit.
    pub(crate) fn room(&self) -> Option<Room> {
        debug_assert!(self.ring.borrow().is_none(), "the kernel fills these buffers");
        if let Some(room) = self.current_room() {
            return Some(room);
        }
        if let Some(full) = self.current.take() {
            self.buffer(full).filling.set(false);
        }
        if !self.has_room() {
            return None;
        }
        let id = self.empty.borrow_mut().pop().expect("there is an empty buffer");
        self.buffer(id).filling.set(true);
        self.current.set(Some(id));
        self.current_room()
    }

    /// Cuts a lease of the first `len` bytes of `room()`.
    ///
    /// # Safety
    /// These bytes must have been filled.
    pub(crate) unsafe fn fill(&self, len: u32) -> Lease {
        let id = self.current.get().expect("there was room");
        let buffer = self.buffer(id);
        let start = buffer.filled.get();
        let end = (start + len).next_multiple_of(ALIGNMENT as u32).min(self.config.size);
        buffer.filled.set(end);
        // SAFETY: as the caller vouches; `filled` goes up, so no other lease has these bytes.
        let lease = unsafe { self.cut(buffer, start, len) };
        debug_assert!(start + len <= self.config.size);
        lease
    }

    /// Stands in the wait queue of those who need a buffer.
    pub(crate) fn wait(&self, position: &mut Option<Position>, waker: &Waker) {
        self.waiting.borrow_mut().stand(position, waker);
        // SeqCst pairs with `give_back`: what came home before this is seen by `has_news`, which the
        // core asks before it sleeps, and what comes home later notifies it.
        self.blocks().starving.store(true, Ordering::SeqCst);
    }

    /// Leaves the wait queue.
    pub(crate) fn leave(&self, position: &mut Option<Position>) {
        let Some(position) = position.take() else { return };
        let mut waiting = self.waiting.borrow_mut();
        let left = waiting.leave(position);
        if waiting.is_empty() {
            self.blocks().starving.store(false, Ordering::SeqCst);
        }
        drop(waiting);
        drop(left);
    }

    /// Whether somebody waits for a buffer.
    pub(crate) fn is_starving(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Whether there are no more buffers to be had, so that none should be kept for long.
    pub(crate) fn is_scarce(&self) -> bool {
        self.is_starving() || self.unused.borrow().is_empty()
    }

    /// Bytes that will be kept for some time: a copy of them, if buffers are scarce.
    pub(crate) fn to_keep(&self, lease: Lease) -> Lease {
        if self.is_scarce() {
            Lease::from_vec(lease.to_vec())
        } else {
            lease
        }
    }

    /// How many of those in the wait queue can be served now.
    fn served(&self) -> usize {
        self.at_hand().max(self.current_room().is_some().into())
    }

    /// Whether whoever has this position, or comes next, may try for a buffer now.
    pub(crate) fn admits(&self, position: Option<Position>) -> bool {
        self.waiting.borrow().before(position) < self.served()
    }

    /// Takes in what has come home, and wakes those in the wait queue whom it will serve. Before the core
    /// sleeps nothing may be taken in after this: `has_news` would not see it, and nobody be woken.
    pub(crate) fn serve_waiting(&self) {
        self.collect();
        if !self.is_starving() {
            return;
        }
        let wakers = self.waiting.borrow().first(self.served());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Gives the memory up without freeing it: the kernel may still write to it.
    pub(crate) fn leak(&self) {
        self.blocks().references.add_local();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let blocks = self.blocks();
        // The pool's own reference goes, and with it the owner's share of the count.
        // Both are done, whatever the first says: no short circuit.
        let last = blocks.references.sub_local() | blocks.references.merge();
        if last {
            // SAFETY: no lease is left, and the pool is going.
            drop(unsafe { Box::from_raw(self.blocks.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests;
