//! Tests of the pool: what it hands out, what comes home from where, and that no two leases and no
//! lease and no receive ever share a byte.

use super::*;
use crate::block_on;
use crate::runtime::Core;
use bytes::Buf;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread;

/// A pool of the running core, which fills its buffers itself.
fn pool(count_base: u16, count_max: u16, size: u32) -> Rc<Pool> {
    let home = Core::current().shared.clone();
    Pool::new(PoolConfig { count_base, count_max, size }, home)
}

/// Receives `bytes`, if there is room for them.
fn receive(pool: &Pool, bytes: &[u8]) -> Option<Lease> {
    let room = pool.room()?;
    assert!(bytes.len() <= room.len);
    // SAFETY: there is so much room, which nobody else uses, and then it is filled.
    unsafe {
        room.memory.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Some(pool.fill(bytes.len() as u32))
    }
}

fn elsewhere<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(run).join().expect("the other thread panicked")
}

#[test]
fn leases_lie_one_behind_the_other_in_one_buffer() {
    block_on(async {
        let pool = pool(1, 4, 4096);
        let (a, b) = (receive(&pool, b"first").unwrap(), receive(&pool, b"second").unwrap());
        assert_eq!((&a[..], &b[..]), (&b"first"[..], &b"second"[..]));
        assert_eq!(b.as_ptr() as usize - a.as_ptr() as usize, ALIGNMENT);
        assert_eq!((pool.buffers(), pool.leases()), (1, 2));
    });
}

#[test]
fn a_buffer_begins_anew_when_its_leases_are_home() {
    block_on(async {
        let pool = pool(1, 4, 4096);
        let first = receive(&pool, b"first").unwrap();
        let address = first.as_ptr();
        drop(first);
        assert_eq!(receive(&pool, b"second").unwrap().as_ptr(), address);
        assert_eq!((pool.buffers(), pool.shortages.get()), (1, 1), "only the first one was short");
    });
}

#[test]
fn the_pool_grows_up_to_its_limit_and_shrinks_again() {
    block_on(async {
        let pool = pool(1, 4, 2048);
        let leases: Vec<Lease> = (0..4).map(|n| receive(&pool, &[n; 2048]).unwrap()).collect();
        assert_eq!((pool.buffers(), pool.leases()), (4, 4));
        assert!(pool.room().is_none() && !pool.has_room());
        for (n, lease) in leases.iter().enumerate() {
            assert_eq!(lease[..], [n as u8; 2048]);
        }
        drop(leases);
        pool.collect();
        assert_eq!((pool.buffers(), pool.leases()), (4, 0), "they may be needed again soon");
        // One is out at a time, so that one comes home each time.
        let mut held = receive(&pool, &[0; 2048]).unwrap();
        for _ in 0..4 * super::PEAK_MEMORY {
            held = receive(&pool, &[0; 2048]).unwrap();
            pool.collect();
        }
        drop(held);
        assert!(pool.buffers() < 4, "{} are kept after a long calm", pool.buffers());
        assert!(pool.has_room());
    });
}

#[test]
fn at_the_limit_a_lease_that_comes_home_makes_room() {
    block_on(async {
        let pool = pool(1, 2, 1024);
        let (a, b) = (receive(&pool, &[1; 1024]).unwrap(), receive(&pool, &[2; 1024]).unwrap());
        assert!(receive(&pool, b"no").is_none());
        drop(a);
        assert_eq!(receive(&pool, b"yes").unwrap()[..], *b"yes");
        assert_eq!(b[..], [2; 1024]);
    });
}

#[test]
fn a_lease_dropped_on_another_thread_comes_home() {
    block_on(async {
        let pool = pool(1, 1, 1024);
        let lease = receive(&pool, &[1; 1024]).unwrap();
        assert!(!pool.has_room());
        elsewhere(move || drop(lease));
        assert_eq!(pool.leases(), 0);
        assert!(pool.has_room(), "looking for room takes in what has come home");
        assert!(receive(&pool, b"next").is_some());
    });
}

#[test]
fn leases_of_one_buffer_may_come_home_by_different_ways() {
    block_on(async {
        let pool = pool(1, 1, 4096);
        let [a, b, c] = [1, 2, 3].map(|n| receive(&pool, &[n; 64]).unwrap());
        let rest = receive(&pool, &[4; 4096 - 3 * 64]).unwrap();
        assert!(pool.room().is_none());
        drop(a);
        elsewhere(move || drop((b, rest)));
        assert!(!pool.has_room(), "a lease is out still");
        assert_eq!((pool.leases(), &c[..]), (1, &[3; 64][..]));
        drop(c);
        assert!(receive(&pool, b"next").is_some());
    });
}

#[test]
fn a_lease_may_outlive_its_pool_and_its_core() {
    let (kept, sent) = block_on(async {
        let pool = pool(1, 1, 4096);
        (receive(&pool, b"kept").unwrap(), receive(&pool, b"sent").unwrap())
    });
    assert_eq!(elsewhere(move || sent.to_vec()), b"sent");
    assert_eq!(kept[..], *b"kept");
}

