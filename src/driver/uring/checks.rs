//! What a ring can do, found out by asking it: each question stands here once. A core's start-up asks
//! what it builds on (some microseconds each), [`probe`](crate::probe) asks all of it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::register::{Probe, Restriction};
use io_uring::{cqueue, opcode, squeue, types, IoUring};

use crate::driver::capabilities::Codes;
use crate::op::{self, Code};
use crate::probe::Outcome;
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

/// Asks for an operation on no descriptor: what is there complains of the descriptor (EBADF), what
/// is forbidden answers EACCES. The multishot forms are asked for on the ring itself, which is no
/// socket (ENOTSOCK): kernels before 6.0 look for the descriptor before they look at the form, and
/// only then say that they do not know it (EINVAL).
pub(crate) fn operation(ring: &mut IoUring, code: Code) -> io::Result<Outcome> {
    // What entries may point to that are read before the descriptor is looked at.
    let address = [0u64; 16];
    // SAFETY: all zeros is a header that names nothing.
    let header: libc::msghdr = unsafe { std::mem::zeroed() };
    let no_socket = ring.as_raw_fd();
    let Some(entry) = trial(code, no_socket, &address, &header) else { return Ok(Outcome::Works) };
    Ok(match ask(ring, entry)? {
        libc::EINVAL | libc::EOPNOTSUPP => Outcome::Absent,
        libc::EACCES => Outcome::refused(libc::EACCES, "restrictions of the ring or the task"),
        _ => Outcome::Works,
    })
}

/// The most that a multishot receive takes at a time, where the kernel knows such a cap (6.17);
/// else 0.
pub(crate) fn recv_cap(ring: &mut IoUring) -> io::Result<u32> {
    let no_socket = ring.as_raw_fd();
    let answer = ask(ring, op::recv_multi_sqe(no_socket, 0, RECV_CAP))?;
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
pub(crate) fn forbidden(code: Code) -> io::Result<Outcome> {
    let mut ring = IoUring::builder().setup_r_disabled().build(8)?;
    ring.submitter().register_restrictions(&mut [Restriction::sqe_op(opcode::Nop::CODE)])?;
    ring.submitter().register_enable_rings()?;
    operation(&mut ring, code)
}

/// The errno that the kernel answers to an entry that names no descriptor of its kind. What the entry points to
/// must be valid until this returns.
fn ask(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<i32> {
    // SAFETY: without a descriptor that fits nothing is done, and the caller keeps what is read before that.
    unsafe { ring.submission().push(&entry.user_data(1)) }
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

/// An entry for `code` that fails for want of a descriptor that fits.
fn trial(
    code: Code,
    no_socket: RawFd,
    address: &[u64; 16],
    header: &libc::msghdr,
) -> Option<squeue::Entry> {
    let (no_fd, null) = (types::Fd(-1), std::ptr::null_mut::<u8>());
    Some(match code {
        Code::Accept => {
            opcode::Accept::new(no_fd, std::ptr::null_mut(), std::ptr::null_mut()).build()
        }
        Code::AcceptMulti => op::accept_multi_sqe(no_socket),
        // It needs no descriptor: there is just nothing to cancel.
        Code::Cancel => opcode::AsyncCancel::new(0).build(),
        Code::Close => op::close_sqe(-1),
        Code::Poll => op::poll_sqe(-1, op::Interest::Readable),
        Code::Read => opcode::Read::new(no_fd, null, 0).build(),
        // No such place in a table that is not there: EFAULT, unless the descriptor is looked at first.
        Code::ReadFixed => opcode::ReadFixed::new(no_fd, null, 0, 0).build(),
        Code::WriteFixed => opcode::WriteFixed::new(no_fd, null, 0, 0).build(),
        Code::ReadVectored => opcode::Readv::new(no_fd, std::ptr::null(), 0).build(),
        Code::WriteVectored => opcode::Writev::new(no_fd, std::ptr::null(), 0).build(),
        Code::Recv => opcode::Recv::new(no_fd, null, 0).build(),
        Code::RecvMulti => op::recv_multi_sqe(no_socket, 0, 0),
        Code::RecvMsgMulti => op::recvmsg_multi_sqe(no_socket, 0),
        Code::Send => opcode::Send::new(no_fd, null, 0).build(),
        // No process has this number: ECHILD.
        Code::WaitId => {
            let options = libc::WEXITED | libc::WNOHANG;
            opcode::WaitId::new(libc::P_PID, libc::id_t::MAX >> 1, options).build()
        }
        Code::Write => opcode::Write::new(no_fd, null, 0).build(),
        // An impossible family: EAFNOSUPPORT, unless the operation is refused.
        Code::Socket => opcode::Socket::new(-1, libc::SOCK_STREAM, 0).build(),
        Code::Connect => {
            let length = size_of_val(address) as libc::socklen_t;
            opcode::Connect::new(no_fd, address.as_ptr().cast(), length).build()
        }
        Code::SendMsg => opcode::SendMsg::new(no_fd, header).build(),
        Code::SendZc => opcode::SendZc::new(no_fd, null, 0).build(),
        // Read only: without a descriptor it is not written to.
        Code::RecvMsg => opcode::RecvMsg::new(no_fd, std::ptr::from_ref(header).cast_mut()).build(),
        // They are never asked of the ring.
        Code::Shutdown | Code::Splice => return None,
    })
}
