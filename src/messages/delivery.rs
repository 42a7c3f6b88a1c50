//! Pushing what is pending: pages from the store to one socket, in order, at the pace of its reader.

use std::collections::VecDeque;
use std::future::pending;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, warn};

use super::agenda::Agenda;
use super::model::{Due, frame};
use super::newest::compare_read;
use super::{backlog, receipts, store};
use crate::app::App;
use crate::db::in_time;
use crate::db::sql::ROWS_MAX;
use crate::error::Result;
use crate::hub::{Confirmed, Drain, Ending, Frame, Receipt, Step, Stream};
use crate::ids::{MessageId, SubscriptionId};
use crate::limits::Portion;

/// Pending messages looked up at a time, without their bodies.
const PAGE_MAX: usize = 512;
/// Bodies read at a time, in bytes. One that is longer is large: it is read alone, when its socket would take it at once and
/// there is room for it ([`super::service::State`]).
const BODIES_BYTES_MAX: i64 = 64 * 1024;
/// Drains that read the store at the same time; a herd of reconnecting clients queues here.
const READERS_MAX: usize = 16;
/// How often a drain looks whether another socket still holds messages of its user.
const HELD_POLL: Duration = Duration::from_millis(20);
/// How often a drain that waits for room looks whether its socket is still there.
const WANTED_POLL: Duration = Duration::from_secs(1);
/// Rest after the store failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long a new socket's client has to ask before a probe does. Nearly all ask at once, and in a herd when their call's turn
/// has come at the entrance; a probe would read the same as their drain.
const PROBE_AFTER: Duration = Duration::from_secs(5);

