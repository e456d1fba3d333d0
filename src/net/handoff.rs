//! A connection on its way from one core to another.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use super::TcpStream;
use crate::buf::Lease;
use crate::handle::Chunk;
use crate::handle::{Handle, Released};
use crate::op::Interest;
use crate::runtime::Core;

/// A quiet connection that belongs to no core: it can be sent to any thread, and
/// [adopted](Handoff::adopt) by another core.
///
/// It carries what the connection had: bytes that were received and not read, an error that was to be
/// reported by the next read, and both deadlines. Dropping it closes the connection.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use ringpark::net::{TcpListener, TcpStream};
/// ringpark::Builder::new().cores(2).run(|| async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let server = listener.accept_stream().await?;
///
///     let handoff = server.into_handoff().await?;
///     let moved = ringpark::spawn_anywhere(move || async move {
///         handoff.adopt().write_all("from wherever").await.0
///     });
///     let (result, _greeting) = client.read_exact(vec![0; 13]).await;
///     result?;
///     // A core whose main has returned has ended, and may have refused or cut this.
///     drop(moved);
///     Ok(())
/// # }).or_else(|e| if e.kind() == std::io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(e) })
/// }
/// ```
#[must_use = "dropping it closes the connection"]
pub struct Handoff {
    fd: OwnedFd,
    unread: Vec<io::Result<Vec<u8>>>,
    read_deadline: Option<Instant>,
    write_deadline: Option<Instant>,
}

impl TcpStream {
    /// Takes the connection off this core, so that another one can [adopt](Handoff::adopt) it. What
    /// earlier futures have left in flight is ended first; bytes that it still receives come along.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Closed`](crate::Closed).
    pub async fn into_handoff(self) -> io::Result<Handoff> {
        let handle = self.handle().clone();
        let read_deadline = handle.deadline(Interest::Readable);
        let write_deadline = handle.deadline(Interest::Writable);
        let Released { fd, items } = crate::handle::release(&handle).await?;
        // Copied, so that the leases go back to their core at once.
        let copy = |chunk: Chunk| chunk.bytes().to_vec();
        let unread = items.into_iter().map(|item| item.map(copy)).collect();
        Ok(Handoff { fd, unread, read_deadline, write_deadline })
    }
}

impl Handoff {
    /// How many bytes have been received and not read yet.
    pub fn unread(&self) -> usize {
        self.unread.iter().flatten().map(Vec::len).sum()
    }

    /// Makes this core serve the connection. The next read begins with what was unread; the
    /// deadlines are those that it had.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn adopt(self) -> TcpStream {
        let handle = Handle::new(Core::current(), self.fd);
        for item in self.unread {
            handle.queue.push(item.map(|bytes| Chunk::Lease(Lease::from_vec(bytes))));
        }
        handle.set_deadline(Interest::Readable, self.read_deadline);
        handle.set_deadline(Interest::Writable, self.write_deadline);
        TcpStream::from_handle(handle)
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff")
            .field("fd", &self.fd.as_raw_fd())
            .field("unread", &self.unread())
            .finish()
    }
}
