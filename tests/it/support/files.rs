//! Multipart forms as clients and attackers write them, requests byte by byte, and what is left on disk.

use std::path::{Path, PathBuf};

use reqwest::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Call, Door, PATIENCE, Person, Reply, TestServer};

/// The line between parts of every form here.
pub const CUT: &str = "cut";

/// The media type of a form.
pub const FORM: &str = "multipart/form-data; boundary=cut";

/// A multipart body in the making.
#[derive(Clone, Default)]
pub struct Form(Vec<u8>);

impl Form {
    /// A text field.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        let head = format!("--{CUT}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self
    }

    /// A file in a field; quotes in its name are escaped.
    pub fn file(mut self, field: &str, name: &str, content: &[u8]) -> Self {
        let name = name.replace('"', "\\\"");
        let head = format!(
            "--{CUT}\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        );
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// The body.
    pub fn body(self) -> Vec<u8> {
        let mut body = self.0;
        body.extend_from_slice(format!("--{CUT}--\r\n").as_bytes());
        body
    }
}

impl Call {
    pub fn form_data(self, form: Form) -> Self {
        self.body(FORM, form.body())
    }
}

impl Person {
    /// Uploads a file as the client does, its text fields first.
    pub async fn upload(&self, folder: &str, name: &str, content: &[u8]) -> Reply {
        let form = Form::default().text("token", &self.token).file("file", name, content);
        self.call(Method::POST, &format!("uploadStreamSingleToServerDiy/{folder}")).form_data(form).send().await
    }

    /// Uploads a file to where OSS would be.
    pub async fn upload_aliyun(&self, name: &str, content: &[u8]) -> Reply {
        let form = Form::default().text("token", &self.token).text("imageClassId", "0").file("img", name, content);
        self.call(Method::POST, "uploadAliyun").form_data(form).send().await
    }

    /// The head of a POST of a form, for bodies that are written by hand.
    pub fn head(&self, path: &str, content_type: &str, length: usize) -> String {
        format!(
            "POST /api/chat/{path} HTTP/1.1\r\nhost: {}\r\ntoken: {}\r\ncontent-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n",
            self.door.address, self.token
        )
    }
}

impl Door {
    /// Writes these bytes to a connection of its own and keeps that.
    pub async fn begin(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A GET of exactly this path, which no client library tidies up. Status, headers and body as they came.
    pub async fn get_raw(&self, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        answer(self.begin(head.as_bytes()).await).await
    }
}

/// What comes back on a connection, until its end or the end of the announced body.
pub async fn answer(mut stream: impl AsyncRead + Unpin) -> (u16, String) {
    let read = async {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let got = stream.read(&mut buffer).await.unwrap_or(0);
            bytes.extend_from_slice(&buffer[..got]);
            if got == 0 || is_whole(&bytes) {
                return bytes;
            }
        }
    };
    // Twice the patience: the server itself waits a while for a sender that pauses.
    let bytes = tokio::time::timeout(2 * PATIENCE, read).await.expect("the server answers");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no HTTP reply: {text:?}")), text)
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

impl TestServer {
    /// Every file below `public/`, unfinished ones too.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.config.public_dir, &mut files);
        files.sort();
        files
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// A file of `tests/corpus/`.
pub fn corpus(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(path)
}

/// The lines of a JSON list of strings in `tests/corpus/`.
pub fn corpus_list(path: &str) -> Vec<String> {
    serde_json::from_slice(&std::fs::read(corpus(path)).unwrap()).unwrap()
}

/// The files of a folder of `tests/corpus/`, with their names.
pub fn corpus_files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(corpus(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Pictures and sounds that are as small as their kind allows.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc\xf8\x0f\0\x01\x01\x01\0\x1b\xb6\xeeV\0\0\0\0IEND\xaeB`\x82";
