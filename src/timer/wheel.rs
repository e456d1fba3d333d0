//! The timing wheel: every timer of one core, armed and disarmed in constant time.
//!
//! Most timers of a network program never fire: they are deadlines of reads that succeed. So what
//! has to be cheap is arming and disarming, not firing, and a wheel makes both a list operation.
//! There are six levels of 64 slots. A slot of level 0 is one tick (1/4 ms) wide, a slot of each
//! further level is as wide as the whole level below it:
//!
//! ```text
//!   level    slot width   reach          a timer stands in the level of the highest group of
//!     0      1/4 ms       16 ms          six bits in which its tick differs from the position:
//!     1      16 ms        1.0 s
//!     2      1.0 s        66 s             tick      0b…0101_000011_110010
//!     3      66 s         70 min           position  0b…0101_000001_011111
//!     4      70 min       3.1 d                             ^^^^^^
//!     5      3.1 d        199 d                             level 1, slot 3
//! ```
//!
//! `position` is the last tick that has been fired. Two facts follow from that placement and carry
//! the whole file:
//! - a level holds only ticks of the slot that the level above it is in, so **the lowest occupied
//!   level has the nearest timer**, in its first occupied slot after the position;
//! - the position's own slot is empty in every level, because a slot is emptied (fired in level
//!   0, cascaded into lower levels above that) at the moment the position reaches its first tick.
//!
//! The top level is a ring: its slots are counted from the position's one, and a timer beyond its
//! reach waits in the farthest slot and is placed anew from there, as often as it takes.
//!
//! Timers that are far ahead share ticks: a tick is rounded up by at most 1/64 of the time that is
//! left, and 2 ms. So a thousand deadlines of one second wake their core some hundred times, and not
//! a thousand.
//!
//! Ticks fire in order, and the timers of one tick in the order in which they were armed (if they
//! were armed within the wheel's reach): lists are first in, first out, and cascading a slot keeps
//! its order.
//!
//! Entries live in one vector and are linked by index; freed ones form a list of their own. So
//! after the vector has grown to the largest number of timers, nothing allocates.

use std::task::Waker;
use std::time::{Duration, Instant};

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;

/// The list of timers that were overdue when they were armed.
const DUE: usize = LEVELS * SLOTS;
const LISTS: usize = DUE + 1;

/// A tick. Timers are late by up to one, and a deadline of 10 ms may be late by 1 ms in all.
const TICK_NS: u32 = 250_000;
const TICKS_PER_SECOND: u64 = 1_000_000_000 / TICK_NS as u64;

/// From these times on ahead, ticks are rounded up to a multiple of so many.
const SHARED: [(Duration, u64); 3] = [
    (Duration::from_millis(128), 8),
    (Duration::from_millis(64), 4),
    (Duration::from_millis(32), 2),
];

/// Ticks are cut off here (73 million years), far below any overflow of the sums in this file.
const TICK_MAX: u64 = 1 << 63;

/// No entry: the end of the free list, or an empty list.
const NONE: u32 = u32::MAX;

/// How many timers of a slot [`Wheel::next`] looks at to save a wake-up that would only cascade.
const LOOK_MAX: usize = 4;

/// Names one armed timer. A key whose timer has fired or was removed is stale, and harmless: its
/// generation no longer matches (unless the same entry has been used 2^32 times since).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

/// A hierarchical timing wheel; see the head of this file.
///
/// It never calls a waker and, but for growing, drops none: wakers are handed out, so that the
/// caller wakes and drops them after it has let go of the wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// The instant of tick 0.
    origin: Instant,
    /// The last tick that was fired: every timer of a wheel slot has a later one.
    position: u64,
    /// Per level, one bit for each slot that has timers.
    occupied: [u64; LEVELS],
    /// The first entry of each list: `level * SLOTS + slot`, and [`DUE`]. Lists are circular, so
    /// the last entry is the predecessor of the first.
    heads: [u32; LISTS],
    entries: Vec<Entry>,
    /// The first free entry; they are linked by `next`.
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Entry {
    /// When to fire. The tick as asked for, also when it is beyond the wheel's reach.
    tick: u64,
    /// `Some` exactly while the timer is pending.
    waker: Option<Waker>,
    prev: u32,
    next: u32,
    /// Counts up whenever the entry is freed.
    generation: u32,
    /// Which list the entry is in while it is pending.
    list: u16,
}

