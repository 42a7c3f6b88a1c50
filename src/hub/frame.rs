//! Frames in the form in which they cross the network: encoded once, shared by all who receive them, written as they are.
//!
//! A server's frames are not masked, so the same bytes serve every recipient. Reading is tungstenite's business.

use axum::body::Bytes;

/// The first byte of an unfragmented text frame (RFC 6455 §5.2).
const TEXT: u8 = 0x81;
/// The first byte of a ping.
const PING: u8 = 0x89;

/// A whole WebSocket frame.
#[derive(Clone, Debug)]
pub struct Frame(Bytes);

impl Frame {
    /// A text frame of `parts`, joined. They must be UTF-8 together.
    pub fn text(parts: &[&[u8]]) -> Self {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(length + 10);
        bytes.push(TEXT);
        match length {
            0..=125 => bytes.push(u8::try_from(length).unwrap_or_default()),
            126..=0xffff => {
                bytes.push(126);
                bytes.extend_from_slice(&u16::try_from(length).unwrap_or_default().to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Self(bytes.into())
    }

    /// A ping that carries `number`, to be found in its pong.
    pub fn ping(number: u64) -> [u8; 10] {
        let mut frame = [0; 10];
        frame[..2].copy_from_slice(&[PING, 8]);
        frame[2..].copy_from_slice(&number.to_be_bytes());
        frame
    }

    /// The bytes to write.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, with something that is dropped when the last copy of it is.
    #[must_use]
    pub fn holding(self, held: impl Send + 'static) -> Self {
        struct Held<T>(Bytes, T);
        impl<T> AsRef<[u8]> for Held<T> {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Self(Bytes::from_owner(Held(self.0, held)))
    }

    /// A part of [`Frame::bytes`], shared and not copied.
    pub fn part(&self, part: &[u8]) -> Bytes {
        self.0.slice_ref(part)
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a frame has a header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Frame;

    #[test]
    fn what_a_frame_holds_goes_with_the_last_part_of_it() {
        let held = Arc::new(());
        let frame = Frame::text(&[b"hello"]).holding(held.clone());
        let (copy, part) = (frame.clone(), frame.part(&frame.bytes()[3..]));
        assert_eq!(part, b"ello".as_slice());
        drop((frame, copy));
        assert_eq!(Arc::strong_count(&held), 2);
        drop(part);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn lengths_take_the_three_forms_of_the_protocol() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (0xffff, vec![0x81, 126, 0xff, 0xff]),
            (0x1_0000, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let body = vec![b'x'; length];
            let frame = Frame::text(&[&body[..length / 2], &body[length / 2..]]);
            assert_eq!(frame.bytes(), [head, body].concat(), "{length}");
        }
        assert_eq!(Frame::ping(258), [0x89, 8, 0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
