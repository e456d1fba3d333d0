//! The descriptor of a process where there is no such thing: the list of `pidfd.rs`, and none of it can
//! be called.

use std::io;
use std::process::ExitStatus;
use std::rc::Rc;

use crate::runtime::Core;
use crate::sys::abi;
use crate::sys::errno;

/// There is no value of this type.
pub(super) enum Pidfd {}

impl Pidfd {
    pub(super) fn open(_pid: abi::pid_t, _core: &Rc<Core>) -> io::Result<Rc<Pidfd>> {
        Err(io::Error::from_raw_os_error(errno::ENOSYS))
    }

    pub(super) fn status(&self) -> Option<ExitStatus> {
        match *self {}
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        match *self {}
    }

    /// Never called: no process has a descriptor.
    pub(super) async fn wait(self: &Rc<Pidfd>) -> io::Result<ExitStatus> {
        match **self {}
    }
}
