//! Folders for the files of a trial.

use std::path::{Path, PathBuf};

/// A folder of its own, which goes with it.
pub struct Place(PathBuf);

impl Place {
    /// One with a short name, as the addresses of sockets must have.
    pub fn new() -> Place {
        Place::within(&std::env::temp_dir())
    }

    /// One on a disk: in memory direct I/O may be refused.
    pub fn on_disk() -> Place {
        match option_env!("CARGO_TARGET_TMPDIR") {
            Some(base) => Place::within(Path::new(base)),
            None => Place::new(),
        }
    }

    fn within(base: &Path) -> Place {
        std::fs::create_dir_all(base).expect("the base can be made");
        let folder = base.join(format!("ringpark-tests-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("the folder is new");
        Place(folder)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the folder is ours");
    }
}
