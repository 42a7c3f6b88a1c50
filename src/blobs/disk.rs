//! Files in a folder of this machine.
//!
//! Unfinished files are in its subfolder `.incoming`, whose name begins with a dot and is therefore never served. A file is
//! moved to its place in one step when it is whole, so nobody ever reads half of one. It is on the disk before it gets its
//! name, and the name before anybody hears of it: no power cut takes what a message may refer to.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};

use super::reserve::Reserve;
use super::spool::{Spool, Spooled, Way, blocking};
use crate::error::AppError;
use crate::os;

/// The folder of unfinished files.
const INCOMING: &str = ".incoming";
/// An unfinished file as old as this was left by a crash: no upload lasts so long.
const LEFT_BEHIND: Duration = Duration::from_hours(24);

/// A folder of files.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    way: Way,
}

impl Disk {
    /// Files in `root`; none is begun or goes on while fewer than `free_bytes_min` bytes are free there.
    pub(super) fn new(root: PathBuf, free_bytes_min: u64) -> Self {
        Self { way: Way::new(Reserve::new(root.clone(), free_bytes_min)), root }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a file.
    pub async fn spool(&self) -> io::Result<Spool> {
        let (folder, way) = (self.root.join(INCOMING), self.way.clone());
        blocking(move || {
            way.reserve.check()?;
            let (file, path) = begin(&folder).map_err(at(&folder))?.into_parts();
            Ok(Spool::new(file, path, way))
        })
        .await
    }

    /// Begins a file and lets it vanish: whether files can come is to be known at the start, not from the first person who sends one.
    ///
    /// A full disk passes. Whoever sends a file hears of it, and the chat needs no room here.
    pub async fn try_out(&self) -> Result<(), AppError> {
        let folder = self.root.join(INCOMING);
        let shown = folder.display().to_string();
        match blocking(move || begin(&folder).map(drop)).await {
            Err(cause) if !matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(AppError::internal(format!(
                    "no file can be made in {shown} (key `public_dir`, QINGNIAO_PUBLIC_DIR): {cause}; it must be a folder of \
                     {}, as which this server runs",
                    os::user()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Moves a whole file to `key`, a relative path of safe parts. Never replaces a file. When this returns, the file and its
    /// name outlast a power cut.
    pub async fn keep(&self, blob: Spooled, key: &str) -> io::Result<()> {
        let (root, place) = (self.root.clone(), self.root.join(key));
        blob.settle().await.map_err(at(&place))?;
        blocking(move || put(blob.path, &root, &place).map_err(at(&place))).await
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
            let metadata = entry.metadata()?;
            // A clock that was set back makes a file seem to come from the future: it is young then.
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            // What is no file was not left by an upload.
            if metadata.is_file() && age >= LEFT_BEHIND {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// A new file in a folder, which is made if it is not there.
fn begin(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // As any other file: a web server in front may run as another user and serve the folder itself.
    if let Some(permissions) = os::for_everybody() {
        builder.permissions(permissions);
    }
    match builder.tempfile_in(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            builder.tempfile_in(folder)
        }
        file => file,
    }
}

/// Gives a file on the disk its name, and sees the name on the disk.
fn put(file: TempPath, root: &Path, place: &Path) -> io::Result<()> {
    let folder = place.parent().unwrap_or(root);
    let is_new = !folder.is_dir();
    if is_new {
        std::fs::create_dir_all(folder)?;
    }
    file.persist_noclobber(place).map_err(|failed| failed.error)?;
    let above = root.parent().filter(|parent| *parent != Path::new(""));
    let folders = folder.ancestors().take_while(|folder| folder.starts_with(root)).chain(above);
    folders.take(if is_new { usize::MAX } else { 1 }).try_for_each(os::sync_folder)
}

/// Says where: the system's own words do not.
fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |cause| io::Error::new(cause.kind(), format!("{} (key `public_dir`): {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unfinished_file_vanishes_and_a_whole_one_moves() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().join("uploads"), 0);
        let mut spool = disk.spool().await.unwrap();
        spool.write(b"half").await.unwrap();
        drop(spool);
        let mut spool = disk.spool().await.unwrap();
        spool.write(b"whole").await.unwrap();
        disk.keep(spool.finish().await.unwrap(), "a/b/c.txt").await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("uploads/.incoming")).unwrap().count(), 0);
        let place = folder.path().join("uploads/a/b/c.txt");
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
        if os::for_everybody().is_some() {
            let other = folder.path().join("other");
            std::fs::write(&other, "").unwrap();
            let [kept, other] = [place, other].map(|path| std::fs::metadata(path).unwrap().permissions());
            assert_eq!(kept, other, "a web server in front may serve it as any other file");
        }
    }

    #[tokio::test]
    async fn a_file_gets_its_name_only_when_the_disk_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned(), 0);
        let mut spool = disk.spool().await.unwrap();
        spool.write(b"small").await.unwrap();
        let blob = spool.finish().await.unwrap();
        let others = disk.way.taken().await;
        let mut kept = std::pin::pin!(disk.keep(blob, "x.txt"));
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, kept.as_mut()).await.is_err(), "others are on their way to the disk");
        assert!(!folder.path().join("x.txt").exists());
        drop(others);
        kept.await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("x.txt")).unwrap(), b"small");
    }

