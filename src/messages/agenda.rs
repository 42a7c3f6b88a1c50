//! What is pending for one person, in the order of delivery: direct messages and those of each group, merged.
//!
//! Each stream is read by itself, a bit ahead, so that a page costs what it holds, however long the history of a group and
//! however many groups somebody is in. An agenda covers what was committed when it was opened; what came later is for the
//! next one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::model::{Due, Progress, Subscription};
use super::store;
use crate::db::Conn;
use crate::db::sql::bigint;
use crate::error::Result;
use crate::ids::{GroupId, MessageId, SubscriptionId, UserId};

/// Messages read ahead, of all streams together; of each at least [`STEP_MIN`].
const AHEAD: usize = 4096;
const STEP_MIN: usize = 16;
const STEP_MAX: usize = 512;
/// Subscriptions looked up at a time; somebody may have more.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Streams read by one statement; the few numbers keep the statement cache small.
const TOGETHER: [usize; 3] = [16, 4, 1];

/// See the module.
#[derive(Debug)]
pub struct Agenda {
    user: UserId,
    /// Everything after this, up to `newest`, is on the agenda.
    after: MessageId,
    newest: MessageId,
    /// Direct messages up to this one are read from the backlog, later ones from among all.
    filed: MessageId,
    step: usize,
    streams: Vec<Stream>,
    /// The next message of each stream that has one ready.
    heads: BinaryHeap<Reverse<(MessageId, usize)>>,
    /// Streams that have none ready and may have more.
    dry: Vec<usize>,
}

#[derive(Debug)]
struct Stream {
    source: Source,
    ready: VecDeque<Due>,
    /// Nothing was found in it, whatever is read.
    idle: bool,
    ended: bool,
}

/// Where a stream is to be read from next.
#[derive(Debug)]
enum Source {
    Direct(MessageId),
    Group(Subscription),
}

impl Agenda {
    /// What is pending for `user` after the message `after`, which was the last that was pushed.
    pub async fn open(conn: &mut Conn<'_>, user: UserId, after: MessageId) -> Result<Self> {
        // Ids are committed in order, so up to this one every stream is complete, whatever is committed between the reads.
        let Progress { filed_id: filed, newest_id: newest } = store::find_progress(conn).await?;
        let cursor = store::find_inbox_cursor(conn, user).await?.max(after);
        let subscriptions = read_subscriptions(conn, user).await?;
        let sources = std::iter::once(Source::Direct(cursor)).chain(subscriptions.into_iter().map(Source::Group));
        let streams: Vec<_> =
            sources.map(|source| Stream { source, ready: VecDeque::new(), idle: true, ended: false }).collect();
        Ok(Self {
            user,
            after,
            newest,
            filed,
            step: (AHEAD / streams.len()).clamp(STEP_MIN, STEP_MAX),
            dry: (0..streams.len()).collect(),
            streams,
            heads: BinaryHeap::new(),
        })
    }

    /// The newest message of all when it was opened.
    pub const fn newest(&self) -> MessageId {
        self.newest
    }

    /// The next messages, `count` or fewer; none if the agenda is through.
    pub async fn next_page(&mut self, conn: &mut Conn<'_>, count: usize) -> Result<Vec<Due>> {
        let mut page = Vec::new();
        loop {
            self.read_ahead(conn).await?;
            // Until a stream runs dry: what it has next may be older than what the others have.
            while self.dry.is_empty() {
                if page.len() == count {
                    return Ok(page);
                }
                let Some(Reverse((_, place))) = self.heads.pop() else { return Ok(page) };
                page.extend(self.streams[place].ready.pop_front());
                self.offer(place);
            }
        }
    }

    /// Subscriptions in which nothing is due although messages are behind their cursors (the person's own, or chat before an
    /// approval): their cursors may move, so that nobody walks over these messages again. Known once the agenda is through.
    pub fn idle(&self) -> Vec<(SubscriptionId, i64)> {
        // After a message that was pushed, unconfirmed ones may be behind the cursors that this agenda did not look at.
        let whole = self.after == MessageId::default();
        let idle = self.streams.iter().filter(|stream| whole && stream.idle && stream.ended);
        idle.filter_map(|stream| match &stream.source {
            Source::Direct(_) => None,
            Source::Group(subscription) => Some((subscription.id, subscription.last_seq)),
        })
        .collect()
    }

