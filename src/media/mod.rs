//! Media: uploads, the files under `/public`, covers of videos, and QR codes.
//!
//! Nothing here trusts a file: its name gives at most its extension, its kind is told from its content, what a browser
//! could run is always sent as an attachment, and ffmpeg sees only whole local files, in a cage.

mod covers;
pub mod describe;
mod ffmpeg;
mod form;
pub mod handlers;
pub mod kinds;
mod places;
mod public;
mod qrcode;
mod service;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
pub use public::serve;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::app;
use crate::cache::Fill;
use crate::config::Config;
use crate::error::Result;
use crate::ids::UserId;
use crate::limits::{Budget, Seldom, Shares};

/// What this feature keeps in memory.
#[derive(Debug)]
pub struct State {
    /// Uploads that are being received.
    uploads: Semaphore,
    uploads_max: usize,
    /// The same by person, so that nobody takes all the places.
    uploads_by_user: Shares<UserId>,
    uploads_by_network: Shares<IpAddr>,
    covers_by_user: Shares<UserId>,
    /// Of these one for each person that waits for ffmpeg: a video on which it hangs must not come nine times before others' first.
    cover_turns: Shares<UserId>,
    /// The same by network.
    cover_turns_by_network: Shares<IpAddr>,
    covers: covers::Covers,
    /// Turns to read from a file that is asked for.
    reads: Arc<Semaphore>,
    /// Places for files that are streamed.
    pub streams: Budget<IpAddr>,
    told: Told,
    /// Turns to draw a QR code, and those of each person.
    draws: Arc<Semaphore>,
    draws_by_user: Shares<UserId>,
    qr_codes: Cache<String, Bytes, qrcode::BySize>,
}

/// What strangers can have logged by the thousand.
#[derive(Debug, Default)]
struct Told {
    refused_covers: Seldom,
    slow_covers: Seldom,
    posters: Seldom,
    unreadable: Seldom,
}

impl State {
    /// Looks for ffmpeg and readies the limits.
    pub fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            uploads: Semaphore::new(config.uploads.parallel_max),
            uploads_max: config.uploads.parallel_max,
            uploads_by_user: Shares::new(service::UPLOADS_BY_USER_MAX),
            uploads_by_network: Shares::new(
                (config.uploads.parallel_max / service::UPLOADS_SHARE).max(service::UPLOADS_BY_USER_MAX),
            ),
            covers_by_user: Shares::new(service::COVERS_BY_USER_MAX),
            cover_turns: Shares::new(1),
            cover_turns_by_network: Shares::new(1),
            covers: covers::Covers::new(config)?,
            reads: Arc::new(Semaphore::new(public::READS_MAX)),
            streams: Budget::new(public::STREAMS_MAX, public::STREAMS_BY_NETWORK_MAX),
            told: Told::default(),
            draws: Arc::new(Semaphore::new(service::DRAWS_MAX)),
            draws_by_user: Shares::new(service::DRAWS_BY_USER_MAX),
            qr_codes: qrcode::cache(),
        })
    }

    /// How full the caches are.
    pub fn fills(&self) -> [Fill; 2] {
        [Fill::of("qr_codes", &self.qr_codes), self.covers.fill()]
    }

    /// Uploads that are being received, and how many may be.
    pub fn uploads(&self) -> (usize, usize) {
        (self.uploads_max - self.uploads.available_permits(), self.uploads_max)
    }

    /// The ffmpeg that makes covers, if there is one.
    pub fn ffmpeg(&self) -> Option<std::path::PathBuf> {
        self.covers.ffmpeg.path()
    }
}

/// Background work at a start: removes what a crash left, and fetches ffmpeg where that is allowed.
pub async fn start(app: app::Shared) {
    let disk = app.blobs.disk.clone();
    match tokio::task::spawn_blocking(move || disk.sweep()).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(count)) => tracing::info!("{count} unfinished uploads of an earlier run were removed"),
        Ok(Err(cause)) => tracing::warn!(%cause, "unfinished uploads of an earlier run could not be removed"),
    }
    #[cfg(feature = "ffmpeg-download")]
    if app.config.covers.ffmpeg_download && app.media.ffmpeg().is_none() {
        app.media.covers.ffmpeg.fetch(&app.config.data_dir).await;
    }
}
