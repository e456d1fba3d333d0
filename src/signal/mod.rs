//! Signals, as something to wait for.
//!
//! ```no_run
//! use ringpark::signal::{signal, SignalKind};
//!
//! # fn main() -> std::io::Result<()> { ringpark::block_on(async {
//! let mut hangup = signal(SignalKind::hangup())?;
//! ringpark::spawn(async move {
//!     loop {
//!         hangup.recv().await;
//!         println!("reading the settings again");
//!     }
//! });
//! ringpark::signal::ctrl_c().await?;
//! # Ok(()) }) }
//! ```
//!
//! # How it works
//! A handler notes the signal and writes to a socket; a thread of its own, which lives as long as
//! there is a [`Signal`], reads that and wakes whoever waits. So it works on every backend, and for
//! tasks on any core. A handler that was there before is called too.

mod hub;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use hub::Listener;

use crate::sys::abi;

/// Which signal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignalKind(abi::c_int);

impl SignalKind {
    /// SIGINT: Ctrl-C.
    pub const fn interrupt() -> SignalKind {
        SignalKind(abi::SIGINT)
    }

    /// SIGTERM: the usual wish that a process end.
    pub const fn terminate() -> SignalKind {
        SignalKind(abi::SIGTERM)
    }

    /// SIGHUP: the terminal has gone; by custom, to read the settings again.
    pub const fn hangup() -> SignalKind {
        SignalKind(abi::SIGHUP)
    }

    /// SIGQUIT: Ctrl-\.
    pub const fn quit() -> SignalKind {
        SignalKind(abi::SIGQUIT)
    }

    /// SIGUSR1.
    pub const fn user_defined1() -> SignalKind {
        SignalKind(abi::SIGUSR1)
    }

    /// SIGUSR2.
    pub const fn user_defined2() -> SignalKind {
        SignalKind(abi::SIGUSR2)
    }

    /// SIGCHLD: a child process has ended or stopped.
    pub const fn child() -> SignalKind {
        SignalKind(abi::SIGCHLD)
    }

    /// SIGWINCH: the terminal has another size.
    pub const fn window_change() -> SignalKind {
        SignalKind(abi::SIGWINCH)
    }

    /// Any signal, by number.
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// Catches a signal: from now on, and for as long as the value lives, it does not do what it did
/// before, and [`recv`](Signal::recv) tells of it. With the last value for a signal its former effect
/// comes back, unless somebody else has installed a handler since, which stays. Any thread may call
/// this.
///
/// # Errors
/// `InvalidInput` for what is no signal, or one that a program cannot go on after (SIGKILL, SIGSTOP,
/// SIGSEGV, SIGBUS, SIGILL, SIGFPE); those of sigaction(2), socketpair(2), and of starting a thread.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let fatal = [abi::SIGKILL, abi::SIGSTOP, abi::SIGSEGV, abi::SIGBUS, abi::SIGILL, abi::SIGFPE];
    if fatal.contains(&kind.0) || !(1..crate::sys::signals::SIGNALS as i32).contains(&kind.0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {} cannot be waited for", kind.0),
        ));
    }
    Ok(Signal { listener: hub::listen(kind.0)? })
}

/// Waits for the next SIGINT (Ctrl-C). The signal is caught when this is first polled, and until the
/// future is dropped or done: for a second one have [`signal`] catch it.
///
/// # Errors
/// As for [`signal`].
pub async fn ctrl_c() -> io::Result<()> {
    signal(SignalKind::interrupt())?.recv().await;
    Ok(())
}

/// A signal that is being caught. See [`signal`].
#[must_use = "the signal has its former effect again when this is dropped"]
pub struct Signal {
    listener: Arc<Listener>,
}

impl Signal {
    /// Waits until the signal has come since the last time: several that came meanwhile count as one,
    /// as they do in the kernel. Dropping the future loses none.
    pub async fn recv(&mut self) {
        poll_fn(|cx| self.poll_recv(cx)).await;
    }

    /// The same as a poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.listener.poll(cx)
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        hub::leave(&self.listener);
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("number", &self.listener.signal()).finish()
    }
}
