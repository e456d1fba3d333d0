//! A deadline of something that waits.

use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use crate::runtime::Core;
use crate::time::{clock, TimerKey};

/// Wakes whoever waits when his deadline passes, wherever it has been moved to meanwhile.
pub(crate) struct Alarm {
    core: Rc<Core>,
    armed: Option<(TimerKey, Instant)>,
}

impl Alarm {
    pub(crate) fn new(core: Rc<Core>) -> Alarm {
        Alarm { core, armed: None }
    }

    /// Whether the deadline has passed; if not, the task is woken when it does.
    pub(crate) fn is_over(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        if self.armed.is_some_and(|(_, at)| Some(at) != deadline) {
            self.disarm();
        }
        let Some(at) = deadline else {
            return false;
        };
        if at <= clock::now() {
            return true;
        }
        let replaced = {
            let mut timers = self.core.timers.borrow_mut();
            match self.armed {
                Some((key, _)) if timers.is_pending(key) => timers.set_waker(key, cx.waker()),
                _ => {
                    self.armed = Some((timers.insert(at, cx.waker().clone()), at));
                    None
                }
            }
        };
        // Dropped only now: a waker may run code of its own.
        drop(replaced);
        false
    }

    fn disarm(&mut self) {
        if let Some((key, _)) = self.armed.take() {
            let waker = self.core.timers.borrow_mut().remove(key);
            // Dropped only now: a waker may run code of its own.
            drop(waker);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}
