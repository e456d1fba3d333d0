//! The part of a task that depends on its future: how it is polled, ended and freed.

use std::any::Any;
use std::cell::UnsafeCell;
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::{Header, Shared, TaskRef, Vtable};
use super::error::{panic_message, JoinError};
use super::origin::Origin;

/// A task with its future, and later its result.
#[repr(C)]
struct Task<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Running(F),
    Finished(Result<F::Output, JoinError>),
    Taken,
}

impl TaskRef {
    /// A new task, not scheduled yet. Its core's thread.
    pub(crate) fn new<F: Future + 'static>(
        future: F,
        shared: Arc<Shared>,
        origin: Origin,
    ) -> TaskRef {
        let vtable = &Vtable {
            poll: Task::<F>::poll,
            fail: Task::<F>::fail,
            drop_result: Task::<F>::drop_result,
            free: Task::<F>::free,
        };
        let task = Box::new(Task {
            header: Header::new(shared, vtable, origin),
            stage: UnsafeCell::new(Stage::Running(future)),
        });
        // SAFETY: the header stands first in the cell, which has just been made.
        unsafe { TaskRef::of_header(NonNull::from(Box::leak(task)).cast()) }
    }
}

/// # Safety
/// The task must have been made for a future of type `F`, its result be the caller's, and the task be
/// done.
pub(super) unsafe fn take_result<F: Future>(this: *const Header) -> Result<F::Output, JoinError> {
    let task = this.cast::<Task<F>>();
    // SAFETY: as the caller vouches.
    match std::mem::replace(unsafe { &mut *(*task).stage.get() }, Stage::Taken) {
        Stage::Finished(result) => result,
        Stage::Running(_) | Stage::Taken => panic!("a JoinHandle was polled after it was done"),
    }
}

impl<F: Future> Task<F> {
    unsafe fn poll(this: *const Header, context: &mut Context<'_>) -> bool {
        let task = this.cast::<Task<F>>();
        // SAFETY: the core polls a task in one place at a time, and nobody else touches the stage.
        let stage = unsafe { &mut *(*task).stage.get() };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Stage::Running(future) = &mut *stage else {
                unreachable!("a task that is done was polled");
            };
            // SAFETY: the future stays in its box until it is dropped there.
            unsafe { Pin::new_unchecked(future) }.poll(context)
        }));
        let result = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(JoinError::panicked(panic)),
        };
        // SAFETY: as above.
        unsafe { Task::<F>::finish(task, result) };
        true
    }

    unsafe fn fail(this: *const Header, error: JoinError) {
        // SAFETY: the caller does not run the task.
        unsafe { Task::<F>::finish(this.cast(), Err(error)) };
    }

    /// Drops the future, whose destructor may panic too, and keeps the result.
    unsafe fn finish(task: *const Task<F>, result: Result<F::Output, JoinError>) {
        // SAFETY: nobody else touches the stage of a task that does not run.
        let stage = unsafe { &mut *(*task).stage.get() };
        let dropped = catch_unwind(AssertUnwindSafe(|| drop_in_place_of(stage)));
        *stage = Stage::Finished(match dropped {
            Ok(()) => result,
            Err(panic) => Err(JoinError::panicked(panic)),
        });
    }

    unsafe fn drop_result(this: *const Header) {
        let task = this.cast::<Task<F>>();
        // SAFETY: the task is done, and its result belongs to the caller.
        let stage = unsafe { &mut *(*task).stage.get() };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop_in_place_of(stage))) {
            report(panic.as_ref());
        }
    }

    unsafe fn free(this: *mut Header) {
        // SAFETY: that was the last reference, of a task made by `Box::new`.
        drop(unsafe { Box::from_raw(this.cast::<Task<F>>()) });
    }
}

/// Drops what the stage holds where it lies, since a future must not move, even if that panics.
fn drop_in_place_of<F: Future>(stage: &mut Stage<F>) {
    struct SetTaken<F: Future>(*mut Stage<F>);
    impl<F: Future> Drop for SetTaken<F> {
        fn drop(&mut self) {
            // SAFETY: what was there has been dropped; nothing is dropped twice by a plain write.
            unsafe { self.0.write(Stage::Taken) };
        }
    }
    let guard = SetTaken(stage);
    // SAFETY: the stage is valid, and overwritten by the guard without being dropped again.
    unsafe { ptr::drop_in_place(guard.0) };
}

fn report(panic: &(dyn Any + Send)) {
    let message = panic_message(panic);
    tracing::error!(target: "ringpark", message, "the result of a task panicked when dropped");
}
