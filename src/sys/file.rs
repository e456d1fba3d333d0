//! Files: calls that wait for a disk, made on helper threads, and those that say they would have to.

use std::ffi::CStr;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{cvt, cvt_size};

/// A transfer between a file and memory, at a position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) fd: RawFd,
    pub(crate) memory: Memory,
    /// Where in the file; `None` for the file's own position.
    pub(crate) at: Option<u64>,
    pub(crate) write: bool,
}

/// The memory of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    One(libc::iovec),
    /// So many pieces, as these vectors have them.
    Several(*const libc::iovec, usize),
}

impl Memory {
    fn vectors(&self) -> (*const libc::iovec, libc::c_int) {
        match self {
            Memory::One(vector) => (vector, 1),
            Memory::Several(vectors, count) => (*vectors, *count as libc::c_int),
        }
    }
}

// SAFETY: it is a description only; whoever makes the call vouches for what it describes.
unsafe impl Send for Transfer {}

impl Transfer {
    /// Makes the call, which may wait for the disk.
    ///
    /// # Safety
    /// The descriptor must be open, and the memory and the vectors that describe it valid (for writing,
    /// if it is a read), until this returns.
    pub(crate) unsafe fn run(self) -> io::Result<u32> {
        let (fd, (vectors, count)) = (self.fd, self.memory.vectors());
        loop {
            // SAFETY: the caller vouches for it.
            let result = unsafe {
                match (self.write, self.at) {
                    (false, Some(at)) => libc::preadv(fd, vectors, count, at as libc::off_t),
                    (false, None) => libc::readv(fd, vectors, count),
                    (true, Some(at)) => libc::pwritev(fd, vectors, count, at as libc::off_t),
                    (true, None) => libc::writev(fd, vectors, count),
                }
            };
            match cvt_size(result) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Reads what is in memory already (`RWF_NOWAIT`, 4.14); `WouldBlock` if that is nothing, or the
    /// kernel cannot say.
    ///
    /// # Safety
    /// As for `run`.
    #[cfg(target_os = "linux")]
    pub(crate) unsafe fn run_if_cached(self) -> io::Result<u32> {
        let (vectors, count) = self.memory.vectors();
        let at = self.at.map_or(-1, |at| at as libc::off_t);
        // SAFETY: the caller vouches for it.
        let result = unsafe { libc::preadv2(self.fd, vectors, count, at, libc::RWF_NOWAIT) };
        cvt_size(result).map_err(or_would_block)
    }
}

#[cfg(not(target_os = "linux"))]
impl Transfer {
    /// No other system can say.
    ///
    /// # Safety
    /// None is needed: nothing is done.
    pub(crate) unsafe fn run_if_cached(self) -> io::Result<u32> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Never called: see `SENDS_FILES`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sendfile(_socket: RawFd, _file: RawFd, _at: u64, _len: usize) -> io::Result<u32> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// No other system can say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_cached(_file: BorrowedFd<'_>, _at: u64, _len: usize) -> bool {
    false
}

/// No other system can say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_if_cached(_path: &CStr, _flags: libc::c_int) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// An error that says that the call cannot be made without waiting becomes `WouldBlock`.
#[cfg(target_os = "linux")]
fn or_would_block(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM | libc::EINTR) => {
            io::ErrorKind::WouldBlock.into()
        }
        _ => error,
    }
}

/// Opens a file.
pub(crate) fn open(path: &CStr, flags: libc::c_int, mode: u32) -> io::Result<OwnedFd> {
    loop {
        // SAFETY: the path ends with a zero.
        match cvt(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // SAFETY: the kernel has just made this descriptor for us.
            other => return other.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }
}

/// Opens a file whose path is all in memory (`RESOLVE_CACHED`, 5.12); else `WouldBlock`.
#[cfg(target_os = "linux")]
pub(crate) fn open_if_cached(path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: all zeros asks for nothing.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_CACHED;
    let (path, size) = (path.as_ptr(), size_of_val(&how));
    // SAFETY: the path ends with a zero, and the record is of the size that is told.
    let opened =
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path, &raw const how, size) };
    let fd = cvt(opened as libc::c_int).map_err(or_would_block)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls `call` with the descriptor in std's form.
