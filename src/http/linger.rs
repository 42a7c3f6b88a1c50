//! Reads the rest of a body that a handler did not want, before the reply goes out.
//!
//! A client that is still sending when the server answers and closes gets a reset connection instead of the answer: an app
//! would show a network error in the place of, say, "file too large". nginx calls the same a lingering close.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// Most bytes that are read for nothing; a client that sends more sees its connection closed.
const REST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long they may take.
const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that has stopped sending is waited for.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A body that the handler reads and [`Rest::drain`] reads on.
#[derive(Clone)]
struct Shared(Arc<Mutex<Held>>);

struct Held {
    body: Body,
    /// Somebody has asked for it: a client that waits for `100 Continue` has got that.
    begun: bool,
}

/// What a handler will have left of a body.
pub struct Rest {
    body: Shared,
    /// The client sends nothing until it is asked to.
    waits: bool,
}

/// Keeps hold of the body of a request, which may be answered before all of it is read. Also of a small one: some clients and
/// proxies send it in a packet of its own, behind the head.
pub fn hold(request: Request) -> (Request, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let waits = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(Held { body, begun: false })));
    (Request::from_parts(parts, Body::new(body.clone())), Some(Rest { body, waits }))
}

impl Rest {
    /// Reads what is left, within bounds.
    pub async fn drain(self) {
        if self.body.is_end_stream() || (self.waits && !self.body.lock().begun) {
            return;
        }
        // Neither a broken body nor one that takes too long changes the answer.
        let _ = tokio::time::timeout(REST_TIMEOUT, self.body.drain()).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    async fn drain(mut self) {
        let mut read = 0;
        // What is announced as too much is not begun with.
        while read + self.size_hint().lower() <= REST_BYTES_MAX {
            let Ok(Some(Ok(frame))) = tokio::time::timeout(PAUSE_MAX, self.frame()).await else { return };
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut held = self.lock();
        held.begun = true;
        Pin::new(&mut held.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}