impl Wheel {
    /// An empty wheel that counts its ticks from `now`.
    pub(crate) fn new(now: Instant) -> Wheel {
        Wheel {
            origin: now,
            position: 0,
            occupied: [0; LEVELS],
            heads: [NONE; LISTS],
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Whom the pending timers will wake: the data of the wakers.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = *const ()> + '_ {
        self.entries.iter().filter_map(|entry| entry.waker.as_ref().map(Waker::data))
    }

    /// The number of pending timers.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Arms a timer: [`Wheel::expire`] hands out `waker` at or after `at`, which is `ahead` from now,
    /// or more.
    ///
    /// A timer that is overdue already fires at the next `expire`, whatever time that is given.
    pub(crate) fn insert(&mut self, at: Instant, ahead: Duration, waker: Waker) -> TimerKey {
        let shared = SHARED.iter().find(|(from, _)| ahead >= *from).map_or(1, |(_, ticks)| *ticks);
        let tick = self.tick_after(at).next_multiple_of(shared);
        let index = self.allocate(tick, waker);
        self.place(index);
        self.len += 1;
        TimerKey { index, generation: self.entries[index as usize].generation }
    }

    /// Replaces the waker of a pending timer unless the present one wakes the same task anyway.
    /// Returns the old one, to be dropped outside of any borrow. A stale key changes nothing.
    pub(crate) fn set_waker(&mut self, key: TimerKey, waker: &Waker) -> Option<Waker> {
        let present = self.pending(key)?.waker.as_mut()?;
        if present.will_wake(waker) {
            return None;
        }
        Some(std::mem::replace(present, waker.clone()))
    }

    /// Whether the timer is still armed: neither fired nor removed.
    pub(crate) fn is_pending(&self, key: TimerKey) -> bool {
        let entry = self.entries.get(key.index as usize);
        entry.is_some_and(|e| e.generation == key.generation && e.waker.is_some())
    }

    /// Disarms a timer. Returns its waker, to be dropped outside of any borrow (dropping one may
    /// drop a task, and that its timers); `None` if the key is stale.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.pending(key)?;
        self.unlink(key.index);
        Some(self.release(key.index))
    }

    /// When [`Wheel::expire`] must be called next; `None` without timers.
    ///
    /// Never late. Exact for timers of the current 16 ms and for lone timers; else it may be the
    /// earlier instant at which a slot has to be cascaded. It may lie in the past.
    pub(crate) fn next(&self) -> Option<Instant> {
        let tick = self.next_tick()?;
        // The tick is within the wheel's reach of the position, which was an `Instant` once. So if
        // the sum cannot be said, then no clock gets there either.
        let nanos = (tick % TICKS_PER_SECOND) as u32 * TICK_NS;
        self.origin.checked_add(Duration::new(tick / TICKS_PER_SECOND, nanos))
    }

    /// Moves the wheel to `now` and puts the wakers of all timers that are due into `fired`, in
    /// the order of their ticks. Their keys are stale from here on.
    pub(crate) fn expire(&mut self, now: Instant, fired: &mut Vec<Waker>) {
        self.fire(DUE, fired);
        let now_tick = self.tick_before(now);
        if now_tick <= self.position {
            return;
        }
        while let Some((level, slot, start)) = self.nearest_slot() {
            if start > now_tick {
                break;
            }
            assert!(start > self.position, "a slot of the past has timers");
            self.position = start;
            if level == 0 {
                self.fire(slot, fired);
            } else {
                self.cascade(level, slot);
                // Those whose tick is the first one of the slot.
                self.fire(DUE, fired);
            }
        }
        self.position = now_tick;
    }

