//! Aliyun OSS with V4 signatures: one streaming PUT a file, with an end for every wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use tokio_util::io::ReaderStream;

use super::signature::{Signed, Signer, UNSIGNED, encoded_path, timestamp};
use super::{BucketAddress, Failure, Label, Spooled, http_client};
use crate::config::Oss;
use crate::error::Result;

/// Bytes read from the file for one write to the connection.
const CHUNK_BYTES: usize = 64 * 1024;
/// How much of OSS's words about a refusal is read, for the log.
const ANSWER_BYTES_MAX: usize = 4096;
/// What a browser is told of a file that it must not show.
const ATTACHMENT: &str = "attachment";

#[derive(Debug)]
pub(super) struct OssV4 {
    client: reqwest::Client,
    address: BucketAddress,
    settings: Oss,
    stall: Duration,
}

impl OssV4 {
    pub fn new(settings: &Oss) -> Result<Self> {
        let stall = Duration::from_secs(settings.timeout_s);
        Ok(Self {
            client: http_client(stall, None)?,
            address: BucketAddress::new(settings),
            settings: settings.clone(),
            stall,
        })
    }

    /// Sends a file and returns its public URL.
    pub async fn put(&self, blob: &Spooled, key: &str, label: Label, now_ms: i64) -> Result<String, Failure> {
        let file = tokio::fs::File::open(blob.path()).await?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let body = ReaderStream::with_capacity(file, CHUNK_BYTES).inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        });
        let request = self.request(blob.len, key, label, now_ms).body(reqwest::Body::wrap_stream(body));
        let answer = tokio::select! {
            answer = request.send() => answer.map_err(|cause| unreachable_or_slow(&cause))?,
            () = stalled(&sent, self.stall) => return Err(Failure::Slow),
        };
        if answer.status().is_success() {
            return Ok(format!("{}/{}", self.address.public, encoded_path(key)));
        }
        let words = tokio::time::timeout(self.stall, refusal(answer)).await;
        Err(Failure::Refused(words.map_err(|_| Failure::Slow)?))
    }

    fn request(&self, len: u64, key: &str, label: Label, now_ms: i64) -> reqwest::RequestBuilder {
        let date = timestamp(now_ms);
        let resource = format!("/{}/{key}", self.settings.bucket);
        let mut headers =
            vec![("content-type", label.mime), ("x-oss-content-sha256", UNSIGNED), ("x-oss-date", date.as_str())];
        let mut additional = Vec::new();
        if label.attachment {
            headers.push((CONTENT_DISPOSITION.as_str(), ATTACHMENT));
            additional.push(CONTENT_DISPOSITION.as_str());
        }
        let scheme = Signer {
            key_id: &self.settings.access_key_id,
            secret: &self.settings.access_key_secret,
            region: &self.settings.region,
        };
        let signed =
            Signed { method: "PUT", resource: &resource, query: &[], headers: &headers, additional: &additional };
        let authorization = scheme.authorization(&date, &signed);
        let mut request = self
            .client
            .put(format!("{}/{}", self.address.api, encoded_path(key)))
            .header(CONTENT_TYPE, label.mime)
            .header(CONTENT_LENGTH, len)
            .header("x-oss-content-sha256", UNSIGNED)
            .header("x-oss-date", &date)
            .header(AUTHORIZATION, authorization);
        if label.attachment {
            request = request.header(CONTENT_DISPOSITION, ATTACHMENT);
        }
        request
    }
}

/// Returns when nothing has been sent for between one and two times `stall`.
async fn stalled(sent: &AtomicU64, stall: Duration) {
    loop {
        let before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(stall).await;
        if sent.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

fn unreachable_or_slow(cause: &reqwest::Error) -> Failure {
    if cause.is_timeout() {
        return Failure::Slow;
    }
    let mut text = cause.to_string();
    let mut source = std::error::Error::source(cause);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    Failure::Unreachable(text)
}

/// Status, code and request id of a refusal, which is what Aliyun's support asks for.
async fn refusal(answer: reqwest::Response) -> String {
    let status = answer.status();
    let mut text = Vec::new();
    let mut body = answer.bytes_stream();
    while let Some(Ok(chunk)) = body.next().await {
        text.extend_from_slice(&chunk);
        if text.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let tag = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0)
    };
    let shown: Vec<_> = ["Code", "Message", "RequestId"].into_iter().filter_map(tag).collect();
    format!("{status} {}", shown.join("; "))
}
