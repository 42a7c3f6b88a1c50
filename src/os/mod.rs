//! What each system does in its own way: the only module that asks which one it is (`tests/it/tidy/files.rs`).
//!
//! Linux is what production runs on, and what all figures and all faults are taken on. macOS and Windows are for those who
//! develop an app there: everything works, but what only Linux offers is done without, and each function here says what that costs.

use std::io;

// Each system compiles two: `linux` or `plain`, and `unix` or `windows`.
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod plain;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use plain::*;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

/// What the names of programs end with.
pub use std::env::consts::EXE_SUFFIX;

/// What a disk has left for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Bytes.
    pub bytes: u64,
    /// Files that can still be made, where there is a bound.
    pub files: Option<u64>,
}

/// Whether what failed is that no more files or connections can be opened.
pub fn is_out_of_files(cause: &io::Error) -> bool {
    cause.raw_os_error() == out_of_files().raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_says_what_it_has_left() {
        let folder = tempfile::tempdir().unwrap();
        let left = free(folder.path()).unwrap();
        assert!(left.bytes > 0 && left.files != Some(0), "{left:?}");
    }

    #[test]
    fn the_name_of_a_new_file_can_be_seen_to_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "x").unwrap();
        sync_folder(folder.path()).unwrap();
    }

    #[test]
    fn some_files_can_be_opened() {
        let (allowed, raised) = raise_open_files();
        raised.unwrap();
        assert!(allowed.is_none_or(|allowed| allowed >= 256), "{allowed:?}");
    }
}
