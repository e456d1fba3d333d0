//! What is in a folder.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::elsewhere::elsewhere;

/// Entries that one call to a helper thread brings.
const AT_ONCE: usize = 128;

/// What is in a folder, in no order, without `.` and `..`.
///
/// # Errors
/// Those of opendir(3).
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    let folder = elsewhere(move || std::fs::read_dir(path)).await?;
    Ok(ReadDir { folder: Some(folder), ahead: VecDeque::new() })
}

/// The entries of a folder; see [`read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    /// `None` when all has been read.
    folder: Option<std::fs::ReadDir>,
    ahead: VecDeque<io::Result<DirEntry>>,
}

impl ReadDir {
    /// The next entry, `None` after the last. Many are read at once by a helper thread. Dropping the
    /// future ends the listing: nothing follows.
    ///
    /// # Errors
    /// Those of readdir(3).
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        if self.ahead.is_empty() {
            let Some(folder) = self.folder.take() else { return Ok(None) };
            let (folder, ahead) = elsewhere(move || {
                let mut folder = folder;
                let ahead: VecDeque<_> = folder
                    .by_ref()
                    .take(AT_ONCE)
                    .map(|entry| entry.map(|entry| DirEntry(Arc::new(entry))))
                    .collect();
                Ok((folder, ahead))
            })
            .await?;
            // Fewer than asked for: that was all.
            self.folder = (ahead.len() == AT_ONCE).then_some(folder);
            self.ahead = ahead;
        }
        self.ahead.pop_front().transpose()
    }
}

/// One entry of a folder.
#[derive(Debug)]
pub struct DirEntry(Arc<std::fs::DirEntry>);

impl DirEntry {
    /// The folder's path with the name behind it.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// The name.
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// What is known of it, or of the link itself.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let entry = self.0.clone();
        elsewhere(move || entry.metadata()).await
    }

    /// Whether it is a file, a folder or a link.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub async fn file_type(&self) -> io::Result<FileType> {
        let entry = self.0.clone();
        elsewhere(move || entry.file_type()).await
    }
}
