//! What may be done in a signal handler, and nothing else: it notes which signal came, and writes a
//! byte to whoever waits for that.
//!
//! # Who may close the descriptor
//! A handler may run on any thread at any moment. It raises `HANDLERS`, reads `WRITER`, writes, and
//! lowers `HANDLERS`. Whoever wants to close the descriptor takes it out of `WRITER` first and then
//! waits until no handler runs. All four are sequentially consistent, so a handler either is waited
//! for, or finds nothing in `WRITER`.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::SeqCst};

#[cfg(any(target_os = "netbsd", target_os = "openbsd", target_os = "android"))]
use libc::__errno as errno_location;
#[cfg(any(target_os = "linux", target_os = "dragonfly"))]
use libc::__errno_location as errno_location;
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use libc::__error as errno_location;

/// One more than the greatest signal of any system.
pub(crate) const SIGNALS: usize = 128;

static PENDING: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];
static HANDLERS: AtomicU32 = AtomicU32::new(0);
static WRITER: AtomicI32 = AtomicI32::new(-1);
/// The handlers that were there before, which are called too.
static FORMER: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];
static FORMER_TAKES_INFO: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

thread_local! {
    /// A bit for each signal that this thread is in the handler for. A handler that was installed
    /// over this one and calls it in turn may be what this one calls: that ends here, and what was
    /// below is not reached. (Made without code and dropped without any, so that a handler may look.)
    static WITHIN: Cell<u128> = const { Cell::new(0) };
}

/// What was to be done with a signal before it was caught.
pub(crate) struct Former {
    action: UnsafeCell<libc::sigaction>,
    /// What `note` called until then, where it is below a handler of somebody else.
    called: (usize, bool),
}

// SAFETY: plain numbers, only read after they have been written.
unsafe impl Send for Former {}

extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let (within, this) = (WITHIN.get(), 1 << signal);
    if within & this != 0 {
        return;
    }
    WITHIN.set(within | this);
    HANDLERS.fetch_add(1, SeqCst);
    // The code that was interrupted may be about to look at its errno.
    // SAFETY: the address is this thread's errno.
    let errno = unsafe { *errno_location() };
    let index = signal as usize;
    PENDING[index].store(true, SeqCst);
    let writer = WRITER.load(SeqCst);
    if writer >= 0 {
        // A pipe that is full has woken its reader already.
        let _ = super::write(writer, &[1]);
    }
    let former = FORMER[index].load(SeqCst);
    if former != libc::SIG_DFL && former != libc::SIG_IGN {
        // SAFETY: the kernel gave this address out as a handler of the kind that its flags told,
        // and passes these arguments to one.
        unsafe {
            if FORMER_TAKES_INFO[index].load(SeqCst) {
                let call: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(former);
                call(signal, info, context);
            } else {
                let call: extern "C" fn(libc::c_int) = std::mem::transmute(former);
                call(signal);
            }
        }
    }
    // SAFETY: as above.
    unsafe { *errno_location() = errno };
    HANDLERS.fetch_sub(1, SeqCst);
    WITHIN.set(within);
}

/// What is to be done with a signal now.
fn current(signal: libc::c_int) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer asks only what is there, and the other is to a local.
    super::cvt(unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) })?;
    // SAFETY: zeroed is a valid value, and the kernel has filled it.
    Ok(unsafe { action.assume_init() })
}

/// The address of `note`, as the kernel has it.
fn address() -> usize {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = note;
    handler as usize
}

/// From now on the signal is noted, and what it did before is kept: see [`release`].
pub(crate) fn catch(signal: libc::c_int) -> io::Result<Former> {
    let former = current(signal)?;
    let takes_info = former.sa_flags & libc::SA_SIGINFO != 0;
    let called = set_former(signal, (former.sa_sigaction, takes_info));
    // What came while nobody waited, by a handler that still calls this one.
    PENDING[signal as usize].store(false, SeqCst);
    // SAFETY: zeroed is a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = address();
    // Calls of others are not to fail because of it.
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
    // SAFETY: the handler does only what a handler may: atomics and a write.
    super::cvt(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) })?;
    Ok(Former { action: UnsafeCell::new(former), called })
}

/// The signal does again what it did before it was caught, unless somebody else has caught it since:
/// that stays.
pub(crate) fn release(signal: libc::c_int, former: Former) -> io::Result<()> {
    if current(signal)?.sa_sigaction != address() {
        return Ok(());
    }
    let action = former.action.into_inner();
    // SAFETY: the action is one that the kernel has given out.
    super::cvt(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) })?;
    set_former(signal, former.called);
    Ok(())
}

/// From now on `note` calls this handler, and what it called before is given back.
fn set_former(signal: libc::c_int, (handler, takes_info): (usize, bool)) -> (usize, bool) {
    let before = FORMER_TAKES_INFO[signal as usize].swap(takes_info, SeqCst);
    (FORMER[signal as usize].swap(handler, SeqCst), before)
}

/// Whether the signal has come since this was asked last.
pub(crate) fn take_pending(signal: usize) -> bool {
    PENDING[signal].swap(false, SeqCst)
}

/// Handlers write a byte to this descriptor, which must stay open until `disconnect`.
pub(crate) fn connect(writer: RawFd) {
    WRITER.store(writer, SeqCst);
}

/// When this returns, no handler uses the descriptor any more.
pub(crate) fn disconnect() {
    WRITER.store(-1, SeqCst);
    while HANDLERS.load(SeqCst) > 0 {
        std::thread::yield_now();
    }
}
