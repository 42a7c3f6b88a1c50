//! Keeps what is pending findable: direct messages that were not confirmed soon are filed by recipient.
//!
//! Most messages are confirmed within a moment. In an index of all messages by recipient, each of them would change a page of its
//! own. So only what is still pending after a while is filed, in `backlog`, and `backlog_progress` says up to where; a drain looks
//! through the few later messages one by one. Filing changes nothing that anybody is told: it may be late, and it may fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::sleep;
use tracing::warn;

use super::model::Progress;
use super::store;
use crate::app::App;
use crate::db::in_time;
use crate::error::Result;
use crate::ids::MessageId;

/// How long a message has to be confirmed before it is filed, at least.
const RIPEN: Duration = Duration::from_secs(1);
/// Messages looked at in one transaction, which others wait for.
const FILED_MAX: i64 = 500;
/// Messages that a drain rather looks through than has them filed.
pub const UNFILED_MAX: i64 = 256;
/// Rest after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// What there is to know for filing.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Messages may have been stored.
    stored: Notify,
    /// One at a time, so that drains which want the same share it.
    filing: Mutex<()>,
}

impl Backlog {
    /// Tells that messages were stored.
    pub fn expect_more(&self) {
        self.stored.notify_one();
    }
}

/// Files what has ripened, until the server stops.
pub async fn run(app: Arc<App>) {
    let mut ripe = MessageId::default();
    // What an earlier run has left.
    app.messages.backlog.expect_more();
    while let Some(()) = app.stop.run_until_cancelled(app.messages.backlog.stored.notified()).await {
        if app.stop.run_until_cancelled(sleep(RIPEN)).await.is_none() {
            return;
        }
        match step(&app, &mut ripe).await {
            Ok(true) => app.messages.backlog.expect_more(),
            Ok(false) => {}
            Err(cause) => {
                warn!(%cause, "pending messages could not be filed; drains take longer until they are");
                app.messages.backlog.expect_more();
                app.stop.run_until_cancelled(sleep(RETRY)).await;
            }
        }
    }
}

/// Files up to what was the newest message a step ago. Returns whether there is more.
async fn step(app: &App, ripe: &mut MessageId) -> Result<bool> {
    file_up_to(app, *ripe).await?;
    let progress = in_time(read_progress(app)).await?;
    *ripe = progress.newest_id;
    Ok(progress.filed_id < progress.newest_id)
}

async fn read_progress(app: &App) -> Result<Progress> {
    store::find_progress(&mut app.db.read().await?.conn()).await
}

/// Files everything up to a committed message.
pub async fn file_up_to(app: &App, last: MessageId) -> Result<()> {
    let _filing = app.messages.backlog.filing.lock().await;
    let mut filed = in_time(read_progress(app)).await?.filed_id;
    while filed < last {
        let up_to = last.min(MessageId(filed.0 + FILED_MAX));
        in_time(file(app, filed, up_to)).await?;
        filed = up_to;
    }
    Ok(())
}

async fn file(app: &App, after: MessageId, up_to: MessageId) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::insert_backlog(&mut tx.conn(), after, up_to).await?;
    store::update_filed(&mut tx.conn(), up_to).await?;
    tx.commit().await
}
