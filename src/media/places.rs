//! Paths below `public/` that come from outside, and that are safe to open.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::os;

/// The folder of uploads.
const UPLOADS: &str = "uploads";

/// A path relative to `public/`: no part of it is hidden, climbs, or means something else to a file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Below `public/`.
    pub relative: PathBuf,
    /// The last part, or "".
    pub name: String,
    /// Whether it is among the uploads, which nobody trusts.
    pub upload: bool,
    /// Whether it was written with a closing slash.
    pub folder: bool,
}

impl Place {
    /// Reads what follows `/public/` in a URL; it is percent-decoded once, as the HTTP server that wrote it encoded it once.
    pub fn parse(path: &str) -> Option<Self> {
        let (path, folder) = match path.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (path, path.is_empty()),
        };
        let mut parts = Vec::new();
        for part in path.split('/').filter(|_| !path.is_empty()) {
            let part = percent_decode_str(part).decode_utf8().ok()?.into_owned();
            let is_hidden = part.is_empty() || part.starts_with('.');
            if is_hidden || part.contains(['/', '\\']) || part.contains(char::is_control) || !os::is_plain_name(&part) {
                return None;
            }
            parts.push(part);
        }
        // A file system that ignores case must not turn an upload into something that is trusted: for it, ſ may be an s.
        let upload = parts.first().is_some_and(|first| first.to_uppercase().eq_ignore_ascii_case(UPLOADS));
        Some(Self { name: parts.last().cloned().unwrap_or_default(), relative: parts.iter().collect(), upload, folder })
    }

    /// What follows the last dot of the name, or "".
    pub fn extension(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_taken_as_they_are() {
        let place = Place::parse("uploads/Diy/a_b/20250101/1%20%E4%B8%AD.PNG").unwrap();
        assert_eq!(place.relative, PathBuf::from("uploads/Diy/a_b/20250101/1 中.PNG"));
        assert_eq!((place.upload, place.folder, place.extension()), (true, false, "PNG"));
        for path in ["UPLOADS/x", "Upload%C5%BF/x"] {
            assert!(Place::parse(path).unwrap().upload, "{path}");
        }
        assert!(Place::parse("").unwrap().folder);
        assert_eq!(
            Place::parse("h5/").unwrap(),
            Place { relative: "h5".into(), name: "h5".into(), upload: false, folder: true }
        );
        // Decoded once only: this is a file with a percent sign in its name.
        assert_eq!(Place::parse("%252e%252e").unwrap().name, "%2e%2e");
    }

    #[test]
    fn nothing_climbs_hides_or_confuses() {
        for bad in [
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "%2e%2e/x",
            "%2E%2E%2Fx",
            "..%2fx",
            "a%2fb",
            "a%5cb",
            "a\\b",
            "..%5cx",
            ".git/x",
            "a/.x",
            "%2eincoming/x",
            "a//b",
            "//etc/passwd",
            "a/%00",
            "a%0a",
            "%ff",
            "%c0%ae%c0%ae/x",
            "a//",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_asked_for_stays_below(path in "[a.%2eEfF/\\\\5c]{0,24}") {
            if let Some(place) = Place::parse(&path) {
                use std::path::Component;
                proptest::prop_assert!(place.relative.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
