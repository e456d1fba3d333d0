//! From a file to a socket, within the kernel where that can be done.

use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::File;
use crate::handle::send::{self, ToSocket};
use crate::handle::{incomplete, ready, IoHandle};
use crate::io::Connection;
use crate::op::Interest;
use crate::sys;
use crate::sys::errno;
use crate::sys::fd::{AsRawFd, BorrowedFd};

/// How many bytes are sent at a time: so much is read ahead where it is not in memory.
const PIECE: usize = 256 << 10;

impl File {
    /// Sends `len` bytes of the file, from a position on, to a connection: how many went, which is fewer
    /// only if the file ends before. On Linux that is without a copy in user space (sendfile(2)), and what
    /// is not in memory is read ahead by a helper thread, so that the core does not wait for the disk. On
    /// other systems, and for files that cannot be sent so, pieces are read and written.
    ///
    /// It has the connection's turn for writing for a piece of 256 KiB at a time: other writes may
    /// come between. Dropping the future leaves open how much has gone.
    ///
    /// ```
    /// # async fn f(stream: ringpark::net::TcpStream) -> std::io::Result<()> {
    /// let file = ringpark::fs::File::open("index.html").await?;
    /// file.sendfile(&stream, 0, file.metadata()?.len()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of reading the file and of writing to the connection; `TimedOut` after its write deadline. How
    /// much went before is told by [`io::written`](crate::io::written).
    pub async fn sendfile(
        &self,
        stream: &(impl Connection + ?Sized),
        at: u64,
        len: u64,
    ) -> io::Result<u64> {
        let stream = stream.user().handle();
        let (mut sent, mut copies) = (0, !sys::SENDS_FILES);
        while sent < len {
            let piece = usize::try_from(len - sent).unwrap_or(usize::MAX).min(PIECE);
            let result = match copies {
                true => self.copy_piece(stream, at + sent, piece).await,
                false => self.send_piece(stream, at + sent, piece).await,
            };
            match result {
                Err(error) if !copies && cannot_send(&error) => copies = true,
                Ok(0) => break,
                Ok(count) => sent += u64::from(count),
                Err(error) => return Err(incomplete(sent as usize, error)),
            }
        }
        Ok(sent)
    }

    async fn send_piece(&self, stream: &Rc<IoHandle>, at: u64, len: usize) -> io::Result<u32> {
        if !self.with_fd(|file| sys::is_cached(file, at, len)) {
            // Into the page cache, and from there to nowhere.
            self.elsewhere(move |file| file.read_at(&mut vec![0; len], at)).await?;
        }
        let file = self.as_raw_fd();
        let send = |socket: BorrowedFd<'_>| sys::sendfile(socket.as_raw_fd(), file, at, len);
        ready::with(stream, Interest::Writable, send).await
    }

    async fn copy_piece(&self, stream: &Rc<IoHandle>, at: u64, len: usize) -> io::Result<u32> {
        let (result, bytes) = self.read_at(Vec::with_capacity(len), at).await;
        let count = result?;
        send::write_all(stream, bytes, ToSocket).await.0?;
        Ok(count as u32)
    }
}

/// Whether the kernel does not send this file, or none.
fn cannot_send(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::EINVAL | errno::ENOSYS | errno::EOPNOTSUPP))
}
