//! What the kernel answers, and who takes the answer: what operations, buffers and the driver must all
//! know of each other.

use std::io;
use std::rc::Rc;
use std::task::Waker;

mod token;

pub(crate) use token::{Kind, Token, GENERATION_MASK};

/// One answer of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    /// A count or a descriptor; the negative of an errno if it failed.
    pub(crate) result: i32,
    /// As in a completion queue entry; zero from a backend without rings.
    pub(crate) flags: u32,
}

/// The buffer that a completion filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) id: u16,
    /// The kernel goes on filling the same buffer.
    pub(crate) more: bool,
}

impl Completion {
    const BUFFER: u32 = 1 << 0;
    pub(crate) const MORE: u32 = 1 << 1;
    pub(crate) const NOTIFICATION: u32 = 1 << 3;
    const BUFFER_MORE: u32 = 1 << 4;
    /// In the *result* of a notification (`IORING_NOTIF_USAGE_ZC_COPIED`). We keep it in the flags of
    /// the result that the notification is put together with.
    const COPIED: u32 = 1 << 31;

    /// What the runtime itself says to an operation.
    pub(crate) fn errno(token: Token, errno: i32) -> Completion {
        Completion { token, result: -errno, flags: 0 }
    }

    /// The operation goes on: this is an item, or the result of a send whose memory the kernel still
    /// reads, and not the end.
    pub(crate) fn more(&self) -> bool {
        self.flags & Completion::MORE != 0
    }

    /// This result and the notification that has followed it, as one.
    pub(crate) fn with(self, notification: Completion) -> Completion {
        let copied = notification.result as u32 & Completion::COPIED;
        Completion { flags: Completion::NOTIFICATION | copied, ..self }
    }

    /// What the kernel says of the memory that a result, with its notification, was about. It also
    /// says that it has copied when there was nothing to copy: so this counts only if bytes went out.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let says = self.flags & Completion::NOTIFICATION != 0 && self.result > 0;
        says.then_some(match self.flags & Completion::COPIED {
            0 => Usage::ZeroCopy,
            _ => Usage::Copied,
        })
    }

    /// The buffer that the kernel chose.
    pub(crate) fn buffer(&self) -> Option<Filled> {
        (self.flags & Completion::BUFFER != 0).then_some(Filled {
            id: (self.flags >> 16) as u16,
            more: self.flags & Completion::BUFFER_MORE != 0,
        })
    }

    /// The count, or the error.
    pub(crate) fn into_result(self) -> io::Result<u32> {
        match self.result {
            0.. => Ok(self.result as u32),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// What became of the bytes of a zero-copy send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Usage {
    /// They went out of the memory that they were in.
    ZeroCopy,
    /// Nobody says. The kernel does not before 6.2; and there is nothing to say if nothing was sent.
    Unknown,
    /// Some of them at least were copied: by the kernel, since the way that they went cannot do
    /// without, or by an ordinary send, where there are no others. An ordinary write does the same for
    /// less.
    Copied,
}

/// The data of an operation whose future is gone: it stays until the kernel has answered.
pub(crate) trait Orphan {
    /// Does with the result what must be done when nobody wants it.
    fn discard(self: Box<Self>, result: io::Result<u32>);

    /// A share in the memory that the kernel goes on reading after the result.
    fn loan(&self) -> Rc<dyn Loan>;
}

/// A share in memory that the kernel goes on reading after the result of a send.
pub(crate) trait Loan {
    /// Whom its return will wake: the data of the waker.
    fn waiter(&self) -> Option<*const ()>;

    /// The kernel has let go of it, as far as one send goes, and says what it did; `None` if nothing
    /// was sent. Returns whom to wake.
    fn returned(&self, usage: Option<Usage>) -> Option<Waker>;
}

/// Takes the items of a multishot operation.
pub(crate) trait Sink {
    /// Whom the next item will wake: the data of the waker.
    fn waiter(&self) -> Option<*const ()>;

    /// Takes one answer; `last` says that no other follows. Returns whom to wake.
    fn item(&self, completion: Completion, last: bool) -> Option<Waker>;
}
