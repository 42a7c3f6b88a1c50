//! The first file of a multipart body, streamed to disk (contract: messaging 4.30a, 4.30b).
//!
//! Memory does not grow with the file, nor with a body that is made to be awkward: what is not the file has a bound of its
//! own, and the parser is fed one chunk at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::Stream;
use percent_encoding::percent_decode_str;
use tokio::time::{Instant, timeout_at};

use super::kinds::{self, FileType, Kind};
use crate::app::App;
use crate::blobs::Spooled;
use crate::config;
use crate::error::{AppError, Result};
use crate::http::pace::Pace;
use crate::http::payload::{content_type, malformed};

/// Most bytes of a body that are not the file: text fields and the headers of parts.
const FIELDS_BYTES_MAX: u64 = 256 * 1024;
/// How much of a refused name is shown again.
const NAME_SHOWN_MAX: usize = 255;

const NOT_MULTIPART: AppError = AppError::refused("Content-Type must be multipart/*");
const NO_FILE: AppError = AppError::refused("Can't found upload file");
const STALLED: AppError = AppError::refused("上传超时，请重试");

fn too_large() -> AppError {
    AppError::TooLarge("Request file too large, please check multipart config".into())
}

/// A file that has come whole.
#[derive(Debug)]
pub struct Upload {
    /// The file.
    pub blob: Spooled,
    /// What its content and name say.
    pub file_type: FileType,
}

/// Receives the first file of the body; text fields before it are skipped, what follows is not looked at.
///
/// With `field` the file must be in the field of that name.
pub async fn receive(app: &App, request: Request, field: Option<&str>) -> Result<Upload> {
    let limits = &app.config.uploads;
    if !content_type(request.headers()).starts_with("multipart/") {
        return Err(NOT_MULTIPART);
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > largest(limits) + FIELDS_BYTES_MAX) {
        return Err(too_large());
    }
    let allowance = Arc::new(AtomicU64::new(FIELDS_BYTES_MAX));
    let metered = allowance.clone();
    let mut request = request.map(|body| Body::from_stream(Metered::new(body, metered)));
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed())?;
    // All that comes before the file is small.
    let file_due = Instant::now() + Duration::from_secs(limits.stall_timeout_s);
    loop {
        let part = timeout_at(file_due, form.next_field())
            .await
            .map_err(|_| STALLED)?
            .map_err(|cause| broken(&cause))?
            .ok_or(NO_FILE)?;
        let Some(name) = file_name(part.headers()) else { continue };
        if name.is_empty() {
            return Err(NO_FILE);
        }
        if let Some(wanted) = field {
            check_field(wanted, part.name().unwrap_or_default())?;
        }
        let claimed = kinds::by_name(&name).ok_or_else(|| invalid_name(&name))?;
        allowance.store(largest(limits) + FIELDS_BYTES_MAX, Ordering::Relaxed);
        return spool(app, part, claimed).await;
    }
}

/// Writes the part to disk. The kind is known as soon as enough has come, and with it the limit.
async fn spool(app: &App, mut part: Field<'_>, claimed: &FileType) -> Result<Upload> {
    let limits = &app.config.uploads;
    let stall = Duration::from_secs(limits.stall_timeout_s);
    let mut spool = app.blobs.disk.spool().await.map_err(AppError::internal)?;
    let mut bytes_max = largest(limits);
    let mut known = false;
    let mut pace = Pace::new(stall, Instant::now());
    while let Some(chunk) =
        timeout_at(pace.due(), part.chunk()).await.map_err(|_| STALLED)?.map_err(|cause| broken(&cause))?
    {
        let began = Instant::now();
        pace.moved(chunk.len(), began);
        spool.write(&chunk).await.map_err(AppError::internal)?;
        pace.excused(began.elapsed());
        if let (false, Some(head)) = (known, spool.head()) {
            bytes_max = kinds::of_content(head, claimed).kind.bytes_max(limits);
            known = true;
        }
        if spool.len() > bytes_max {
            return Err(too_large());
        }
    }
    let blob = spool.finish().await.map_err(AppError::internal)?;
    let file_type = kinds::of_content(&blob.head, claimed);
    // A file that ended before its kind was known.
    if blob.len > file_type.kind.bytes_max(limits) {
        return Err(too_large());
    }
    Ok(Upload { blob, file_type })
}

fn largest(limits: &config::Uploads) -> u64 {
    let kinds = [Kind::Image, Kind::Audio, Kind::Video, Kind::Other];
    kinds.iter().map(|kind| kind.bytes_max(limits)).max().unwrap_or_default()
}

fn check_field(wanted: &str, got: &str) -> Result<()> {
    if wanted == got {
        return Ok(());
    }
    Err(AppError::Refused(format!("Expected field '{wanted}', but got '{}'", shown(got)).into()))
}