#[test]
fn a_lease_can_be_cut_and_changed_and_turned_into_bytes() {
    block_on(async {
        let pool = pool(1, 1, 4096);
        let mut lease = receive(&pool, b"0123456789").unwrap();
        lease.advance(2);
        lease.truncate(5);
        lease[0] = b'_';
        assert_eq!(lease[..], *b"_3456");
        let address = lease.as_ptr();
        let bytes = lease.into_bytes();
        assert_eq!((bytes.as_ptr(), &bytes[..]), (address, &b"_3456"[..]));
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(pool.leases(), 1, "a part keeps the lease");
        assert_eq!(part[..], *b"34");
        drop(part);
        assert_eq!(pool.leases(), 0);

        let mut short = receive(&pool, b"ab").unwrap();
        short.truncate(100);
        assert_eq!(short[..], *b"ab");
        short.advance(2);
        assert!(short.is_empty());
    });
}

#[test]
#[should_panic(expected = "3 bytes of a lease of 2")]
fn a_lease_has_no_more_to_give_up_than_its_bytes() {
    block_on(async {
        let pool = pool(1, 1, 4096);
        receive(&pool, b"ab").unwrap().advance(3);
    });
}

#[test]
fn a_lease_is_read_as_any_buffer_is() {
    block_on(async {
        let pool = pool(1, 1, 4096);
        let mut lease = receive(&pool, b"\x01\x02head and body").unwrap();
        assert_eq!((lease.get_u16(), lease.remaining()), (0x0102, 13));
        let address = lease.as_ptr();
        let head = lease.copy_to_bytes(4);
        assert_eq!((&head[..], lease.chunk()), (&b"head"[..], &b" and body"[..]));
        let body = lease.copy_to_bytes(9);
        assert_eq!(body.as_ptr(), address.wrapping_add(4), "the last part is not copied");
        assert_eq!((&body[..], lease.remaining(), pool.leases()), (&b" and body"[..], 0, 1));
    });
}

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn those_who_wait_are_served_in_order() {
    block_on(async {
        let pool = pool(1, 1, 1024);
        let lease = receive(&pool, &[1; 1024]).unwrap();
        let counts = [Arc::<Count>::default(), Arc::default(), Arc::default()];
        let mut positions = [None; 3];
        for (position, count) in positions.iter_mut().zip(&counts) {
            pool.wait(position, &count.clone().into());
        }
        let woken = || counts.each_ref().map(|count| count.0.load(Ordering::Relaxed));
        pool.serve_waiting();
        assert_eq!(woken(), [0, 0, 0], "there is nothing to serve");
        assert!(pool.is_starving() && pool.is_scarce());

        drop(lease);
        pool.serve_waiting();
        assert_eq!(woken(), [1, 0, 0]);
        assert!(pool.admits(positions[0]) && !pool.admits(positions[1]));
        assert!(!pool.admits(None), "whoever comes now stands behind those who wait");

        pool.leave(&mut positions[1]);
        pool.leave(&mut positions[0]);
        pool.serve_waiting();
        assert_eq!(woken(), [1, 0, 1]);
        assert!(pool.admits(positions[2]));
        pool.leave(&mut positions[2]);
        assert!(!pool.is_starving() && pool.admits(None));
    });
}

#[test]
fn a_lease_from_another_thread_is_news_for_those_who_wait_only() {
    block_on(async {
        let pool = pool(1, 1, 4096);
        let leases = [receive(&pool, b"a").unwrap(), receive(&pool, b"b").unwrap()];
        let [first, second] = leases;
        elsewhere(move || drop(first));
        assert!(!pool.has_news(), "nobody waits");
        pool.collect();
        let mut position = None;
        pool.wait(&mut position, Waker::noop());
        assert!(!pool.has_news());
        elsewhere(move || drop(second));
        assert!(pool.has_news());
        pool.collect();
        assert!(!pool.has_news());
        pool.leave(&mut position);
    });
}

/// Buffers in a ring: their numbers, where they begin, how long they are.
type Buffers = VecDeque<(u16, NonNull<u8>, u32)>;

/// A ring that notes what the kernel would have been given.
#[derive(Clone, Default)]
struct Supplied(Rc<RefCell<Buffers>>);

impl BufferRing for Supplied {
    fn supply(&self, id: u16, memory: NonNull<u8>, len: u32) {
        self.0.borrow_mut().push_back((id, memory, len));
    }
}

