//! The TCP stream under hyper, which has no time limit of its own for a client that does not take its reply, no way to tell an
//! idle connection from a head that trickles, and refuses a broken head without a body.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::pace::Pace;
use super::slots::Slot;

/// A client that took something and is written to again after this long began to read a new reply.
const PAUSE: Duration = Duration::from_secs(1);

/// A TCP stream whose peer must take what is written to it.
#[derive(Debug)]
pub struct TimedStream {
    stream: TcpStream,
    heads: Arc<Heads>,
    stall: Duration,
    /// Only once the peer did not take something at once.
    slow: Option<Box<Slow>>,
    slot: Arc<Slot>,
}

/// A peer that did not take something at once.
#[derive(Debug)]
struct Slow {
    pace: Pace,
    waiting: bool,
    last: Instant,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl TimedStream {
    /// Over `stream`; whoever takes no bytes for `stall` is dropped, and whoever takes `head_timeout` for a head. The timer is
    /// for hyper, as that of heads.
    pub fn new(stream: TcpStream, slot: Arc<Slot>, stall: Duration, head_timeout: Duration) -> (Self, HeadTimer) {
        let heads = Arc::new(Heads::default());
        let timer = HeadTimer { heads: heads.clone(), head_timeout };
        (Self { stream, heads, stall, slow: None, slot }, timer)
    }

    /// The stream itself.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Lets a write end as it did, or with an error if it stands still for too long.
    fn paced(&mut self, written: Poll<Result<usize>>, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(slow) = &mut self.slow {
                    slow.last = Instant::now();
                    slow.waiting = false;
                    slow.pace.moved(bytes, slow.last);
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(cause)) => Poll::Ready(Err(cause)),
            Poll::Pending => {
                let stall = self.stall;
                let slow = self.slow.get_or_insert_with(|| Box::new(Slow::new(stall)));
                if !slow.waiting && slow.last.elapsed() > PAUSE {
                    **slow = Slow::new(stall);
                }
                slow.waiting = true;
                slow.timer.as_mut().reset(slow.pace.due());
                ready!(slow.timer.as_mut().poll(cx));
                Poll::Ready(Err(ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl Slow {
    fn new(stall: Duration) -> Self {
        let now = Instant::now();
        Self { pace: Pace::new(stall, now), waiting: false, last: now, timer: Box::pin(sleep(stall)) }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heads.bytes_came();
        }
        read
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        // In a reply, these words would be the client's or a file's.
        if let Some(reply) = self.heads.is_reading().then(|| refusal(buf)).flatten() {
            // It fits into the empty buffer of a connection that is about to be closed.
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, reply.as_bytes()))?;
            let whole = written == reply.len();
            return Poll::Ready(if whole { Ok(buf.len()) } else { Err(Error::from(ErrorKind::WriteZero)) });
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.paced(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.paced(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // hyper flushes when it has nothing left to write.
        if flushed.is_ready() {
            self.slot.give_reply_room_back();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is to be written in the place of hyper's own refusal of a head that it cannot read: ours have a body, and hyper's, which
/// never reach a handler, would lack the envelope that every refusal has (decision 2).
fn refusal(written: &[u8]) -> Option<&'static str> {
    let line = written.strip_prefix(b"HTTP/1.1 4")?;
    let reply = match &line[..line.len().min(3)] {
        b"00 " => concat!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\naccess-control-allow-origin: *\r\n",
            "content-length: 42\r\nconnection: close\r\n\r\n{\"msg\":\"fail\",\"data\":\"请求格式错误\"}"
        ),
        b"14 " => concat!(
            "HTTP/1.1 414 URI Too Long\r\ncontent-type: application/json; charset=utf-8\r\naccess-control-allow-origin: *\r\n",
            "content-length: 42\r\nconnection: close\r\n\r\n{\"msg\":\"fail\",\"data\":\"请求地址过长\"}"
        ),
        b"31 " => concat!(
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json; charset=utf-8\r\n",
            "access-control-allow-origin: *\r\ncontent-length: 39\r\nconnection: close\r\n\r\n",
            "{\"msg\":\"fail\",\"data\":\"请求头过大\"}"
        ),
        _ => return None,
    };
    let empty = b"\r\ncontent-length: 0\r\n";
    written.windows(empty.len()).any(|words| words.eq_ignore_ascii_case(empty)).then_some(reply)
}

/// When the head that hyper waits for began to come.
#[derive(Debug, Default)]
struct Heads {
    /// hyper waits for one of which nothing has come.
    awaited: AtomicBool,
    /// hyper waits for one, or reads it.
    reading: AtomicBool,
    began: Mutex<Option<Instant>>,
}

impl Heads {
    fn bytes_came(&self) {
        if self.awaited.swap(false, Ordering::Relaxed) {
            *self.lock() = Some(Instant::now());
        }
    }

    fn is_reading(&self) -> bool {
        self.reading.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.began.lock().expect("no code panics while it holds this lock")
    }
}

/// hyper's timer of heads. hyper asks for one sleep for each head, from the moment in which it begins to wait for it: that is
/// the time that a connection may be idle. Once the first byte has come, the sleep ends sooner.
#[derive(Clone, Debug)]
pub struct HeadTimer {
    heads: Arc<Heads>,
    head_timeout: Duration,
}

impl HeadTimer {
    /// The head has come whole, and the request is being answered.
    pub fn came(&self) {
        self.heads.reading.store(false, Ordering::Relaxed);
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(std::time::Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        *self.heads.lock() = None;
        self.heads.awaited.store(true, Ordering::Relaxed);
        self.heads.reading.store(true, Ordering::Relaxed);
        let sleep = Box::pin(sleep_until(deadline.into()));
        Box::pin(HeadSleep { heads: self.heads.clone(), head_timeout: self.head_timeout, sleep, begun: false })
    }
}

#[derive(Debug)]
struct HeadSleep {
    heads: Arc<Heads>,
    head_timeout: Duration,
    sleep: Pin<Box<tokio::time::Sleep>>,
    begun: bool,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.begun {
            let began = *self.heads.lock();
            if let Some(began) = began {
                self.begun = true;
                let deadline = self.sleep.deadline().min(began + self.head_timeout);
                self.sleep.as_mut().reset(deadline);
            }
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hyper_s_own_refusals_are_replaced_and_the_lengths_are_right() {
        for (status, text) in [(400, "请求格式错误"), (414, "请求地址过长"), (431, "请求头过大")] {
            let own = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\ndate: today\r\n\r\n");
            let reply = refusal(own.as_bytes()).unwrap();
            let (head, body) = reply.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")));
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head} {}", body.len());
            assert_eq!(body, format!(r#"{{"msg":"fail","data":"{text}"}}"#));
            assert_eq!(refusal(own.replace("length: 0", "length: 10").as_bytes()), None);
        }
        for other in ["HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 4", "", "400"]
        {
            assert_eq!(refusal(other.as_bytes()), None);
        }
    }
}
