//! The standard input and outputs.

use std::io;
use std::rc::Rc;

use super::{methods, Descriptor};
use crate::handle::IoHandle;
use crate::sys::fd::AsFd;

/// The process's standard input, to read from without a buffer of its own: what
/// [`std::io::stdin`] has read ahead is not found here.
///
/// It works on a descriptor of its own, and the mode of the one that is shared with other processes
/// (a shell, say) is put back after each call: closing or dropping it closes nothing of the process.
///
/// # Errors
/// Those of dup(2): EBADF if the process has no standard input.
///
/// # Panics
/// Outside a runtime.
pub fn stdin() -> io::Result<Stdin> {
    Ok(Stdin { descriptor: shared(io::stdin().as_fd())? })
}

/// The process's standard output, to write to without a buffer: the same as for [`stdin`]. What
/// [`std::io::stdout`] has not flushed comes later.
///
/// # Errors
/// Those of dup(2).
///
/// # Panics
/// Outside a runtime.
pub fn stdout() -> io::Result<Stdout> {
    Ok(Stdout { descriptor: shared(io::stdout().as_fd())? })
}

/// The process's standard error: the same as for [`stdout`].
///
/// # Errors
/// Those of dup(2).
///
/// # Panics
/// Outside a runtime.
pub fn stderr() -> io::Result<Stderr> {
    Ok(Stderr { descriptor: shared(io::stderr().as_fd())? })
}

/// The standard input; see [`stdin`].
pub struct Stdin {
    descriptor: Descriptor,
}

impl Stdin {
    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_read_methods!();
    methods::readable_methods!("standard input");
    methods::close_methods!("runtime's own descriptor of the standard input");
}

methods::descriptor_traits!(Stdin);

/// The standard output; see [`stdout`].
pub struct Stdout {
    descriptor: Descriptor,
}

impl Stdout {
    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_write_methods!();
    methods::writable_methods!("standard output");
    methods::close_methods!("runtime's own descriptor of the standard output");
}

methods::descriptor_traits!(Stdout);

/// The standard error; see [`stderr`].
pub struct Stderr {
    descriptor: Descriptor,
}

impl Stderr {
    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_write_methods!();
    methods::writable_methods!("standard error");
    methods::close_methods!("runtime's own descriptor of the standard error");
}

methods::descriptor_traits!(Stderr);

fn shared(fd: crate::sys::fd::BorrowedFd<'_>) -> io::Result<Descriptor> {
    Ok(Descriptor::shared(fd.try_clone_to_owned()?))
}
