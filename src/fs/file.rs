//! An open file.

use std::cell::Cell;
use std::fmt;
use std::fs::{Metadata, Permissions};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::elsewhere::elsewhere;
use super::options::OpenOptions;
use crate::buf::{BufResult, IoBuf, IoBufMut, Slice};
use crate::handle::Submission;
use crate::op::{Advise, Close, KeepsOpen, Op};
use crate::op::{ReadAt, ReadVectoredAt, WriteAt, WriteVectoredAt};
use crate::runtime::Core;
use crate::sys::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use crate::sys::{self, advice};

/// What a file whose length says nothing is read with (those in /proc have none).
const ROOM_MIN: usize = 4096;

/// An open file. All methods take `&self`, and any number of calls may be under way at a time: each
/// says where in the file it reads or writes, and there is no position of the file's own.
///
/// Where each call runs is told [for all of them](super). Dropping the future of a read leaves the
/// file as it is; dropping that of a write leaves open how much was written.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// use ringpark::fs::{File, OpenOptions};
/// let path = std::env::temp_dir().join(format!("ringpark-doc-{}", std::process::id()));
/// let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await?;
/// file.write_all_at("hello, disk", 0).await.0?;
/// file.sync_data().await?;
/// let (result, bytes) = file.read_exact_at(Vec::with_capacity(4), 7).await;
/// result?;
/// assert_eq!(bytes, b"disk");
/// file.close().await?;
/// ringpark::fs::remove_file(&path).await?;
/// # Ok(()) }) }
/// ```
pub struct File {
    open: Rc<Open>,
    direct: bool,
}

/// What is going to be done with a part of a file: see [`File::advise`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Advice {
    /// Nothing in particular: what holds without advice. On Linux for the whole of the open file.
    Normal,
    /// It is read from the beginning to the end: more is read ahead. On Linux for the whole of the open
    /// file.
    Sequential,
    /// It is read here and there: nothing is read ahead. On Linux for the whole of the open file.
    Random,
    /// It is read soon: the disk is asked for it now.
    WillNeed,
    /// It is not read soon: what is on the disk already leaves the memory. Of pages that are only
    /// in part within the range nothing does.
    DontNeed,
    /// It is read once: memory is better kept for other things. Linux heeds it from 6.3 on, for the
    /// whole of the open file.
    NoReuse,
}

impl Advice {
    fn number(self) -> i32 {
        match self {
            Advice::Normal => advice::NORMAL,
            Advice::Sequential => advice::SEQUENTIAL,
            Advice::Random => advice::RANDOM,
            Advice::WillNeed => advice::WILL_NEED,
            Advice::DontNeed => advice::DONT_NEED,
            Advice::NoReuse => advice::NO_REUSE,
        }
    }
}

/// What keeps a file open: the file, and each operation on it.
struct Open {
    core: Rc<Core>,
    fd: Option<OwnedFd>,
    /// It is closed at once, and not with the next turn: whoever reads one small file after the other
    /// never waits, and would run out of descriptors before there is a turn. Nothing has to be
    /// written when a file is closed that was only read.
    only_read: bool,
    /// Whom to wake when an operation has let go: the close that waits for all of them.
    closing: Cell<Option<Waker>>,
}

impl Open {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("a file is open until it is closed").as_fd()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        match self.fd.take() {
            Some(fd) if self.only_read => drop(fd),
            Some(fd) => self.core.driver.borrow_mut().close_detached(fd),
            None => {}
        }
    }
}

/// Keeps the file open for an operation.
struct Keep(Rc<Open>);

impl Drop for Keep {
    fn drop(&mut self) {
        // The share goes right after this, and before the task that is woken looks.
        if let Some(waker) = self.0.closing.take() {
            waker.wake();
        }
    }
}

impl KeepsOpen for Keep {
    fn fd(&self) -> RawFd {
        self.0.fd().as_raw_fd()
    }
}

