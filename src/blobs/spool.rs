//! A file on its way in: it exists under a hidden name until it is whole, and vanishes if it never becomes so.
//!
//! What was written goes to the disk as it comes, a bounded part of all files together at a time. Left to the kernel, a few
//! seconds of uploads would gather in memory and then go at once, and each commit of a message would wait behind them.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use tempfile::TempPath;
use tokio::sync::Semaphore;

use super::reserve::Reserve;

/// Bytes gathered before the file is written to: a hop to a blocking thread for every few KiB would cost more than the write.
const BUFFER_BYTES: usize = 128 * 1024;
/// How much of the beginning is kept in memory, to tell the type by.
const HEAD_BYTES: usize = 8 * 1024;
/// Bytes of one file that gather in the system's memory before they go to the disk.
const PART_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes of all files that go to the disk at the same time: what a commit of messages may have to wait for.
const SETTLING_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// The way to the disk, which all files share.
#[derive(Clone, Debug)]
pub(super) struct Way {
    turns: Arc<Semaphore>,
    pub(super) reserve: Arc<Reserve>,
}

impl Way {
    pub(super) fn new(reserve: Reserve) -> Self {
        Self { turns: Arc::new(Semaphore::new(SETTLING_BYTES_MAX as usize)), reserve: Arc::new(reserve) }
    }

    /// Takes the whole way, so that every other file must wait.
    #[cfg(test)]
    pub(super) async fn taken(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.turns.clone().acquire_many_owned(SETTLING_BYTES_MAX).await.expect("the semaphore is never closed")
    }

    /// Waits until the disk has what was written of `file`, which is at most `bytes`.
    async fn settle(&self, file: Arc<File>, bytes: u32) -> io::Result<()> {
        let turns = self.turns.clone();
        let turn = turns.acquire_many_owned(bytes.min(SETTLING_BYTES_MAX)).await.map_err(io::Error::other)?;
        blocking(move || {
            let settled = file.sync_data();
            drop(turn);
            settled
        })
        .await
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    path: TempPath,
    way: Way,
    buffer: Vec<u8>,
    /// Bytes that were written and are not known to be on the disk.
    unsettled: u32,
    len: u64,
    head: Vec<u8>,
}

/// A file that is whole. Dropping it removes it.
#[derive(Debug)]
pub struct Spooled {
    file: Arc<File>,
    pub(super) path: TempPath,
    way: Way,
    unsettled: u32,
    /// Its length in bytes.
    pub len: u64,
    /// Its first bytes.
    pub head: Vec<u8>,
}

impl Spool {
    pub(super) fn new(file: File, path: TempPath, way: Way) -> Self {
        Self { file: Arc::new(file), path, way, buffer: Vec::new(), unsettled: 0, len: 0, head: Vec::new() }
    }

    /// Appends a chunk. Takes as long as the disk does, once enough has gathered.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..wanted]);
        self.len += chunk.len() as u64;
        let mut rest = chunk;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BUFFER_BYTES - self.buffer.len()));
            self.buffer.reserve_exact(if self.buffer.capacity() == 0 { BUFFER_BYTES } else { 0 });
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == BUFFER_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let (file, mut buffer) = (self.file.clone(), std::mem::take(&mut self.buffer));
        let bytes = u32::try_from(buffer.len()).map_err(io::Error::other)?;
        self.buffer = blocking(move || {
            (&*file).write_all(&buffer)?;
            buffer.clear();
            Ok(buffer)
        })
        .await?;
        self.unsettled += bytes;
        if self.unsettled >= PART_BYTES {
            self.way.settle(self.file.clone(), self.unsettled).await?;
            self.unsettled = 0;
            let reserve = self.way.reserve.clone();
            blocking(move || reserve.check()).await?;
        }
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
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        let Self { file, path, way, unsettled, len, head, .. } = self;
        Ok(Spooled { file, path, way, unsettled, len, head })
    }
}

impl Spooled {
    /// Where it is until it is kept.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Waits until all of it is on the disk.
    pub(super) async fn settle(&self) -> io::Result<()> {
        // Also when nothing is left: the length must be there.
        self.way.settle(self.file.clone(), self.unsettled.max(1)).await
    }
}

/// Runs file work where it may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
