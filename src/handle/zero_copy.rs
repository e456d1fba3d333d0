//! Sending bytes out of the memory that they are in: several sends, each of which gives its permit up
//! with its result, while the kernel goes on reading.

use std::io;
use std::rc::Rc;

use super::chunk::IoHandle;
use super::error::{incomplete, write_zero};
use super::permit::{acquire, perform};
use crate::buf::{IoBuf, Lent, Usage, ZeroCopy};
use crate::op::{Code, Interest, Send, SendZc};
use crate::runtime::Core;
use crate::sys::errno;

/// Writes all of the buffer, with one permit, without a copy where that can be. The second future is that
/// of the buffer's return.
pub(crate) async fn write_all<B: IoBuf>(
    handle: &Rc<IoHandle>,
    buffer: B,
) -> (io::Result<()>, ZeroCopy<B>) {
    let lent = Lent::new(buffer);
    let result = write_lent(handle, &lent).await;
    (result, ZeroCopy::new(lent))
}

async fn write_lent<B: IoBuf>(handle: &Rc<IoHandle>, lent: &Rc<Lent<B>>) -> io::Result<()> {
    let mut permit = acquire(handle, Interest::Writable).await?;
    let mut method = Method::first(&handle.core);
    let (len, mut written) = (lent.bytes_init(), 0);
    while written < len {
        let (result, _, back) = match method {
            Method::ZeroCopy { report } => {
                let op = SendZc::all(permit, lent.clone(), written, report);
                perform(handle, Interest::Writable, op).await
            }
            Method::Ordinary => {
                let op = Send::all(permit, lent.clone(), written);
                perform(handle, Interest::Writable, op).await
            }
        };
        permit = back;
        match result {
            Ok(0) => return Err(incomplete(written, write_zero())),
            Ok(count) => written += count,
            Err(error) => {
                method = method.after(&error).ok_or_else(|| incomplete(written, error))?;
                continue;
            }
        }
        match method {
            // The notification says it.
            Method::ZeroCopy { report: true } => {}
            Method::ZeroCopy { report: false } => {
                lent.note(Usage::Unknown);
                handle.core.driver.borrow_mut().forget_reports();
            }
            Method::Ordinary => lent.note(Usage::Copied),
        }
    }
    Ok(())
}

/// How the next bytes go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    /// Without a copy; `report` asks the kernel to say whether there was one all the same.
    ZeroCopy { report: bool },
    /// By a send like any other.
    Ordinary,
}

impl Method {
    fn first(core: &Core) -> Method {
        if !core.capabilities.takes(Code::SendZc) {
            return Method::Ordinary;
        }
        Method::ZeroCopy { report: core.driver.borrow().reports_usage() }
    }

    /// The next method, where the error says no more than that this one cannot be used.
    fn after(self, error: &io::Error) -> Option<Method> {
        match (self, error.raw_os_error()?) {
            // The kernel does not know the flag (before 6.2).
            (Method::ZeroCopy { report: true }, errno::EINVAL) => {
                Some(Method::ZeroCopy { report: false })
            }
            // Pages that are sent are charged to the locked memory of the user, and not every kind of
            // socket can send them.
            (
                Method::ZeroCopy { .. },
                errno::EINVAL | errno::ENOMEM | errno::ENOBUFS | errno::EOPNOTSUPP,
            ) => Some(Method::Ordinary),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Closed;
    use super::*;

    #[test]
    fn a_refusal_leads_to_the_next_method_and_an_error_to_none() {
        let after = |method: Method, errno| method.after(&io::Error::from_raw_os_error(errno));
        let (reported, silent) =
            (Method::ZeroCopy { report: true }, Method::ZeroCopy { report: false });
        // 6.0 and 6.1, and then a kernel that likes neither.
        assert_eq!(after(reported, errno::EINVAL), Some(silent));
        assert_eq!(after(silent, errno::EINVAL), Some(Method::Ordinary));
        for errno in [errno::ENOMEM, errno::ENOBUFS, errno::EOPNOTSUPP] {
            assert_eq!(after(reported, errno), Some(Method::Ordinary));
            assert_eq!(after(silent, errno), Some(Method::Ordinary));
            assert_eq!(after(Method::Ordinary, errno), None);
        }
        for errno in [libc::EPIPE, libc::ECONNRESET, libc::ECANCELED] {
            assert_eq!(after(reported, errno), None);
        }
        assert_eq!(reported.after(&Closed::error()), None);
    }
}
