//! Keeps what is pending findable: direct messages that were not confirmed soon are filed by recipient.
//!
//! Most messages are confirmed within a moment. In an index of all messages by recipient, each of them would change a page of its
//! own. So only what is still pending after a while is filed, in `backlog`, and `backlog_progress` says up to where; a drain looks
//! through the few later messages one by one. Filing changes nothing that anybody is told: it may be late, and it may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::model::Progress;
use super::newest::compare_read;
use super::store;
use crate::app::App;
use crate::db::in_time;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::ids::MessageId;

/// How long a message has to be confirmed before it is filed, as a rule.
const RIPEN: Duration = Duration::from_secs(1);
/// Messages looked at in one transaction, which others wait for.
const FILED_MAX: i64 = 500;
/// Messages that a drain rather looks through than has them filed.
const UNFILED_MAX: usize = 512;
/// What it leaves unfiled then.
const LEFT_UNFILED: i64 = 256;
/// How long a drain waits for that.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// Rest after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// What there is to know for filing.
#[derive(Debug, Default)]
pub struct Backlog {
    wake: Notify,
    /// One at a time, so that drains which want the same share it.
    filing: Mutex<()>,
    /// The last that is filed, as far as this process knows; the store has the truth.
    filed: AtomicI64,
}

impl Backlog {
    /// Takes note that messages are committed.
    pub fn grows(&self) {
        self.wake.notify_one();
    }

    /// How many messages up to the newest are not filed yet, those of groups among them.
    pub fn unfiled(&self, newest: MessageId) -> usize {
        usize::try_from(newest.0 - self.filed.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

/// Files what has ripened, until the server stops.
pub async fn run(app: Arc<App>) {
    let backlog = &app.messages.backlog;
    let mut ripe = None;
    loop {
        let rest = match Box::pin(step(&app, ripe)).await {
            Ok(progress) => {
                ripe = Some(progress.newest_id);
                if progress.filed_id < progress.newest_id {
                    backlog.wake.notify_one();
                }
                RIPEN
            }
            Err(cause) => {
                warn!(
                    cause = cause.for_log(),
                    "pending messages could not be filed; drains take longer until they are"
                );
                backlog.wake.notify_one();
                RIPEN + RETRY
            }
        };
        let more = async {
            backlog.wake.notified().await;
            sleep(rest).await;
        };
        if app.stop.run_until_cancelled(more).await.is_none() {
            return;
        }
    }
}

/// Files up to what was the newest message a step ago. Returns how things stand then.
async fn step(app: &App, ripe: Option<MessageId>) -> Result<Progress> {
    let ripe = match ripe {
        Some(ripe) => ripe,
        // What an earlier run has left has had its time.
        None => in_time(learn(app)).await?.newest_id,
    };
    file_up_to(app, ripe).await?;
    in_time(learn(app)).await
}

async fn learn(app: &App) -> Result<Progress> {
    let newest = &app.messages.newest;
    let known = newest.get();
    let progress = store::find_progress(&mut app.db.read().await?.conn()).await?;
    compare_read(known, progress.newest_id)?;
    newest.grow(progress.newest_id);
    app.messages.backlog.filed.fetch_max(progress.filed_id.0, Ordering::Relaxed);
    Ok(progress)
}

/// Files some of what is not filed, if that is much. If the store takes nothing now (a full disk), or nothing soon, all of it is
/// looked through.
pub async fn catch_up(app: &App) {
    let newest = app.messages.newest.get();
    if app.messages.backlog.unfiled(newest) > UNFILED_MAX {
        let last = MessageId(newest.0 - LEFT_UNFILED);
        // Nobody is told: see above.
        let _ = timeout(CATCH_UP_MAX, file_up_to(app, last)).await;
    }
}

/// Files everything up to a committed message, or until the server stops: what is left then is filed after the next start. The
/// transaction at hand is ended, not dropped, so that the store can be closed in good order.
pub async fn file_up_to(app: &App, last: MessageId) -> Result<()> {
    let _filing = app.messages.backlog.filing.lock().await;
    while let filed = in_time(learn(app)).await?.filed_id
        && filed < last
        && !app.stop.is_cancelled()
    {
        in_time(file(app, filed, last.min(MessageId(filed.0 + FILED_MAX)))).await?;
    }
    Ok(())
}

/// Files what is between the two, unless somebody whose commit was not waited for has done so.
async fn file(app: &App, filed: MessageId, up_to: MessageId) -> Result<()> {
    let newest = &app.messages.newest;
    let known = newest.get();
    // Read beside the writer: what a cursor passes meanwhile is filed for nothing, and what it has passed stays so.
    let mut reader = app.db.read().await?;
    compare_read(known, store::find_progress(&mut reader.conn()).await?.newest_id)?;
    let rows = store::list_unreceived(&mut reader.conn(), filed, up_to).await?;
    drop(reader);
    let mut tx = app.db.begin().await?;
    if store::update_filed(&mut tx.conn(), filed, up_to).await? {
        for rows in rows.chunks(ROWS_MAX) {
            store::insert_backlog(&mut tx.conn(), rows).await?;
        }
        // What was filed may be no more: new messages with its ids would count as filed, and be found by nobody.
        newest.compare(known, store::find_progress(&mut tx.conn()).await?.newest_id)?;
        tx.commit().await?;
    }
    Ok(())
}
