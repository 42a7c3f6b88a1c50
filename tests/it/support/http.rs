//! One HTTP call and its reply.

use std::fmt::Write;

use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::described::{self, Seen};

/// A call in the making: `server.call(Method::POST, "/api/regChat").json(&json!({…})).send().await`.
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    request: reqwest::RequestBuilder,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as it came, for pictures and files.
    pub bytes: Vec<u8>,
}

impl Call {
    pub fn new(http: &Client, method: Method, url: String) -> Self {
        Self { request: http.request(method, url) }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value) }
    }

    /// The token as the client sends it.
    pub fn token(self, token: &str) -> Self {
        self.header("token", token)
    }

    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { request: self.request.header("content-type", content_type).body(body.into()) }
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// A urlencoded body from pairs.
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// A multipart body of plain fields.
    pub fn multipart(self, pairs: &[(&str, &str)]) -> Self {
        let mut body = String::new();
        for (name, value) in pairs {
            write!(body, "--cut\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").unwrap();
        }
        body.push_str("--cut--\r\n");
        self.body("multipart/form-data; boundary=cut", body)
    }

    /// Sends it; panics if there is no answer.
    pub async fn send(self) -> Reply {
        self.try_send().await.expect("the server answers")
    }

    pub async fn try_send(self) -> reqwest::Result<Reply> {
        let (client, request) = self.request.build_split();
        let request = request?;
        let method = request.method().clone();
        let response = client.execute(request).await?;
        let path = response.url().path().to_owned();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let media = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        described::check_reply(&Seen { method: method.as_str(), path: &path, status, media, body: &bytes });
        Ok(Reply { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), bytes })
    }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {} {:?}", self.status, self.text))
    }

    /// The data of a success; panics if it is none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        let mut body = self.json();
        assert_eq!(body["msg"], "ok", "{}", self.text);
        body["data"].take()
    }

    /// Panics unless this is the refusal with exactly this status and text.
    #[track_caller]
    pub fn refused(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.json()), (status, json!({ "msg": "fail", "data": text })));
    }

    /// Panics unless this refuses a parameter with exactly this text.
    #[track_caller]
    pub fn invalid(&self, text: &str) {
        self.refused(422, text);
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