    #[tokio::test]
    async fn a_sender_is_no_faster_than_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned(), 0);
        let (mut large, mut small) = (disk.spool().await.unwrap(), disk.spool().await.unwrap());
        let others = disk.way.taken().await;
        small.write(&vec![7; 1024 * 1024]).await.unwrap();
        let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
        {
            let mut written = std::pin::pin!(large.write(&content));
            let soon = Duration::from_millis(200);
            assert!(tokio::time::timeout(soon, written.as_mut()).await.is_err(), "others are on their way to the disk");
            drop(others);
            written.await.unwrap();
        }
        let blob = large.finish().await.unwrap();
        assert_eq!((blob.len, std::fs::read(blob.path()).unwrap() == content), (5_000_000, true));
    }

    #[tokio::test]
    async fn nothing_is_ever_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned(), 0);
        for text in ["first", "second"] {
            let mut spool = disk.spool().await.unwrap();
            spool.write(text.as_bytes()).await.unwrap();
            let kept = disk.keep(spool.finish().await.unwrap(), "x.txt").await;
            assert_eq!(kept.is_ok(), text == "first");
        }
        assert_eq!(std::fs::read(folder.path().join("x.txt")).unwrap(), b"first");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_named_at_the_start_and_later() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().join("uploads"), u64::MAX);
        disk.try_out().await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("uploads/.incoming")).unwrap().count(), 0);
        let disk = Disk::new(folder.path().join("uploads"), 0);
        let spool = disk.spool().await.unwrap();
        std::fs::write(folder.path().join("uploads/Diy"), "no folder").unwrap();
        let failed = disk.keep(spool.finish().await.unwrap(), "Diy/x.txt").await.unwrap_err().to_string();
        assert!(failed.contains("Diy/x.txt (key `public_dir`)"), "{failed}");
        std::fs::remove_dir(folder.path().join("uploads/.incoming")).unwrap();
        std::fs::write(folder.path().join("uploads/.incoming"), "no folder").unwrap();
        let failed = disk.try_out().await.unwrap_err().for_log();
        assert!(failed.contains(".incoming (key `public_dir`, QINGNIAO_PUBLIC_DIR)"), "{failed}");
        let failed = disk.spool().await.unwrap_err().to_string();
        assert!(failed.contains(".incoming (key `public_dir`)"), "{failed}");
    }

    #[test]
    fn only_what_is_a_day_old_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned(), 0);
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

    /// As `lost+found`, where the folder is a disk of its own.
    #[test]
    fn a_folder_is_not_swept_and_stops_no_sweep() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().to_owned(), 0);
        let incoming = folder.path().join(INCOMING);
        std::fs::create_dir_all(incoming.join("lost+found")).unwrap();
        std::fs::write(incoming.join("old"), "x").unwrap();
        for name in ["lost+found", "old"] {
            // Windows opens no folder.
            if let Ok(old) = std::fs::File::options().write(name == "old").read(true).open(incoming.join(name)) {
                old.set_modified(std::time::SystemTime::now() - LEFT_BEHIND).unwrap();
            }
        }
        assert_eq!(disk.sweep().unwrap(), 1);
        assert!(incoming.join("lost+found").exists() && !incoming.join("old").exists());
    }
}