pub(crate) fn as_std_file<R>(
    fd: BorrowedFd<'_>,
    call: impl FnOnce(&std::fs::File) -> io::Result<R>,
) -> io::Result<R> {
    // SAFETY: it is open while it is borrowed, and never dropped here.
    let file = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(fd.as_raw_fd()) });
    call(&file)
}

/// Whether the descriptor is of a regular file or a disk: never waited for, and slow at times.
pub(crate) fn is_disk(fd: RawFd) -> bool {
    // SAFETY: all zeros is a record of nothing.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the record is valid for writing.
    let known = cvt(unsafe { libc::fstat(fd, &mut stat) }).is_ok();
    known && matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK)
}

/// A position or length as the kernel takes it.
pub(super) fn position(number: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// The furthest position that kernels count to: what is longer is no file.
pub(crate) const POSITION_MAX: u64 = i64::MAX as u64;

/// The kinds of advice.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(crate) mod advice {
    pub(crate) use libc::{
        POSIX_FADV_DONTNEED as DONT_NEED, POSIX_FADV_NOREUSE as NO_REUSE,
        POSIX_FADV_NORMAL as NORMAL, POSIX_FADV_RANDOM as RANDOM,
        POSIX_FADV_SEQUENTIAL as SEQUENTIAL, POSIX_FADV_WILLNEED as WILL_NEED,
    };
}

/// The kinds of advice, which `advise` refuses: the numbers tell them apart, and go nowhere.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(crate) mod advice {
    pub(crate) const NORMAL: libc::c_int = 0;
    pub(crate) const RANDOM: libc::c_int = 1;
    pub(crate) const SEQUENTIAL: libc::c_int = 2;
    pub(crate) const WILL_NEED: libc::c_int = 3;
    pub(crate) const DONT_NEED: libc::c_int = 4;
    pub(crate) const NO_REUSE: libc::c_int = 5;
}

/// Gives advice on a range of a file, whose length 0 is all that follows; may wait for the disk.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(crate) fn advise(fd: RawFd, at: u64, len: u64, advice: libc::c_int) -> io::Result<u32> {
    let (at, len) = (position(at)?, position(len)?);
    loop {
        // SAFETY: the call takes no pointer.
        match unsafe { libc::posix_fadvise(fd, at, len, advice) } {
            0 => return Ok(0),
            libc::EINTR => {}
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Gives advice: there is no such call here. (NetBSD has it, and the libc crate does not.)
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(crate) fn advise(_fd: RawFd, _at: u64, _len: u64, _advice: libc::c_int) -> io::Result<u32> {
    let message = "this system takes no advice on files";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// Sends bytes of a file to a socket that is non-blocking, without a copy in user space. What else may
/// fail, a file that cannot be sent so is EINVAL or ENOSYS.
#[cfg(target_os = "linux")]
pub(crate) fn sendfile(socket: RawFd, file: RawFd, at: u64, len: usize) -> io::Result<u32> {
    let mut at = position(at)?;
    // SAFETY: the pointer is to a local.
    cvt_size(unsafe { libc::sendfile(socket, file, &mut at, len.min(super::TRANSFER_MAX)) })
}

/// Whether these bytes of a file, or as many as there are, can be read without waiting for the disk,
/// as far as the last one tells.
#[cfg(target_os = "linux")]
pub(crate) fn is_cached(file: BorrowedFd<'_>, at: u64, len: usize) -> bool {
    let mut byte = 0u8;
    let vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    [at, at + len.saturating_sub(1) as u64].into_iter().all(|at| {
        let (fd, memory) = (file.as_raw_fd(), Memory::One(vector));
        let transfer = Transfer { fd, memory, at: Some(at), write: false };
        // SAFETY: the byte is a local.
        unsafe { transfer.run_if_cached() }.is_ok()
    })
}

/// A file in memory, without a name.
#[cfg(target_os = "linux")]
pub(crate) fn memory_file() -> io::Result<OwnedFd> {
    // SAFETY: the name ends with a zero.
    let fd = cvt(unsafe { libc::memfd_create(c"ringpark".as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a lease (fcntl(2)) on a file that is open for reading: `WouldBlock` while it is open for writing.
#[cfg(target_os = "linux")]
pub(crate) fn lease_for_reading(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_SETLEASE takes an integer.
    cvt(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }).map(drop)
}
