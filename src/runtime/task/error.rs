//! Why a task gave no result.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Mutex;

/// Why a task gave no result.
pub struct JoinError {
    cause: Cause,
}

enum Cause {
    Cancelled,
    /// The work was not started.
    Refused(io::Error),
    /// In a mutex only to make the error `Sync`; it is never locked.
    Panic(Mutex<Box<dyn Any + Send + 'static>>),
}

impl JoinError {
    pub(crate) fn cancelled() -> JoinError {
        JoinError { cause: Cause::Cancelled }
    }

    pub(crate) fn refused(error: io::Error) -> JoinError {
        JoinError { cause: Cause::Refused(error) }
    }

    pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> JoinError {
        JoinError { cause: Cause::Panic(Mutex::new(panic)) }
    }

    /// Whether the task was aborted, or its runtime ended.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled)
    }

    /// Whether the work was not started: its core has ended or has too much to start already, or
    /// there is no helper thread to be had. As an [`io::Error`] it is the reason.
    pub fn is_refused(&self) -> bool {
        matches!(self.cause, Cause::Refused(_))
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// What the task panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// If the task did not panic.
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.cause {
            Cause::Panic(panic) => panic.into_inner().unwrap_or_else(|e| e.into_inner()),
            cause => panic!("the task did not panic: {}", JoinError { cause }),
        }
    }

    fn message(&self) -> Option<String> {
        match &self.cause {
            Cause::Panic(panic) => {
                let panic = panic.lock().unwrap_or_else(|e| e.into_inner());
                Some(panic_message(&**panic).to_owned())
            }
            Cause::Cancelled | Cause::Refused(_) => None,
        }
    }
}

/// The text that a panic was raised with.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else {
        "a value that is not text"
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, self.message()) {
            (Cause::Refused(error), _) => write!(f, "the work was not started: {error}"),
            (_, Some(message)) => write!(f, "the task panicked: {message}"),
            (_, None) => f.write_str("the task was cancelled"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        match error.cause {
            Cause::Refused(error) => error,
            _ => io::Error::other(error),
        }
    }
}
