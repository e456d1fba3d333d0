//! Files: at positions, whole, from a directory to a socket; inline, on the ring, on helper threads.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;

use ringpark::buf::AlignedBuf;
use ringpark::fs::{self, Advice, File, OpenOptions};
use ringpark::io::Descriptor;

use crate::harness::*;

/// The behaviours of this file.
pub const LIST: &[Behaviour] = behaviours![
    Every: "F1" => files_are_read_and_written_at_positions,
    Every: "F1" => many_reads_of_one_file_are_under_way_at_once,
    Every: "X1"|"X3" => dropped_file_operations_leave_nothing_behind,
    Every: "F2" => whole_files_are_read_and_written,
    Every: "F2" => reading_many_files_in_a_row_keeps_few_descriptors,
    Every: "F2" => files_without_a_length_are_read_to_their_end,
    Every: "F3" => options_decide_how_a_file_is_opened,
    Every: "F3" => files_past_the_page_cache,
    Every: "F1" => vectors_of_a_file_are_one_operation,
    Every: "F4" => lengths_and_permissions_of_a_file,
    Every: "F4" => names_in_a_directory,
    Every: "F1" => a_file_comes_from_a_descriptor_and_goes_back_to_std,
    Every: "F5" => advice_on_a_file_is_taken_whole_and_changes_no_byte,
    Every: "R5" => a_regular_file_can_be_any_descriptor,
    Every: "S7" => a_file_goes_to_a_socket,
    Every: "D12" => sending_a_file_under_an_expired_deadline_sends_nothing,
    Every: "S7" => a_file_that_the_kernel_does_not_send_is_copied,
    Every: "X5" => a_runtime_ends_with_file_operations_in_flight,
];

/// Reads and writes anywhere, compared with a copy in memory.
fn files_are_read_and_written_at_positions(variant: &Variant) {
    const SIZE: usize = 100_000;
    let rounds = variant.scale(1000).max(100);
    let place = Place::on_disk();
    variant.run(async {
        let mut copy = Pattern::small(1).bytes(0, SIZE);
        std::fs::write(place.path("file"), &copy).expect("there is room");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(place.path("file")).await;
        let file = file.expect("it is there");
        let mut rng = variant.rng();
        for _ in 0..rounds {
            let at = rng.usize(0..SIZE);
            let len = rng.usize(1..5000).min(SIZE - at);
            if rng.bool() {
                let bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
                copy[at..at + len].copy_from_slice(&bytes);
                let (result, back) = file.write_all_at(bytes, at as u64).await;
                result.expect("there is room");
                assert_eq!(back, copy[at..at + len]);
            } else {
                let (result, bytes) = file.read_exact_at(Vec::with_capacity(len), at as u64).await;
                result.expect("so many bytes are there");
                assert!(bytes[..len] == copy[at..at + len]);
            }
        }
        let (result, _) = file.read_at(Vec::with_capacity(8), SIZE as u64).await;
        assert_eq!(result.expect("that is the end"), 0);
        let (result, _) = file.read_exact_at(Vec::with_capacity(8), SIZE as u64 - 1).await;
        assert_kind(result, ErrorKind::UnexpectedEof);
        file.sync_data().await.expect("the disk works");
        file.sync_all().await.expect("the disk works");
        file.close().await.expect("the disk works");
        assert!(std::fs::read(place.path("file")).expect("it is there") == copy);
    });
}

/// A file is taken over with its descriptor, and given back with the same one, open, though an operation
/// whose future was dropped may still be under way.
fn a_file_comes_from_a_descriptor_and_goes_back_to_std(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        std::fs::write(place.path("file"), b"to and fro").expect("there is room");
        let std = std::fs::File::open(place.path("file")).expect("it is there");
        let number = std.as_raw_fd();
        let file = File::from(OwnedFd::from(std));
        assert_eq!(file.as_fd().as_raw_fd(), number);
        let (result, bytes) = file.read_exact_at(Vec::with_capacity(3), 3).await;
        result.expect("it is so long");
        assert_eq!(bytes, b"and");
        let _ = poll_once(pin!(file.read_at(Vec::with_capacity(10), 0))).await;
        let mut std = file.into_std().await;
        assert_eq!(std.as_raw_fd(), number);
        let mut text = String::new();
        std.read_to_string(&mut text).expect("it is open");
        assert_eq!(text, "to and fro", "its own position was not moved");
    });
}

