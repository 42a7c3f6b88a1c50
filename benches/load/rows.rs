//! The list of rows, in the order of `goals.md`, and the way from a row to its measurement.

mod applications;
mod bystanders;
mod circles;
mod comeback;
mod drain;
mod fanout;
mod forgetting;
mod friends;
mod grouplists;
mod growth;
mod herd;
mod hostile;
mod idle;
mod logins;
mod media;
mod search;
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
    /// Names a set of rows on the command line.
    pub topic: &'static str,
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
    Circles { senders: usize },
    GroupInfo,
    GroupList,
    Comeback,
    Idle,
    Drain,
    Logins,
    Herd,
    HerdBesideChat,
    Hostile,
    Growth,
    Forgetting,
    Start,
    Friends { count: usize },
    Search,
    Applications,
    Uploads,
    Downloads,
    QrCodes,
    MediaBesideChat,
}

const CHAT: &str = "chat";
const MYSQL: &str = "mysql";
const GROUPS: &str = "groups";
const SERVER: &str = "server";
const PEOPLE: &str = "people";
const MEDIA: &str = "media";

/// Every row.
pub const ROWS: &[Row] = &[
    Row::new(CHAT, "single-64", "single chat, 64 senders, recipients online", Job::Single { senders: 64 })
        .with_ceiling(),
    Row::new(CHAT, "single-16", "single chat, 16 senders, recipients online", Job::Single { senders: 16 })
        .with_ceiling(),
    Row::new(CHAT, "single-1", "single chat, one sender, recipient online", Job::Single { senders: 1 }).with_ceiling(),
    Row::new(MYSQL, "mysql-64", "single chat, 64 senders, on MySQL/MariaDB", Job::Single { senders: 64 }).on_mysql(),
    Row::new(MYSQL, "mysql-16", "single chat, 16 senders, on MySQL/MariaDB", Job::Single { senders: 16 }).on_mysql(),
    Row::new(MYSQL, "mysql-1", "single chat, one sender, on MySQL/MariaDB", Job::Single { senders: 1 }).on_mysql(),
    Row::new(GROUPS, "fanout-100", "group chat, 100 members online", Job::Fanout { members: 100 }).with_ceiling(),
    Row::new(GROUPS, "fanout-500", "group chat, 500 members online", Job::Fanout { members: 500 }).with_ceiling(),
    Row::new(GROUPS, "fanout-3000", "group chat, 3,000 members online", Job::Fanout { members: 3000 }).with_ceiling(),
    Row::new(GROUPS, "bystanders", "group of 3,000 with 10 online, against small groups", Job::Bystanders),
    Row::new(GROUPS, "circles-64", "64 senders, each in a group of two", Job::Circles { senders: 64 }),
    Row::new(GROUPS, "circles-1", "one sender in a group of two", Job::Circles { senders: 1 }),
    Row::new(GROUPS, "groupinfo", "groupinfo of 3,000 members", Job::GroupInfo),
    Row::new(GROUPS, "grouplist", "grouplist of someone in 1,000 groups", Job::GroupList),
    Row::new(GROUPS, "comeback", "members come back, each with 1,000 missed group messages", Job::Comeback),
    Row::new(SERVER, "idle", "10,000 idle authenticated sockets", Job::Idle).with_ceiling(),
    Row::new(CHAT, "drain", "offline drain of 10,000 messages", Job::Drain),
    Row::new(SERVER, "logins", "login storm (argon2id) beside chat", Job::Logins).with_ceiling(),
    Row::new(SERVER, "herd", "5,000 sockets and chatGetmessageOffLine at once, after kill -9", Job::Herd),
    Row::new(SERVER, "herd-chat", "chat beside 3,000 phones that come back at once", Job::HerdBesideChat)
        .with_ceiling(),
    Row::new(SERVER, "hostile", "slow and flooding clients beside chat", Job::Hostile),
    Row::new(SERVER, "growth", "chat beside 1,000,000 messages, 100,000 users, 10,000 groups", Job::Growth),
    Row::new(SERVER, "forgetting", "chat beside the deletion of 1,500,000 old messages", Job::Forgetting),
    Row::new(SERVER, "start", "start with an existing database; idle memory; size", Job::Start),
    Row::new(PEOPLE, "friends-1000", "friend list of 1,000", Job::Friends { count: 1000 }),
    Row::new(PEOPLE, "friends-5000", "friend list of 5,000", Job::Friends { count: 5000 }),
    Row::new(PEOPLE, "search", "search among 1,000,000 users, and among 1,000", Job::Search),
    Row::new(PEOPLE, "applications", "list of 10,000 friend applications, and of 100", Job::Applications),
    Row::new(MEDIA, "uploads", "50 MB uploads; 64 uploads at once", Job::Uploads),
    Row::new(MEDIA, "downloads", "small files", Job::Downloads),
    Row::new(MEDIA, "qrcodes", "QR codes, drawn and cached", Job::QrCodes),
    Row::new(MEDIA, "media-chat", "chat beside 16 uploads and 4 covers", Job::MediaBesideChat),
];

impl Row {
    const fn new(topic: &'static str, name: &'static str, about: &'static str, job: Job) -> Self {
        Self { name, topic, about, job, has_ceiling: false, engine: None }
    }

    const fn with_ceiling(self) -> Self {
        Self { has_ceiling: true, ..self }
    }

    const fn on_mysql(self) -> Self {
        Self { engine: Some(Engine::Mysql), ..self }
    }

    /// Whether `word` means this row: its name, its topic, or the beginning of its name. A word that is a whole name or a
    /// topic means nothing else.
    pub fn is_meant_by(&self, word: &str) -> bool {
        if ROWS.iter().any(|row| row.name == word) {
            return self.name == word;
        }
        if ROWS.iter().any(|row| row.topic == word) {
            return self.topic == word;
        }
        self.name.starts_with(word)
    }

    /// Measures the row once, against a fresh server.
    pub async fn run(&self, setting: &Setting) -> Result<Findings, Failure> {
        match self.job {
            Job::Single { senders } => single::run(setting, senders).await,
            Job::Fanout { members } => fanout::run(setting, members).await,
            Job::Bystanders => bystanders::run(setting).await,
            Job::Circles { senders } => circles::run(setting, senders).await,
            Job::GroupInfo => grouplists::info(setting).await,
            Job::GroupList => grouplists::list(setting).await,
            Job::Comeback => comeback::run(setting).await,
            Job::Idle => idle::run(setting).await,
            Job::Drain => drain::run(setting).await,
            Job::Logins => logins::run(setting).await,
            Job::Herd => herd::run(setting).await,
            Job::HerdBesideChat => herd::beside_chat(setting).await,
            Job::Hostile => hostile::run(setting).await,
            Job::Growth => growth::run(setting).await,
            Job::Forgetting => forgetting::run(setting).await,
            Job::Start => start::run(setting).await,
            Job::Friends { count } => friends::run(setting, count).await,
            Job::Search => search::run(setting).await,
            Job::Applications => applications::run(setting).await,
            Job::Uploads => media::uploads(setting).await,
            Job::Downloads => media::downloads(setting).await,
            Job::QrCodes => media::qr_codes(setting).await,
            Job::MediaBesideChat => media::beside_chat(setting).await,
        }
    }
}
