//! The part of the disk that files leave free: on the same disk, as a rule, lies the database, and without room that acknowledges
//! nothing any more.

use std::io;
use std::path::{Path, PathBuf};

use crate::os::{self, Free};

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
        let found = self.folder.ancestors().find_map(|folder| os::free(&here(folder)).ok());
        match found.and_then(|free| self.problem(free)) {
            Some(problem) => Err(io::Error::new(io::ErrorKind::StorageFull, problem)),
            None => Ok(()),
        }
    }

    /// What there is too little of.
    fn problem(&self, Free { bytes, files }: Free) -> Option<String> {
        if bytes < self.free_bytes_min {
            return Some(format!(
                "only {bytes} bytes are free on the disk of the uploads (key `uploads.free_bytes_min`)"
            ));
        }
        let files = files.filter(|files| *files < FREE_FILES_MIN)?;
        Some(format!("only {files} more files can be made on the disk of the uploads (`df -i`)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_a_bound_on_files_is_never_short_of_them() {
        let problem = |files| Reserve::new(PathBuf::new(), 7).problem(Free { bytes: 7, files });
        assert_eq!((problem(None), problem(Some(FREE_FILES_MIN))), (None, None));
        assert!(problem(Some(FREE_FILES_MIN - 1)).unwrap().contains("df -i"));
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