impl Supplied {
    /// What the kernel does: it fills the next part of the first buffer in the ring.
    fn fill(&self, pool: &Pool, offset: usize, bytes: &[u8], more: bool) -> Lease {
        let (id, memory, len) = self.0.borrow()[0];
        assert!(offset + bytes.len() <= len as usize);
        // SAFETY: the pool has supplied this memory, and so much of it is left.
        unsafe {
            let position = memory.as_ptr().add(offset);
            position.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        if !more {
            self.0.borrow_mut().pop_front();
        }
        pool.filled_by_kernel(id, bytes.len() as u32, more)
    }
}

#[test]
fn the_kernel_fills_buffers_part_by_part_and_gets_them_back() {
    block_on(async {
        let pool = pool(2, 4, 1024);
        let ring = Supplied::default();
        pool.attach(Box::new(ring.clone()));
        assert_eq!((ring.0.borrow().len(), pool.buffers()), (2, 2));

        let a = ring.fill(&pool, 0, b"one", true);
        let b = ring.fill(&pool, 3, b"two", false);
        assert_eq!((&a[..], &b[..]), (&b"one"[..], &b"two"[..]));
        drop(a);
        pool.collect();
        assert_eq!(ring.0.borrow().len(), 1, "a lease is out still");
        drop(b);
        pool.collect();
        assert_eq!(ring.0.borrow().len(), 2);
    });
}

#[test]
fn what_the_kernel_is_still_filling_is_not_supplied_twice() {
    block_on(async {
        let pool = pool(1, 1, 1024);
        let ring = Supplied::default();
        pool.attach(Box::new(ring.clone()));
        drop(ring.fill(&pool, 0, b"one", true));
        pool.collect();
        assert_eq!(ring.0.borrow().len(), 1);
        drop(ring.fill(&pool, 3, b"two", false));
        pool.collect();
        assert_eq!(ring.0.borrow().len(), 1);
    });
}

#[test]
fn a_ring_that_ran_dry_is_given_more() {
    block_on(async {
        let pool = pool(2, 8, 1024);
        let ring = Supplied::default();
        pool.attach(Box::new(ring.clone()));
        let taken: Vec<Lease> = (0..2).map(|_| ring.fill(&pool, 0, b"x", false)).collect();
        assert!(pool.grow());
        assert_eq!((pool.buffers(), ring.0.borrow().len()), (4, 2));
        let more: Vec<Lease> = (0..2).map(|_| ring.fill(&pool, 0, b"y", false)).collect();
        assert!(pool.grow());
        assert_eq!((pool.buffers(), ring.0.borrow().len()), (6, 2));
        assert!(pool.grow(), "there is something at hand");
        assert_eq!(pool.buffers(), 6, "which suffices");
        drop((taken, more));
        pool.collect();
        assert_eq!((pool.buffers(), ring.0.borrow().len()), (6, 6), "all are supplied again");
    });
}

#[test]
#[should_panic(expected = "the kernel filled a buffer that it was not given")]
fn an_answer_for_a_buffer_that_the_kernel_does_not_have_is_an_error() {
    block_on(async {
        let pool = pool(1, 2, 1024);
        let ring = Supplied::default();
        pool.attach(Box::new(ring.clone()));
        let (id, ..) = ring.0.borrow()[0];
        drop(ring.fill(&pool, 0, b"x", false));
        drop(pool.filled_by_kernel(id, 1, false));
    });
}

#[test]
#[should_panic(expected = "the kernel filled more than there was room")]
fn an_answer_for_more_than_there_was_room_is_an_error() {
    block_on(async {
        let pool = pool(1, 1, 1024);
        let ring = Supplied::default();
        pool.attach(Box::new(ring.clone()));
        drop(pool.filled_by_kernel(ring.0.borrow()[0].0, 1025, false));
    });
}

#[derive(Clone, Debug)]
enum Step {
    Receive(usize),
    Drop(usize),
    DropElsewhere(usize),
    Collect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (1..=1500_usize).prop_map(Step::Receive),
        4 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::DropElsewhere),
        1 => Just(Step::Collect),
    ];
    prop::collection::vec(step, 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is received and dropped in whatever order: every lease keeps its bytes, and the
    /// pool keeps count.
    #[test]
    fn no_two_leases_share_a_byte(steps in steps()) {
        block_on(async {
            let pool = pool(1, 5, 2048);
            let mut leases: Vec<(u8, Lease)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Receive(len) => {
                        let mark = number as u8;
                        let len = pool.room().map_or(0, |room| room.len.min(len));
                        let lease = receive(&pool, &vec![mark; len]);
                        prop_assert!(lease.is_some() || leases.len() >= 5);
                        leases.extend(lease.map(|lease| (mark, lease)));
                    }
                    Step::Drop(any) if !leases.is_empty() => {
                        drop(leases.swap_remove(any % leases.len()));
                    }
                    Step::DropElsewhere(any) if !leases.is_empty() => {
                        let lease = leases.swap_remove(any % leases.len());
                        elsewhere(move || drop(lease));
                    }
                    Step::Drop(_) | Step::DropElsewhere(_) => {}
                    Step::Collect => pool.collect(),
                }
                for (mark, lease) in &leases {
                    prop_assert!(lease.iter().all(|byte| byte == mark));
                }
                prop_assert_eq!(pool.leases(), leases.len());
                prop_assert!(pool.buffers() <= 5);
            }
            leases.clear();
            prop_assert!(pool.has_room());
            Ok(())
        })?;
    }
}
