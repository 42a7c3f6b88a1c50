//! `GET /public/**`: files of this server, with ranges, conditional requests and the right types.
//!
//! A request costs one hop to a blocking thread: the file is opened, looked at and, if small, read there. Uploads never
//! change, so they may be cached for ever; they are also not trusted, so whatever a browser could run is only saved by it.
//! Everything else below `public/` is the operator's own and is served as it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::Semaphore;
use tracing::warn;

use super::ffmpeg::NoCover;
use super::kinds::{self, Kind};
use super::places::Place;
use crate::accounts::auth::ClientAddress;
use crate::app::{App, Shared};
use crate::error::{AppError, Result};
use crate::http::conditional::{Answer, Preconditions};
use crate::http::network::{bounded_network, turn_of};
use crate::limits::Portion;

/// Up to here a file is read at once; larger ones are streamed.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a streamed file in memory.
const CHUNK_BYTES: usize = 64 * 1024;
/// Files that are read from at the same time, on behalf of everybody. Each read is followed by a write of as much to a socket:
/// hundreds of streams that are ready in one moment would keep everybody else waiting for tens of milliseconds.
pub(super) const READS_MAX: usize = 8;
/// Files that are streamed at the same time: each has a chunk in memory and a file open for as long as its reader takes.
pub(super) const STREAMS_MAX: usize = 2048;
/// The same, for one network.
pub(super) const STREAMS_BY_NETWORK_MAX: usize = 512;
/// So much of an upload says whether a browser might run it.
const HEAD_BYTES: usize = 512;
/// What the client asks OSS for, to make a poster of a video (contract: messaging 4.30b).
const SNAPSHOT: &str = "x-oss-process=video/snapshot,";

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// A file that was opened, and what of it is asked for.
struct Opened {
    answer: Answer,
    etag: String,
    modified: SystemTime,
    len: u64,
    /// It begins like a page, whatever its name says.
    markup: bool,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    Stream(File),
}

/// `GET /public/{*path}`
pub async fn serve(
    State(app): State<Shared>,
    ClientAddress(ip): ClientAddress,
    request: Request,
) -> Result<Response<Body>> {
    let uri = request.uri();
    let place = uri.path().strip_prefix("/public/").and_then(Place::parse).ok_or(AppError::NotFound)?;
    let preconditions = Preconditions::new(request.headers());
    if place.upload && uri.query().is_some_and(|query| query.contains(SNAPSHOT)) && is_video(&place) {
        let picture = poster(&app, &place, ip).await?;
        return reply(&app, ip, picture, preconditions, label("png", true)).await;
    }
    let path = app.config.public_dir.join(&place.relative);
    if !place.folder {
        return reply(&app, ip, path, preconditions, label(place.extension(), place.upload)).await;
    }
    // A folder of the operator's may have a page of its own, as an H5 client that is put there; uploads have none.
    if place.upload {
        return Err(AppError::NotFound);
    }
    reply(&app, ip, path.join("index.html"), preconditions, label("html", false)).await
}

fn is_video(place: &Place) -> bool {
    kinds::by_extension(place.extension()).is_some_and(|known| known.kind == Kind::Video)
}

async fn poster(app: &App, place: &Place, ip: IpAddr) -> Result<PathBuf> {
    // One at a time for each network: no token is needed, and ffmpeg is what all wait for.
    let turn = turn_of(&app.media.cover_turns_by_network, ip);
    app.media.covers.poster(&app.blobs.disk, place, turn).await.map_err(|cause| match cause {
        NoCover::Slow => AppError::busy(),
        NoCover::Io(cause) if cause.kind() == io::ErrorKind::NotFound => AppError::NotFound,
        NoCover::Io(cause) => {
            if app.media.told.posters.is_due() {
                warn!(%cause, "a poster could not be made (said once a minute)");
            }
            AppError::NotFound
        }
        NoCover::Refused(_) | NoCover::NoFfmpeg => AppError::NotFound,
    })
}

/// Headers that depend on what the file is.
struct Label {
    mime: HeaderValue,
    cache: HeaderValue,
    attachment: bool,
    upload: bool,
}

fn label(extension: &str, upload: bool) -> Label {
    if upload {
        // An extension that may not be uploaded now may be among imported files: it is saved, never shown.
        let known = kinds::by_extension(extension);
        let mime = known.map_or(kinds::OPAQUE, |known| known.mime);
        let attachment = !known.is_some_and(|known| known.inline);
        return Label { mime: HeaderValue::from_static(mime), cache: FOR_EVER, attachment, upload };
    }
    let guess = mime_guess::from_ext(extension).first_raw().unwrap_or(kinds::OPAQUE);
    let text = guess.starts_with("text/") || guess == "application/json" || guess.ends_with("javascript");
    let mime = if text { HeaderValue::try_from(format!("{guess}; charset=utf-8")).ok() } else { None };
    Label { mime: mime.unwrap_or(HeaderValue::from_static(guess)), cache: ASK_AGAIN, attachment: false, upload }
}

