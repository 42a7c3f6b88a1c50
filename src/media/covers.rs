//! Covers of videos that this server has, or that are on hosts it may ask. ffmpeg sees only whole files on this disk: what is
//! elsewhere is fetched first, within bounds.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use percent_encoding::percent_decode_str;
use quick_cache::sync::Cache;
use reqwest::Url;
use tokio::sync::Semaphore;
use tracing::info;

use super::ffmpeg::{Ffmpeg, Format, NoCover, Shot};
use super::places::Place;
use crate::blobs::{BucketAddress, Disk, Spooled, http_client};
use crate::cache::Fill;
use crate::config::Config;
use crate::error::{AppError, Result};

/// Videos fetched from other hosts at once.
const FETCHES_MAX: usize = 4;
/// A fetch may take so many times what a host may be silent.
const FETCH_TIMEOUTS: u32 = 3;
/// Videos whose poster is known to exist, or to be impossible.
const POSTERS_MAX: usize = 10_000;
/// How long a video that had no poster is not tried again: the next one may find a machine that is less busy.
const POSTER_RETRY: Duration = Duration::from_mins(10);
/// How long a poster may wait for its turn.
const POSTER_PATIENCE: Duration = Duration::from_mins(1);

/// The frame that the client asks OSS for (`x-oss-process=video/snapshot,t_20,m_fast,w_260,f_png`).
const POSTER: Shot = Shot { at_ms: 20.0, width: Some(260), format: Format::Png };

/// Makes covers.
#[derive(Debug)]
pub struct Covers {
    /// The program.
    pub ffmpeg: Ffmpeg,
    origins: Vec<Url>,
    client: Option<reqwest::Client>,
    fetches: Semaphore,
    fetch_max: Duration,
    posters: Cache<PathBuf, Poster>,
}

/// What is known of a video's poster.
#[derive(Clone, Copy, Debug)]
enum Poster {
    Kept,
    FailedAt(Instant),
}

impl Covers {
    /// Reads which hosts may be asked, and looks for ffmpeg.
    pub fn new(config: &Config) -> Result<Self> {
        let origins = origins(config)?;
        let stall = Duration::from_secs(config.covers.timeout_s);
        Ok(Self {
            ffmpeg: Ffmpeg::new(config),
            client: if origins.is_empty() { None } else { Some(http_client(stall, Some(stall))?) },
            origins,
            fetches: Semaphore::new(FETCHES_MAX),
            fetch_max: FETCH_TIMEOUTS * stall,
            posters: Cache::new(POSTERS_MAX),
        })
    }

    /// How full the cache of posters is.
    pub fn fill(&self) -> Fill {
        Fill::of("posters", &self.posters)
    }

    /// The same address as it may be asked for, if its host is one that may be.
    pub fn allowed(&self, url: &Url) -> Option<Url> {
        let fits = |known: &&Url| {
            let below = known.path() == "/" || url.path().starts_with(known.path()) && !climbs(url.path());
            known.host() == url.host() && known.port() == url.port() && below
        };
        let known = self.origins.iter().find(fits)?;
        let mut url = url.clone();
        // The scheme is the operator's, not the caller's.
        url.set_scheme(known.scheme()).ok()?;
        (url.username().is_empty() && url.password().is_none()).then_some(url)
    }

    /// Fetches a video of an allowed host, of at most `bytes_max`.
    pub async fn fetch_video(&self, url: Url, disk: &Disk, bytes_max: u64) -> Result<Spooled, NoCover> {
        let _slot = self.fetches.acquire().await.expect("the semaphore is never closed");
        let fetched = tokio::time::timeout(self.fetch_max, self.fetch(url, disk, bytes_max)).await;
        fetched.unwrap_or_else(|_| Err(NoCover::Refused("the video takes too long to fetch".to_owned())))
    }

    async fn fetch(&self, url: Url, disk: &Disk, bytes_max: u64) -> Result<Spooled, NoCover> {
        let client = self.client.as_ref().expect("there is a client where there are allowed hosts");
        let failed = |cause: reqwest::Error| NoCover::Refused(format!("the video cannot be fetched: {cause}"));
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        if !answer.status().is_success() || answer.content_length().is_some_and(|len| len > bytes_max) {
            return Err(NoCover::Refused("the video is too large, or elsewhere".to_owned()));
        }
        let mut spool = disk.spool().await?;
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.next().await {
            spool.write(&chunk.map_err(failed)?).await?;
            if spool.len() > bytes_max {
                return Err(NoCover::Refused("the video is too large".to_owned()));
            }
        }
        Ok(spool.finish().await?)
    }

