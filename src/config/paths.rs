//! Folders and files that only the server's user may look into, and what a path leads to.

use std::fs::{DirBuilder, File};
use std::path::{Component, Path, PathBuf};

use crate::os;

/// Makes a folder that nobody but this user may look into: it is for messages and secrets.
pub fn make_private(folder: &Path) -> std::io::Result<()> {
    os::private_folder(&mut DirBuilder::new()).recursive(true).create(folder)
}

/// Opens a file that nobody but this user may look into, and makes it if it is not there.
pub fn open_private(file: &Path) -> std::io::Result<File> {
    os::private_file(&mut File::options()).write(true).create(true).truncate(false).open(file)
}

/// The path from the root with links followed, as far as it is there.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let path = absolute(path);
    let real = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    real.and_then(|(above, real)| Some(real.join(path.strip_prefix(above).ok()?))).unwrap_or(path)
}

/// The path from the root, without `..`.
fn absolute(folder: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}
