//! Who waits for which signal, and the thread that tells them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::sys::abi;
use crate::sys::fd::AsRawFd;
use crate::sys::signals;

/// One who waits.
pub(super) struct Listener {
    signal: abi::c_int,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    came: bool,
    waker: Option<Waker>,
}

impl Listener {
    pub(super) fn signal(&self) -> abi::c_int {
        self.signal
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.came) {
            return Poll::Ready(());
        }
        // Dropped after the lock: that may run any code.
        let old = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn tell(&self) {
        let mut state = lock(&self.state);
        state.came = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// All listeners of the process, and what the signals did before.
struct Hub {
    listeners: Vec<Arc<Listener>>,
    caught: Vec<(abi::c_int, signals::Former)>,
    /// Handlers write to it; the thread reads the other end, and goes when this is closed.
    writer: Option<UnixStream>,
}

static HUB: Mutex<Hub> =
    Mutex::new(Hub { listeners: Vec::new(), caught: Vec::new(), writer: None });

/// Catches the signal, if nobody does yet.
pub(super) fn listen(signal: abi::c_int) -> io::Result<Arc<Listener>> {
    let mut hub = lock(&HUB);
    if hub.writer.is_none() {
        let (reader, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        let thread = thread::Builder::new().name("ringpark-signals".into());
        thread.spawn(move || serve(reader))?;
        signals::connect(writer.as_raw_fd());
        hub.writer = Some(writer);
    }
    if !hub.caught.iter().any(|(caught, _)| *caught == signal) {
        match signals::catch(signal) {
            Ok(former) => hub.caught.push((signal, former)),
            Err(error) => {
                hub.end_if_idle();
                return Err(error);
            }
        }
    }
    let listener = Arc::new(Listener { signal, state: Mutex::default() });
    hub.listeners.push(listener.clone());
    Ok(listener)
}

/// The listener goes; with the last one of a signal that does again what it did before.
pub(super) fn leave(listener: &Arc<Listener>) {
    let mut hub = lock(&HUB);
    hub.listeners.retain(|other| !Arc::ptr_eq(other, listener));
    if !hub.listeners.iter().any(|other| other.signal == listener.signal) {
        let index = hub.caught.iter().position(|(signal, _)| *signal == listener.signal);
        if let Some((signal, former)) = index.map(|index| hub.caught.swap_remove(index)) {
            if let Err(error) = signals::release(signal, former) {
                tracing::error!(target: "ringpark", signal, %error, "a signal stays caught");
            }
        }
    }
    hub.end_if_idle();
}

impl Hub {
    /// Lets the thread go if there is nothing to wait for.
    fn end_if_idle(&mut self) {
        if self.listeners.is_empty() {
            signals::disconnect();
            drop(self.writer.take());
        }
    }
}

/// The thread's life: until the other end is closed.
fn serve(mut reader: UnixStream) {
    let mut bytes = [0; 64];
    loop {
        match reader.read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                tracing::error!(target: "ringpark", %error, "signals cannot be received any more");
                return;
            }
            _ => {}
        }
        for signal in (1..signals::SIGNALS).filter(|&signal| signals::take_pending(signal)) {
            let told: Vec<_> = {
                let hub = lock(&HUB);
                let of_it = hub.listeners.iter().filter(|one| one.signal as usize == signal);
                of_it.cloned().collect()
            };
            told.iter().for_each(|listener| listener.tell());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Changed in single steps: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
