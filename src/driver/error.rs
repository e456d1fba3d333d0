//! Why a backend does not start, in words for the operator.

use std::fmt;
use std::io;

use super::config::Backend;
use crate::cause::{self, Cause};

/// A backend that could not be set up: the step, the error, the likely cause and the remedy.
#[derive(Debug)]
pub struct SetupError {
    pub(crate) backend: Backend,
    pub(crate) step: &'static str,
    pub(crate) source: io::Error,
    /// The likely causes; together they are the hint.
    pub(crate) causes: Vec<Cause>,
    hint: String,
}

impl SetupError {
    pub(crate) fn because(
        backend: Backend,
        step: &'static str,
        source: io::Error,
        causes: impl FnOnce(&io::Error) -> Vec<Cause>,
    ) -> SetupError {
        let causes = causes(&source);
        let hint = cause::hint(&causes);
        SetupError { backend, step, source, causes, hint }
    }

    /// The error of a backend that this system does not have.
    pub(crate) fn not_here(backend: Backend) -> SetupError {
        SetupError::because(backend, "looking for it", io::ErrorKind::Unsupported.into(), |_| {
            let names: Vec<_> = Backend::SUPPORTED.iter().map(|backend| backend.name()).collect();
            vec![Cause::NotHere(names.join(", "))]
        })
    }

    /// Which backend did not start.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    pub(crate) fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    /// The likely cause and what to change.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} failed: {}", self.backend, self.step, self.source)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<SetupError> for io::Error {
    fn from(error: SetupError) -> io::Error {
        io::Error::new(error.source.kind(), error)
    }
}

/// A descriptor that cannot be waited for, such as a regular file on a readiness backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotPollable;

impl NotPollable {
    /// Whether this is why an operation failed.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<NotPollable>())
    }
}

impl fmt::Display for NotPollable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this kind of descriptor cannot be waited for")
    }
}

impl std::error::Error for NotPollable {}

/// The error of a selector that refuses a descriptor.
pub(super) fn not_pollable() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, NotPollable)
}
