//! The waker of a task: a reference to its header, which any thread may hold and use.

use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable};

use super::{add_reference, drop_reference, Header, TaskRef};
use crate::runtime::run_queues::RunQueues;
use crate::runtime::task::inbox::Linked;
use crate::sync::atomic::Ordering;

/// The waker that the header's address is, without a reference of its own.
pub(super) fn raw_waker(header: *const Header) -> RawWaker {
    RawWaker::new(header.cast(), &WAKER)
}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: a waker holds a reference.
    unsafe { add_reference(data.cast()) };
    raw_waker(data.cast())
}

unsafe fn wake(data: *const ()) {
    // SAFETY: a waker holds a reference, which `wake` takes over.
    unsafe {
        wake_by_ref(data);
        drop_waker(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    let pointer = data.cast::<Header>().cast_mut();
    // SAFETY: a waker holds a reference.
    let header = unsafe { &*pointer };
    if header.shared.is_current() {
        // SAFETY: the waker's reference outlives the borrowed one.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_raw(pointer) });
        RunQueues::with_current(|queues| task.schedule(queues, false));
    } else if !header.remote.swap(true, Ordering::AcqRel) {
        header.references.add_shared();
        // SAFETY: the reference has just been added.
        let sent = header.shared.send(unsafe { TaskRef::from_raw(pointer) });
        // The core has ended: nobody runs the task any more.
        drop(sent);
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: a waker holds a reference, which it gives up.
    unsafe { drop_reference(data.cast::<Header>().cast_mut()) };
}