    /// The nearest occupied slot: its level, its slot in the level, and its first tick.
    fn nearest_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let shift = level as u32 * SLOT_BITS;
        let current = self.position >> shift;
        let from_current = self.occupied[level].rotate_right((current & SLOT_MASK) as u32);
        // Zero cannot be: the position's own slot is empty in every level.
        let distance = u64::from(from_current.trailing_zeros());
        debug_assert!(distance > 0, "the position's own slot of level {level} has timers");
        let reached = current + distance;
        Some((level, (reached & SLOT_MASK) as usize, reached << shift))
    }

    fn next_tick(&self) -> Option<u64> {
        if self.heads[DUE] != NONE {
            return Some(self.position);
        }
        let (level, slot, start) = self.nearest_slot()?;
        if level == 0 {
            return Some(start);
        }
        // The nearest timer is in this slot. If the slot has few, look which it is: a core that
        // only waits for one distant timer then sleeps once, not once per level.
        let last = start + (1 << (level as u32 * SLOT_BITS)) - 1;
        let head = self.heads[level * SLOTS + slot];
        let (mut index, mut nearest) = (head, last);
        for _ in 0..LOOK_MAX {
            let entry = &self.entries[index as usize];
            nearest = nearest.min(entry.tick);
            index = entry.next;
            if index == head {
                return Some(nearest);
            }
        }
        Some(start)
    }

    /// Links an entry into the list that its tick belongs to, seen from the present position.
    fn place(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        if tick <= self.position {
            return self.push_back(DUE, index);
        }
        let highest = (tick ^ self.position).ilog2();
        let level = (highest / SLOT_BITS).min(LEVELS as u32 - 1);
        let shift = level * SLOT_BITS;
        let current = self.position >> shift;
        // Below the top level this distance is less than 64 anyway. In the top level, 63 slots
        // on is the last one that is not the position's own.
        let distance = ((tick >> shift) - current).min(SLOT_MASK);
        assert!(distance > 0, "a timer in the position's own slot of level {level}");
        let slot = ((current + distance) & SLOT_MASK) as usize;
        self.occupied[level as usize] |= 1 << slot;
        self.push_back(level as usize * SLOTS + slot, index);
    }

    /// Empties a slot whose first tick the position has reached, into the levels below it (or,
    /// for timers beyond the wheel's reach, into a slot farther on in the top level).
    fn cascade(&mut self, level: usize, slot: usize) {
        let head = self.take_list(level * SLOTS + slot);
        let mut index = head;
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.place(index);
            index = if next == head { NONE } else { next };
        }
    }

    /// Frees all entries of a list and puts their wakers into `fired`.
    fn fire(&mut self, list: usize, fired: &mut Vec<Waker>) {
        let head = self.take_list(list);
        let mut index = head;
        while index != NONE {
            let next = self.entries[index as usize].next;
            fired.push(self.release(index));
            index = if next == head { NONE } else { next };
        }
    }

    /// Takes a whole list out of its place. Its entries keep their links among each other.
    fn take_list(&mut self, list: usize) -> u32 {
        if list != DUE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
        std::mem::replace(&mut self.heads[list], NONE)
    }

    fn push_back(&mut self, list: usize, index: u32) {
        let head = self.heads[list];
        let (prev, next) = if head == NONE {
            self.heads[list] = index;
            (index, index)
        } else {
            let last = std::mem::replace(&mut self.entries[head as usize].prev, index);
            self.entries[last as usize].next = index;
            (last, head)
        };
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next, entry.list) = (prev, next, list as u16);
    }

    fn unlink(&mut self, index: u32) {
        let Entry { prev, next, list, .. } = self.entries[index as usize];
        let list = usize::from(list);
        if next == index {
            assert_eq!(self.heads[list], index, "a lone timer is not the head of its list");
            self.take_list(list);
            return;
        }
        self.entries[prev as usize].next = next;
        self.entries[next as usize].prev = prev;
        if self.heads[list] == index {
            self.heads[list] = next;
        }
    }

    fn pending(&mut self, key: TimerKey) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation && entry.waker.is_some()).then_some(entry)
    }

    fn allocate(&mut self, tick: u64, waker: Waker) -> u32 {
        if self.free != NONE {
            let index = self.free;
            let entry = &mut self.entries[index as usize];
            assert!(entry.waker.is_none(), "a pending timer in the free list");
            self.free = entry.next;
            (entry.tick, entry.waker) = (tick, Some(waker));
            return index;
        }
        let index = self.entries.len() as u32;
        assert!(self.entries.len() < NONE as usize, "four billion timers");
        let (prev, next, generation, list) = (index, index, 0, DUE as u16);
        self.entries.push(Entry { tick, waker: Some(waker), prev, next, generation, list });
        index
    }

    /// Frees an entry that is in no list any more.
    fn release(&mut self, index: u32) -> Waker {
        let entry = &mut self.entries[index as usize];
        let waker = entry.waker.take().expect("a timer in a list is pending");
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
        waker
    }

    /// The first tick that is not before `at`: what makes a timer never early.
    fn tick_after(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        ticks(since.as_secs(), since.subsec_nanos().div_ceil(TICK_NS))
    }

    /// The last tick that is not after `now`.
    fn tick_before(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        ticks(since.as_secs(), since.subsec_nanos() / TICK_NS)
    }
}

fn ticks(seconds: u64, ticks: u32) -> u64 {
    seconds.saturating_mul(TICKS_PER_SECOND).saturating_add(ticks.into()).min(TICK_MAX)
}

#[cfg(test)]
mod tests;
