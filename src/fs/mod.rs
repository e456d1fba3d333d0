//! Files.
//!
//! A file is never ready or not ready: a call on one waits for a disk, or does not. So each call here
//! runs in one of three places, and a core never waits for a disk:
//!
//! - **inline**, by the core itself, if the kernel says that all it needs is in memory;
//! - **on the ring**, where there is io_uring;
//! - **on a helper thread** otherwise.
//!
//! | call | inline | else |
//! | --- | --- | --- |
//! | [`File::open`], [`OpenOptions::open`] | if only read, and the path is cached (Linux 5.12) | helper thread |
//! | [`File::create`] | | helper thread |
//! | [`File::read_at`], `read_exact_at`, `read_vectored_at` | if the bytes are cached (Linux 4.14), and not with direct I/O | the ring; without one a helper thread |
//! | [`File::read_to_end`] | the length, and what is cached | as for `read_at` |
//! | [`File::write_at`], `write_all_at`, `write_vectored_at` | | the ring; without one a helper thread |
//! | [`File::advise`] | all but `WillNeed` and `DontNeed` | the ring, below 4 GiB; without one, or for more, a helper thread |
//! | [`File::metadata`] | always | |
//! | [`File::sync_all`], `sync_data`, `allocate`, `set_len`, `set_permissions` | | helper thread: the ring would use one too |
//! | [`File::sendfile`] | what is cached, by sendfile(2) on Linux | what is not is read ahead by a helper thread; without sendfile, read as by `read_at` and written |
//! | [`File::into_std`] | when operations that were dropped have ended | |
//! | [`File::close`] | without a ring | the ring |
//! | dropping a [`File`] | if it was only read, or without a ring | the ring, with the next turn |
//! | [`read`], [`read_to_string`] | if path and bytes are cached | as for `open` and `read_at` |
//! | [`write`](write()) | | a helper thread to open it, then as for `write_at` and `close` |
//! | [`copy`], [`rename`], [`hard_link`], [`symlink`], [`read_link`], [`canonicalize`] | | helper thread |
//! | [`metadata`], [`symlink_metadata`], [`try_exists`], [`set_permissions`] | | helper thread |
//! | [`create_dir`], [`create_dir_all`], [`remove_dir`], [`remove_dir_all`], [`remove_file`] | | helper thread |
//! | [`read_dir`], [`ReadDir::next_entry`] | what has been read ahead | helper thread, for 128 entries at a time |
//! | [`DirEntry::metadata`], [`DirEntry::file_type`] | | helper thread |
//!
//! On the ring, buffers of a [`FixedPool`](crate::buf::FixedPool) are read into and written from without
//! being looked up each time.
//!
//! Dropping a future does not undo what a helper thread or the kernel does: a file may have been
//! written, renamed or removed all the same.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::buf::IoBuf;

mod directory;
mod elsewhere;
mod file;
mod options;
mod send;

pub use directory::{read_dir, DirEntry, ReadDir};
use elsewhere::elsewhere;
pub use file::{Advice, File};
pub use options::OpenOptions;

/// All the bytes of a file.
///
/// ```
/// # fn main() -> std::io::Result<()> { ringpark::block_on(async {
/// let bytes = ringpark::fs::read("/proc/self/comm").await?;
/// assert!(bytes.ends_with(b"\n"));
/// # Ok(()) }) }
/// ```
///
/// # Errors
/// Those of open(2) and read(2).
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    file.read_to_end().await
}

/// All of a file, which must be text in UTF-8.
///
/// # Errors
/// Those of [`read`]; `InvalidData` for what is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = read(path).await?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Makes a file of these bytes; what was in it before is gone.
///
/// # Errors
/// Those of open(2) and write(2).
pub async fn write<B: IoBuf>(path: impl AsRef<Path>, contents: B) -> io::Result<()> {
    let file = File::create(path).await?;
    file.write_all_at(contents, 0).await.0?;
    file.close().await
}

/// Copies the contents and permissions of a file: how many bytes.
///
/// # Errors
/// Those of [`std::fs::copy`].
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = owned(from, to);
    elsewhere(move || std::fs::copy(from, to)).await
}

/// Gives a file another name, where it takes the place of what is there.
///
/// # Errors
/// Those of rename(2).
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = owned(from, to);
    elsewhere(move || std::fs::rename(from, to)).await
}

/// Gives a file a second name.
///
/// # Errors
/// Those of link(2).
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = owned(original, link);
    elsewhere(move || std::fs::hard_link(original, link)).await
}

/// Makes a link that leads to a path, whatever is there.
///
/// # Errors
/// Those of symlink(2).
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = owned(original, link);
    elsewhere(move || std::os::unix::fs::symlink(original, link)).await
}

/// Where a symbolic link leads to.
///
/// # Errors
/// Those of readlink(2).
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::read_link(path)).await
}

/// The path without links and dots.
///
/// # Errors
/// Those of realpath(3).
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::canonicalize(path)).await
}

/// What is known of a file; of where a link leads to.
///
/// # Errors
/// Those of stat(2).
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::metadata(path)).await
}

/// What is known of a file, or of the link itself.
///
/// # Errors
/// Those of lstat(2).
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::symlink_metadata(path)).await
}

/// Whether there is something at a path.
///
/// # Errors
/// Those of stat(2), but for `NotFound`.
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::exists(path)).await
}

/// Sets who may do what with a file.
///
/// # Errors
/// Those of chmod(2).
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::set_permissions(path, permissions)).await
}

/// Removes a file.
///
/// # Errors
/// Those of unlink(2).
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::remove_file(path)).await
}

/// Makes a folder.
///
/// # Errors
/// Those of mkdir(2).
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::create_dir(path)).await
}

/// Makes a folder, and those that it is to be in, unless they are there.
///
/// # Errors
/// Those of mkdir(2).
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::create_dir_all(path)).await
}

/// Removes an empty folder.
///
/// # Errors
/// Those of rmdir(2).
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::remove_dir(path)).await
}

/// Removes a folder with all that is in it. Links are removed and not followed.
///
/// # Errors
/// Those of [`std::fs::remove_dir_all`].
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    elsewhere(move || std::fs::remove_dir_all(path)).await
}

fn owned(one: impl AsRef<Path>, other: impl AsRef<Path>) -> (PathBuf, PathBuf) {
    (one.as_ref().to_owned(), other.as_ref().to_owned())
}
