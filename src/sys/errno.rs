//! Why a call has failed, by the system's own names: whatever is above `sys` names them from here, and a
//! system that has other numbers gives them these meanings.

pub(crate) use libc::{
    EACCES, EAGAIN, EALREADY, EBADF, ECANCELED, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINPROGRESS,
    EINTR, EINVAL, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOPROTOOPT,
    ENOSYS, ENOTCONN, EOPNOTSUPP, EPERM, EPROTO, ESRCH,
};