/// 32 at a time, each its own bytes.
fn many_reads_of_one_file_are_under_way_at_once(variant: &Variant) {
    let rounds = variant.scale(2000).max(100);
    let place = Place::on_disk();
    variant.run(async {
        let bytes = Pattern::small(2).bytes(0, 1 << 20);
        std::fs::write(place.path("file"), &bytes).expect("there is room");
        let file = Rc::new(File::open(place.path("file")).await.expect("it is there"));
        let bytes = Rc::new(bytes);
        let readers: Vec<_> = (0..32)
            .map(|reader| {
                let (file, bytes) = (file.clone(), bytes.clone());
                let mut rng = fastrand::Rng::with_seed(variant.seed() ^ reader);
                ringpark::spawn(async move {
                    for _ in 0..rounds / 32 + 1 {
                        let at = rng.usize(0..bytes.len() - 4096);
                        let read = file.read_exact_at(Vec::with_capacity(4096), at as u64);
                        let (result, got) = read.await;
                        result.expect("so many bytes are there");
                        assert!(got[..4096] == bytes[at..at + 4096]);
                    }
                })
            })
            .collect();
        for reader in readers {
            promptly("a reader", reader).await.expect("its own bytes");
        }
    });
}

/// Whatever is dropped when, buffers and descriptors go at the right time.
fn dropped_file_operations_leave_nothing_behind(variant: &Variant) {
    let rounds = variant.scale(1000).max(50);
    let place = Place::on_disk();
    variant.run(async {
        std::fs::write(place.path("file"), vec![7; 100_000]).expect("there is room");
        let mut rng = variant.rng();
        for _ in 0..rounds {
            let mut options = OpenOptions::new();
            let mut open = Box::pin(options.read(true).write(true).open(place.path("file")));
            if poll_once(open.as_mut()).await.is_pending() && rng.u32(0..4) == 0 {
                continue;
            }
            drop(open);
            let file = options.open(place.path("file")).await.expect("it is there");
            for _ in 0..4 {
                let at = rng.u64(0..50_000);
                if rng.bool() {
                    let mut read = pin!(file.read_at(Vec::with_capacity(4096), at));
                    drop(poll_once(read.as_mut()).await);
                } else {
                    let mut write = pin!(file.write_at(vec![7; 4096], at));
                    drop(poll_once(write.as_mut()).await);
                }
            }
            if rng.bool() {
                file.close().await.expect("the disk works");
            }
        }
        variant::drained().await;
        let bytes = std::fs::read(place.path("file")).expect("it is there");
        assert!(bytes.len() == 100_000 && bytes.iter().all(|&byte| byte == 7));
    });
}

/// The free functions, with files of many sizes.
fn whole_files_are_read_and_written(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        for size in [0, 1, 4095, 4096, 4097, 300_000] {
            let bytes = Pattern::small(size).bytes(0, size as usize);
            fs::write(place.path("file"), bytes.clone()).await.expect("there is room");
            assert!(fs::read(place.path("file")).await.expect("it is there") == bytes);
        }
        fs::write(place.path("text"), "words").await.expect("there is room");
        assert_eq!(fs::read_to_string(place.path("text")).await.expect("it is text"), "words");
        fs::write(place.path("text"), vec![0xff]).await.expect("there is room");
        assert_kind(fs::read_to_string(place.path("text")).await, ErrorKind::InvalidData);
        assert_kind(fs::read(place.path("nothing")).await, ErrorKind::NotFound);
        assert_kind(fs::read(place.folder()).await, ErrorKind::IsADirectory);
        assert_kind(fs::read("with\0zero").await, ErrorKind::InvalidInput);
    });
}

