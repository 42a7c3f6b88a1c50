//! Conditional and range requests (RFC 9110 §13, §14) for representations that have a strong ETag.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, header};

/// What a GET asks of a representation that it may already have in part or whole.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    none_match: Option<String>,
    modified_since: Option<SystemTime>,
    range: Option<String>,
    if_range: Option<String>,
}

/// What is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 with everything.
    Whole,
    /// 206 with `len` bytes from `start`.
    Part {
        /// First byte.
        start: u64,
        /// How many; at least one.
        len: u64,
    },
    /// 304.
    NotModified,
    /// 416.
    Unsatisfiable,
}

impl Preconditions {
    /// Reads the headers; what cannot be read counts as absent, as the RFC asks.
    pub fn new(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            none_match: text(header::IF_NONE_MATCH),
            modified_since: text(header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(&date).ok()),
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
        }
    }

    /// Whether what the client has is still the same, so that it need not be made or read again.
    pub fn has(&self, etag: &str) -> bool {
        self.none_match.as_ref().is_some_and(|known| names(known, etag))
    }

    /// The answer for a representation of `len` bytes that was last changed at `modified`.
    pub fn answer(&self, etag: &str, modified: SystemTime, len: u64) -> Answer {
        let unchanged = match (&self.none_match, self.modified_since) {
            (Some(_), _) => self.has(etag),
            (None, Some(since)) => whole_seconds(modified) <= since,
            (None, None) => false,
        };
        if unchanged {
            return Answer::NotModified;
        }
        let Some(range) = &self.range else { return Answer::Whole };
        // A date in If-Range is no strong proof here: it is answered with everything.
        if self.if_range.as_ref().is_some_and(|known| known != etag) {
            return Answer::Whole;
        }
        part(range, len)
    }
}

/// Whether a list of ETags holds this one; weak ones compare by their value.
fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

/// Dates in headers have no fractions.
fn whole_seconds(at: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// One range of bytes. Several at once, other units and nonsense are answered with everything, which the RFC allows.
fn part(range: &str, len: u64) -> Answer {
    let Some(spec) = range.strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Answer::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Answer::Whole };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| is_number(text).then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    let (start, end) = match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => return Answer::Unsatisfiable,
        (None, Some(count)) if first.is_empty() => (len.saturating_sub(count), len),
        (Some(from), None) if last.is_empty() => (from, len),
        (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(len)),
        _ => return Answer::Whole,
    };
    if start >= len { Answer::Unsatisfiable } else { Answer::Part { start, len: end - start } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"5-1\"";

    fn at(s: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(s * 1000 + 500)
    }

    fn answer(headers: &[(&'static str, &str)]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Preconditions::new(&map).answer(ETAG, at(1_000_000), 10)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let of = |range: &str| answer(&[("range", range)]);
        assert_eq!(of("bytes=0-3"), Answer::Part { start: 0, len: 4 });
        assert_eq!(of("bytes=9-"), Answer::Part { start: 9, len: 1 });
        assert_eq!(of("bytes=-4"), Answer::Part { start: 6, len: 4 });
        assert_eq!(of("bytes=-400"), Answer::Part { start: 0, len: 10 });
        assert_eq!(of("bytes=2-99999999999999999999"), Answer::Part { start: 2, len: 8 });
        for beyond in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(of(beyond), Answer::Unsatisfiable, "{beyond}");
        }
        for odd in ["bytes=", "bytes=-", "bytes=a-b", "bytes=3-2", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2", "x"] {
            assert_eq!(of(odd), Answer::Whole, "{odd}");
        }
    }

    #[test]
    fn an_etag_counts_more_than_a_date() {
        assert_eq!(answer(&[("if-none-match", "\"x\", W/\"5-1\"")]), Answer::NotModified);
        assert_eq!(answer(&[("if-none-match", "*")]), Answer::NotModified);
        let date = httpdate::fmt_http_date(at(1_000_000));
        assert_eq!(answer(&[("if-none-match", "\"x\""), ("if-modified-since", &date)]), Answer::Whole);
        assert_eq!(answer(&[("if-modified-since", &date)]), Answer::NotModified);
        assert_eq!(answer(&[("if-modified-since", &httpdate::fmt_http_date(at(999_999)))]), Answer::Whole);
        assert_eq!(answer(&[("if-modified-since", "yesterday")]), Answer::Whole);
    }

    #[test]
    fn a_range_of_something_else_is_answered_with_everything() {
        assert_eq!(answer(&[("range", "bytes=0-0"), ("if-range", ETAG)]), Answer::Part { start: 0, len: 1 });
        assert_eq!(answer(&[("range", "bytes=0-0"), ("if-range", "\"old\"")]), Answer::Whole);
    }

    proptest::proptest! {
        #[test]
        fn a_part_is_always_inside(range in "bytes=[0-9]{0,20}-[0-9]{0,20}", len in 0_u64..50) {
            if let Answer::Part { start, len: part } = part(&range, len) {
                assert!(part > 0 && start + part <= len);
            }
        }
    }
}
