//! The list of rows, in the order of `goals.md`, and the way from a row to its measurement.

mod bystanders;
mod drain;
mod fanout;
mod friends;
mod herd;
mod idle;
mod logins;
mod single;
mod start;

use crate::{
    failure::Failure,
    figures::Findings,
    setting::{Engine, Setting},
};

/// A row of the table.
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    job: Job,
    /// Whether the ceiling program can do the same.
    pub has_ceiling: bool,
    /// The engine, where the row is about one.
    pub engine: Option<Engine>,
}

#[derive(Clone, Copy)]
enum Job {
    Single { senders: usize },
    Fanout { members: usize },
    Bystanders,
    Idle,
    Drain,
    Logins,
    Herd,
    Start,
    Friends { count: usize },
}

/// Every row.
pub const ROWS: &[Row] = &[
    Row::new("single-64", "single chat, 64 senders, recipients online", Job::Single { senders: 64 }).with_ceiling(),
    Row::new("single-16", "single chat, 16 senders, recipients online", Job::Single { senders: 16 }).with_ceiling(),
    Row::new("single-1", "single chat, one sender, recipient online", Job::Single { senders: 1 }).with_ceiling(),
    Row::new("mysql-64", "single chat, 64 senders, on MySQL/MariaDB", Job::Single { senders: 64 }).on_mysql(),
    Row::new("mysql-16", "single chat, 16 senders, on MySQL/MariaDB", Job::Single { senders: 16 }).on_mysql(),
    Row::new("mysql-1", "single chat, one sender, on MySQL/MariaDB", Job::Single { senders: 1 }).on_mysql(),
    Row::new("fanout-100", "group chat, 100 members online", Job::Fanout { members: 100 }).with_ceiling(),
    Row::new("fanout-500", "group chat, 500 members online", Job::Fanout { members: 500 }).with_ceiling(),
    Row::new("fanout-3000", "group chat, 3,000 members online", Job::Fanout { members: 3000 }).with_ceiling(),
    Row::new("bystanders", "group of 3,000 with 10 online, against small groups", Job::Bystanders),
    Row::new("idle", "10,000 idle authenticated sockets", Job::Idle).with_ceiling(),
    Row::new("drain", "offline drain of 10,000 messages", Job::Drain),
    Row::new("logins", "login storm (argon2id) beside chat", Job::Logins),
    Row::new("herd", "5,000 sockets and chatGetmessageOffLine at once, after kill -9", Job::Herd),
    Row::new("start", "start with an existing database; idle memory; size", Job::Start),
    Row::new("friends-1000", "friend list of 1,000", Job::Friends { count: 1000 }),
    Row::new("friends-5000", "friend list of 5,000", Job::Friends { count: 5000 }),
];

impl Row {
    const fn new(name: &'static str, about: &'static str, job: Job) -> Self {
        Self { name, about, job, has_ceiling: false, engine: None }
    }

    const fn with_ceiling(self) -> Self {
        Self { has_ceiling: true, ..self }
    }

    const fn on_mysql(self) -> Self {
        Self { engine: Some(Engine::Mysql), ..self }
    }

    /// Measures the row once, against a fresh server.
    pub async fn run(&self, setting: &Setting) -> Result<Findings, Failure> {
        match self.job {
            Job::Single { senders } => single::run(setting, senders).await,
            Job::Fanout { members } => fanout::run(setting, members).await,
            Job::Bystanders => bystanders::run(setting).await,
            Job::Idle => idle::run(setting).await,
            Job::Drain => drain::run(setting).await,
            Job::Logins => logins::run(setting).await,
            Job::Herd => herd::run(setting).await,
            Job::Start => start::run(setting).await,
            Job::Friends { count } => friends::run(setting, count).await,
        }
    }
}
