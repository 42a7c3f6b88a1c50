//! A file on its way in: it exists under a hidden name until it is whole, and vanishes if it never becomes so.

use std::io;

use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

/// Bytes gathered before the disk is asked: a hop to a blocking thread for every few KiB would cost more than the write.
const BUFFER_BYTES: usize = 64 * 1024;
/// How much of the beginning is kept in memory, to tell the type by.
const HEAD_BYTES: usize = 8 * 1024;

/// A file that is being written.
#[derive(Debug)]
pub struct Spool {
    // Before the path, so that the file is closed before its name is removed.
    file: BufWriter<File>,
    path: TempPath,
    len: u64,
    head: Vec<u8>,
}

/// A file that is whole. Dropping it removes it.
#[derive(Debug)]
pub struct Spooled {
    pub(super) path: TempPath,
    /// Its length in bytes.
    pub len: u64,
    /// Its first bytes.
    pub head: Vec<u8>,
}

impl Spool {
    pub(super) fn new(file: std::fs::File, path: TempPath) -> Self {
        Self { file: BufWriter::with_capacity(BUFFER_BYTES, File::from_std(file)), path, len: 0, head: Vec::new() }
    }

    /// Appends a chunk.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..wanted]);
        self.file.write_all(chunk).await?;
        self.len += chunk.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first bytes, once enough have come to tell the type by.
    pub fn head(&self) -> Option<&[u8]> {
        (self.head.len() == HEAD_BYTES).then_some(&*self.head)
    }

    /// Ends the file. A disk that filled up late says so here.
    pub async fn finish(mut self) -> io::Result<Spooled> {
        self.file.flush().await?;
        Ok(Spooled { path: self.path, len: self.len, head: self.head })
    }
}

impl Spooled {
    /// Where it is until it is kept.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}
