//! Windows.

use std::fs::{DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use tokio::net::TcpSocket;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

use super::Free;

/// `FILE_SHARE_READ | FILE_SHARE_WRITE`: nobody may delete or rename the file while it is open.
const SHARE_READ_WRITE: u32 = 1 | 2;
/// `FILE_FLAG_BACKUP_SEMANTICS`: without it no folder is opened.
const FOLDERS_TOO: u32 = 0x0200_0000;
/// `WSAEMFILE`.
const OUT_OF_FILES: i32 = 10024;

/// Whose process this is, as the owner of its files has to be.
pub fn user() -> String {
    "the user".to_owned()
}

/// Who may look into a folder is what the folder above it says: below a user's own, that user.
pub fn private_folder(folder: &mut DirBuilder) -> &mut DirBuilder {
    folder
}

/// As with a folder. The file stays where it is while it is open.
pub fn private_file(file: &mut OpenOptions) -> &mut OpenOptions {
    file.share_mode(SHARE_READ_WRITE)
}

/// The folder's own.
pub fn for_everybody() -> Option<Permissions> {
    None
}

/// The same for all: neither SQLite's file nor one of [`private_file`] can be replaced while it is open.
pub fn file_id(_: &Metadata) -> u64 {
    0
}

/// What the disk of a folder has left.
pub fn free(folder: &Path) -> io::Result<Free> {
    Ok(Free { bytes: fs4::available_space(folder)?, files: None })
}

/// Sees the names in a folder on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).write(true).custom_flags(FOLDERS_TOO).open(folder)?.sync_all()
}

/// Whether a part of a path, which has no slash and no backslash, names nothing but a file or folder of this name. Others name a
/// disk (`C:`), a stream of a file (`a:b`), a device (`NUL`, `con.txt`), the file without what they end with (`a.`, `a `), or one with
/// another, longer name (`HTPASS~1`).
pub fn is_plain_name(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end_matches(' ').to_ascii_uppercase();
    let numbered = |device| {
        let number = stem.strip_prefix(device).map(|number| number.chars().collect::<Vec<_>>());
        matches!(number.as_deref(), Some(['0'..='9' | '¹' | '²' | '³']))
    };
    let is_device =
        matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT");
    let is_short = part.split('~').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    !is_device && !is_short && !part.contains([':', '<', '>', '"', '|', '?', '*']) && !part.ends_with(['.', ' '])
}

/// Nothing to raise: Windows has no bound that matters.
pub fn raise_open_files() -> (Option<u64>, io::Result<()>) {
    (None, Ok(()))
}

/// What fails when no more connections can be opened.
pub fn out_of_files() -> io::Error {
    io::Error::from_raw_os_error(OUT_OF_FILES)
}

/// Nothing: connections that are still ending keep no port here, and to reuse one means to share it with another server.
pub fn keep_port(_: &TcpSocket) -> io::Result<()> {
    Ok(())
}

/// Whether a terminal understands colours: older ones show their escapes.
pub const fn has_colours() -> bool {
    false
}

/// What stops the server: Ctrl-C, Ctrl-Break, the end of its window, and that of the system.
#[derive(Debug)]
pub struct Signals {
    c: CtrlC,
    pause: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { c: ctrl_c()?, pause: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.c.recv() => {}
            _ = self.pause.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_something_else_is_not_plain() {
        for plain in ["1 中.PNG", "a.b.c", "console", "COM10", "nul-and-void.txt", "a b", "COMx", "lpt", "~x"] {
            assert!(is_plain_name(plain), "{plain}");
        }
        for other in [
            "C:",
            "c:x",
            "a:b",
            "x::$DATA",
            "NUL",
            "nul.txt",
            "Con",
            "aux .png",
            "com1",
            "LPT9.tar.gz",
            "COM²",
            "conin$",
            "a.",
            "a ",
            "uploads.",
            "uploads ",
            "uploads. .",
            "a?",
            "a*b",
            "a|b",
            "<a",
            "a\"b",
            "b>",
            "GIT~1",
            "a~b~2.txt",
        ] {
            assert!(!is_plain_name(other), "{other}");
        }
    }
}
