//! Brings over what the old backend has: people with their passwords, guests, friends, applications, groups and their members from
//! its database, the messages that wait for absent people from its Redis, prepared answers from its files.
//!
//! All of it or nothing, into a database that has nobody yet, under the same ids: clients keep them. Tokens are not among it: they are
//! signed otherwise here (decision 10).

mod answers;
mod pending;
mod people;
mod store;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use people::People;
use store::Table;
use tracing::{info, warn};

use crate::config::Config;
use crate::db::sql::{ROWS_MAX, bigint};
use crate::db::{Cell, Claim, Db, Snapshot, Tx, check_mysql};
use crate::error::{AppError, Result};

/// What messages call the database that is read.
const OLD: &str = "the old backend's database (--from, OLD_DATABASE_URL)";
/// Ids of members whose subscriptions one statement makes: a statement on MySQL has ten seconds.
const SUBSCRIPTIONS_STEP: usize = 10_000;
/// Rows after which the progress is told.
const TOLD_EVERY: usize = 100_000;

/// Where the old backend keeps its things.
#[derive(Debug)]
pub struct Source {
    /// Its MySQL database, `mysql://user:password@host:3306/name`.
    pub url: String,
    /// Its Redis, if what waits there is wanted, `redis://:password@host:6379/0`.
    pub redis: Option<String>,
    /// Its folder `data/askAnswer`, if it has one.
    pub answers: Option<PathBuf>,
}

/// Imports `source` into the store of `config`, which no server may have meanwhile.
pub async fn run(config: &Config, source: &Source) -> Result<()> {
    check_url(&source.url).map_err(|problem| AppError::internal(format!("{OLD}: its URL {problem}")))?;
    let mut old = Snapshot::open(&source.url, OLD).await?;
    let answers = source.answers.as_deref().map(answers::read).transpose()?.unwrap_or_default();
    let lists = source.redis.as_deref().map(pending::Lists::open).transpose()?;
    let mut claim = Claim::new(config).await?;
    let imported = async {
        let db = Db::open(config).await?;
        let imported = import(&db, &mut old, lists, answers).await;
        db.close().await;
        imported
    };
    let imported = tokio::select! {
        imported = imported => imported,
        cause = claim.lost() => Err(cause),
    };
    claim.release().await;
    imported
}

fn check_url(url: &str) -> Result<(), String> {
    if !["mysql://", "mariadb://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("must start with mysql://".to_owned());
    }
    check_mysql(url)
}

async fn import(
    db: &Db,
    old: &mut Snapshot,
    lists: Option<pending::Lists>,
    answers: Vec<answers::Entry>,
) -> Result<()> {
    // What is not committed is taken back.
    let mut tx = db.begin_long().await?;
    if store::has_users(&mut tx.conn()).await? {
        return Err(AppError::internal(
            "the database has people already, and an import needs an empty one: give `database_url` (DATABASE_URL) or \
             `data_dir` (QINGNIAO_DATA_DIR) a new one, import, and start the server afterwards",
        ));
    }
    let people = copy_people(old, &mut tx).await?;
    copy_friends(old, &mut tx, &people).await?;
    copy_groups(old, &mut tx, &people).await?;
    if let Some(lists) = lists {
        copy_pending(lists, &mut tx, &people).await?;
    }
    insert_answers(&mut tx, answers, &people).await?;
    tx.commit().await.map_err(|cause| {
        AppError::internal(format!(
            "the commit: {}; whether it was done is unknown. Once the database is at rest, run the import again: if that says that the \
             database has people already, everything is there",
            cause.for_log()
        ))
    })?;
    info!("the import is complete; the server can be started");
    Ok(())
}

/// Copies the users. Returns their ids.
async fn copy_people(old: &mut Snapshot, tx: &mut Tx) -> Result<HashSet<i64>> {
    let mut people = People::default();
    let last = copy(old, tx, &store::USERS, |row| people.take(row)).await?;
    people.check()?;
    let mut parts = people.parts();
    loop {
        let some: Vec<_> = parts.by_ref().take(ROWS_MAX).collect();
        if some.is_empty() {
            break;
        }
        store::insert_username_parts(&mut tx.conn(), &some).await?;
    }
    info!("users: all can be searched for");
    let passed = old.number(store::NEXT_USER).await? - 1;
    if passed > last {
        store::pass_user_id(&mut tx.conn(), passed).await?;
    }
    Ok(people.ids())
}

/// Copies what is known of people beside their accounts, and of pairs: the first row of each.
async fn copy_friends(old: &mut Snapshot, tx: &mut Tx, people: &HashSet<i64>) -> Result<()> {
    let mut seen = HashSet::new();
    copy(old, tx, &store::PROFILES, |row| has(people, row, 1) && seen.insert(number(row, 1))).await?;
    let mut seen = HashSet::new();
    let are_there = |row: &[Cell]| has(people, row, 1) && has(people, row, 2);
    copy(old, tx, &store::FRIENDS, |row| are_there(row) && seen.insert(pair(row))).await?;
    // As many of a pair as there are, of which one may wait for its answer.
    let (mut seen, mut waiting) = (HashSet::new(), HashMap::new());
    let applications = |row: &mut Vec<Cell>| {
        let waits = row[5] != Cell::Null;
        let taken = are_there(row) && (!waits || seen.insert(pair(row)));
        if taken && waits {
            *waiting.entry(number(row, 2)).or_default() += 1;
        }
        taken
    };
    copy(old, tx, &store::APPLICATIONS, applications).await?;
    let counts: Vec<(i64, i64)> = waiting.into_iter().collect();
    for counts in counts.chunks(ROWS_MAX) {
        store::insert_application_counts(&mut tx.conn(), counts).await?;
    }
    Ok(())
}

