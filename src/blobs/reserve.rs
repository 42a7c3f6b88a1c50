//! The part of the disk that files leave free: on the same disk, as a rule, lies the database, and without room that acknowledges
//! nothing any more.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

/// Files that must still find a place on the disk: the database, its log and its backups make some, too.
const FREE_FILES_MIN: u64 = 1000;

/// Room that must stay free where a folder lies.
#[derive(Debug)]
pub(super) struct Reserve {
    folder: PathBuf,
    free_bytes_min: u64,
}

impl Reserve {
    pub(super) const fn new(folder: PathBuf, free_bytes_min: u64) -> Self {
        Self { folder, free_bytes_min }
    }

    /// An error if less is free. Takes microseconds: the system knows without asking the disk.
    pub(super) fn check(&self) -> io::Result<()> {
        // The folder may not be made yet; the last part of a relative one is "", which is here.
        let here = |folder: &Path| if folder == Path::new("") { PathBuf::from(".") } else { folder.to_owned() };
        let Some(facts) = self.folder.ancestors().find_map(|folder| statvfs(here(folder)).ok()) else { return Ok(()) };
        let free = facts.f_bavail.saturating_mul(facts.f_frsize);
        let problem = if free < self.free_bytes_min {
            format!("only {free} bytes are free on the disk of the uploads (key `uploads.free_bytes_min`)")
        } else if is_short_of_files(facts.f_files, facts.f_favail) {
            format!("only {} more files can be made on the disk of the uploads (`df -i`)", facts.f_favail)
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::StorageFull, problem))
    }
}

/// Whether a disk that holds `all` files at most has room for few more. One without a bound says 0.
const fn is_short_of_files(all: u64, free: u64) -> bool {
    all > 0 && free < FREE_FILES_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_a_bound_on_files_is_never_short_of_them() {
        assert!(!is_short_of_files(0, 0) && !is_short_of_files(9999, FREE_FILES_MIN));
        assert!(is_short_of_files(9999, FREE_FILES_MIN - 1));
    }

    #[test]
    fn too_little_room_is_an_error_also_where_the_folder_is_not_made_yet() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = |bytes| Reserve::new(folder.path().join("not/yet"), bytes);
        reserve(0).check().unwrap();
        reserve(1).check().unwrap();
        assert_eq!(reserve(u64::MAX).check().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(Reserve::new("no-such-folder/uploads".into(), u64::MAX).check().is_err());
    }
}
