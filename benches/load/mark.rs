//! The mark inside each message text: which stream it belongs to, its number there, and when it was sent.
//!
//! Fixed width, so that a request is patched in place and never formatted; found by its bytes, so that no frame is parsed
//! as JSON on the hot path.

use std::{sync::LazyLock, time::Instant};

const FENCE: &[u8; 2] = b"@@";
const STREAM: usize = 5;
const SEQ: usize = 9;
const AT: usize = 14;

/// Bytes that a mark takes in a text: `@@sssss:qqqqqqqqq:tttttttttttttt@@`.
pub const MARK_BYTES: usize = 2 + STREAM + 1 + SEQ + 1 + AT + 2;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first call: the clock of all marks.
pub fn now_ns() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What a mark says.
#[derive(Clone, Copy)]
pub struct Mark {
    /// Messages of one stream are sent one after the other.
    pub stream: u32,
    /// Counts up from 0 in each stream.
    pub seq: u32,
    /// [`now_ns`] just before the request was written.
    pub at_ns: u64,
}

impl Mark {
    /// Writes the mark over `text`, which is `MARK_BYTES` long.
    pub fn write(self, text: &mut [u8]) {
        text.fill(b':');
        text[..2].copy_from_slice(FENCE);
        text[MARK_BYTES - 2..].copy_from_slice(FENCE);
        put(&mut text[2..2 + STREAM], self.stream.into());
        put(&mut text[3 + STREAM..3 + STREAM + SEQ], self.seq.into());
        put(&mut text[4 + STREAM + SEQ..4 + STREAM + SEQ + AT], self.at_ns);
    }

    /// Finds the mark in a frame. `hint` remembers where the last one stood: frames of one stream look alike.
    pub fn find(frame: &[u8], hint: &mut usize) -> Option<Self> {
        if let Some(mark) = frame.get(*hint..).and_then(Self::read) {
            return Some(mark);
        }
        let starts = frame.windows(2).enumerate().filter(|(_, pair)| pair == FENCE);
        for (start, _) in starts {
            if let Some(mark) = Self::read(&frame[start..]) {
                *hint = start;
                return Some(mark);
            }
        }
        None
    }

    fn read(text: &[u8]) -> Option<Self> {
        let text = text.get(..MARK_BYTES)?;
        if !text.starts_with(FENCE) || !text.ends_with(FENCE) {
            return None;
        }
        Some(Self {
            stream: u32::try_from(get(&text[2..2 + STREAM])?).ok()?,
            seq: u32::try_from(get(&text[3 + STREAM..3 + STREAM + SEQ])?).ok()?,
            at_ns: get(&text[4 + STREAM + SEQ..4 + STREAM + SEQ + AT])?,
        })
    }
}

fn put(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        // A remainder by 10 always fits.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn get(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}