/// Tasks that never have to wait, since all is in memory, do not pile up descriptors to be closed.
fn reading_many_files_in_a_row_keeps_few_descriptors(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        std::fs::write(place.path("file"), "x").expect("there is room");
        let path = Rc::new(place.path("file"));
        let readers: Vec<_> = (0..64)
            .map(|_| {
                let path = path.clone();
                ringpark::spawn(async move {
                    let mut most = 0;
                    for _ in 0..30 {
                        assert_eq!(fs::read(&*path).await.expect("it is there"), b"x");
                        most = most.max(sys::descriptors().len());
                    }
                    most
                })
            })
            .collect();
        for reader in readers {
            let most = promptly("a reader", reader).await.expect("it is there");
            assert!(most < 150, "{most} descriptors are open");
        }
    });
}

/// Those in /proc say that they are empty.
fn files_without_a_length_are_read_to_their_end(variant: &Variant) {
    variant.run(async {
        let limits = fs::read_to_string("/proc/self/limits").await.expect("it is there");
        assert_eq!(limits, std::fs::read_to_string("/proc/self/limits").expect("it is there"));
        assert!(fs::read("/dev/null").await.expect("it is there").is_empty());
    });
}

/// Options as those of std, and one clear error for nonsense.
fn options_decide_how_a_file_is_opened(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let path = place.path("file");
        assert_kind(File::open(&path).await, ErrorKind::NotFound);
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o600);
        new.open(&path).await.expect("it is not there").close().await.expect("the disk works");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_kind(new.open(&path).await, ErrorKind::AlreadyExists);
        let append = OpenOptions::new().append(true).open(&path).await.expect("it is there");
        for word in ["one", "two"] {
            append.write_all_at(word, 0).await.0.expect("there is room");
        }
        assert_eq!(std::fs::read(&path).expect("it is there"), b"onetwo");
        let (result, _) = append.read_at(Vec::with_capacity(8), 0).await;
        assert!(result.is_err(), "it is not open for reading");
        drop(File::create(&path).await.expect("it is there"));
        assert_eq!(std::fs::read(&path).expect("it is there"), b"");
        let mut flags = OpenOptions::new();
        flags.write(true).custom_flags(libc::O_DSYNC | libc::O_RDWR);
        let file = flags.open(&path).await.expect("it is there");
        // SAFETY: F_GETFL takes no pointer.
        let set = file.with_fd(|fd| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) });
        assert_eq!(set & (libc::O_DSYNC | libc::O_ACCMODE), libc::O_DSYNC | libc::O_WRONLY);
        flags.custom_flags(libc::O_NOFOLLOW);
        std::os::unix::fs::symlink(&path, place.path("link")).expect("there is room");
        let error = flags.open(place.path("link")).await.expect_err("it is a link");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        for options in [
            &mut OpenOptions::new(),
            OpenOptions::new().read(true).create(true),
            OpenOptions::new().append(true).truncate(true),
        ] {
            assert_kind(options.open(&path).await, ErrorKind::InvalidInput);
        }
    });
}

/// O_DIRECT with aligned buffers; what is not aligned is an error and no crash.
fn files_past_the_page_cache(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let bytes = Pattern::small(6).bytes(0, 64 << 10);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).direct(true);
        let file = match options.open(place.path("file")).await {
            // A file system without it.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return,
            file => file.expect("there is room"),
        };
        let mut buffer = AlignedBuf::new(64 << 10);
        buffer.copy_from(&bytes);
        file.write_all_at(buffer, 0).await.0.expect("it is aligned");
        for at in [0, 4096, 60 << 10] {
            let read = file.read_exact_at(AlignedBuf::new(4096), at as u64);
            let (result, buffer) = promptly("a read", read).await;
            result.expect("it is aligned");
            assert_eq!(buffer[..], bytes[at..at + 4096]);
        }
        let (result, buffer) = file.read_at(AlignedBuf::new(4096), 1).await;
        assert_kind(result, ErrorKind::InvalidInput);
        assert_eq!((buffer.len(), buffer.capacity()), (0, 4096));
    });
}

/// Vectored: over the bounds of buffers.
fn vectors_of_a_file_are_one_operation(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let path = place.path("file");
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await;
        let file = file.expect("there is room");
        let (result, buffers) = file.write_vectored_at(vec!["one ", "", "two ", "three"], 2).await;
        assert_eq!((result.expect("there is room"), buffers.len()), (13, 4));
        let buffers = vec![Vec::with_capacity(6), Vec::new(), Vec::with_capacity(100)];
        let (result, buffers) = file.read_vectored_at(buffers, 0).await;
        assert_eq!(result.expect("they are there"), 15);
        assert_eq!(buffers, [&b"\0\0one "[..], b"", b"two three"]);
        let (result, _) = file.read_vectored_at(vec![Vec::with_capacity(6)], 100).await;
        assert_eq!(result.expect("that is the end"), 0);
    });
}

