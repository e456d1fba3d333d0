//! Models of a result on its way, for loom: see `task/models.rs`.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};

use super::{oneshot, Outcome, Receiver};

/// Notes that it has been woken.
#[derive(Default)]
struct Note(AtomicBool);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn note() -> (Arc<Note>, Waker) {
    let note = Arc::new(Note(AtomicBool::new(false)));
    (note.clone(), Waker::from(note))
}

/// Counts how often it is dropped, and carries what was written before it was given.
struct Parcel {
    drops: Arc<AtomicUsize>,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn parcel() -> (Parcel, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    (Parcel { drops: drops.clone() }, drops)
}

/// Awaits the result. Whoever finds none sleeps until the sender has ended, and must have been woken.
fn take<T>(receiver: &Receiver<T>, sender: JoinHandle<()>) -> Outcome<T> {
    let (note, waker) = note();
    match receiver.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(outcome) => {
            sender.join().unwrap();
            outcome
        }
        Poll::Pending => {
            sender.join().unwrap();
            assert!(note.0.load(Ordering::SeqCst), "asleep, and nobody will wake it");
            match receiver.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => panic!("woken for nothing"),
            }
        }
    }
}

#[test]
fn a_result_is_taken_or_wakes_whoever_waits() {
    loom::model(|| {
        let (sender, receiver) = oneshot();
        let (parcel, drops) = parcel();
        let giving = thread::spawn(move || sender.send(Ok(parcel)));
        let taken = take(&receiver, giving).expect("it was given");
        drop(receiver);
        assert_eq!(drops.load(Ordering::Relaxed), 0, "it is here");
        drop(taken);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_counts() {
    loom::model(|| {
        let (sender, receiver) = oneshot();
        let (old, old_waker) = note();
        assert!(receiver.poll(&mut Context::from_waker(&old_waker)).is_pending());
        let giving = thread::spawn(move || sender.send(Ok(7)));
        // The task that waits has moved: from now on another waker is to be woken.
        assert_eq!(take(&receiver, giving).expect("it was given"), 7);
        drop((receiver, old_waker));
        assert_eq!(Arc::strong_count(&old), 1, "a waker was kept");
    });
}

#[test]
fn a_giver_that_goes_is_no_endless_wait() {
    loom::model(|| {
        let (sender, receiver) = oneshot::<()>();
        let giving = thread::spawn(move || drop(sender));
        assert!(take(&receiver, giving).expect_err("nothing was given").is_cancelled());
    });
}

#[test]
fn an_unwanted_result_and_its_waker_are_dropped_once() {
    loom::model(|| {
        let (sender, receiver) = oneshot();
        let (parcel, drops) = parcel();
        let (note, waker) = note();
        assert!(receiver.poll(&mut Context::from_waker(&waker)).is_pending());
        let giving = thread::spawn(move || sender.send(Ok(parcel)));
        drop(receiver);
        giving.join().unwrap();
        drop(waker);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&note), 1, "a waker was kept");
    });
}

#[test]
fn what_was_done_before_a_wish_to_stop_is_seen_with_it() {
    loom::model(|| {
        let (sender, receiver) = oneshot::<bool>();
        let said = Arc::new(AtomicBool::new(false));
        let heard = said.clone();
        let working = thread::spawn(move || {
            let stopped = sender.is_stopped();
            sender.send(Ok(!stopped || heard.load(Ordering::Relaxed)));
        });
        said.store(true, Ordering::Relaxed);
        receiver.stop();
        assert!(take(&receiver, working).expect("it was given"), "the wish came before its cause");
    });
}