impl File {
    /// Opens a file to read it.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Makes a file to write it; one that is there is emptied.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// Takes a file over from std.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn from_std(file: std::fs::File) -> File {
        File::of(file.into(), false, false)
    }

    pub(super) fn of(fd: OwnedFd, only_read: bool, direct: bool) -> File {
        let (core, closing) = (Core::current(), Cell::new(None));
        File { open: Rc::new(Open { core, fd: Some(fd), only_read, closing }), direct }
    }

    fn keep(&self) -> Keep {
        Keep(self.open.clone())
    }

    fn run<O: Op>(&self, op: O) -> Submission<O> {
        Submission::new(self.open.core.clone(), op)
    }

    /// Where in the ring's table the buffer's memory stands, if it is registered there.
    fn place<B: IoBuf>(&self, buffer: &B) -> Option<u16> {
        buffer.registration().and_then(|it| it.with(&self.open.core))
    }

    /// Reads some bytes into the buffer's room, from a position on; 0 is the end, unless the buffer
    /// has no room.
    ///
    /// # Errors
    /// Those of pread(2).
    pub async fn read_at<B: IoBufMut>(&self, buffer: B, at: u64) -> BufResult<usize, B> {
        let place = self.place(&buffer);
        let op = ReadAt::new(self.keep(), buffer, at, self.direct).registered(place);
        self.run(op).await
    }

    /// Fills the buffer's room, from a position on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; those of [`read_at`](File::read_at).
    pub async fn read_exact_at<B: IoBufMut>(&self, buffer: B, at: u64) -> BufResult<(), B> {
        let read = async |rest, filled| self.read_at(rest, at + filled as u64).await;
        read_exact(buffer, read).await
    }

    /// All the bytes, from the beginning.
    ///
    /// # Errors
    /// Those of [`read_at`](File::read_at).
    pub async fn read_to_end(&self) -> io::Result<Vec<u8>> {
        // One byte more than there are, so that the end is found without another buffer.
        let expected = self.metadata()?.len();
        let room = usize::try_from(expected.saturating_add(1)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let room = if expected == 0 { ROOM_MIN } else { room };
        bytes.try_reserve_exact(room).map_err(io::Error::other)?;
        loop {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(ROOM_MIN);
            }
            let len = bytes.len();
            let (result, slice) = self.read_at(bytes.slice(len..), len as u64).await;
            bytes = slice.into_inner();
            match result? {
                0 => return Ok(bytes),
                // A file that is as long as it says is at its end now.
                _ if expected > 0 && bytes.len() as u64 == expected => return Ok(bytes),
                _ => {}
            }
        }
    }

    /// Reads some bytes into the room of several buffers, in order, as one operation.
    ///
    /// # Errors
    /// Those of preadv(2).
    pub async fn read_vectored_at<B: IoBufMut>(
        &self,
        buffers: Vec<B>,
        at: u64,
    ) -> BufResult<usize, Vec<B>> {
        let op = ReadVectoredAt::new(self.keep(), buffers, at, self.direct);
        self.run(op).await
    }

    /// Writes some of the buffer's bytes, from a position on.
    ///
    /// # Errors
    /// Those of pwrite(2).
    pub async fn write_at<B: IoBuf>(&self, buffer: B, at: u64) -> BufResult<usize, B> {
        let place = self.place(&buffer);
        let op = WriteAt::new(self.keep(), buffer, 0, at).registered(place);
        self.run(op).await
    }

    /// Writes all of the buffer's bytes, from a position on.
    ///
    /// # Errors
    /// As for [`write_at`](File::write_at); `WriteZero` if the file takes no more.
    pub async fn write_all_at<B: IoBuf>(&self, mut buffer: B, at: u64) -> BufResult<(), B> {
        let len = buffer.bytes_init();
        let mut written = 0;
        while written < len {
            let (place, at) = (self.place(&buffer), at + written as u64);
            let op = WriteAt::new(self.keep(), buffer, written, at).registered(place);
            let result;
            (result, buffer) = self.run(op).await;
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(count) => written += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Writes some of the bytes of several buffers, in order, as one operation.
    ///
    /// # Errors
    /// Those of pwritev(2).
    pub async fn write_vectored_at<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        at: u64,
    ) -> BufResult<usize, Vec<B>> {
        let op = WriteVectoredAt::new(self.keep(), buffers, at);
        self.run(op).await
    }

    /// Returns when all that was written is on the disk, with what is known of the file.
    ///
    /// # Errors
    /// Those of fsync(2).
    pub async fn sync_all(&self) -> io::Result<()> {
        self.elsewhere(|file| file.sync_all()).await
    }

    /// Returns when all that was written is on the disk.
    ///
    /// # Errors
    /// Those of fdatasync(2).
    pub async fn sync_data(&self) -> io::Result<()> {
        self.elsewhere(|file| file.sync_data()).await
    }

    /// Cuts the file off, or makes it longer with zeros.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        self.elsewhere(move |file| file.set_len(len)).await
    }

    /// Makes sure that there is room on the disk for so many bytes from a position on; the file is
    /// longer then, if they go beyond its end.
    ///
    /// # Errors
    /// Those of fallocate(2), or posix_fallocate(2) of FreeBSD: EOPNOTSUPP or EINVAL where the file system
    /// cannot. macOS (`F_PREALLOCATE`) leaves holes within the file as they are. `Unsupported` on NetBSD
    /// and OpenBSD.
    pub async fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        self.elsewhere(move |file| sys::allocate(file.as_fd(), at, len)).await
    }

    /// Tells the kernel what is going to be done with `len` bytes from byte `at` on, or with all bytes
    /// from there to the end if `len` is 0. It changes when the disk is read and what stays in
    /// memory, and never what is in the file. What is to be read ahead has been asked of the disk when
    /// this returns, and need not be there yet.
    ///
    /// It is [posix_fadvise(2)][man]; on a ring [`WillNeed`](Advice::WillNeed) and
    /// [`DontNeed`](Advice::DontNeed), which may wait for the disk, are an entry (`IORING_OP_FADVISE`,
    /// Linux 5.6) where `len` is below 4 GiB. Dropping the future leaves open whether the advice is
    /// given; the file stays open until that is decided.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
    /// use ringpark::fs::{Advice, File};
    /// let file = File::open("/proc/self/exe").await?;
    /// file.advise(0, 1 << 20, Advice::WillNeed).await?;
    /// let (count, start) = file.read_at(Vec::with_capacity(4), 0).await;
    /// assert_eq!(&start[..count?], b"\x7fELF");
    /// file.advise(0, 0, Advice::DontNeed).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput`, without a call, if `at`, `len` or their sum is more than [`i64::MAX`]. Those of
    /// posix_fadvise(2): `ESPIPE` for a pipe. `Unsupported` on macOS, OpenBSD and NetBSD, where nothing is
    /// done.
    ///
    /// [man]: https://man7.org/linux/man-pages/man2/posix_fadvise.2.html
    pub async fn advise(&self, at: u64, len: u64, advice: Advice) -> io::Result<()> {
        let op = Advise::new(self.keep(), at, len, advice.number())?;
        self.run(op).await
    }

    /// Sets who may do what with the file.
    ///
    /// # Errors
    /// Those of fchmod(2).
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.elsewhere(move |file| file.set_permissions(permissions)).await
    }

    /// What is known of the file.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn metadata(&self) -> io::Result<Metadata> {
        sys::as_std_file(self.open.fd(), |file| file.metadata())
    }

    /// Calls `call` on a helper thread with a descriptor of its own for the same open file.
    pub(super) async fn elsewhere<R: Send + 'static>(
        &self,
        call: impl FnOnce(&std::fs::File) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let file = std::fs::File::from(self.open.fd().try_clone_to_owned()?);
        elsewhere(move || call(&file)).await
    }

    /// Calls `call` with the descriptor, for what has no method here.
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        call(self.open.fd())
    }

    /// Gives the file back to std, when operations whose futures were dropped have ended too. Dropping
    /// the future closes it.
    pub async fn into_std(self) -> std::fs::File {
        self.take().await.1.into()
    }

    /// Closes the file, when operations whose futures were dropped have ended too. Dropping it closes
    /// it too, a moment later.
    ///
    /// # Errors
    /// Those of close(2): what could not be written, on some file systems.
    pub async fn close(self) -> io::Result<()> {
        let (core, fd) = self.take().await;
        Submission::new(core, Close::new(fd)).await
    }

    /// Waits until nobody else has the file, and takes its descriptor.
    async fn take(self) -> (Rc<Core>, OwnedFd) {
        let mut open = self.open;
        poll_fn(|cx| {
            if let Some(open) = Rc::get_mut(&mut open) {
                let fd = open.fd.take().expect("a file is taken once");
                return Poll::Ready((open.core.clone(), fd));
            }
            open.closing.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

/// Fills the buffer's room with `read`, which is told how many bytes are there already.
async fn read_exact<B: IoBufMut>(
    mut buffer: B,
    read: impl AsyncFn(Slice<B>, usize) -> BufResult<usize, Slice<B>>,
) -> BufResult<(), B> {
    let total = buffer.bytes_total();
    let mut filled = 0;
    while filled < total {
        let (result, rest) = read(buffer.slice(filled..total), filled).await;
        buffer = rest.into_inner();
        match result {
            Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buffer),
            Ok(count) => filled += count,
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}

impl From<OwnedFd> for File {
    /// Takes a file over: see [`File::from_std`].
    ///
    /// # Panics
    /// Outside a runtime.
    fn from(fd: OwnedFd) -> File {
        File::from_std(fd.into())
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.open.fd().as_raw_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("fd", &self.as_raw_fd()).finish()
    }
}