/// Length, room, permissions, and what is known.
fn lengths_and_permissions_of_a_file(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let file = File::create(place.path("file")).await.expect("there is room");
        file.write_all_at("0123456789", 0).await.0.expect("there is room");
        file.set_len(4).await.expect("the disk works");
        assert_eq!(file.metadata().expect("it is open").len(), 4);
        match file.allocate(0, 10_000).await {
            Ok(()) => assert_eq!(file.metadata().expect("it is open").len(), 10_000),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP)),
        }
        assert!(file.allocate(0, 0).await.is_err());
        let only_mine = std::fs::Permissions::from_mode(0o400);
        file.set_permissions(only_mine).await.expect("it is ours");
        let known = fs::metadata(place.path("file")).await.expect("it is there");
        assert!(known.is_file() && known.permissions().mode() & 0o777 == 0o400);
        let std_file = std::fs::File::open(place.path("file")).expect("it is there");
        let (result, bytes) = File::from_std(std_file).read_at(Vec::with_capacity(4), 0).await;
        assert_eq!((result.expect("bytes"), &bytes[..]), (4, &b"0123"[..]));
    });
}

/// Each kind on any range, also one that is longer than an entry of a ring can say. Where the kernel
/// lets go of what is not needed, it does so as far as it was told.
fn advice_on_a_file_is_taken_whole_and_changes_no_byte(variant: &Variant) {
    const SIZE: usize = 1 << 20;
    let place = Place::on_disk();
    variant.run(async {
        let bytes = Pattern::small(3).bytes(0, SIZE);
        std::fs::write(place.path("file"), &bytes).expect("there is room");
        let file = File::open(place.path("file")).await.expect("it is there");
        file.sync_all().await.expect("the disk works");
        // SAFETY: the call takes no pointer.
        let forget = |fd: BorrowedFd<'_>| unsafe {
            libc::posix_fadvise(fd.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED)
        };
        assert_eq!(file.with_fd(forget), 0);
        // Files in memory alone never leave it.
        let forgets = !is_in_memory(&file, SIZE);
        for len in [0, (1 << 32) + 4096, i64::MAX as u64] {
            assert!(std::fs::read(place.path("file")).expect("it is there") == bytes);
            let advise = file.advise(0, len, Advice::DontNeed);
            promptly("advice", advise).await.expect("it is a file");
            assert!(!forgets || !is_in_memory(&file, SIZE), "{len}: it was cut");
        }
        for advice in [
            Advice::Normal,
            Advice::Sequential,
            Advice::Random,
            Advice::WillNeed,
            Advice::DontNeed,
            Advice::NoReuse,
        ] {
            for (at, len) in [(0, 0), (4095, 2), (SIZE as u64, 1), (1 << 40, 1 << 40)] {
                file.advise(at, len, advice).await.expect("it is a file");
            }
            file.advise(i64::MAX as u64, 0, advice).await.expect("the last position of all");
            for (at, len) in [(1 << 63, 0), (0, 1 << 63), (i64::MAX as u64, 1), (u64::MAX, 1)] {
                assert_kind(file.advise(at, len, advice).await, ErrorKind::InvalidInput);
            }
            let (reader, _writer) = pipe();
            let error = File::from(reader).advise(0, 0, advice).await;
            assert_eq!(error.expect_err("a pipe").raw_os_error(), Some(libc::ESPIPE));
            drop(poll_once(pin!(file.advise(0, 0, advice))).await);
        }
        let (result, got) = file.read_exact_at(Vec::with_capacity(SIZE), 0).await;
        result.expect("so many bytes are there");
        assert!(got == bytes);
        promptly("the close", file.close()).await.expect("the disk works");
    });
}

