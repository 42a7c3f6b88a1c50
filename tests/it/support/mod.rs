//! What tests stand on. `TestServer::start().await` gives a server; `server.user("alice").await` a person; `person.post(…)`
//! a [`Reply`] with `ok()` and `refused(…)`; `person.socket().await` a [`Socket`] with `next_message()`.

mod crowd;
pub mod database;
pub mod described;
pub mod files;
mod friendship;
mod groups;
mod http;
mod people;
mod process;
mod proxy;
mod raw_socket;
mod redact;
mod scrape;
mod server;
mod skip;
mod socket;

use std::time::Duration;

pub use crowd::answered_before;
pub use database::mysql_url;
pub use friendship::{are_friends, welcomes};
pub use groups::{PICTURE, SYSTEM_PICTURE, golden_card, golden_notice};
pub use http::{Call, Reply};
pub use people::{PASSWORD, Person, device_id, letter, sign, unique};
pub use process::{Ended, Process, command, command_of, run, send_signal, wait};
pub use proxy::Proxy;
pub use raw_socket::{RawFrame, RawSocket};
pub use scrape::Scrape;
pub use server::{CACHE_MS, Door, NOW_MS, Stopped, TestServer};
pub use skip::{have_program, skip};
pub use socket::{Event, Socket, is_greeting, text_of};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The answer of a server that cannot take more, or whose store is away.
pub const BUSY: &str = "服务繁忙，请稍后再试";
/// How long a test listens before it believes that nothing comes.
pub const SILENCE: Duration = Duration::from_millis(250);

/// Polls until `check` says yes; panics with `what` after [`PATIENCE`].
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "this did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// As [`eventually`], for tests without a runtime.
pub fn eventually_blocking(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !check() {
        assert!(std::time::Instant::now() < deadline, "this did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
