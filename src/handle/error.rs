//! Errors that a caller acts on.

use std::fmt;
use std::io;

/// The handle that an operation was called on has been closed, before or while it waited.
///
/// It comes inside an [`io::Error`]:
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// let listener = ringpark::net::TcpListener::bind("127.0.0.1:0").await?;
/// listener.close().await?;
/// let error = listener.accept().await.unwrap_err();
/// assert!(ringpark::Closed::is(&error));
/// # Ok(()) }) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl Closed {
    /// Whether this is why an operation failed.
    pub fn is(error: &io::Error) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = match error.get_ref() {
            Some(inner) => Some(inner),
            None => None,
        };
        while let Some(error) = cause {
            let nested = error.downcast_ref::<io::Error>().is_some_and(Closed::is);
            if nested || error.is::<Closed>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    pub(crate) fn error() -> io::Error {
        io::Error::new(io::ErrorKind::NotConnected, Closed)
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handle has been closed")
    }
}

impl std::error::Error for Closed {}

/// The error of an operation whose deadline has passed.
pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed")
}

/// Why nobody may begin or go on in a direction of a handle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// It has been closed, or is about to be.
    Closed,
    /// The deadline has passed.
    TimedOut,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        match refusal {
            Refusal::Closed => Closed::error(),
            Refusal::TimedOut => timed_out(),
        }
    }
}

/// An error that came when a part had been written.
#[derive(Debug)]
struct Incomplete {
    written: usize,
    source: io::Error,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (after {} bytes)", self.source, self.written)
    }
}

impl std::error::Error for Incomplete {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// How many bytes had gone out when `write_all` or `write_vectored_all` failed with this error;
/// `None` if there were none, and for errors of other operations.
pub fn written(error: &io::Error) -> Option<usize> {
    let inner = error.get_ref()?.downcast_ref::<Incomplete>()?;
    Some(inner.written)
}

/// The same error, which tells how much went out before, if anything did: besides what it tells
/// already.
pub(crate) fn incomplete(written: usize, source: io::Error) -> io::Error {
    if written == 0 {
        return source;
    }
    let kind = source.kind();
    let incomplete = match source.downcast::<Incomplete>() {
        Ok(inner) => Incomplete { written: written + inner.written, source: inner.source },
        Err(source) => Incomplete { written, source },
    };
    io::Error::new(kind, incomplete)
}

/// The error of a connection that takes no more bytes and gives no reason.
pub(crate) fn write_zero() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the other side takes no more bytes")
}
