//! Deletes what nobody needs any more: old messages that everybody has received, early receipts that have become void, subscriptions
//! that have ended, tokens that have expired. Without it the store would grow for ever.
//!
//! Nothing that is pending is ever deleted, however old: who comes back after years gets it. What may go is said by the feature
//! that it belongs to; the pace is set here. A step reads a little, or deletes a few rows in one short transaction: SQLite has
//! one writer, and messages wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tracing::{info, warn};

use crate::accounts::service as accounts;
use crate::app::App;
use crate::clock::DAY_MS;
use crate::db::in_time;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::groups::service as groups;
use crate::ids::{GroupId, MessageId, SubscriptionId, UserId};
use crate::messages::retention as messages;

/// Rest after a step, at least.
const STEP_REST: Duration = Duration::from_millis(20);
/// Rest after a step, in the time that it took: whatever the disk, the store is left to others for nine tenths.
const REST_SHARE: u32 = 9;
/// After a pass that failed, the next one comes as soon as after a start, but not sooner than this.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// A token that is over for so long is not missed even where clocks differ.
const EXPIRED_MS: i64 = DAY_MS;

/// What one pass has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages.
    pub messages: u64,
    /// Marks of messages that were received early and have been passed by their cursors since.
    pub early_receipts: u64,
    /// Ended subscriptions in groups of which nothing is pending.
    pub subscriptions: u64,
    /// Expired tokens.
    pub sessions: u64,
}

/// Passes over the store now and then, until the server stops.
pub async fn run(app: Arc<App>) {
    // A start has more urgent things to do.
    let first = Duration::from_secs(app.config.retention.first_s);
    let mut rest = first;
    while !app.stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = app.stop.cancelled() => return,
        }
        let (began, mut swept) = (Instant::now(), Swept::default());
        let outcome = tokio::select! {
            outcome = sweep(&app, &mut swept) => outcome,
            () = app.stop.cancelled() => Ok(()),
        };
        if swept != Swept::default() {
            let Swept { messages, early_receipts, subscriptions, sessions } = swept;
            info!(
                messages,
                early_receipts,
                subscriptions,
                sessions,
                "deleted {messages} old messages that everybody has, {early_receipts} early receipts, {subscriptions} ended \
                 subscriptions and {sessions} expired tokens in {:.1} s",
                began.elapsed().as_secs_f64()
            );
        }
        rest = Duration::from_hours(app.config.retention.every_hours);
        if let Err(cause) = outcome {
            rest = rest.min(first.max(RETRY_MIN));
            app.metrics.retention.failed.inc();
            warn!(cause = cause.for_log(), "deleting old rows failed; it is tried again in {} s", rest.as_secs());
        }
    }
}

/// One pass, counted in `swept` as it goes: what was deleted before an error stays deleted.
pub async fn sweep(app: &App, swept: &mut Swept) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let counts = &app.metrics.retention;
    let days = app.config.retention.messages_days;
    let old = if days > 0 { Some(paced(messages::find_old(app, now_ms - days * DAY_MS)).await?) } else { None };
    let mut count = (&counts.messages, &mut swept.messages);
    if let Some(old) = old {
        let find = |position| messages::find_received(app, old, position);
        let delete = |ids| messages::delete_messages(app, ids);
        walk(messages::first_position(app), find, delete, &mut count).await?;
        let find = |position| messages::find_undue(app, old, position);
        walk((GroupId::default(), 0), find, delete, &mut count).await?;
    }
    let find = |user| messages::find_spent(app, old, user);
    let delete = |spent| messages::delete_spent(app, spent);
    walk(UserId::default(), find, delete, &mut count).await?;
    let find = |position| messages::find_void_early_receipts(app, position);
    let delete = |receipts| messages::delete_early_receipts(app, receipts);
    let first = (UserId::default(), MessageId::default());
    walk(first, find, delete, &mut (&counts.early_receipts, &mut swept.early_receipts)).await?;
    let find = |position| groups::find_spent_subscriptions(app, position);
    let delete = |ids| groups::delete_subscriptions(app, ids);
    walk(SubscriptionId::default(), find, delete, &mut (&counts.subscriptions, &mut swept.subscriptions)).await?;
    let before_ms = now_ms - EXPIRED_MS;
    let find = |()| accounts::find_expired(app, before_ms);
    let delete = |tokens| accounts::delete_expired(app, tokens, before_ms);
    walk((), find, delete, &mut (&counts.sessions, &mut swept.sessions)).await
}

/// Finds from `first` on what may go, and deletes it, step by step until there is nowhere to go on.
async fn walk<P, T: Clone, F, D>(
    first: P,
    find: impl Fn(P) -> F,
    delete: impl Fn(Vec<T>) -> D,
    (counter, deleted): &mut (&IntCounter, &mut u64),
) -> Result<()>
where
    F: Future<Output = Result<(Vec<T>, Option<P>)>>,
    D: Future<Output = Result<u64>>,
{
    let mut position = Some(first);
    while let Some(at) = position {
        let (found, next) = paced(find(at)).await?;
        for rows in found.chunks(ROWS_MAX) {
            let count = paced(delete(rows.to_vec())).await?;
            counter.inc_by(count);
            **deleted += count;
        }
        position = next;
    }
    Ok(())
}

/// Takes a step, and rests.
async fn paced<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    let began = Instant::now();
    let done = in_time(Box::pin(step)).await?;
    tokio::time::sleep(STEP_REST.max(began.elapsed() * REST_SHARE)).await;
    Ok(done)
}