/// Runs the drains that the hub starts, until the server stops.
pub async fn run(app: Arc<App>) {
    let readers = Arc::new(Semaphore::new(READERS_MAX));
    let mut probes = VecDeque::new();
    loop {
        let drain = tokio::select! {
            drain = app.hub.next_drain() => {
                if !drain.asked {
                    probes.push_back((Instant::now() + PROBE_AFTER, drain));
                    continue;
                }
                drain
            }
            probe = next_probe(&mut probes) => probe,
            () = app.stop.cancelled() => return,
        };
        if !app.hub.is_wanted(&drain) {
            continue;
        }
        let counts = &app.metrics.drains;
        let kind = if drain.asked { &counts.asked } else { &counts.probe };
        kind.inc();
        let (own, readers) = (app.clone(), readers.clone());
        app.tasks.spawn(async move {
            let stop = own.stop.clone();
            tokio::select! {
                () = guarded(&drain, retrying(&own, &drain, &readers)) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// The oldest of the probes, when its time has come.
async fn next_probe(probes: &mut VecDeque<(Instant, Drain)>) -> Drain {
    let Some((due, _)) = probes.front() else { return pending().await };
    sleep_until(*due).await;
    probes.pop_front().expect("nobody else takes probes out").1
}

/// A drain that panics takes its socket with it: without a drain that socket would get nothing more, and the client's next one gets
/// a drain of its own.
async fn guarded(drain: &Drain, work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        error!(user.id = %drain.user, "a drain panicked; its socket is dropped, and its client comes back");
        drain.socket.end(Ending::Drop);
    }
}

/// Repeats a drain that the store interrupted: what has been pushed is on its way and is not pushed again.
async fn retrying(app: &App, drain: &Drain, readers: &Semaphore) {
    let mut position = MessageId::default();
    loop {
        let outcome = if drain.asked {
            run_drain(app, drain, readers, &mut position).await
        } else {
            run_probe(app, drain, readers).await
        };
        match outcome {
            Ok(()) => return,
            Err(cause) => {
                app.metrics.drains.failed.inc();
                if app.messages.drains_told.is_due() {
                    let cause = cause.for_log();
                    warn!(cause, user.id = %drain.user, "pending messages could not be read; trying again (said once a minute)");
                }
            }
        }
        sleep(RETRY).await;
        if !app.hub.is_wanted(drain) {
            return;
        }
    }
}

/// Finds out whether anything is pending at all. If not, live pushes may move cursors from now on.
async fn run_probe(app: &App, drain: &Drain, readers: &Semaphore) -> Result<()> {
    receipts::flush_of(app, drain.user).await?;
    let Some((_, due)) = open_agenda(app, drain, MessageId::default(), readers).await? else { return Ok(()) };
    if due.len() < PAGE_MAX {
        let ids: Vec<_> = due.iter().map(|due| due.id).collect();
        app.hub.probe_end(drain, &ids);
    }
    Ok(())
}

async fn run_drain(app: &App, drain: &Drain, readers: &Semaphore, position: &mut MessageId) -> Result<()> {
    // What another socket carries is not pending, and may not be overtaken either: it arrives, or that socket dies.
    loop {
        match app.hub.held_elsewhere(drain) {
            Some(false) => break,
            Some(true) => sleep(HELD_POLL).await,
            None => return Ok(()),
        }
    }
    // Everything that this user has confirmed so far is behind the cursors before they are read.
    receipts::flush_of(app, drain.user).await?;
    loop {
        let Some((mut agenda, mut page)) = open_agenda(app, drain, *position, readers).await? else { return Ok(()) };
        while !page.is_empty() {
            let last = page.len() < PAGE_MAX;
            if !push_page(app, drain, page, readers, position).await? {
                return Ok(());
            }
            page = if last { Vec::new() } else { next_page(app, &mut agenda, readers).await? };
        }
        match app.hub.drain_end(drain, *position) {
            None => return Ok(()),
            Some(on_from) => *position = on_from,
        }
    }
}

/// What is pending after `position`, and the first page of it; `None` if the drain has lost its socket while it waited.
async fn open_agenda(
    app: &App,
    drain: &Drain,
    position: MessageId,
    readers: &Semaphore,
) -> Result<Option<(Agenda, Vec<Due>)>> {
    Box::pin(backlog::catch_up(app)).await;
    let _slot = readers.acquire().await.expect("the semaphore is never closed");
    if !app.hub.is_wanted(drain) {
        return Ok(None);
    }
    in_time(read_agenda(app, drain, position)).await.map(Some)
}

async fn read_agenda(app: &App, drain: &Drain, position: MessageId) -> Result<(Agenda, Vec<Due>)> {
    let known = app.messages.newest.get();
    let mut reader = app.db.read().await?;
    let conn = &mut reader.conn();
    let mut agenda = Agenda::open(conn, drain.user, position).await?;
    // What is missing there would be passed by the next live message's confirmation.
    compare_read(known, agenda.newest())?;
    let page = agenda.next_page(conn, PAGE_MAX).await?;
    if page.len() < PAGE_MAX {
        app.messages.confirm(drain.user, Confirmed { groups: agenda.idle(), ..Confirmed::default() });
    }
    Ok((agenda, page))
}

async fn next_page(app: &App, agenda: &mut Agenda, readers: &Semaphore) -> Result<Vec<Due>> {
    let _slot = readers.acquire().await.expect("the semaphore is never closed");
    in_time(async { agenda.next_page(&mut app.db.read().await?.conn(), PAGE_MAX).await }).await
}

/// Pushes a page. Returns false if the drain has lost its socket.
async fn push_page(
    app: &App,
    drain: &Drain,
    page: Vec<Due>,
    readers: &Semaphore,
    position: &mut MessageId,
) -> Result<bool> {
    let mut rest = page.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(bodies_at_once(rest));
        let ids: Vec<MessageId> = now.iter().map(|due| due.id).collect();
        let mut room = None;
        if let [Due { size, .. }] = now
            && *size > BODIES_BYTES_MAX
        {
            room = room_for(app, drain, *size).await;
            if room.is_none() {
                return Ok(false);
            }
        }
        let bodies = {
            let _slot = readers.acquire().await.expect("the semaphore is never closed");
            in_time(async { store::list_bodies(&mut app.db.read().await?.conn(), &ids).await }).await?
        };
        let mut bodies = bodies.into_iter().peekable();
        for due in now {
            if let Some((_, body)) = bodies.next_if(|(id, _)| *id == due.id) {
                let mut frame = frame(body.as_bytes(), app.clock.now_ms());
                drop(body);
                if let Some(room) = room.take() {
                    frame = frame.holding(room);
                }
                if !push(app, drain, due, frame).await {
                    return Ok(false);
                }
            }
            *position = due.id;
        }
        rest = later;
    }
    Ok(true)
}

/// Room for a large body, once its socket has taken all before it; `None` if the drain has lost its socket.
async fn room_for(app: &App, drain: &Drain, size: i64) -> Option<Portion<IpAddr>> {
    if !when_there_is_room(drain, || app.hub.drain_clear(drain)).await {
        return None;
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut room = pin!(app.messages.large.turn(drain.socket.ticket.network, size));
    loop {
        // Keeps its place among those who wait.
        let turn = timeout(WANTED_POLL, &mut room).await;
        if !app.hub.is_wanted(drain) {
            return None;
        }
        if let Ok(room) = turn {
            return Some(room);
        }
    }
}

async fn push(app: &App, drain: &Drain, due: &Due, frame: Frame) -> bool {
    let stream =
        if due.subscription == 0 { Stream::Direct } else { Stream::Group(SubscriptionId(due.subscription), due.seq) };
    when_there_is_room(drain, || app.hub.drain_push(drain, &frame, Receipt { message: due.id, stream })).await
}

/// Takes a step as soon as its socket has room for it. Returns false if the drain has lost its socket.
async fn when_there_is_room(drain: &Drain, step: impl Fn() -> Step) -> bool {
    loop {
        match step() {
            Step::Done => return true,
            Step::Over => {
                drain.socket.pass_room();
                return false;
            }
            Step::Full => drain.socket.room().await,
        }
    }
}

/// How many of the first messages of `page` to read at a time.
fn bodies_at_once(page: &[Due]) -> usize {
    let mut bytes = 0;
    let fit = page.iter().take(ROWS_MAX).take_while(|due| {
        bytes += due.size;
        bytes <= BODIES_BYTES_MAX
    });
    fit.count().max(1)
}
