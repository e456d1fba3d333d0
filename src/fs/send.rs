//! From a file to a socket, within the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use super::File;
use crate::net::SocketStream;
use crate::sys;

/// How many bytes are sent at a time: so much is read ahead where it is not in memory.
const PIECE: usize = 256 << 10;

impl File {
    /// Sends `len` bytes of the file, from a position on, to a connection, without a copy in user
    /// space (sendfile(2)): how many went, which is fewer only if the file ends before. What is not in
    /// memory is read ahead by a helper thread, so that the core does not wait for the disk.
    ///
    /// It has the connection's turn for writing for a piece of 256 KiB at a time: other writes may
    /// come between. Dropping the future leaves open how much has gone.
    ///
    /// ```
    /// # async fn f(stream: ringpark::net::TcpStream) -> std::io::Result<()> {
    /// let file = ringpark::fs::File::open("index.html").await?;
    /// file.send_to(&stream, 0, file.metadata()?.len()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of sendfile(2) and of writing to the connection; `TimedOut` after its write deadline. How
    /// much went before is told by [`io::written`](crate::io::written).
    pub async fn send_to(&self, stream: &SocketStream, at: u64, len: u64) -> io::Result<u64> {
        let mut sent = 0;
        while sent < len {
            let piece = usize::try_from(len - sent).unwrap_or(usize::MAX).min(PIECE);
            match self.send_piece(stream, at + sent, piece).await {
                Ok(0) => break,
                Ok(count) => sent += u64::from(count),
                Err(error) => return Err(crate::io::incomplete(sent as usize, error)),
            }
        }
        Ok(sent)
    }

    async fn send_piece(&self, stream: &SocketStream, at: u64, len: usize) -> io::Result<u32> {
        if !self.with_fd(|file| sys::is_cached(file, at, len)) {
            // Into the page cache, and from there to nowhere.
            self.elsewhere(move |file| file.read_at(&mut vec![0; len], at)).await?;
        }
        let file = self.as_raw_fd();
        stream.write_with(|socket| sys::sendfile(socket.as_fd().as_raw_fd(), file, at, len)).await
    }
}
