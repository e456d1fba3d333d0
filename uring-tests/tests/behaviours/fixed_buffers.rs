//! Buffers that the ring knows: for files, given back whatever happens, and plain where the kernel
//! refuses them.

use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;

use ringpark::buf::{FixedPool, IoBuf};
use ringpark::fs::{File, OpenOptions};
use ringpark::{Backend, Builder};

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "B6" => fixed_buffers_are_read_into_and_written_from,
    Every: "B6" => a_fixed_pool_lends_each_buffer_once,
    Every: "X1" => dropped_operations_give_their_fixed_buffers_back,
    Every: "B7" => fixed_buffers_outlive_their_pool_and_their_runtime,
    Every: "X5" => a_runtime_ends_with_fixed_buffers_in_flight,
    PlainUring: "B7" => places_of_registered_memory_are_used_again,
    PlainUring: "Y4" => fixed_buffers_are_plain_where_their_operations_are_forbidden,
    OwnUser: "Y2" => fixed_buffers_are_plain_where_memory_cannot_be_locked,
];

async fn open(place: &Place, direct: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).direct(direct).open(place.path("file")).await
}

/// Whole buffers and parts of them, with and without the page cache, and what is no file at all.
fn fixed_buffers_are_read_into_and_written_from(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let pool = FixedPool::new(4, 8192).expect("a sane size");
        assert_eq!(pool.is_registered(), variant.backend() == Backend::Uring, "{}", log::text());
        let bytes = Pattern::small(3).bytes(0, 8192);
        for direct in [false, true] {
            let file = match open(&place, direct).await {
                // A file system without direct I/O.
                Err(error) if direct && error.kind() == ErrorKind::InvalidInput => continue,
                file => file.expect("there is room"),
            };
            let mut buffer = pool.take().expect("nobody has any");
            assert_eq!((buffer.len(), buffer.capacity()), (0, 8192));
            buffer.copy_from(&bytes);
            let (result, buffer) = file.write_all_at(buffer, 4096).await;
            result.expect("there is room");
            let (result, buffer) = file.write_at(buffer.slice(..4096), 0).await;
            assert_eq!(result.expect("there is room"), 4096);
            drop(buffer);
            let read = file.read_exact_at(pool.take().expect("nobody has any"), 4096);
            let (result, buffer) = promptly("a read", read).await;
            result.expect("so many are there");
            assert!(buffer[..] == bytes);
            // A part: what stands before it is kept.
            let (result, part) = file.read_at(buffer.slice(4096..), 0).await;
            assert_eq!(result.expect("so many are there"), 4096);
            assert!(part.into_inner()[..] == [&bytes[..4096], &bytes[..4096]].concat());
            let (result, buffer) =
                file.read_at(pool.take().expect("nobody has any"), 1 << 20).await;
            assert_eq!((result.expect("that is the end"), buffer.len()), (0, 0));
        }
        // Anything else takes them as well.
        let (ours, mut plain) = half();
        let mut buffer = pool.take().expect("nobody has any");
        buffer.copy_from(b"hello");
        buffer[0] = b'j';
        ours.write_all(buffer).await.0.expect("it reads");
        let mut got = [0; 5];
        std::io::Read::read_exact(&mut plain, &mut got).expect("it came");
        assert_eq!(&got, b"jello");
        assert_eq!(pool.available(), 4);
    });
}

/// Not more than there are; what is impossible is said in one sentence.
fn a_fixed_pool_lends_each_buffer_once(variant: &Variant) {
    variant.run(async {
        let pool = FixedPool::new(3, 100).expect("a sane size");
        let mut all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((all.len(), pool.available()), (3, 0));
        for (number, buffer) in all.iter_mut().enumerate() {
            assert_eq!(buffer.as_ptr() as usize % 4096, 0, "aligned for direct I/O");
            buffer.copy_from(&[number as u8; 100]);
        }
        assert!(all.iter().zip(0..).all(|(buffer, number)| buffer[..] == [number; 100]));
        drop(all.pop());
        assert!(pool.take().is_some_and(|buffer| buffer.is_empty()));
        for (count, size) in [(0, 1), (1, 0), (2, 1 << 30), (usize::MAX, 4096), (1, usize::MAX)] {
            assert_kind(FixedPool::new(count, size), ErrorKind::InvalidInput);
        }
    });
}

/// A read that is dropped while the kernel works keeps its buffer until it is answered.
fn dropped_operations_give_their_fixed_buffers_back(variant: &Variant) {
    let rounds = variant.scale(300).max(30);
    let place = Place::on_disk();
    std::fs::write(place.path("file"), Pattern::small(1).bytes(0, 1 << 20)).expect("there is room");
    variant.run(async {
        let file = open(&place, true).await;
        let file = match file {
            Err(error) if error.kind() == ErrorKind::InvalidInput => open(&place, false).await,
            file => file,
        };
        let file = file.expect("it is there");
        let pool = FixedPool::new(8, 4096).expect("a sane size");
        let mut rng = variant.rng();
        for _ in 0..rounds {
            let at = rng.u64(0..256) * 4096;
            match pool.take() {
                Some(buffer) => drop(poll_once(pin!(file.read_at(buffer, at))).await),
                None => ringpark::yield_now().await,
            }
        }
        until("all are back", || pool.available() == 8).await;
        let (result, buffer) = file.read_at(pool.take().expect("nobody has any"), 0).await;
        assert_eq!(result.expect("so many are there"), 4096);
        assert!(buffer[..] == Pattern::small(1).bytes(0, 4096));
    });
}

