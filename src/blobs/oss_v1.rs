//! Aliyun OSS with the old V1 signatures, through aliyun-oss-rust-sdk: for buckets made before September 2025.
//!
//! The crate takes a file as one buffer, opens a connection for each, never gives up by itself, and cannot send a
//! `Content-Disposition`; so few run at once, each with an end, and active content relies on OSS's own domains forcing a
//! download.

use std::time::Duration;

use aliyun_oss_rust_sdk::error::OssError;
use aliyun_oss_rust_sdk::oss::OSS;
use aliyun_oss_rust_sdk::request::RequestBuilder;
use tokio::sync::Semaphore;

use super::signature::encoded_path;
use super::{BucketAddress, Failure, Label, Spooled};
use crate::config::Oss;

/// Files in memory at once.
const PARALLEL_MAX: usize = 4;
/// The slowest connection that a file is given time for, beside `oss.timeout_s`.
const BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct OssV1 {
    sdk: OSS,
    address: BucketAddress,
    timeout: Duration,
    slots: Semaphore,
}

impl OssV1 {
    pub fn new(settings: &Oss) -> Self {
        let Oss { access_key_id, access_key_secret, endpoint, bucket, .. } = settings;
        Self {
            sdk: OSS::new(access_key_id, access_key_secret, endpoint, bucket),
            address: BucketAddress::new(settings),
            timeout: Duration::from_secs(settings.timeout_s),
            slots: Semaphore::new(PARALLEL_MAX),
        }
    }

    /// Sends a file and returns its public URL.
    pub async fn put(&self, blob: &Spooled, key: &str, label: Label) -> Result<String, Failure> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let bytes = tokio::fs::read(blob.path()).await?;
        // The address is given in the place of a CDN's: the only way to name a base of one's own.
        let request = RequestBuilder::new().with_content_type(label.mime).with_cdn(&self.address.api);
        let patience = self.timeout + Duration::from_secs(blob.len / BYTES_PER_SECOND_MIN);
        match tokio::time::timeout(patience, self.sdk.pub_object_from_buffer(key, &bytes, request)).await {
            Err(_) => Err(Failure::Slow),
            Ok(Err(OssError::RequestError(cause))) => Err(Failure::Unreachable(cause.to_string())),
            Ok(Err(cause)) => Err(Failure::Refused(cause.to_string())),
            Ok(Ok(())) => Ok(format!("{}/{}", self.address.public, encoded_path(key))),
        }
    }
}