async fn reply(
    app: &App,
    ip: IpAddr,
    path: PathBuf,
    preconditions: Preconditions,
    mut label: Label,
) -> Result<Response<Body>> {
    let reads = &app.media.reads;
    let sniff = label.upload && !label.attachment;
    let opened = read(reads, move || open(&path, &preconditions, sniff)).await.map_err(|cause| refusal(app, &cause))?;
    let Opened { answer, etag, modified, len, markup, content } = opened;
    if markup {
        label.mime = HeaderValue::from_static(kinds::OPAQUE);
        label.attachment = true;
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let etag = HeaderValue::try_from(etag).map_err(AppError::internal)?;
    headers.insert(header::ETAG, etag);
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(modified)) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, label.cache);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_TYPE, label.mime);
    if label.attachment {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        // For web views that show attachments all the same.
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    }
    let (status, length) = match answer {
        Answer::Whole => (StatusCode::OK, len),
        Answer::Part { start, len: part } => {
            let range = format!("bytes {start}-{}/{len}", start + part - 1);
            headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range).map_err(AppError::internal)?);
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Answer::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Answer::Unsatisfiable => {
            let range = format!("bytes */{len}");
            headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range).map_err(AppError::internal)?);
            headers.remove(header::CONTENT_TYPE);
            // A cache would give the refusal to whoever asks for the file.
            headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(response);
        }
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *response.status_mut() = status;
    *response.body_mut() = match content {
        Content::Bytes(bytes) => Body::from(bytes),
        Content::Stream(file) => {
            let place = app.media.streams.take(bounded_network(ip), 1).ok_or_else(AppError::busy)?;
            stream(reads.clone(), place, file, length)
        }
    };
    Ok(response)
}

/// Runs `work`, which reads from a file, where it may wait for the disk, in its turn. The turn lasts until the caller goes on.
async fn read<T: Send + 'static>(
    reads: &Semaphore,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let _turn = reads.acquire().await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The next `len` bytes of a file, of which one chunk at a time is in memory. Holds its place until the last is taken.
fn stream(reads: Arc<Semaphore>, place: Portion<IpAddr>, file: File, len: u64) -> Body {
    Body::from_stream(stream::try_unfold((reads, place, file, len), async |(reads, place, mut file, left)| {
        if left == 0 {
            return Ok(None);
        }
        let work = move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let some = file.by_ref().take(left.min(CHUNK_BYTES as u64)).read_to_end(&mut chunk)? as u64;
            // Whoever serves the file has promised all of it.
            if some == 0 {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok((Bytes::from(chunk), file, left - some))
            }
        };
        let (chunk, file, left) = read(&reads, work).await?;
        io::Result::Ok(Some((chunk, (reads, place, file, left))))
    }))
}

/// Opens a file, decides what of it is wanted, and reads that if it is little. With `sniff` it looks at its beginning as well.
fn open(path: &Path, preconditions: &Preconditions, sniff: bool) -> io::Result<Opened> {
    // Looked at before it is opened: a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    let (len, modified) = (facts.len(), facts.modified()?);
    let mut head = [0; HEAD_BYTES];
    let begun = if sniff { file.read(&mut head)? } else { 0 };
    let markup = kinds::is_markup(&head[..begun]);
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let etag = format!("\"{len:x}-{nanos:x}\"");
    let answer = preconditions.answer(&etag, modified, len);
    let (start, wanted) = match answer {
        Answer::Whole => (0, len),
        Answer::Part { start, len } => (start, len),
        Answer::NotModified | Answer::Unsatisfiable => (0, 0),
    };
    if sniff || start > 0 {
        file.seek(SeekFrom::Start(start))?;
    }
    let content = if wanted > WHOLE_BYTES_MAX {
        Content::Stream(file)
    } else {
        let mut bytes = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
        file.read_exact(&mut bytes)?;
        Content::Bytes(bytes)
    };
    Ok(Opened { answer, etag, modified, len, markup, content })
}

/// What cannot be opened does not exist, as far as a client is concerned; a sick disk is another matter.
fn refusal(app: &App, cause: &io::Error) -> AppError {
    use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    match cause.kind() {
        NotFound | NotADirectory | IsADirectory | InvalidFilename | InvalidInput => AppError::NotFound,
        PermissionDenied => {
            if app.media.told.unreadable.is_due() {
                warn!(%cause, "a file below public/ may not be read by this server (said once a minute)");
            }
            AppError::NotFound
        }
        _ => AppError::internal(cause.to_string()),
    }
}