/// Whether the last of so many bytes of a file is in memory.
fn is_in_memory(file: &File, size: usize) -> bool {
    let fd = file.as_raw_fd();
    let (null, mut pages) = (std::ptr::null_mut(), vec![0u8; size / 4096]);
    // SAFETY: the kernel chooses where it is mapped, nobody reads it, and the pages are at least as many.
    unsafe {
        let map = libc::mmap(null, size, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
        assert_ne!(map, libc::MAP_FAILED);
        assert_eq!(libc::mincore(map, size, pages.as_mut_ptr()), 0);
        assert_eq!(libc::munmap(map, size), 0);
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        pages[size / page - 1] & 1 == 1
    }
}

/// Directories, links, renames, copies, and the ends of all of them.
fn names_in_a_directory(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let path = |name: &str| place.path(name);
        fs::create_dir(path("one")).await.expect("it is new");
        assert_kind(fs::create_dir(path("one")).await, ErrorKind::AlreadyExists);
        fs::create_dir_all(path("a/b/c")).await.expect("they are new");
        let mut expected = Vec::new();
        for number in 0..300 {
            let name = format!("{number}");
            std::fs::write(path("one").join(&name), "x").expect("there is room");
            expected.push(name);
        }
        let mut folder = fs::read_dir(path("one")).await.expect("it is there");
        let mut names = Vec::new();
        while let Some(entry) = folder.next_entry().await.expect("the disk works") {
            if names.is_empty() {
                assert!(entry.file_type().await.expect("it is there").is_file());
                assert_eq!(entry.metadata().await.expect("it is there").len(), 1);
                assert!(entry.path().starts_with(path("one")));
            }
            names.push(entry.file_name().into_string().expect("digits"));
        }
        assert!(folder.next_entry().await.expect("that is the end").is_none());
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
        assert_kind(fs::read_dir(path("nothing")).await, ErrorKind::NotFound);

        fs::write(path("file"), "bytes").await.expect("there is room");
        assert_eq!(fs::copy(path("file"), path("copy")).await.expect("there is room"), 5);
        fs::rename(path("copy"), path("moved")).await.expect("it is there");
        assert!(!fs::try_exists(path("copy")).await.expect("the disk works"));
        fs::hard_link(path("moved"), path("second")).await.expect("it is there");
        fs::symlink("file", path("link")).await.expect("it is new");
        assert_eq!(fs::read_link(path("link")).await.expect("it is one"), PathBuf::from("file"));
        let real = fs::canonicalize(path("link")).await.expect("it leads there");
        assert_eq!(real, std::fs::canonicalize(path("file")).expect("it is there"));
        let link = fs::symlink_metadata(path("link")).await.expect("it is there");
        assert!(link.file_type().is_symlink());
        fs::remove_file(path("file")).await.expect("it is there");
        assert_kind(fs::metadata(path("link")).await, ErrorKind::NotFound);
        assert_eq!(fs::read(path("second")).await.expect("it is there"), b"bytes");
        let mode = std::fs::Permissions::from_mode(0o600);
        fs::set_permissions(path("second"), mode).await.expect("it is ours");
        fs::remove_dir(path("a/b/c")).await.expect("it is empty");
        assert!(fs::remove_dir(path("one")).await.is_err(), "it is not empty");
        fs::remove_dir_all(path("one")).await.expect("it is ours");
        assert!(!fs::try_exists(path("one")).await.expect("the disk works"));
    });
}

/// A regular file as a descriptor, at its own position, and any other that cannot be polled.
fn a_regular_file_can_be_any_descriptor(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        let file = std::fs::File::create(place.path("file")).expect("there is room");
        let descriptor = Descriptor::new(file.into()).expect("any can join");
        let bytes = Pattern::small(9).bytes(0, 200_000);
        descriptor.write_all(bytes.clone()).await.0.expect("there is room");
        let (result, _) = descriptor.write("end").await;
        assert!(result.expect("there is room") > 0);
        descriptor.close().await.expect("the first close");
        let file = std::fs::File::open(place.path("file")).expect("it is there");
        let descriptor = Descriptor::new(file.into()).expect("any can join");
        let (result, head) = descriptor.read_exact(Vec::with_capacity(1000)).await;
        result.expect("so many are there");
        let (result, all) = descriptor.read_to_end(head).await;
        result.expect("a clean end");
        assert!(all.starts_with(&bytes) && all.len() > bytes.len());
        let (result, _) = descriptor.read(Vec::with_capacity(8)).await;
        assert_eq!(result.expect("that is the end"), 0);
    });
}

