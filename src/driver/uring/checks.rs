//! What a ring can do, found out by asking it: each question stands here once. A core's start-up asks
//! what it builds on (some microseconds each), [`probe`](crate::probe) asks all of it.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::register::{Probe, Restriction};
use io_uring::{cqueue, opcode, IoUring};

use crate::driver::capabilities::Codes;
use crate::op::{self, Code, Entry, Misfit, Question};
use crate::sys::uring::{enter, message, ENTER_GETEVENTS};

/// The most that one connection receives before others have their turn, in bytes.
const RECV_CAP: u32 = 64 << 10;

/// What names the message that a ring sends itself.
const MESSAGE: u64 = 1;

/// The opcodes that the kernel says it has; `None` where it cannot be asked (before 5.6).
pub(crate) fn opcodes(ring: &IoUring) -> Option<Vec<u8>> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).ok()?;
    Some((0..=u8::MAX).filter(|&opcode| probe.is_supported(opcode)).collect())
}

/// Those of our operations whose opcodes the kernel says it has: all, where it cannot be asked.
pub(super) fn known_operations(ring: &IoUring) -> Codes {
    let opcodes = opcodes(ring);
    let known = |code: &Code| match &opcodes {
        Some(opcodes) => opcodes.contains(&code.row().opcode),
        None => true,
    };
    let mut codes = Codes::default();
    Code::all().filter(known).for_each(|code| codes.insert(code));
    codes
}

/// What a ring says to the question whether it takes an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Takes,
    /// The kernel does not know it.
    Unknown,
    /// Restrictions of the ring or the task forbid it.
    Forbidden,
}

/// Asks whether the ring takes the operation: see [`Question`].
pub(crate) fn operation(ring: &mut IoUring, code: Code) -> io::Result<Verdict> {
    let misfit = Misfit {
        no_socket: ring.as_raw_fd(),
        address: Box::new([0; 16]),
        // SAFETY: all zeros is a header that names nothing.
        header: Box::new(unsafe { std::mem::zeroed() }),
    };
    let row = code.row();
    let entry = match row.question {
        Question::NoDescriptor => row.entry(-1),
        Question::Entry(make) => make(&misfit),
        Question::Never => return Ok(Verdict::Takes),
    };
    Ok(match ask(ring, entry)? {
        libc::EINVAL | libc::EOPNOTSUPP => Verdict::Unknown,
        libc::EACCES => Verdict::Forbidden,
        _ => Verdict::Takes,
    })
}

/// The most that a multishot receive takes at a time, where the kernel knows such a cap (6.17);
/// else 0.
pub(crate) fn recv_cap(ring: &mut IoUring) -> io::Result<u32> {
    let no_socket = ring.as_raw_fd();
    let answer = ask(ring, op::recv_multi(no_socket, RECV_CAP))?;
    Ok(if answer == libc::ENOTSOCK { RECV_CAP } else { 0 })
}

/// Whether the ring takes messages of threads that have no ring (6.13): it sends itself one. One that
/// can be sent and does not come would be lost for ever, and so it must come.
pub(super) fn takes_messages(ring: &mut IoUring) -> bool {
    if message(ring.as_raw_fd(), 0, MESSAGE).is_err() {
        return false;
    }
    while ring.completion().is_empty() {
        let patience = Some(Duration::from_millis(100));
        match enter(ring.as_raw_fd(), 0, 1, ENTER_GETEVENTS, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return false,
            _ => {}
        }
    }
    ring.completion().any(|entry| entry.user_data() == MESSAGE)
}

/// Asks a ring that forbids all but no-ops for this operation.
pub(crate) fn forbidden(code: Code) -> io::Result<Verdict> {
    let mut ring = IoUring::builder().setup_r_disabled().build(8)?;
    ring.submitter().register_restrictions(&mut [Restriction::sqe_op(opcode::Nop::CODE)])?;
    ring.submitter().register_enable_rings()?;
    operation(&mut ring, code)
}

/// The errno that the kernel answers to an entry that names no descriptor of its kind. What the entry points to
/// must be valid until this returns.
fn ask(ring: &mut IoUring, entry: Entry) -> io::Result<i32> {
    // SAFETY: without a descriptor that fits nothing is done, and the caller keeps what is read before that.
    unsafe { ring.submission().push(&entry.user_data(1).into()) }
        .map_err(|_| io::Error::other("the submission queue is full of nothing"))?;
    let answer = next_answer(ring, None)?;
    if cqueue::more(answer.flags()) {
        // A zero-copy send that fails may be followed by its notification, which is not to be taken
        // for the answer to the next question. Who announces one and forgets it had better not be
        // trusted with memory.
        match next_answer(ring, Some(Duration::from_millis(100))) {
            Ok(second) if cqueue::notif(second.flags()) => {}
            Ok(_) => return Ok(libc::EINVAL),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => return Ok(libc::EINVAL),
            Err(error) => return Err(error),
        }
    }
    Ok(-answer.result())
}

/// Submits what is queued, and waits for the next answer.
fn next_answer(ring: &mut IoUring, patience: Option<Duration>) -> io::Result<cqueue::Entry> {
    loop {
        if let Some(answer) = ring.completion().next() {
            return Ok(answer);
        }
        let pending = ring.submission().len() as u32;
        match enter(ring.as_raw_fd(), pending, 1, ENTER_GETEVENTS, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}
