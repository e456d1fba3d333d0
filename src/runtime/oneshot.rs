//! A result on its way from whoever works to whoever waits, on any two threads.
//!
//! ```text
//!   Waiting(waker?) ── send ──▶ Sent(result) ── poll ──▶ Received
//!        │                          │
//!        │ Receiver dropped         │ Receiver dropped: the result is dropped there
//!        ▼                          ▼
//!    Abandoned ── send: the result is dropped by the sender
//! ```
//!
//! Whoever comes second finds the traces of the first: the sender a waker to wake, the receiver a result
//! to take. A sender that is dropped before it has sent sends "cancelled", so nobody waits for ever. No
//! foreign code (a waker, a destructor) runs under the lock, which is held for a few instructions.
//! `oneshot/models.rs` has this checked in every order of steps.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::task::JoinError;
use crate::sync::atomic::{AtomicBool, Mutex, MutexGuard, Ordering};

#[cfg(all(test, loom))]
mod models;

/// What became of the work.
pub(super) type Outcome<T> = Result<T, JoinError>;

enum State<T> {
    /// Not done; the waker of the receiver, once that has been polled.
    Waiting(Option<Waker>),
    /// The receiver has gone.
    Abandoned,
    Sent(Outcome<T>),
    Received,
}

struct Slot<T> {
    state: Mutex<State<T>>,
    /// The receiver wishes the work to end.
    stop: AtomicBool,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state changes in one step, so a panic (of a waker that is cloned, say) leaves none
        // half done, and a poisoned lock is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of whoever works.
pub(super) struct Sender<T>(Option<Arc<Slot<T>>>);

/// The end of whoever waits.
pub(super) struct Receiver<T>(Arc<Slot<T>>);

/// The two ends.
pub(super) fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let state = Mutex::new(State::Waiting(None));
    let slot = Arc::new(Slot { state, stop: AtomicBool::new(false) });
    (Sender(Some(slot.clone())), Receiver(slot))
}

impl<T> Sender<T> {
    /// Sends the result, and wakes whoever waits for it.
    pub(super) fn send(mut self, outcome: Outcome<T>) {
        if let Some(slot) = self.0.take() {
            send(&slot, outcome);
        }
    }

    /// Whether the receiver has asked for the work to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.0.as_ref().is_some_and(|slot| slot.stop.load(Ordering::Acquire))
    }
}

fn send<T>(slot: &Slot<T>, outcome: Outcome<T>) {
    let mut state = slot.lock();
    match &mut *state {
        State::Waiting(waker) => {
            let waker = waker.take();
            *state = State::Sent(outcome);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        State::Abandoned => {
            drop(state);
            drop(outcome);
        }
        State::Sent(_) | State::Received => unreachable!("a sender sends once"),
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            send(&slot, Err(JoinError::cancelled()));
        }
    }
}

impl<T> Receiver<T> {
    /// The result, if it is there; else remembers whom to wake.
    ///
    /// # Panics
    /// After the result has been taken.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        // The old waker is dropped after the lock: that may run any code.
        let _old;
        let mut state = self.0.lock();
        if let State::Waiting(waker) = &mut *state {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                _old = waker.replace(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Received) {
            State::Sent(outcome) => Poll::Ready(outcome),
            State::Received => panic!("a result was polled after it had been taken"),
            State::Waiting(_) | State::Abandoned => unreachable!("this receiver is alive"),
        }
    }

    /// Whether the result is there, or has been taken.
    pub(super) fn is_done(&self) -> bool {
        !matches!(&*self.0.lock(), State::Waiting(_))
    }

    /// Asks for the work to end.
    pub(super) fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // What was in there (a waker, a result) is dropped after the lock.
        let _old = std::mem::replace(&mut *self.0.lock(), State::Abandoned);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_sender_that_is_dropped_sends_cancelled() {
        let (sender, receiver) = oneshot::<()>();
        drop(sender);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(receiver.is_done());
        assert!(matches!(receiver.poll(&mut cx), Poll::Ready(Err(error)) if error.is_cancelled()));
    }

    #[test]
    fn the_result_wakes_the_last_who_waited() {
        let (sender, receiver) = oneshot();
        let (old, new) = (Arc::new(Count::default()), Arc::new(Count::default()));
        for count in [&old, &new] {
            let waker = Waker::from(count.clone());
            assert!(receiver.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sender.send(Ok(7));
        assert_eq!((old.0.load(Ordering::SeqCst), new.0.load(Ordering::SeqCst)), (0, 1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(receiver.poll(&mut cx), Poll::Ready(Ok(7))));
    }

    #[test]
    fn an_unwanted_result_is_dropped_and_a_wish_to_stop_is_seen() {
        let value = Arc::new(());
        let (sender, receiver) = oneshot();
        assert!(!sender.is_stopped());
        receiver.stop();
        assert!(sender.is_stopped());
        drop(receiver);
        sender.send(Ok(value.clone()));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
