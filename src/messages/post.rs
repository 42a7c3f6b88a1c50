//! The one way in: a transaction that may store messages, and pushes them once it is committed.
//!
//! A [`Post`] holds the posting lock from before its first insert until after its last push. So message ids grow in commit
//! order, pushes happen in the same order, and a cursor that passes an id has passed everything before it. Facts (a new
//! member, a friendship) are changed on the same connection, so that they and their notices are one.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::model::{Address, Audience, NewMessage, Notice, frame};
use super::store;
use crate::app::App;
use crate::db::sql::ROWS_MAX;
use crate::db::{Conn, Tx};
use crate::error::Result;
use crate::friends::service as friends;
use crate::groups::model::Room;
use crate::groups::service::{self as groups, Reserved};
use crate::hub::{Receipt, Revoked, Stream};
use crate::ids::{GroupId, MessageId, UserId};

/// Bytes of bodies in one insert (one body at least): MySQL bounds its packets.
const STATEMENT_BYTES_MAX: usize = 1024 * 1024;

/// An open posting transaction. Dropped without [`Post::commit`], it leaves nothing behind.
///
/// Run it to its end even if the client goes away: begin it inside [`App::detached`].
pub struct Post<'a> {
    app: &'a App,
    tx: Tx,
    /// The newest message that was known when it began.
    known: MessageId,
    stored: Vec<Stored>,
    /// See [`Post::speaks_of`].
    about: Option<Revoked>,
    reserved: Vec<Reserved>,
    changes: Changes<'a>,
    // Last, so that the lock outlives the transaction.
    _order: OwnedMutexGuard<()>,
}

/// What is kept in memory of what a transaction changes. Unless it is known to be committed, nothing of it is kept.
struct Changes<'a> {
    app: &'a App,
    groups: Vec<(GroupId, Option<Arc<Room>>)>,
    friends: Vec<(UserId, UserId)>,
}

impl Changes<'_> {
    fn committed(mut self) {
        for (id, room) in std::mem::take(&mut self.groups) {
            match room {
                Some(room) => groups::keep(self.app, room),
                None => groups::forget(self.app, id),
            }
        }
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        for (id, _) in &self.groups {
            groups::forget(self.app, *id);
        }
        for (one, other) in &self.friends {
            friends::forget(self.app, *one, *other);
        }
    }
}

/// A message that was inserted and is to be pushed after the commit.
pub(super) struct Stored {
    pub id: MessageId,
    pub message: NewMessage,
    /// For group messages.
    pub room: Option<Place>,
    /// An older message that may not arrive after this one.
    pub about: Option<Revoked>,
}

/// Where a group message stands: the group's members, and the message's number in the group.
pub(super) type Place = (Arc<Room>, i64);

impl<'a> Post<'a> {
    /// Takes the posting lock and begins a write transaction.
    pub async fn begin(app: &'a App) -> Result<Self> {
        let order = app.messages.order.clone().lock_owned().await;
        let known = app.messages.newest.intact()?;
        let tx = app.db.begin().await?;
        let changes = Changes { app, groups: Vec::new(), friends: Vec::new() };
        Ok(Self { app, tx, known, stored: Vec::new(), about: None, reserved: Vec::new(), changes, _order: order })
    }