/// The pool goes first, then the runtime; the bytes stay, and another runtime takes the buffer.
fn fixed_buffers_outlive_their_pool_and_their_runtime(variant: &Variant) {
    let place = Place::on_disk();
    let buffer = variant.run(async {
        let pool = FixedPool::new(2, 4096).expect("a sane size");
        let mut buffer = pool.take().expect("nobody has any");
        drop(pool);
        let file = open(&place, false).await.expect("there is room");
        buffer.copy_from(b"still here");
        let (result, buffer) = file.write_all_at(buffer, 0).await;
        result.expect("there is room");
        buffer
    });
    assert_eq!(&buffer[..], b"still here");
    variant.run(async {
        let file = open(&place, false).await.expect("it is there");
        let (result, mut buffer) = file.read_at(buffer, 6).await;
        assert_eq!((result.expect("it is there"), &buffer[..]), (4, &b"here"[..]));
        // Of this runtime's, at the same place of another table.
        let pool = FixedPool::new(2, 4096).expect("a sane size");
        buffer.copy_from(b"S");
        let (result, _) = file.write_at(buffer, 0).await;
        assert_eq!(result.expect("there is room"), 1);
        let (result, buffer) = file.read_at(pool.take().expect("nobody has any"), 0).await;
        assert_eq!((result.expect("it is there"), &buffer[..]), (10, &b"Still here"[..]));
    });
}

/// Nothing of registered memory is freed under the kernel.
fn a_runtime_ends_with_fixed_buffers_in_flight(variant: &Variant) {
    let place = Place::on_disk();
    std::fs::write(place.path("file"), vec![7; 1 << 20]).expect("there is room");
    let ended = variant.builder().block_on(async {
        let file = Rc::new(open(&place, false).await.expect("it is there"));
        let pool = FixedPool::new(64, 4096).expect("a sane size");
        for number in 0..64 {
            let (file, mut buffer) = (file.clone(), pool.take().expect("nobody has it"));
            buffer.copy_from(&[7; 4096]);
            ringpark::spawn(async move {
                match number % 2 {
                    0 => drop(file.read_at(buffer, number * 4096).await),
                    _ => drop(file.write_at(buffer, number * 4096).await),
                }
            });
        }
        ringpark::yield_now().await;
    });
    ended.expect("a runtime");
    let bytes = std::fs::read(place.path("file")).expect("it is there");
    assert!(bytes.len() == 1 << 20 && bytes.iter().all(|&byte| byte == 7));
}

/// The table has room for 64 pieces; the next is plain, until one of them goes.
fn places_of_registered_memory_are_used_again(variant: &Variant) {
    variant.run(async {
        let pool = || FixedPool::new(1, 1).expect("a sane size");
        for _ in 0..3 {
            let mut all: Vec<_> = (0..64).map(|_| pool()).collect();
            assert!(all.iter().all(FixedPool::is_registered));
            assert!(!pool().is_registered());
            assert!(!log::lines_with("all 64 places").is_empty(), "{}", log::text());
            let buffer = all.remove(17).take();
            assert!(!pool().is_registered(), "a buffer of it is in use");
            drop(buffer);
            assert!(pool().is_registered());
        }
    });
}

/// A ring that refuses the operations: the same calls with the plain ones.
fn fixed_buffers_are_plain_where_their_operations_are_forbidden(variant: &Variant) {
    for operation in ["read-fixed", "write-fixed"] {
        let place = Place::on_disk();
        variant.run_on(variant.builder().forbid(&[operation]), async {
            let pool = FixedPool::new(1, 4096).expect("a sane size");
            assert!(!pool.is_registered());
            let line = log::lines_with("not registered").pop().expect("the reason is logged");
            assert!(line.contains(operation), "{line}");
            plain(&pool, &place).await;
        });
    }
}

async fn plain(pool: &FixedPool, place: &Place) {
    let file = open(place, false).await.expect("there is room");
    let mut buffer = pool.take().expect("nobody has it");
    buffer.copy_from(b"all the same");
    let (result, buffer) = file.write_all_at(buffer, 0).await;
    result.expect("there is room");
    let (result, buffer) = file.read_at(buffer, 4).await;
    assert_eq!((result.expect("it is there"), &buffer[..]), (8, &b"the same"[..]));
}

/// The limit is enough for a ring and not for the buffers: the line names the limit and the need.
fn fixed_buffers_are_plain_where_memory_cannot_be_locked(_: &Variant) {
    sys::set_locked_memory_limit(512 << 10);
    sys::become_nobody();
    let place = Place::new();
    let ended = Builder::new().backend(Backend::Uring).block_on(async {
        let few = FixedPool::new(1, 4096).expect("a sane size");
        assert!(few.is_registered(), "{}", log::text());
        let many = FixedPool::new(1024, 4096).expect("a sane size");
        assert!(!many.is_registered());
        let line = log::lines_with("not registered").pop().expect("the reason is logged");
        assert!(line.contains("RLIMIT_MEMLOCK") && line.contains("524288"), "{line}");
        assert!(line.contains("4194304"), "{line}");
        plain(&many, &place).await;
        plain(&few, &place).await;
    });
    ended.expect("there is room for a ring");
}
