//! How a file is to be opened.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::elsewhere::elsewhere;
use super::file::File;
use crate::sys;
use crate::sys::abi;
use crate::sys::fd::AsFd;

/// How a file is to be opened; the methods are those of [`std::fs::OpenOptions`], and
/// [`direct`](OpenOptions::direct).
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    direct: bool,
    flags: i32,
    mode: u32,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// For nothing yet.
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            direct: false,
            flags: 0,
            mode: 0o666,
        }
    }

    /// To be read.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.read = read;
        self
    }

    /// To be written.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.write = write;
        self
    }

    /// To be written at its end, wherever a write says it is to go (`O_APPEND`).
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.append = append;
        self
    }

    /// Empty.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.truncate = truncate;
        self
    }

    /// Made if it is not there.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    /// Made, and an error if it is there.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.create_new = create_new;
        self
    }

    /// Past the page cache, straight to the disk (`O_DIRECT`, see open(2)): positions, lengths and
    /// the memory of buffers must be multiples of the disk's block size then
    /// ([`AlignedBuf`](crate::buf::AlignedBuf) is made for that), else calls fail with `InvalidInput`. On
    /// macOS it is `F_NOCACHE`, which wants nothing of them; on OpenBSD opening the file is an error
    /// (`Unsupported`).
    pub fn direct(&mut self, direct: bool) -> &mut OpenOptions {
        self.direct = direct;
        self
    }

    /// Who may do what with it, if it is made; 0o666 by default, less the process's mask.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.mode = mode;
        self
    }

    /// More flags of open(2).
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.flags = flags;
        self
    }

    /// Opens the file. Dropping the future may have made it.
    ///
    /// # Errors
    /// Those of open(2); `InvalidInput` for options that contradict each other.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let flags = self.flags()?;
        let path = CString::new(path.as_ref().as_os_str().as_bytes()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path has a zero in it")
        })?;
        let only_read = !self.write && !self.append;
        if only_read {
            match sys::open_if_cached(&path, flags) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                opened => return Ok(File::of(opened?, only_read, self.direct)),
            }
        }
        let (mode, direct) = (self.mode, self.direct);
        let opening = move || {
            let fd = sys::open(&path, flags, mode)?;
            if direct {
                sys::pass_cache(fd.as_fd())?;
            }
            Ok(fd)
        };
        let fd = elsewhere(opening).await?;
        Ok(File::of(fd, only_read, self.direct))
    }

    fn flags(&self) -> io::Result<i32> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => abi::O_RDONLY,
            (false, true, false) => abi::O_WRONLY,
            (true, true, false) => abi::O_RDWR,
            (false, _, true) => abi::O_WRONLY | abi::O_APPEND,
            (true, _, true) => abi::O_RDWR | abi::O_APPEND,
            (false, false, false) => return Err(contradiction("to be neither read nor written")),
        };
        if !self.write && !self.append && (self.truncate || self.create || self.create_new) {
            return Err(contradiction("to be made or emptied, and not written"));
        }
        if self.append && self.truncate && !self.create_new {
            return Err(contradiction("to be emptied, and written at its end"));
        }
        let made = match (self.create, self.truncate, self.create_new) {
            (false, false, false) => 0,
            (true, false, false) => abi::O_CREAT,
            (false, true, false) => abi::O_TRUNC,
            (true, true, false) => abi::O_CREAT | abi::O_TRUNC,
            (_, _, true) => abi::O_CREAT | abi::O_EXCL,
        };
        let direct = match (self.direct, sys::DIRECT) {
            (false, _) => 0,
            (true, Some(flag)) => flag,
            (true, None) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this system has no direct I/O",
                ))
            }
        };
        Ok(access | made | direct | (self.flags & !abi::O_ACCMODE))
    }
}

fn contradiction(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the file is {what}"))
}