/// Copies groups and who is in them, the first row of each.
async fn copy_groups(old: &mut Snapshot, tx: &mut Tx, people: &HashSet<i64>) -> Result<()> {
    let mut groups = HashSet::new();
    let last = copy(old, tx, &store::GROUPS, |row| has(people, row, 2) && groups.insert(number(row, 0))).await?;
    let passed = old.number(store::NEXT_GROUP).await? - 1;
    if passed > last {
        store::pass_group_id(&mut tx.conn(), passed).await?;
    }
    let mut seen = HashSet::new();
    let is_there = |row: &[Cell]| has(&groups, row, 1) && has(people, row, 2);
    let last = copy(old, tx, &store::MEMBERS, |row| is_there(row) && seen.insert(pair(row))).await?;
    for after in (0..last).step_by(SUBSCRIPTIONS_STEP) {
        store::insert_subscriptions(&mut tx.conn(), after, after + bigint(SUBSCRIPTIONS_STEP)).await?;
    }
    Ok(())
}

/// A column that holds a number; 0 for none, which no row has for an id.
fn number(row: &[Cell], at: usize) -> i64 {
    if let Cell::Int(number) = row[at] { number } else { 0 }
}

fn has(known: &HashSet<i64>, row: &[Cell], at: usize) -> bool {
    known.contains(&number(row, at))
}

/// Of whom a row is that stands for two.
fn pair(row: &[Cell]) -> (i64, i64) {
    (number(row, 1), number(row, 2))
}

/// Copies the rows of a table that `take` takes, which may change them. Returns the highest id of those.
async fn copy(
    old: &mut Snapshot,
    tx: &mut Tx,
    table: &Table,
    mut take: impl FnMut(&mut Vec<Cell>) -> bool,
) -> Result<i64> {
    let named = |cause: AppError| AppError::internal(format!("{}: {}", table.name, cause.for_log()));
    let all = old.number(table.count).await.map_err(named)?;
    let (mut after, mut highest, mut copied, mut told) = (0, 0, 0, 0);
    loop {
        let mut rows = old.rows_after(table.page, after).await.map_err(named)?;
        let Some(last) = rows.last() else { break };
        after = number(last, 0);
        rows.retain_mut(&mut take);
        highest = rows.last().map_or(highest, |row| number(row, 0));
        for rows in rows.chunks(ROWS_MAX) {
            store::insert_rows(&mut tx.conn(), table, rows).await.map_err(named)?;
        }
        copied += rows.len();
        if copied - told >= TOLD_EVERY {
            told = copied;
            info!("{}: {copied} of {all}", table.name);
        }
    }
    info!("{}: {copied} of {all}, done", table.name);
    if i64::try_from(copied).is_ok_and(|copied| copied < all) {
        warn!("{}: left out were {}", table.name, table.left_out);
    }
    Ok(highest)
}

async fn copy_pending(mut lists: pending::Lists, tx: &mut Tx, people: &HashSet<i64>) -> Result<()> {
    let (absent, known): (Vec<_>, Vec<_>) = lists.people.iter().copied().partition(|person| !people.contains(person));
    let (mut copied, mut broken) = (0, 0);
    for person in known.iter().copied() {
        let mut first = 0;
        loop {
            let page = lists.page(person, first)?;
            if page.is_empty() {
                break;
            }
            first += page.len().cast_signed();
            let messages: Vec<_> = page.iter().flatten().collect();
            copied += messages.len();
            broken += page.len() - messages.len();
            let mut rest = &messages[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(pending::fitting(rest));
                store::insert_messages(&mut tx.conn(), now).await?;
                rest = later;
            }
        }
    }
    info!("messages that wait: {copied} for {} people, done", known.len());
    if broken > 0 || !absent.is_empty() {
        warn!(
            "messages that wait: left out were {broken} that are no JSON objects, and those for {} people who are not there",
            absent.len()
        );
    }
    Ok(())
}

async fn insert_answers(tx: &mut Tx, mut answers: Vec<answers::Entry>, people: &HashSet<i64>) -> Result<()> {
    let all = answers.len();
    answers.retain(|entry| people.contains(&entry.user));
    for entries in answers.chunks(ROWS_MAX) {
        store::insert_answers(&mut tx.conn(), entries).await?;
    }
    if all > 0 {
        info!("answers: {} of {all}, done", answers.len());
    }
    if answers.len() < all {
        warn!("answers: left out were those of people who are not there");
    }
    Ok(())
}