    /// The transaction's connection, for the facts that change with the messages.
    pub fn conn(&mut self) -> Conn<'_> {
        self.tx.conn()
    }

    /// What is posted from here on speaks of a message that was taken back, and may not arrive before what is left of it.
    pub fn speaks_of(&mut self, revoked: Revoked) {
        self.about = Some(revoked);
    }

    /// The group was changed, last of all to `room`: from the commit on, that is what is kept of it in memory, or nothing.
    pub fn group_changed(&mut self, id: GroupId, room: Option<Arc<Room>>) {
        self.changes.groups.push((id, room));
    }

    /// What is kept in memory of this pair is dropped after the commit.
    pub fn friends_changed(&mut self, one: UserId, other: UserId) {
        self.changes.friends.push((one, other));
    }

    /// Stores a notice for one person.
    pub async fn notify(&mut self, sender: UserId, to: UserId, notice: &Notice) -> Result<()> {
        self.store(
            NewMessage {
                uuid: None,
                sender,
                address: Address::User(to),
                created_at: notice.create_time,
                body: notice.body(),
            },
            None,
        )
        .await
    }

    /// Stores a notice for the people of `room`. If the group has changed since the room was read, its people as they are
    /// now get it; nothing is stored for a group that is no longer there.
    pub async fn notify_group(
        &mut self,
        sender: UserId,
        room: &Arc<Room>,
        audience: Audience,
        notice: &Notice,
    ) -> Result<()> {
        let group = room.group.id;
        let conn = &mut self.tx.conn();
        let Some(reserved) = groups::reserve(conn, &[(group, 1)]).await?.pop() else { return Ok(()) };
        let room = if reserved.version == room.group.version {
            room.clone()
        } else {
            let Some(room) = groups::room_at(self.app, conn, group, reserved.version).await? else { return Ok(()) };
            room
        };
        self.reserved.push(reserved);
        let message = NewMessage {
            uuid: None,
            sender,
            address: Address::Group(group, audience),
            created_at: notice.create_time,
            body: notice.body(),
        };
        self.store(message, Some((room, reserved.first_seq))).await
    }

    /// Begins for messages to groups, so many to each, which come in the order of their ids: with their numbers reserved and
    /// who is in them, for those that are open.
    pub(super) async fn begin_in(
        app: &'a App,
        counts: &[(GroupId, i64)],
    ) -> Result<(Self, Vec<(Reserved, Arc<Room>)>)> {
        let mut post = Self::begin(app).await?;
        if let Some(expected) = groups::expected(app, counts) {
            post.reserved = expected.iter().map(|(reserved, _)| *reserved).collect();
            if groups::reserve_expected(&mut post.tx.conn(), &post.reserved).await? {
                return Ok((post, expected));
            }
            // Another program has changed one of them.
            drop(post);
            post = Self::begin(app).await?;
        }
        let conn = &mut post.tx.conn();
        post.reserved = groups::reserve(conn, counts).await?;
        let mut open = Vec::with_capacity(counts.len());
        for reserved in post.reserved.iter().filter(|reserved| reserved.open) {
            if let Some(room) = groups::room_at(app, conn, reserved.group, reserved.version).await? {
                open.push((*reserved, room));
            }
        }
        Ok((post, open))
    }

    async fn store(&mut self, message: NewMessage, room: Option<Place>) -> Result<()> {
        let seq = room.as_ref().map(|(_, seq)| *seq);
        let id = store::insert(&mut self.tx.conn(), &[(&message, seq)]).await?;
        self.stored.push(Stored { id, message, room, about: self.about.clone() });
        Ok(())
    }

    /// Stores many messages with few statements, in order.
    pub(super) async fn store_all(&mut self, messages: Vec<(NewMessage, Option<Place>)>) -> Result<()> {
        let conn = &mut self.tx.conn();
        let mut ids = Vec::with_capacity(messages.len());
        let mut rest = messages.as_slice();
        while !rest.is_empty() {
            let chunk;
            (chunk, rest) =
                rest.split_at(fitting(rest.iter().map(|(message, _)| message), STATEMENT_BYTES_MAX).min(ROWS_MAX));
            let rows: Vec<_> =
                chunk.iter().map(|(message, room)| (message, room.as_ref().map(|(_, seq)| *seq))).collect();
            let first = store::insert(conn, &rows).await?;
            ids.extend((first.0..).take(chunk.len()).map(MessageId));
        }
        let about = || self.about.clone();
        let stored =
            messages.into_iter().zip(ids).map(|((message, room), id)| Stored { id, message, room, about: about() });
        self.stored.extend(stored);
        Ok(())
    }

    /// Makes everything durable, then pushes it to those who are connected. After an error nothing was acknowledged.
    pub async fn commit(self) -> Result<()> {
        // The lock outlives the rest.
        let Self { _order, app, tx, known, stored, reserved, changes, .. } = self;
        if let Some(first) = stored.first() {
            app.messages.newest.compare_next(known, first.id)?;
        }
        tx.commit().await?;
        changes.committed();
        for reserved in &reserved {
            groups::remember_last_seq(app, reserved);
        }
        announce(app, &stored);
        Ok(())
    }
}

/// Stores direct messages by one statement, which is a transaction of its own: the common batch costs one round to the
/// store and not three. Under the posting lock, as every [`Post`].
pub(super) async fn store_at_once(app: &App, messages: Vec<NewMessage>) -> Result<()> {
    if fitting(messages.iter(), STATEMENT_BYTES_MAX) < messages.len() {
        let mut post = Post::begin(app).await?;
        post.store_all(messages.into_iter().map(|message| (message, None)).collect()).await?;
        return post.commit().await;
    }
    let _order = app.messages.order.lock().await;
    let known = app.messages.newest.intact()?;
    let mut lent = app.db.write_one().await?;
    let rows: Vec<_> = messages.iter().map(|message| (message, None)).collect();
    let first = store::insert(&mut lent.conn(), &rows).await?;
    drop(lent);
    app.messages.newest.compare_next(known, first)?;
    let stored = (first.0..).map(MessageId).zip(messages);
    let stored: Vec<_> = stored.map(|(id, message)| Stored { id, message, room: None, about: None }).collect();
    announce(app, &stored);
    Ok(())
}

/// Takes note of committed messages, in the order of their ids, and pushes them.
fn announce(app: &App, stored: &[Stored]) {
    let Some(last) = stored.last() else { return };
    app.messages.newest.grow(last.id);
    app.messages.backlog.grows();
    let now_ms = app.clock.now_ms();
    for stored in stored {
        push(app, stored, now_ms);
    }
}

/// How many of the first messages have `bytes_max` bytes together; one at least.
pub(super) fn fitting<'m>(messages: impl Iterator<Item = &'m NewMessage>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fit = messages.take_while(|message| {
        bytes += message.body.len();
        bytes <= bytes_max
    });
    fit.count().max(1)
}

/// Hands a committed message to the sockets of its recipients.
fn push(app: &App, Stored { id, message, room, about }: &Stored, now_ms: i64) {
    let frame = frame(&message.body, now_ms);
    let left = match (message.address, room) {
        (Address::User(user), _) => {
            let receipt = Receipt { message: *id, stream: Stream::Direct };
            usize::from(!app.hub.push(user, &frame, receipt, about.as_ref()))
        }
        (Address::Group(_, audience), Some((room, seq))) => {
            let mut left = audience.count(room, message.sender);
            for recipient in room.connected(&app.hub).filter(|recipient| audience.includes(recipient, message.sender)) {
                let stream = Stream::Group(recipient.subscription, *seq);
                left -=
                    usize::from(app.hub.push(recipient.user, &frame, Receipt { message: *id, stream }, about.as_ref()));
            }
            left
        }
        (Address::Group(..), None) => 0,
    };
    let counts = &app.metrics.messages;
    counts.left_pending.inc_by(left as u64);
    match (message.uuid, message.address) {
        (None, _) => counts.notice.inc(),
        (Some(_), Address::User(_)) => counts.single.inc(),
        (Some(_), Address::Group(..)) => counts.group.inc(),
    }
}
