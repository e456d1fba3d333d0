//! A deadline of something that waits.

use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use crate::runtime::Core;
use crate::time::TimerKey;

/// Wakes whoever waits when his deadline passes, wherever it has been moved to meanwhile.
pub(crate) struct Alarm {
    core: Rc<Core>,
    armed: Option<(TimerKey, Instant)>,
}

impl Alarm {
    pub(crate) fn new(core: Rc<Core>) -> Alarm {
        Alarm { core, armed: None }
    }

    /// Lets the task be woken at the deadline; one that has passed wakes it at once.
    pub(crate) fn arm(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) {
        if self.armed.is_some_and(|(_, at)| Some(at) != deadline) {
            self.disarm();
        }
        let Some(at) = deadline else { return };
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
