//! A person's own questions and answers. Nobody sees or changes another's (decision 31); another's question only finds
//! the answer that fits it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::model::{Entry, EntryChange, ranked};
use super::store;
use crate::app::App;
use crate::error::{AppError, Result};
use crate::ids::{AnswerId, UserId};
use crate::limits::Shares;

/// Most entries of one person: what one question is compared with.
const ENTRIES_MAX: i64 = 500;
/// Characters of a question that are compared; what follows adds nothing to what is asked.
const QUESTION_MAX: usize = 500;

/// Questions to one person that may wait; a further one stays without an answer.
const QUESTIONS_MAX: usize = 32;
/// Questions that are compared at the same time.
const TURNS_MAX: usize = 1;

/// Whose turn it is to compare.
#[derive(Debug)]
pub struct State {
    turns: Arc<Semaphore>,
    /// One new entry of a person at a time: they are counted first.
    additions: Shares<UserId>,
    /// Questions that wait for their turn, by whose entries they are about.
    questions: Shares<UserId>,
    /// Of these one for each person that waits among all.
    next: Shares<UserId>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(TURNS_MAX)),
            additions: Shares::new(1),
            questions: Shares::new(QUESTIONS_MAX),
            next: Shares::new(1),
        }
    }
}

const TOO_MANY: AppError = AppError::refused("问答数量已达上限");

/// Adds an entry to mine.
pub async fn create(app: &App, me: UserId, kind: &str, ask: &str, answer: &str) -> Result<Entry> {
    let _turn = app.answers.additions.turn(me, 1).await;
    let mut tx = app.db.begin().await?;
    if store::count(&mut tx.conn(), me).await? >= ENTRIES_MAX {
        return Err(TOO_MANY);
    }
    let now_ms = app.clock.now_ms();
    let id = store::insert(&mut tx.conn(), me, (kind, ask, answer), now_ms).await?;
    let entry = store::find(&mut tx.conn(), me, id).await?;
    tx.commit().await?;
    entry.ok_or_else(|| AppError::internal("an entry that was just inserted is missing"))
}

/// Changes an entry of mine; `None` if I have no such entry.
pub async fn update(app: &App, me: UserId, id: AnswerId, change: &EntryChange) -> Result<Option<Entry>> {
    let mut tx = app.db.begin().await?;
    if !store::update(&mut tx.conn(), me, id, change, app.clock.now_ms()).await? {
        return Ok(None);
    }
    let entry = store::find(&mut tx.conn(), me, id).await?;
    tx.commit().await?;
    Ok(entry)
}

/// Removes an entry of mine. Returns whether there was one.
pub async fn delete(app: &App, me: UserId, id: AnswerId) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let mine = store::delete(&mut tx.conn(), me, id).await?;
    tx.commit().await?;
    Ok(mine)
}

/// An entry of mine.
pub async fn find(app: &App, me: UserId, id: AnswerId) -> Result<Option<Entry>> {
    store::find(&mut app.db.read().await?.conn(), me, id).await
}

/// My entries, newest first; those of one kind if `kind` is given.
pub async fn list(app: &App, me: UserId, kind: Option<&str>) -> Result<Vec<Entry>> {
    let mut reader = app.db.read().await?;
    match kind {
        Some(kind) => store::list_by_kind(&mut reader.conn(), me, kind, ENTRIES_MAX).await,
        None => store::list(&mut reader.conn(), me, ENTRIES_MAX).await,
    }
}

/// My entries that answer `question`, best first.
pub async fn search(app: &App, me: UserId, kind: Option<&str>, question: &str) -> Result<Vec<Entry>> {
    let share = app.answers.questions.take(me, 1).ok_or_else(AppError::busy)?;
    let next = app.answers.next.turn(me, 1).await;
    // Five hundred long entries take milliseconds and a connection, which everybody else's messages would wait for.
    let turn = app.answers.turns.clone().acquire_owned().await.map_err(AppError::internal)?;
    let entries = list(app, me, kind).await?;
    let question = cut(question).to_owned();
    let compare = move || {
        // The work goes on if nobody waits for it any more, and so does its turn.
        let _held = (share, next, turn);
        ranked(entries, &question)
    };
    tokio::task::spawn_blocking(compare).await.map_err(AppError::internal)
}

/// What `of` has prepared for `question`, whatever the kind.
pub async fn answer_of(app: &App, of: UserId, question: &str) -> Result<Option<String>> {
    Ok(search(app, of, None, question).await?.into_iter().next().map(|entry| entry.answer))
}

fn cut(question: &str) -> &str {
    let end = question.char_indices().nth(QUESTION_MAX).map_or(question.len(), |(at, _)| at);
    &question[..end]
}
