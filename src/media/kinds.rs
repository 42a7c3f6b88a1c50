//! What files there are: the extensions that may be uploaded, their types, and what their content says.

use crate::config;

/// What a file is, which decides how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Image,
    /// A voice message, music.
    Audio,
    /// A film.
    Video,
    /// Documents, archives and everything else.
    Other,
}

impl Kind {
    /// The largest file of this kind.
    pub const fn bytes_max(self, limits: &config::Uploads) -> u64 {
        match self {
            Self::Image => limits.image_bytes_max,
            Self::Audio => limits.audio_bytes_max,
            Self::Video => limits.video_bytes_max,
            Self::Other => limits.other_bytes_max,
        }
    }
}

/// A type of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    /// The extension, lower case, without a dot.
    pub extension: &'static str,
    /// Its media type.
    pub mime: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Whether a browser may show it. What it could run (HTML, SVG, XML, scripts) and plain text it may only save.
    pub inline: bool,
}

const fn image(extension: &'static str, mime: &'static str) -> FileType {
    FileType { extension, mime, kind: Kind::Image, inline: true }
}

const fn audio(extension: &'static str, mime: &'static str) -> FileType {
    FileType { extension, mime, kind: Kind::Audio, inline: true }
}

const fn video(extension: &'static str, mime: &'static str) -> FileType {
    FileType { extension, mime, kind: Kind::Video, inline: true }
}

const fn saved(extension: &'static str, mime: &'static str) -> FileType {
    FileType { extension, mime, kind: Kind::Other, inline: false }
}

/// The white-list: the old server's (contract: messaging 4.30a), then what phones and browsers record (decision 22). H5
/// clients name a recording after its media type, hence `mpeg`, `x-m4a` and the like.
const TYPES: &[FileType] = &[
    image("jpg", "image/jpeg"),
    image("jpeg", "image/jpeg"),
    image("png", "image/png"),
    image("gif", "image/gif"),
    image("bmp", "image/bmp"),
    image("wbmp", "image/vnd.wap.wbmp"),
    image("webp", "image/webp"),
    image("tif", "image/tiff"),
    FileType { extension: "psd", mime: "image/vnd.adobe.photoshop", kind: Kind::Image, inline: false },
    saved("svg", "image/svg+xml"),
    saved("js", "text/javascript"),
    saved("jsx", "text/javascript"),
    saved("json", "application/json"),
    saved("css", "text/css"),
    saved("less", "text/css"),
    saved("html", "text/html"),
    saved("htm", "text/html"),
    saved("xml", "application/xml"),
    saved("zip", "application/zip"),
    saved("gz", "application/gzip"),
    saved("tgz", "application/gzip"),
    saved("gzip", "application/gzip"),
    audio("mp3", "audio/mpeg"),
    video("mp4", "video/mp4"),
    video("avi", "video/x-msvideo"),
    video("x-msvideo", "video/x-msvideo"),
    saved("xls", "application/vnd.ms-excel"),
    saved("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    saved("txt", "text/plain"),
    saved("doc", "application/msword"),
    saved("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    FileType { extension: "pdf", mime: "application/pdf", kind: Kind::Other, inline: true },
    image("jfif", "image/jpeg"),
    image("heic", "image/heic"),
    image("heif", "image/heif"),
    image("avif", "image/avif"),
    saved("svg+xml", "image/svg+xml"),
    audio("mpeg", "audio/mpeg"),
    audio("aac", "audio/aac"),
    audio("m4a", "audio/mp4"),
    audio("x-m4a", "audio/mp4"),
    audio("wav", "audio/wav"),
    audio("x-wav", "audio/wav"),
    audio("wave", "audio/wav"),
    audio("amr", "audio/amr"),
    audio("ogg", "audio/ogg"),
    audio("oga", "audio/ogg"),
    audio("opus", "audio/ogg"),
    audio("flac", "audio/flac"),
    video("mov", "video/quicktime"),
    video("quicktime", "video/quicktime"),
    video("m4v", "video/mp4"),
    video("webm", "video/webm"),
    video("3gp", "video/3gpp"),
    video("3gpp", "video/3gpp"),
    video("mkv", "video/x-matroska"),
    video("x-matroska", "video/x-matroska"),
];

/// The type of an extension, in whatever case, if such files may be uploaded.
pub fn by_extension(extension: &str) -> Option<&'static FileType> {
    TYPES.iter().find(|known| known.extension.eq_ignore_ascii_case(extension))
}

/// The type that a file's name claims: what follows the last dot of its last part, as Node's `path.extname` sees it. A
/// browser's parameters (`voice.webm;codecs=opus`) are no part of it.
pub fn by_name(name: &str) -> Option<&'static FileType> {
    let last = name.rsplit(['/', '\\']).next()?;
    let (stem, extension) = last.rsplit_once('.')?;
    if stem.is_empty() {
        return None;
    }
    by_extension(extension.split(';').next()?)
}

