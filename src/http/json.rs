//! JSON as clients write it.
//!
//! `JSON.stringify` writes a text that was cut inside an emoji with half of a surrogate pair; the old backend's parser took that,
//! `serde_json` takes no text that is not Unicode. And a list in a list in a list costs two bytes to say and hundreds to keep.

use serde::de::{DeserializeOwned, Error};

/// Lists and objects that any JSON may hold.
const CONTAINERS_FREE: usize = 256;
/// Beyond those, a list or an object for each so many bytes: a list of `{"id":1}` has fewer, and one of points, `[1,2]`.
const CONTAINER_BYTES_MIN: usize = 4;

/// Parses JSON as JavaScript does: half a character becomes U+FFFD. The second look costs only what could not be read.
///
/// What consists of hardly anything but lists and objects is an error: in memory it would be some three hundred times as long. What
/// is none may still be a hundred times as long while it is read.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    let containers_max = CONTAINERS_FREE + json.len() / CONTAINER_BYTES_MIN;
    // Counted where it may be so: most have not even so many brackets.
    if json.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > containers_max
        && containers(json) > containers_max
    {
        return Err(serde_json::Error::custom("too many lists and objects"));
    }
    serde_json::from_slice(json).or_else(|cause| mended(json).map_or(Err(cause), |json| serde_json::from_slice(&json)))
}

/// How many lists and objects begin in it.
fn containers(json: &[u8]) -> usize {
    let (mut found, mut in_text, mut at) = (0, false, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => in_text = !in_text,
            // What is escaped ends no text.
            b'\\' => at += 1,
            b'[' | b'{' if !in_text => found += 1,
            _ => {}
        }
        at += 1;
    }
    found
}

/// The JSON with U+FFFD in the place of each lone surrogate, or `None` if it holds none.
fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let mut mended = None;
    let mut at = 0;
    while let Some(found) = json.get(at..)?.iter().position(|byte| *byte == b'\\') {
        at += found;
        let Some(half) = surrogate(json, at) else {
            // An escape of another kind, or a character of one piece: what follows the backslash is no beginning of one.
            at += 2;
            continue;
        };
        if half.is_first && surrogate(json, at + LENGTH).is_some_and(|next| !next.is_first) {
            at += 2 * LENGTH;
            continue;
        }
        mended.get_or_insert_with(|| json.to_vec())[at..at + LENGTH].copy_from_slice(UNKNOWN);
        at += LENGTH;
    }
    mended
}

/// Bytes of an escape by four hexadecimal digits.
const LENGTH: usize = 6;
const UNKNOWN: &[u8; LENGTH] = b"\\ufffd";

/// Half of a pair.
struct Surrogate {
    is_first: bool,
}

/// The surrogate that is escaped at this place, if one is.
fn surrogate(json: &[u8], at: usize) -> Option<Surrogate> {
    let digits = json.get(at..at + LENGTH)?.strip_prefix(b"\\u")?;
    let [b'd' | b'D', second, third, fourth] = digits else { return None };
    if !third.is_ascii_hexdigit() || !fourth.is_ascii_hexdigit() {
        return None;
    }
    match second {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Surrogate { is_first: true }),
        b'c'..=b'f' | b'C'..=b'F' => Some(Surrogate { is_first: false }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_nothing_but_lists_is_refused() {
        let nested =
            |times: usize| format!("[{}]", vec![format!("{}{}", "[".repeat(100), "]".repeat(100)); times].join(","));
        assert!(parse::<Value>(nested(1).as_bytes()).is_ok(), "a few may be nested");
        assert!(parse::<Value>(nested(20).as_bytes()).is_err());
        let rows = |row: &str| parse::<Value>(format!("[{}]", vec![row; 10_000].join(",")).as_bytes());
        assert!(rows(r#"{"id":1}"#).is_ok() && rows("[1,2]").is_ok() && rows("1").is_ok());
        assert!(rows(r#""[[[[\"[[[[\\""#).is_ok(), "those in a text are text");
        assert!(rows("[]").is_err() && rows(r#""\\",[[[[]]]]"#).is_err());
    }

    fn mended(json: &str) -> Option<String> {
        super::mended(json.as_bytes()).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn lone_halves_are_replaced_and_pairs_are_left() {
        for (json, expected) in [
            (r#""a\ud83d""#, r#""a\ufffd""#),
            (r#""\uDE00\uD83D""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
            (r#""\\\udBff""#, r#""\\\ufffd""#),
        ] {
            assert_eq!(mended(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        for json in [
            r#""\ud83d\ude00""#,
            r#""\\ud83d""#,
            r#""\u00e9 \ud7ff 👍 \"""#,
            r#""\ud8"#,
            r#""\ud83""#,
            r#""\"#,
            "",
            "\\",
        ] {
            assert_eq!(mended(json), None, "{json}");
        }
    }
}
