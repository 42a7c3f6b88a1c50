//! `encodeURIComponent`, as the client's pages decode what the server writes into their addresses.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// Everything that `encodeURIComponent` does not leave alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// `text` as one component of an address.
pub fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, COMPONENT)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_same_characters_stay_as_in_javascript() {
        let text = "aZ09-_.!~*'() &=?#%+/:;,@群";
        let expected = "aZ09-_.!~*'()%20%26%3D%3F%23%25%2B%2F%3A%3B%2C%40%E7%BE%A4";
        assert_eq!(super::encode(text).to_string(), expected);
    }
}