    /// Puts the next message of a stream up, or notes that it has run dry.
    fn offer(&mut self, place: usize) {
        let stream = &self.streams[place];
        match stream.ready.front() {
            Some(due) => self.heads.push(Reverse((due.id, place))),
            None if stream.ended => {}
            None => self.dry.push(place),
        }
    }

    /// Reads on in every stream that has run dry.
    async fn read_ahead(&mut self, conn: &mut Conn<'_>) -> Result<()> {
        let dry = std::mem::take(&mut self.dry);
        let mut groups = Vec::with_capacity(dry.len());
        for place in dry {
            match self.streams[place].source {
                Source::Direct(after) => {
                    let rows = self.read_direct(conn, after).await?;
                    self.take(place, rows);
                }
                Source::Group(subscription) => groups.push((place, subscription)),
            }
        }
        let mut rest = groups.as_slice();
        while let Some(count) = TOGETHER.into_iter().find(|count| *count <= rest.len()) {
            let (now, later) = rest.split_at(count);
            let subscriptions: Vec<Subscription> = now.iter().map(|(_, subscription)| *subscription).collect();
            let rows = store::list_due_group(conn, self.user, self.after, &subscriptions, bigint(self.step)).await?;
            let mut by_subscription: HashMap<i64, Vec<Due>> = HashMap::with_capacity(count);
            for due in rows {
                by_subscription.entry(due.subscription).or_default().push(due);
            }
            for (place, subscription) in now {
                self.take(*place, by_subscription.remove(&subscription.id.0).unwrap_or_default());
            }
            rest = later;
        }
        Ok(())
    }

    /// The next direct messages, from the backlog and then from what is not filed yet. What is filed meanwhile is read from where
    /// it was when the agenda was opened.
    async fn read_direct(&self, conn: &mut Conn<'_>, after: MessageId) -> Result<Vec<Due>> {
        let mut rows = Vec::new();
        if after < self.filed {
            rows = store::list_due_filed(conn, self.user, after, self.filed, bigint(self.step)).await?;
        }
        let after = after.max(self.filed);
        if rows.len() < self.step && after < self.newest {
            let room = bigint(self.step - rows.len());
            rows.extend(store::list_due_unfiled(conn, self.user, after, self.newest, room).await?);
        }
        Ok(rows)
    }

    fn take(&mut self, place: usize, mut rows: Vec<Due>) {
        // A union promises no order.
        rows.sort_unstable_by_key(|due| due.id);
        let stream = &mut self.streams[place];
        stream.idle &= rows.is_empty();
        stream.ended = rows.len() < self.step || rows.last().is_some_and(|due| due.id > self.newest);
        if let Some(last) = rows.last() {
            match &mut stream.source {
                Source::Direct(after) => *after = last.id,
                Source::Group(subscription) => subscription.delivered_seq = last.seq,
            }
        }
        stream.ready = rows.into_iter().filter(|due| due.id <= self.newest).collect();
        self.offer(place);
    }
}

/// All subscriptions with messages behind their cursors. One that were left out would lose what is pending in it: once the drain is
/// over, a live message in that group moves the cursor.
async fn read_subscriptions(conn: &mut Conn<'_>, user: UserId) -> Result<Vec<Subscription>> {
    let mut subscriptions: Vec<Subscription> = Vec::new();
    let mut after = GroupId(0);
    loop {
        let page = store::list_subscriptions(conn, user, after, bigint(SUBSCRIPTIONS_MAX)).await?;
        let Some(last) =
            page.last().filter(|_| page.len() == SUBSCRIPTIONS_MAX).map(|subscription| subscription.group_id)
        else {
            subscriptions.extend(page);
            return Ok(subscriptions);
        };
        // It may end between two subscriptions in one group, which the next page then has together; unless it has no other.
        let others = page.first().is_some_and(|first| first.group_id < last);
        after = if others { GroupId(last.0 - 1) } else { last };
        subscriptions.extend(page.into_iter().filter(|subscription| subscription.group_id <= after));
    }
}