/// Whole, in part, more than there is, and to one who reads slowly.
fn a_file_goes_to_a_socket(variant: &Variant) {
    let size = variant.scale(8 << 20).max(700_000);
    let place = Place::on_disk();
    variant.run(async {
        let bytes = Pattern::small(8).bytes(0, size as usize);
        std::fs::write(place.path("file"), &bytes).expect("there is room");
        let file = File::open(place.path("file")).await.expect("it is there");
        let (ours, plain) = half();
        let reading = ringpark::spawn(plain_to_end(plain));
        assert_eq!(file.sendfile(&ours, 0, size).await.expect("it reads"), size);
        ours.write_all("|").await.0.expect("it reads");
        assert_eq!(file.sendfile(&ours, size - 10, 100).await.expect("it reads"), 10);
        assert_eq!(file.sendfile(&ours, size + 5, 100).await.expect("it reads"), 0);
        assert_eq!(file.sendfile(&ours, 0, 0).await.expect("it reads"), 0);
        ours.shutdown(Shutdown::Write).await.expect("it is connected");
        let all = promptly("the reader", reading).await.expect("no panic");
        assert_eq!(all.len() as u64, size + 11);
        assert!(all[..size as usize] == bytes && all[size as usize] == b'|');
        assert!(all[size as usize + 1..] == bytes[size as usize - 10..]);
    });
}

/// One that sendfile(2) does not take (those of /proc without pages) is read and written.
fn a_file_that_the_kernel_does_not_send_is_copied(variant: &Variant) {
    variant.run(async {
        let bytes = std::fs::read("/proc/self/environ").expect("it can be read");
        assert!(bytes.len() > 10, "there are variables");
        let file = File::open("/proc/self/environ").await.expect("it is there");
        let (ours, plain) = half();
        let reading = ringpark::spawn(plain_to_end(plain));
        let sent = file.sendfile(&ours, 3, 1 << 20).await.expect("it reads");
        ours.shutdown(Shutdown::Write).await.expect("it is connected");
        let all = promptly("the reader", reading).await.expect("no panic");
        assert_eq!(sent as usize, all.len());
        assert!(all == bytes[3..]);
    });
}

/// Nothing goes, and the error is TimedOut; one that expires on the way says how much went.
fn sending_a_file_under_an_expired_deadline_sends_nothing(variant: &Variant) {
    let place = Place::on_disk();
    variant.run(async {
        std::fs::write(place.path("file"), vec![7; 32 << 20]).expect("there is room");
        let file = File::open(place.path("file")).await.expect("it is there");
        let (ours, mut plain) = half();
        ours.set_write_deadline(Some(past()));
        assert_timed_out(file.sendfile(&ours, 0, 100).await);
        ours.set_write_deadline(Some(std::time::Instant::now() + ms(30)));
        let error = file.sendfile(&ours, 0, 32 << 20).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let went = ringpark::io::written(&error).expect("the buffers take some");
        ours.close().await.expect("the first close");
        let mut all = Vec::new();
        plain.read_to_end(&mut all).expect("a clean end");
        assert_eq!(all.len(), went);
    });
}

/// The runtime is dropped with reads and writes under way.
fn a_runtime_ends_with_file_operations_in_flight(variant: &Variant) {
    let place = Place::on_disk();
    std::fs::write(place.path("file"), vec![7; 1 << 20]).expect("there is room");
    let path = place.path("file");
    let ended = variant.builder().block_on(async move {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(path).await.expect("it is there");
        let file = Rc::new(file);
        for number in 0..200_u64 {
            let file = file.clone();
            ringpark::spawn(async move {
                let at = number * 4096;
                match number % 2 {
                    0 => drop(file.read_at(vec![0; 4096], at).await),
                    _ => drop(file.write_at(vec![7; 4096], at).await),
                }
            });
        }
        ringpark::yield_now().await;
    });
    ended.expect("a runtime");
    let bytes = std::fs::read(place.path("file")).expect("it is there");
    assert!(bytes.len() == 1 << 20 && bytes.iter().all(|&byte| byte == 7));
}
