//! Time as the rest of the crate sees it: epoch milliseconds from one injected source, and its two wire forms.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, FixedOffset, Utc};

/// One minute in the unit of this module.
pub const MINUTE_MS: i64 = 60_000;
/// One hour in the unit of this module.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in the unit of this module.
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// How long a row that is kept in memory is trusted: a change made behind this server's back shows after this.
const TRUSTED_MS: i64 = MINUTE_MS / 2;

/// Whether what was read at `read_ms` is still trusted; it is not if the clock has been set back behind that.
pub fn is_trusted(read_ms: i64, now_ms: i64) -> bool {
    (0..=TRUSTED_MS).contains(&(now_ms - read_ms))
}

/// Where `now` comes from: the system, or a test that moves it by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock for tests that stands at `now_ms`.
    pub fn manual(now_ms: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_ms)))
    }

    /// Epoch milliseconds.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => Utc::now().timestamp_millis(),
            Self::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Moves a manual clock by `by_ms` (backwards when negative); the system's clock cannot be moved.
    pub fn advance(&self, by_ms: i64) {
        if let Self::Manual(now) = self {
            now.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

/// `create_time` of rows: local time of the old server, `YYYY-MM-DD HH:mm:ss` in UTC+8 (contract: people §1).
pub fn local(ms: i64) -> String {
    instant(ms).with_timezone(&zone()).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Every other date of rows: ISO-8601 in UTC with milliseconds (contract: people §1).
pub fn iso(ms: i64) -> String {
    instant(ms).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// `toLocaleString` of the old server, in UTC+8: the time inside the texts of notices (contract: messaging §3).
pub fn spoken(ms: i64) -> String {
    instant(ms).with_timezone(&zone()).format("%-m/%-d/%Y, %-I:%M:%S %p").to_string()
}

/// Today's folder name for uploads, `YYYYMMDD` in UTC+8.
pub fn day_folder(ms: i64) -> String {
    local(ms)[..10].replace('-', "")
}

/// The old server's time zone.
fn zone() -> FixedOffset {
    FixedOffset::east_opt(8 * 3600).expect("eight hours are a valid offset")
}

fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_take_their_wire_forms() {
        assert_eq!(super::local(1_752_378_365_000), "2025-07-13 11:46:05");
        assert_eq!(super::iso(1_752_378_365_000), "2025-07-13T03:46:05.000Z");
        assert_eq!(super::day_folder(1_752_378_365_000), "20250713");
        assert_eq!(super::spoken(1_756_799_978_402), "9/2/2025, 3:59:38 PM");
        assert_eq!(super::spoken(1_752_336_005_000), "7/13/2025, 12:00:05 AM");
    }
}
