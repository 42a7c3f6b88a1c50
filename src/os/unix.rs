//! Linux and macOS.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::statvfs;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tokio::net::TcpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Free;

/// What macOS takes where it says that there is no bound on open files and refuses to have none.
const OPEN_FILES: u64 = 10_240;

/// Whose process this is, as the owner of its files has to be.
pub fn user() -> String {
    format!("the user whose id is {}", geteuid())
}

/// Only this user may look into the folder that is made.
pub fn private_folder(folder: &mut DirBuilder) -> &mut DirBuilder {
    folder.mode(0o700)
}

/// Only this user may look into the file if it is made.
pub fn private_file(file: &mut OpenOptions) -> &mut OpenOptions {
    file.mode(0o600)
}

/// The rights of a file that others may read, as far as the process's mask lets them.
pub fn for_everybody() -> Option<Permissions> {
    Some(Permissions::from_mode(0o666))
}

/// Tells a file from another that has taken its place on the same disk.
pub fn file_id(file: &Metadata) -> u64 {
    file.ino()
}

/// What the disk of a folder has left. Takes microseconds: the system knows without asking the disk.
pub fn free(folder: &Path) -> io::Result<Free> {
    let facts = statvfs(folder)?;
    // A disk without a bound on files says 0.
    let files = (facts.f_files > 0).then_some(facts.f_favail);
    Ok(Free { bytes: facts.f_bavail.saturating_mul(facts.f_frsize), files })
}

/// Sees the names in a folder on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a part of a path, which has no slash and no backslash, names nothing but a file or folder of this name. The older file
/// system of Macs passes over invisible characters.
pub fn is_plain_name(part: &str) -> bool {
    let is_passed_over =
        |c| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    !(cfg!(target_vendor = "apple") && part.contains(is_passed_over))
}

/// Takes as many open files as the system allows this process. How many that is, if there is a bound, and whether more could be had.
pub fn raise_open_files() -> (Option<u64>, io::Result<()>) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raise_to = |current| setrlimit(Resource::Nofile, Rlimit { current, maximum });
    let mut raised = raise_to(maximum);
    if raised.is_err() && maximum.is_none() {
        raised = raise_to(current.map(|current| current.max(OPEN_FILES)));
    }
    (getrlimit(Resource::Nofile).current, raised.map_err(io::Error::from))
}

/// What fails when no more files or connections can be opened.
pub fn out_of_files() -> io::Error {
    Errno::MFILE.into()
}

/// Lets a server that starts again have its port although connections of the one before are still ending.
pub fn keep_port(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseaddr(true)
}

/// Whether a terminal understands colours.
pub const fn has_colours() -> bool {
    true
}

/// The signals that stop the server.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
