//! Files in a folder of this machine.
//!
//! Unfinished files are in its subfolder `.incoming`, whose name begins with a dot and is therefore never served. A file is
//! moved to its place in one step when it is whole, so nobody ever reads half of one.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::spool::{Spool, Spooled};

/// The folder of unfinished files.
const INCOMING: &str = ".incoming";
/// An unfinished file as old as this was left by a crash: no upload lasts so long.
const LEFT_BEHIND: Duration = Duration::from_hours(24);

/// A folder of files.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a file.
    pub async fn spool(&self) -> io::Result<Spool> {
        let folder = self.root.join(INCOMING);
        blocking(move || {
            let file = match begin(&folder) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    std::fs::create_dir_all(&folder)?;
                    begin(&folder)?
                }
                file => file?,
            };
            let (file, path) = file.into_parts();
            Ok(Spool::new(file, path))
        })
        .await
    }

    /// Moves a whole file to `key`, a relative path of safe parts. Never replaces a file.
    pub async fn keep(&self, blob: Spooled, key: &str) -> io::Result<()> {
        let place = self.root.join(key);
        blocking(move || {
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            blob.path.persist_noclobber(&place).map_err(|failed| failed.error)
        })
        .await
    }

    /// Removes what a crash has left unfinished. Files of today stay: another server may be writing them.
    pub fn sweep(&self) -> io::Result<usize> {
        let entries = match std::fs::read_dir(self.root.join(INCOMING)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            // A clock that was set back makes a file seem to come from the future: it is young then.
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age >= LEFT_BEHIND {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn begin(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    // As any other file: a web server in front may run as another user and serve the folder itself.
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// Runs file work where it may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unfinished_file_vanishes_and_a_whole_one_moves() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().join("uploads"));
        let mut spool = disk.spool().await.unwrap();
        spool.write(b"half").await.unwrap();
        drop(spool);
        let mut spool = disk.spool().await.unwrap();
        spool.write(b"whole").await.unwrap();
        disk.keep(spool.finish().await.unwrap(), "a/b/c.txt").await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("uploads/.incoming")).unwrap().count(), 0);
        let place = folder.path().join("uploads/a/b/c.txt");
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o600, 0o600);
    }

    #[tokio::test]
    async fn nothing_is_ever_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned());
        for text in ["first", "second"] {
            let mut spool = disk.spool().await.unwrap();
            spool.write(text.as_bytes()).await.unwrap();
            let kept = disk.keep(spool.finish().await.unwrap(), "x.txt").await;
            assert_eq!(kept.is_ok(), text == "first");
        }
        assert_eq!(std::fs::read(folder.path().join("x.txt")).unwrap(), b"first");
    }

    #[test]
    fn only_what_is_a_day_old_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned());
        assert_eq!(disk.sweep().unwrap(), 0);
        std::fs::create_dir(folder.path().join(INCOMING)).unwrap();
        for name in ["old", "young"] {
            std::fs::write(folder.path().join(INCOMING).join(name), "x").unwrap();
        }
        let old = std::fs::File::options().write(true).open(folder.path().join(INCOMING).join("old")).unwrap();
        old.set_modified(std::time::SystemTime::now() - LEFT_BEHIND).unwrap();
        assert_eq!(disk.sweep().unwrap(), 1);
        assert!(folder.path().join(INCOMING).join("young").exists());
    }
}
