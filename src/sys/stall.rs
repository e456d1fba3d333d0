//! Interrupting a thread to see what it is at.
//!
//! One sample is taken at a time. The one who asks says so in `STATE` and sends the signal; the
//! handler, in the thread that is asked, fills the rest in and says that it is done. Whoever asks and
//! gets no answer in time takes the question back, so that a handler that comes late leaves all as
//! it is.

use std::cell::UnsafeCell;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FRAMES_MAX: usize = 64;
const NAME_MAX: usize = 64;
/// How long the thread has to answer.
const PATIENCE: Duration = Duration::from_millis(200);

const IDLE: u8 = 0;
const ASKED: u8 = 1;
const ANSWERING: u8 = 2;
const DONE: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(IDLE);
/// What tells which task runs on the calling thread, or 0.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static ANSWER: Answer = Answer(UnsafeCell::new(Filled {
    location: None,
    name: [0; NAME_MAX],
    name_len: 0,
    frames: [0; FRAMES_MAX],
    count: 0,
}));

struct Filled {
    location: Option<&'static Location<'static>>,
    name: [u8; NAME_MAX],
    name_len: usize,
    frames: [usize; FRAMES_MAX],
    count: usize,
}

struct Answer(UnsafeCell<Filled>);

// SAFETY: touched by the handler from ASKED to DONE, and by whoever asked after DONE.
unsafe impl Sync for Answer {}

/// Gives the task that runs on the calling thread to `tell`, if one does. It must do no more than
/// what a signal handler may.
pub(crate) type Running = fn(tell: &mut dyn FnMut(&'static Location<'static>, Option<&str>));

/// A thread that can be asked.
#[derive(Clone, Copy)]
pub(crate) struct ThreadId(libc::pthread_t);

// SAFETY: it names a thread, and `sample` says when it may be used.
unsafe impl Send for ThreadId {}

impl ThreadId {
    pub(crate) fn of_this_thread() -> ThreadId {
        // SAFETY: the call has no arguments.
        ThreadId(unsafe { libc::pthread_self() })
    }
}

/// What a thread was at.
pub(crate) struct Sample {
    /// Where its task was spawned.
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) name: Option<String>,
    /// The functions that are running, the innermost first.
    pub(crate) frames: Vec<String>,
}

extern "C" fn answer(_signal: libc::c_int) {
    if STATE.compare_exchange(ASKED, ANSWERING, SeqCst, SeqCst).is_err() {
        return;
    }
    // SAFETY: in this state the answer is this handler's alone.
    let filled = unsafe { &mut *ANSWER.0.get() };
    (filled.location, filled.name_len, filled.count) = (None, 0, 0);
    let running = RUNNING.load(SeqCst);
    if running != 0 {
        // SAFETY: `install` has put a function of this type there.
        let running: Running = unsafe { std::mem::transmute(running) };
        running(&mut |location, name| {
            filled.location = Some(location);
            let bytes = name.unwrap_or_default().as_bytes();
            filled.name_len = bytes.len().min(NAME_MAX);
            filled.name[..filled.name_len].copy_from_slice(&bytes[..filled.name_len]);
        });
    }
    #[cfg(feature = "backtrace")]
    // SAFETY: nobody else walks a stack by this crate in this handler; the walk itself only reads.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            filled.frames[filled.count] = frame.ip() as usize;
            filled.count += 1;
            filled.count < FRAMES_MAX
        });
    }
    STATE.store(DONE, SeqCst);
}

/// Prepares the process, once: a handler for SIGURG, unless somebody has one.
pub(crate) fn install(running: Running) -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    // The first walk may load a library, which no handler may do.
    #[cfg(feature = "backtrace")]
    backtrace::trace(|_| true);
    // SAFETY: zeroed is a valid value: no flags, an empty mask.
    let mut former: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null pointer changes nothing, and the other is to a local.
    super::cvt(unsafe { libc::sigaction(libc::SIGURG, std::ptr::null(), &mut former) })?;
    if former.sa_sigaction == libc::SIG_DFL || former.sa_sigaction == libc::SIG_IGN {
        RUNNING.store(running as usize, SeqCst);
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = answer as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does only what a handler may: it fills memory that is there.
        super::cvt(unsafe { libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut()) })?;
        *installed = true;
    }
    Ok(())
}

/// Asks a thread, which must not have ended. `None` if it does not answer.
pub(crate) fn sample(thread: ThreadId) -> Option<Sample> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if RUNNING.load(SeqCst) == 0 {
        return None;
    }
    STATE.store(ASKED, SeqCst);
    // SAFETY: the caller knows that the thread has not ended.
    let sent = unsafe { libc::pthread_kill(thread.0, libc::SIGURG) };
    let end = Instant::now() + PATIENCE;
    while sent == 0 && STATE.load(SeqCst) != DONE && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(50));
    }
    if STATE.compare_exchange(ASKED, IDLE, SeqCst, SeqCst).is_ok() {
        return None;
    }
    // It has begun to answer, and that takes no time to speak of.
    while STATE.load(SeqCst) != DONE {
        std::thread::yield_now();
    }
    // SAFETY: the handler has done, and does nothing more until it is asked again.
    let filled = unsafe { &*ANSWER.0.get() };
    let name = String::from_utf8_lossy(&filled.name[..filled.name_len]).into_owned();
    let sample = Sample {
        location: filled.location,
        name: (!name.is_empty()).then_some(name),
        frames: names(&filled.frames[..filled.count]),
    };
    STATE.store(IDLE, SeqCst);
    Some(sample)
}

/// The functions that the addresses are in, without those of the handler.
#[cfg(feature = "backtrace")]
fn names(frames: &[usize]) -> Vec<String> {
    let mut all = Vec::new();
    for &frame in frames {
        backtrace::resolve(frame as *mut _, |symbol| {
            let name = symbol.name().map_or_else(|| "?".to_owned(), |name| format!("{name:#}"));
            let line = match (symbol.filename().and_then(|it| it.file_name()), symbol.lineno()) {
                (Some(file), Some(line)) => format!(" ({}:{line})", file.to_string_lossy()),
                _ => String::new(),
            };
            all.push(name + &line);
        });
    }
    // The innermost are those of the walk and of the handler.
    let inner = all.iter().rposition(|name| name.contains("sys::stall::answer"));
    all.drain(..inner.map_or(0, |index| index + 1));
    all
}

#[cfg(not(feature = "backtrace"))]
fn names(_frames: &[usize]) -> Vec<String> {
    Vec::new()
}
