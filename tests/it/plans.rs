//! How the store finds what each statement asks for. A day on the server runs every statement of every store; each is then
//! explained by the engine: none walks through a table that grows, sorts without need, or reads far more than it finds.

mod filling;
mod forgetting;
mod mysql;
mod source;
mod sqlite;
mod story;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use qingniao::config::Config;
use qingniao::db::{Conn, Db, Engine};
use source::Statement;

use crate::support::database;

/// Statements that do what the rules forbid, by engine, function and a part of the finding, and why they may.
const EXCEPTIONS: &[(Engine, &str, &str, &str)] = &[
    (Engine::Sqlite, "accounts::list_users_by_middle", "sorts", "ids, as many as are found, and stops at the limit"),
    (
        Engine::MySql,
        "accounts::list_users_by_middle",
        "makes a table",
        "ids, as many as are found, and stops at the limit",
    ),
    (Engine::Sqlite, "groups::list_avatars", "sorts", "the nine that were found"),
    (Engine::MySql, "groups::list_avatars", "sorts", "the nine that were found"),
    (Engine::Sqlite, "requests::friends::list_page", "sorts", "the rows of one page"),
    (Engine::MySql, "requests::friends::list_page", "sorts", "the rows of one page"),
    (Engine::MySql, "messages::list_due_unfiled", "reads", "looks through what is not filed: UNFILED_MAX, as a rule"),
    (Engine::MySql, "answers::count", "reads", "counts the entries of one person, of whom ENTRIES_MAX are allowed"),
];

/// Statements of the drivers and the migrations.
const OTHERS: [&str; 6] = [
    "_sqlx_migrations",
    "GET_LOCK",
    "RELEASE_LOCK",
    "SELECT DATABASE()",
    "WITH RECURSIVE places",
    "SET filed_id = filed_id",
];

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    config.data_dir = folder.path().join("data");
    config.database_url = database::fresh("qingniao_plans_").await.unwrap_or_default();
    let db = Db::open(&config).await.unwrap();
    let mut lent = db.begin().await.unwrap();
    if let Conn::MySql(conn) = lent.conn() {
        filling::fill(conn.start()).await;
    }
    lent.commit().await.unwrap();
    let mut ran = story::told(folder.path(), &config, &db).await;
    ran.extend(forgetting::told().await);
    let statements = source::statements();
    let ran = by_maker(&statements, &ran);
    let mut findings = Vec::new();
    for (statement, text) in &ran {
        findings.extend(explain(&db, statement, text).await);
    }
    judge(db.engine(), &findings);
}

/// Each statement with the longest text by which it ran; fails if one never ran, or if one comes from nowhere.
fn by_maker<'a>(statements: &'a [Statement], ran: &BTreeSet<String>) -> Vec<(&'a Statement, String)> {
    let mut longest: BTreeMap<&str, (&Statement, String)> = BTreeMap::new();
    let verbs = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    let ran = ran.iter().filter(|text| verbs.iter().any(|verb| text.starts_with(verb)));
    for text in ran.filter(|text| !OTHERS.iter().any(|word| text.contains(word))) {
        let maker = source::maker(statements, text).unwrap_or_else(|| panic!("no function of a store says {text}"));
        let entry = longest.entry(&maker.name).or_insert_with(|| (maker, text.clone()));
        if entry.1.len() < text.len() {
            entry.1.clone_from(text);
        }
    }
    let unseen: Vec<_> = statements.iter().filter(|made| !longest.contains_key(made.name.as_str())).collect();
    assert!(unseen.is_empty(), "the story (plans/story.rs) does not need {unseen:#?}");
    longest.into_values().collect()
}

/// What is wrong with a statement.
struct Finding {
    engine: Engine,
    name: String,
    what: String,
    plan: Vec<String>,
}

async fn explain(db: &Db, statement: &Statement, text: &str) -> Vec<Finding> {
    // Rows that come with the statement are not looked for.
    if text.starts_with("INSERT") && text.contains(" VALUES (") {
        return Vec::new();
    }
    let mut lent = db.write_one().await.unwrap();
    let mut whats = Vec::new();
    let plan = match lent.conn() {
        Conn::Sqlite(conn) => {
            let plan = sqlite::plan(conn, text).await;
            whats.extend(plan.iter().filter_map(|step| sqlite::fault(step, text)).map(str::to_owned));
            plan
        }
        Conn::MySql(conn) => {
            let text = values::filled(&statement.name, text);
            let plan = mysql::plan(conn.start(), &text).await;
            whats.extend(plan.iter().filter_map(|step| mysql::fault(step)).map(str::to_owned));
            if !text.starts_with("INSERT") {
                whats.extend(mysql::excess(conn.start(), &text).await);
            }
            plan
        }
    };
    if let Some(index) = &statement.index
        && !plan.iter().any(|step| step.split([' ', '|']).any(|word| word == index))
    {
        whats.push(format!("does not use {index}, as its doc promises"));
    }
    let (engine, name) = (db.engine(), &statement.name);
    whats.into_iter().map(|what| Finding { engine, name: name.clone(), what, plan: plan.clone() }).collect()
}

/// Fails with all findings that are no exceptions, and with all exceptions that nothing needs.
fn judge(engine: Engine, findings: &[Finding]) {
    let excuses = |exception: &(Engine, &str, &str, &str), finding: &Finding| {
        exception.0 == finding.engine && exception.1 == finding.name && finding.what.contains(exception.2)
    };
    let mut faults = String::new();
    for finding in findings.iter().filter(|finding| !EXCEPTIONS.iter().any(|exception| excuses(exception, finding))) {
        write!(faults, "\n{} {}\n    {}", finding.name, finding.what, finding.plan.join("\n    ")).unwrap();
    }
    let idle = EXCEPTIONS.iter().filter(|exception| exception.0 == engine);
    for exception in idle.filter(|exception| !findings.iter().any(|finding| excuses(exception, finding))) {
        write!(faults, "\nthe exception {exception:?} is not needed").unwrap();
    }
    assert!(faults.is_empty(), "{engine:?}:{faults}");
}
