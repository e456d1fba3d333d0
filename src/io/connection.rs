//! What relays and files need of a connection.

use std::rc::Rc;

use super::methods::User;

/// A connection that carries a stream of bytes both ways:
/// [`TcpStream`](crate::net::TcpStream) or [`UnixStream`](crate::net::UnixStream).
/// [`relay`](super::relay) and [`File::sendfile`](crate::fs::File::sendfile) take either. This trait is
/// sealed: what its method gives has no name elsewhere.
pub trait Connection {
    #[doc(hidden)]
    fn user(&self) -> &User;
}

impl<C: Connection + ?Sized> Connection for Rc<C> {
    fn user(&self) -> &User {
        (**self).user()
    }
}

impl<C: Connection + ?Sized> Connection for Box<C> {
    fn user(&self) -> &User {
        (**self).user()
    }
}
