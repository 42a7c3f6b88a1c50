//! The client's signature over its device and time (contract: people §2).

use sha2::{Digest, Sha256};

use crate::accounts::passwords::hex;
use crate::clock::MINUTE_MS;
use crate::error::{AppError, Result};

/// How far a signed time may lie in the past or in the future (decision 13).
const SKEW_MAX_MS: i64 = 5 * MINUTE_MS;

/// What the three visitor calls sign.
#[derive(Clone, Debug)]
pub struct Signed {
    /// `X-Security-Sign`.
    pub sign: String,
    /// The device's id.
    pub device_id: String,
    /// Epoch milliseconds, by the client's clock.
    pub timestamp: i64,
}

impl Signed {
    /// Checks signature, time and device, in the contract's order.
    pub fn check(&self, salt: &str, now_ms: i64) -> Result<()> {
        if self.sign != sign(&self.device_id, self.timestamp, salt) {
            return Err(AppError::refused("非法签名"));
        }
        if now_ms.saturating_sub(self.timestamp).saturating_abs() > SKEW_MAX_MS {
            return Err(AppError::refused("请求已过期"));
        }
        let is_id = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if self.device_id.len() != 36 || !self.device_id.bytes().all(is_id) {
            return Err(AppError::refused("无效标识"));
        }
        Ok(())
    }
}

/// The signature: SHA-256 in hex over the sorted fields and a literal suffix.
pub fn sign(device_id: &str, timestamp: i64, salt: &str) -> String {
    hex(&Sha256::digest(format!("deviceId={device_id}&salt={salt}&timestamp={timestamp}APP_SECRET")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "45ncashdaksh2!#@3nxjdas*_259";

    #[test]
    fn the_signature_matches_the_contract_s_vector() {
        let signature = sign("8d1a344c-bf16-5425-adbc-d12f49cfa332", 1_752_835_449_008, SALT);
        assert_eq!(signature, "a5b40139b65b13cf214d05c27dece58ebe840d888b12272f0ccd15ea72e68998");
    }

    #[test]
    fn time_is_checked_in_both_directions_and_the_device_last() {
        let check = |device: &str, timestamp, now| {
            let signed = Signed { sign: sign(device, timestamp, SALT), device_id: device.to_owned(), timestamp };
            signed.check(SALT, now).map_err(|refused| refused.to_string())
        };
        let stale = || Err("请求已过期".to_owned());
        let device = "8d1a344c-bf16-5425-adbc-d12f49cfa332";
        assert_eq!(check(device, 1_000_000, 1_300_000), Ok(()));
        assert_eq!(check(device, 1_000_000, 1_300_001), stale());
        assert_eq!(check(device, 1_300_001, 1_000_000), stale());
        assert_eq!(check(device, i64::MIN, 1_000_000), stale());
        assert_eq!(check("fallback-8d1a344c-bf16-5425-adbc-d12f49cfa332", 5, 5), Err("无效标识".to_owned()));
    }
}