fn invalid_name(name: &str) -> AppError {
    AppError::Refused(format!("Invalid filename: {}", shown(name)).into())
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN_MAX).collect()
}

/// The file name of a part: `None` for a text field. Read here because the parser takes a name that is not UTF-8, as older
/// phones send it, for no name.
fn file_name(headers: &HeaderMap) -> Option<String> {
    let disposition = headers.get(header::CONTENT_DISPOSITION)?;
    let text = String::from_utf8_lossy(disposition.as_bytes());
    // Lower case once, which moves no byte: a header as long as a body may be must not take time by its square.
    let lower = text.to_ascii_lowercase();
    let value_of = |parameter_name: &str| {
        lower.match_indices(parameter_name).find_map(|(at, word)| {
            let starts = text[..at].ends_with([';', ' ', '\t']);
            let value = text[at + word.len()..].trim_start().strip_prefix('=').filter(|_| starts)?;
            Some(parameter(value.trim_start()))
        })
    };
    value_of("filename").or_else(|| value_of("filename*").map(|value| extended(&value)))
}

/// The value of a parameter with a star, `UTF-8'zh'%E4%B8%AD.png` (RFC 5987).
fn extended(value: &str) -> String {
    let encoded = value.splitn(3, '\'').nth(2).unwrap_or(value);
    percent_decode_str(encoded).decode_utf8_lossy().into_owned()
}

/// A parameter's value: in quotes, where a backslash guards the next character only if that is a quote, or plain.
fn parameter(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else {
        return value.split([';', ' ']).next().unwrap_or_default().to_owned();
    };
    let mut name = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' if characters.peek() == Some(&'"') => name.extend(characters.next()),
            _ => name.push(character),
        }
    }
    name
}

/// What a body that cannot be read further is answered with.
fn broken(cause: &MultipartError) -> AppError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(inner) = source {
        if inner.is::<Exhausted>() {
            return too_large();
        }
        source = inner.source();
    }
    malformed()
}

/// The body has more bytes than it may.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than allowed")]
struct Exhausted;

/// A body with an allowance, handed out one chunk at a time: the parser would otherwise take in all that has arrived, and
/// keep it, before it looks at any.
struct Metered {
    body: BodyDataStream,
    allowance: Arc<AtomicU64>,
    rests: bool,
}

impl Metered {
    fn new(body: Body, allowance: Arc<AtomicU64>) -> Self {
        Self { body: body.into_data_stream(), allowance, rests: false }
    }
}

impl Stream for Metered {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(chunk) = ready!(Pin::new(&mut self.body).poll_next(cx)) else { return Poll::Ready(None) };
        self.rests = true;
        let chunk = chunk?;
        let left = self.allowance.load(Ordering::Relaxed).checked_sub(chunk.len() as u64);
        let Some(left) = left else { return Poll::Ready(Some(Err(Exhausted.into()))) };
        self.allowance.store(left, Ordering::Relaxed);
        Poll::Ready(Some(Ok(chunk)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(disposition: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_DISPOSITION, header::HeaderValue::from_bytes(disposition).unwrap());
        file_name(&headers)
    }

    #[test]
    fn file_names_are_read_in_every_spelling() {
        assert_eq!(name(b"form-data; name=\"file\"; filename=\"a b.png\"").unwrap(), "a b.png");
        assert_eq!(name(b"form-data; name=x; filename=a.png").unwrap(), "a.png");
        assert_eq!(name(b"form-data; FileName = \"a;\\\"b\\\\.png\"; name=\"x\"").unwrap(), "a;\"b\\\\.png");
        assert_eq!(name(b"form-data; filename*=UTF-8''b.png; filename=\"a.png\"").unwrap(), "a.png");
        assert_eq!(name(b"form-data; filename*=utf-8'zh'%E4%B8%AD%27.png; name=x").unwrap(), "中'.png");
        assert_eq!(name(b"form-data; filename*=%zz.png").unwrap(), "%zz.png");
        assert_eq!(name("form-data; filename=\"照片.png\"".as_bytes()).unwrap(), "照片.png");
        // GBK, which is not UTF-8.
        assert_eq!(name(b"form-data; filename=\"\xd5\xc6.png\"").unwrap(), "\u{fffd}\u{fffd}.png");
        assert_eq!(name(b"form-data; name=\"filename\""), None);
        assert_eq!(name(b"form-data; name=\"token\""), None);
        assert_eq!(name(b"form-data; name=\"x\"; filename=\"\"").unwrap(), "");
    }

    #[test]
    fn a_header_made_to_be_awkward_takes_no_time() {
        let began = std::time::Instant::now();
        assert_eq!(name(&b"filename".repeat(32 * 1024)), None);
        assert_eq!(name(&b" filename".repeat(28 * 1024)), None);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