/// What is none of its business, as far as a browser is concerned.
pub const OPAQUE: &str = "application/octet-stream";

/// Whether a file begins like HTML, SVG or XML, as nothing does that may be shown.
pub fn is_markup(head: &[u8]) -> bool {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().starts_with(b"<")
}

/// What the first bytes of a file and its claimed type say together. The content wins: a page that calls itself a picture
/// is no picture.
pub fn of_content(head: &[u8], claimed: &FileType) -> FileType {
    if claimed.inline && is_markup(head) {
        return FileType { mime: OPAQUE, kind: Kind::Other, inline: false, ..*claimed };
    }
    let Some(found) = infer::get(head) else { return *claimed };
    let kind = match found.matcher_type() {
        infer::MatcherType::Image => Kind::Image,
        infer::MatcherType::Audio => Kind::Audio,
        infer::MatcherType::Video => Kind::Video,
        _ => Kind::Other,
    };
    if kind == claimed.kind {
        return *claimed;
    }
    if kind == Kind::Other {
        return FileType { mime: OPAQUE, kind, inline: false, ..*claimed };
    }
    // What may not be shown under its name stays so: an SVG is no safer for beginning like a GIF.
    FileType { mime: found.mime_type(), kind, ..*claimed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<&'static str> {
        by_name(name).map(|known| known.extension)
    }

    #[test]
    fn only_the_last_extension_of_the_last_part_counts() {
        assert_eq!(named("a.PNG"), Some("png"));
        assert_eq!(named("../../etc/passwd.png"), Some("png"));
        assert_eq!(named("virus.exe.png"), Some("png"));
        assert_eq!(named("照片.jpeg"), Some("jpeg"));
        assert_eq!(named("1.webm;codecs=opus"), Some("webm"));
        for bad in
            ["a.png.exe", "png", ".png", "a.", "", "a.png ", "a.png/", "a.ｐｎｇ", "a.php", "dir.png/x", "a.png%00"]
        {
            assert_eq!(named(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_extension_stands_twice() {
        for known in TYPES {
            assert_eq!(
                TYPES.iter().filter(|other| other.extension == known.extension).count(),
                1,
                "{}",
                known.extension
            );
        }
    }

    #[test]
    fn content_wins_over_the_name() {
        let png = by_extension("png").unwrap();
        let svg = by_extension("svg").unwrap();
        let mp4 = by_extension("mp4").unwrap();
        assert_eq!(of_content(b"\x89PNG\r\n\x1a\n", png), *png);
        assert_eq!(of_content(b"", png), *png);
        assert_eq!(of_content(b"ID3\x03", mp4).kind, Kind::Audio);
        let page = of_content(b"<!DOCTYPE html><script>", png);
        assert_eq!((page.mime, page.kind, page.inline), ("application/octet-stream", Kind::Other, false));
        assert!(!of_content(b"GIF89a", svg).inline);
        for markup in ["<svg onload=1>", "\u{feff}<?xml?>", "\r\n <HTML>"] {
            assert!(!of_content(markup.as_bytes(), mp4).inline, "{markup}");
        }
    }
}