    /// The picture that stands for an uploaded video, made when it is first asked for and kept beside it under a hidden
    /// name. The answer to OSS's `video/snapshot` where there is no OSS (decision 24).
    ///
    /// Many ask at once when a video appears in a group: one of them makes it, when its `turn` has come.
    pub async fn poster<T>(
        &self,
        disk: &Disk,
        place: &Place,
        turn: impl Future<Output = T>,
    ) -> Result<PathBuf, NoCover> {
        let below: PathBuf = place.relative.iter().skip(1).collect();
        let key = below.with_file_name(format!(".{}.png", place.name));
        let picture = disk.root().join(&key);
        let make = async {
            if tokio::fs::try_exists(&picture).await? {
                return Ok(Poster::Kept);
            }
            let video = disk.root().join(&below);
            // Asked first: made-up names must not keep ffmpeg busy.
            if !tokio::fs::metadata(&video).await?.is_file() {
                return Err(NoCover::Io(ErrorKind::NotFound.into()));
            }
            let _turn = turn.await;
            let bytes = match self.ffmpeg.shoot(&video, &POSTER).await {
                Ok(bytes) => bytes,
                // Not tried again soon: an endless queue of the same hopeless video would keep all others waiting.
                Err(cause @ (NoCover::Refused(_) | NoCover::Slow)) => {
                    // As a literal, as the words of a cover that could not be made.
                    info!(cause = ?cause.to_string(), "a video has no poster");
                    return Ok(Poster::FailedAt(Instant::now()));
                }
                Err(cause) => return Err(cause),
            };
            let mut spool = disk.spool().await?;
            spool.write(&bytes).await?;
            match disk.keep(spool.finish().await?, &key.to_string_lossy()).await {
                Err(cause) if cause.kind() != ErrorKind::AlreadyExists => Err(cause.into()),
                _ => Ok(Poster::Kept),
            }
        };
        if let Some(Poster::FailedAt(at)) = self.posters.peek(&below)
            && at.elapsed() >= POSTER_RETRY
        {
            self.posters.remove(&below);
        }
        let outcome = tokio::time::timeout(POSTER_PATIENCE, self.posters.get_or_insert_async(&below, make));
        match outcome.await.map_err(|_| NoCover::Slow)?? {
            Poster::Kept => Ok(picture),
            Poster::FailedAt(_) => Err(NoCover::Refused("this video has no poster".to_owned())),
        }
    }
}

/// Whether a server that decodes a path before it resolves it would find a way up in it. What needs no decoding is resolved by then.
fn climbs(path: &str) -> bool {
    let decoded = percent_decode_str(path).collect::<Vec<u8>>();
    decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| {
        // What is behind a semicolon is a parameter to some.
        let name = part.split(|byte| *byte == b';').next();
        matches!(name, Some(b"." | b".."))
    })
}

/// Whose videos may be read: the bucket's and those of `covers.hosts`.
fn origins(config: &Config) -> Result<Vec<Url>> {
    let mut bases = Vec::new();
    if config.oss_enabled() {
        let address = BucketAddress::new(&config.oss);
        bases.extend([address.public, address.api]);
    }
    for host in &config.covers.hosts {
        let scheme = if host.contains("://") { "" } else { "https://" };
        bases.push(format!("{scheme}{host}"));
    }
    let parse = |base: &String| {
        let url = Url::parse(&format!("{}/", base.trim_end_matches('/'))).ok();
        url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            AppError::internal(format!("`{base}` is no host (keys covers.hosts, oss.endpoint, oss.public_url)"))
        })
    };
    bases.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(hosts: &[&str]) -> Covers {
        let mut config = Config::defaults();
        config.covers.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Covers::new(&config).unwrap()
    }

    #[test]
    fn only_named_hosts_are_asked_and_only_by_the_operators_scheme() {
        let covers = covers(&["videos.example.com", "http://10.0.0.5:9000/media"]);
        let of = |url: &str| covers.allowed(&Url::parse(url).unwrap()).map(String::from);
        assert_eq!(of("http://videos.example.com/a.mp4?x=1").unwrap(), "https://videos.example.com/a.mp4?x=1");
        assert_eq!(of("http://10.0.0.5:9000/media/a.mp4").unwrap(), "http://10.0.0.5:9000/media/a.mp4");
        assert!(covers.allowed(&Url::parse("http://10.0.0.5:9000/media/a..b%2fc.mp4").unwrap()).is_some());
        for bad in [
            "https://example.com/a.mp4",
            "http://10.0.0.5:9000/media/../secret/v.mp4",
            "http://10.0.0.5:9000/media/%2e%2E/secret/v.mp4",
            "http://10.0.0.5:9000/media/..%2fsecret/v.mp4",
            "http://10.0.0.5:9000/media/%2e%2e%2Fsecret/v.mp4",
            "http://10.0.0.5:9000/media/..;/secret/v.mp4",
            "http://10.0.0.5:9000/media/a%5c..%5c..%5csecret/v.mp4",
            "https://videos.example.com.evil.com/a.mp4",
            "https://videos.example.com:8443/a.mp4",
            "https://videos.example.com@evil.com/a.mp4",
            "https://evil@videos.example.com/a.mp4",
            "http://10.0.0.5:9000/media2/a.mp4",
            "http://10.0.0.5:9000/media/../a.mp4",
            "file:///etc/passwd",
            "data:video/mp4,x",
            "concat:a|b",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_that_is_none_stops_the_start() {
        let mut config = Config::defaults();
        config.covers.hosts = vec!["no host".to_owned()];
        assert!(format!("{:?}", Covers::new(&config).unwrap_err()).contains("covers.hosts"));
    }
}
