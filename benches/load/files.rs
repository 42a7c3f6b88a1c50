//! Uploads as the real client makes them: one multipart form with one file.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{
    failure::{Failure, While},
    http::{self, Http},
};

const ROUTE: &str = "POST /api/chat/uploadStreamSingleToServerDiy/load";
const BOUNDARY: &str = "----load-program-boundary";

/// An archive of this many bytes, as far as its first bytes tell.
pub fn archive(bytes: usize) -> Vec<u8> {
    let mut content = vec![0x5a; bytes];
    let magic = b"PK\x03\x04";
    let length = magic.len().min(bytes);
    content[..length].copy_from_slice(&magic[..length]);
    content
}

/// The request that uploads a file.
pub fn upload(token: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let body = [head.as_bytes(), content, tail.as_bytes()].concat();
    http::request_of(ROUTE, token, &format!("multipart/form-data; boundary={BOUNDARY}"), &body)
}

/// Uploads a file; hands out the path under which the server shows it.
pub async fn put(address: SocketAddr, token: &str, name: &str, content: &[u8]) -> Result<String, Failure> {
    let mut http = Http::open(address).await?;
    let answer = http.exchange(&upload(token, name, content)).await?;
    answer.accepted().doing("uploading a file")?;
    let envelope: Value = serde_json::from_slice(answer.body).doing("the answer to an upload")?;
    envelope["data"]["url"].as_str().map(str::to_owned).doing("the url of an upload")
}
