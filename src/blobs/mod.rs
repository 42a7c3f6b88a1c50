//! Where files are kept: on this machine's disk, or in an Aliyun OSS bucket. Knows nothing of chat.
//!
//! Every file first comes whole into a [`Spool`] on disk, so that a sender that goes away leaves nothing, a slow phone
//! never holds a connection to OSS open, and the length is known before the first byte leaves the machine.

mod disk;
mod oss;
#[cfg(feature = "oss-v1")]
mod oss_v1;
mod reserve;
pub mod signature;
mod spool;

use std::sync::Once;
use std::time::Duration;

pub use disk::Disk;
pub use spool::{Spool, Spooled};

use crate::config::{Config, OssSignature};
use crate::error::{AppError, Result};

/// How long the opening of a connection to another server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The stores of one server.
#[derive(Debug)]
pub struct Blobs {
    /// The folder that is served under `/public/uploads`.
    pub disk: Disk,
    bucket: Option<Bucket>,
}

#[derive(Debug)]
enum Bucket {
    V4(oss::OssV4),
    #[cfg(feature = "oss-v1")]
    V1(oss_v1::OssV1),
}

/// How a file is to be labelled where it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its media type.
    pub mime: &'static str,
    /// Whether a browser must save it instead of showing it.
    pub attachment: bool,
}

/// Where a file went.
#[derive(Debug)]
pub enum Kept {
    /// To the disk, under its key.
    Here,
    /// To a bucket, reachable at this URL.
    At(String),
}

/// Why a file was not kept. The cause has been logged where there is one to act on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The disk refused.
    #[error("the disk refused a file: {0}")]
    Disk(#[from] std::io::Error),
    /// OSS answered and said no.
    #[error("OSS refused a file: {0}")]
    Refused(String),
    /// OSS could not be reached, or the connection broke.
    #[error("OSS cannot be reached: {0}")]
    Unreachable(String),
    /// OSS took no byte, or gave no answer, for `oss.timeout_s`.
    #[error("OSS made no progress in time")]
    Slow,
}

impl Blobs {
    /// The stores that the configuration names.
    pub fn new(config: &Config) -> Result<Self> {
        let bucket = match (config.oss_enabled(), config.oss.signature) {
            (false, _) => None,
            (true, OssSignature::V4) => Some(Bucket::V4(oss::OssV4::new(&config.oss)?)),
            #[cfg(feature = "oss-v1")]
            (true, OssSignature::V1) => Some(Bucket::V1(oss_v1::OssV1::new(&config.oss))),
            #[cfg(not(feature = "oss-v1"))]
            (true, OssSignature::V1) => return Err(AppError::internal("the configuration check lets no v1 through")),
        };
        Ok(Self { disk: Disk::new(config.public_dir.join("uploads"), config.uploads.free_bytes_min), bucket })
    }

    /// Keeps a file under `key` in the bucket, or on the disk if there is no bucket.
    pub async fn put(&self, blob: Spooled, key: &str, label: Label, now_ms: i64) -> Result<Kept, Failure> {
        match &self.bucket {
            None => {
                self.disk.keep(blob, key).await?;
                Ok(Kept::Here)
            }
            Some(Bucket::V4(bucket)) => bucket.put(&blob, key, label, now_ms).await.map(Kept::At),
            #[cfg(feature = "oss-v1")]
            Some(Bucket::V1(bucket)) => bucket.put(&blob, key, label).await.map(Kept::At),
        }
    }
}

/// The addresses of a bucket, read from `[oss]`.
#[derive(Clone, Debug)]
pub struct BucketAddress {
    /// Where requests go, without a closing slash.
    pub api: String,
    /// What the URLs that are handed out begin with, without a closing slash.
    pub public: String,
}

impl BucketAddress {
    /// `<bucket>.<endpoint>`; an endpoint that is an address or `localhost` takes the bucket as the first part of the path,
    /// as in Aliyun's own SDKs.
    pub fn new(oss: &crate::config::Oss) -> Self {
        let (scheme, host) = oss.endpoint.split_once("://").unwrap_or(("https", &oss.endpoint));
        let (host, bucket) = (host.trim_end_matches('/'), &oss.bucket);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let numeric = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok();
        let (api, public) = if numeric {
            let base = format!("{scheme}://{host}/{bucket}");
            (base.clone(), base)
        } else {
            let host = host.strip_prefix(&format!("{bucket}.")).unwrap_or(host);
            // The internal name of an endpoint is of no use to phones, and the contract forces https.
            let open = host.replace("-internal.", ".");
            (format!("{scheme}://{bucket}.{host}"), format!("https://{bucket}.{open}"))
        };
        let public = if oss.public_url.is_empty() { public } else { oss.public_url.trim_end_matches('/').to_owned() };
        Self { api, public }
    }
}

/// A client for other servers: no redirects, no waiting for ever.
///
/// An answer may take `answer_max` from the request on, bodies that are sent included, and so may each part of it. Whoever sends a body
/// that takes its time gives none, and ends what does not go on.
pub fn http_client(connect_max: Duration, answer_max: Option<Duration>) -> Result<reqwest::Client> {
    static CRYPTO: Once = Once::new();
    // An error says that somebody has installed one already, which is as good.
    CRYPTO.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT.min(connect_max));
    let client = answer_max.into_iter().fold(client, reqwest::ClientBuilder::read_timeout);
    client.build().map_err(AppError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(endpoint: &str, public_url: &str) -> (String, String) {
        let mut oss = Config::defaults().oss;
        oss.endpoint = endpoint.to_owned();
        oss.public_url = public_url.to_owned();
        oss.bucket = "b".to_owned();
        let address = BucketAddress::new(&oss);
        (address.api, address.public)
    }

    #[test]
    fn a_bucket_has_one_address_for_the_server_and_one_for_phones() {
        let pair = |api: &str, public: &str| (api.to_owned(), public.to_owned());
        let plain = "https://b.oss-cn-hangzhou.aliyuncs.com";
        assert_eq!(address("oss-cn-hangzhou.aliyuncs.com", ""), pair(plain, plain));
        assert_eq!(address("https://b.oss-cn-hangzhou.aliyuncs.com/", ""), pair(plain, plain));
        assert_eq!(
            address("http://oss-cn-hangzhou-internal.aliyuncs.com", ""),
            pair("http://b.oss-cn-hangzhou-internal.aliyuncs.com", plain)
        );
        assert_eq!(
            address("oss-cn-hangzhou.aliyuncs.com", "https://cdn.example.com/"),
            pair(plain, "https://cdn.example.com")
        );
        assert_eq!(address("http://127.0.0.1:9", ""), pair("http://127.0.0.1:9/b", "http://127.0.0.1:9/b"));
        assert_eq!(address("http://[::1]:9", ""), pair("http://[::1]:9/b", "http://[::1]:9/b"));
    }
}
