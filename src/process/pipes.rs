//! The pipes to and from a child.

use std::io;
use std::rc::Rc;

use crate::handle::IoHandle;
use crate::io::{methods, Descriptor};
use crate::sys::fd::OwnedFd;

/// The child's standard input, which one writes to. When it is closed or dropped, the child finds the
/// end.
pub struct ChildStdin {
    descriptor: Descriptor,
}

impl ChildStdin {
    pub(super) fn new(fd: OwnedFd) -> io::Result<ChildStdin> {
        Ok(ChildStdin { descriptor: Descriptor::new(fd)? })
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_write_methods!();
    methods::writable_methods!("pipe");
    methods::close_methods!("pipe");
}

methods::descriptor_traits!(ChildStdin);

/// The child's standard output, which one reads from.
pub struct ChildStdout {
    pub(super) descriptor: Descriptor,
}

impl ChildStdout {
    pub(super) fn new(fd: OwnedFd) -> io::Result<ChildStdout> {
        Ok(ChildStdout { descriptor: Descriptor::new(fd)? })
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_read_methods!();
    methods::readable_methods!("pipe");
    methods::close_methods!("pipe");
}

methods::descriptor_traits!(ChildStdout);

/// The child's standard error, which one reads from.
pub struct ChildStderr {
    pub(super) descriptor: Descriptor,
}

impl ChildStderr {
    pub(super) fn new(fd: OwnedFd) -> io::Result<ChildStderr> {
        Ok(ChildStderr { descriptor: Descriptor::new(fd)? })
    }

    fn handle(&self) -> &Rc<IoHandle> {
        self.descriptor.handle()
    }

    methods::descriptor_read_methods!();
    methods::readable_methods!("pipe");
    methods::close_methods!("pipe");
}

methods::descriptor_traits!(ChildStderr);

/// Reads a pipe to its end, if there is one.
pub(super) async fn read_all(pipe: Option<Descriptor>) -> io::Result<Vec<u8>> {
    match pipe {
        Some(pipe) => {
            let (result, bytes) = pipe.read_to_end(Vec::new()).await;
            result.map(|_| bytes)
        }
        None => Ok(Vec::new()),
    }
}
