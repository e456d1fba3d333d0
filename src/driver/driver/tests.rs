//! Where the driver lets an operation run.

use std::fs::File;
use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;

use crate::handle::Submission;
use crate::op::{Call, Code, Entry, Interest, KeepsOpen, Op, ReadAt, Waits};
use crate::runtime::Core;
use crate::{Backend, Builder};

struct Keep(File);

impl KeepsOpen for Keep {
    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A read that no ring has a form of, and that finds nothing in memory.
struct Unringed(ReadAt<Keep, Vec<u8>>);

// SAFETY: as for the read itself.
unsafe impl Op for Unringed {
    type Output = (io::Result<usize>, Vec<u8>);
    const CODE: Code = Code::Read;

    fn fd(&self) -> RawFd {
        self.0.fd()
    }

    fn interest(&self) -> Interest {
        self.0.interest()
    }

    fn waits(&self) -> Waits {
        self.0.waits()
    }

    fn sqe(&mut self) -> Option<Entry> {
        None
    }

    fn attempt(&mut self) -> io::Result<u32> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn call(&mut self) -> Call {
        self.0.call()
    }

    fn finish(self, result: io::Result<u32>) -> Self::Output {
        self.0.finish(result)
    }

    fn discard(self, _result: io::Result<u32>) {}
}

#[test]
fn what_no_ring_has_a_form_of_waits_for_the_disk_on_a_helper_thread() {
    for &backend in Backend::SUPPORTED {
        let reading = Builder::new().backend(backend).block_on(async {
            let file = Keep(File::open("/proc/self/exe").expect("a file"));
            let op = Unringed(ReadAt::new(file, Vec::with_capacity(4), 0, false));
            let mut reading = pin!(Submission::new(Core::current(), op));
            // A regular file is always ready: who waits for that, and starts over, never ends.
            let mut polls = 0;
            let (result, bytes) = poll_fn(|cx| {
                polls += 1;
                assert!(polls < 100, "it spins on {backend}");
                reading.as_mut().poll(cx)
            })
            .await;
            assert_eq!((result.expect("a read"), &bytes[..]), (4, &b"\x7fELF"[..]));
        });
        if let Err(error) = reading {
            assert_eq!(backend, Backend::Uring, "{error}");
            eprintln!("SKIPPED: {error}");
        }
    }
}
