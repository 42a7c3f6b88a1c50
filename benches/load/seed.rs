//! Fills a database by SQL while the server is down: a million rows would take too long through the API. The tables get
//! what the services would have stored; rows made here have ids from [`FIRST_ID`] on, so that none is taken already.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use sqlx::{
    Connection, MySql, MySqlConnection, QueryBuilder, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};

use crate::failure::{Failure, While};

/// The id of the first user and the first group that is made here.
pub const FIRST_ID: i64 = 1_000_001;

/// Where a server keeps its rows.
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A URL with the database's name.
    Mysql(String),
}

/// A value of a statement.
pub enum Bind<'a> {
    Number(i64),
    Text(&'a str),
}

/// A connection to the database of a server that is down.
pub enum Seed {
    Sqlite(SqliteConnection, PathBuf),
    Mysql(MySqlConnection),
}

/// The two letters of a name that its number chooses, once by each of two lists.
const FIRST_LETTERS: &str = "lihewazhchsuxumahugu";
const SECOND_LETTERS: &str = "aneiuoiaenouao";

/// The name of the seeded user with this number, as the statement in [`Seed::users`] makes it.
pub fn username(number: usize) -> String {
    let letters = |list: &'static str| &list[number % (list.len() / 2) * 2..][..2];
    format!("{}{}{number}", letters(FIRST_LETTERS), letters(SECOND_LETTERS))
}

impl Seed {
    /// Opens the database and makes the table of the numbers 0 to 999,999, from which all rows are made.
    pub async fn open(place: Place) -> Result<Self, Failure> {
        let mut seed = match place {
            Place::Sqlite(path) => {
                // A crash now would spoil only this run; the server sets the journal that it wants.
                let options = SqliteConnectOptions::new()
                    .filename(&path)
                    .journal_mode(SqliteJournalMode::Off)
                    .synchronous(SqliteSynchronous::Off)
                    .locking_mode(SqliteLockingMode::Exclusive)
                    .pragma("temp_store", "MEMORY")
                    .pragma("cache_size", "-1000000");
                Self::Sqlite(SqliteConnection::connect_with(&options).await.doing("opening the database")?, path)
            }
            Place::Mysql(url) => Self::Mysql(MySqlConnection::connect(&url).await.doing("connecting to MySQL")?),
        };
        seed.run("CREATE TEMPORARY TABLE numbers (n INTEGER PRIMARY KEY)", &[]).await?;
        seed.run(
            "INSERT INTO numbers (n) \
             WITH digits (d) AS (SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
             UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) \
             SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d FROM digits a \
             CROSS JOIN digits b CROSS JOIN digits c CROSS JOIN digits e CROSS JOIN digits f CROSS JOIN digits g",
            &[],
        )
        .await?;
        Ok(seed)
    }

    /// Runs one statement, in words that both engines know.
    pub async fn run(&mut self, sql: &'static str, values: &[Bind<'_>]) -> Result<(), Failure> {
        macro_rules! run {
            ($connection:expr) => {{
                let mut query = sqlx::query(sql);
                for value in values {
                    query = match value {
                        Bind::Number(number) => query.bind(*number),
                        Bind::Text(text) => query.bind(*text),
                    };
                }
                query.execute($connection).await.map(|_| ())
            }};
        }
        match self {
            Self::Sqlite(connection, _) => run!(connection),
            Self::Mysql(connection) => run!(connection),
        }
        .doing(sql)
    }

    /// Files the messages that were made, as the server does while it runs.
    pub async fn file_messages(&mut self) -> Result<(), Failure> {
        self.run(
            "INSERT INTO backlog (user_id, message_id) SELECT m.recipient_id, m.id FROM messages m \
             LEFT JOIN inboxes i ON i.user_id = m.recipient_id WHERE m.recipient_id IS NOT NULL \
             AND m.id > COALESCE(i.delivered_id, 0) ORDER BY 1, 2",
            &[],
        )
        .await?;
        self.run("UPDATE backlog_progress SET filed_id = (SELECT MAX(id) FROM messages)", &[]).await
    }

    /// Makes `count` users with profiles.
    pub async fn users(&mut self, count: usize) -> Result<(), Failure> {
        let count = Bind::Number(i64::try_from(count).doing("a count")?);
        let letters = [Bind::Text(FIRST_LETTERS), Bind::Text(SECOND_LETTERS)];
        let [first, second] = &letters;
        self.run(
            "INSERT INTO users (id, uuid, username, username_key, password_hash, avatar, userset, created_at, updated_at) \
             SELECT 1000001 + n, CONCAT('00000000-0000-4000-8000-', 100000000000 + n), \
             CONCAT(SUBSTR(?, 1 + 2 * (n % 10), 2), SUBSTR(?, 1 + 2 * (n % 7), 2), n), \
             CONCAT(SUBSTR(?, 1 + 2 * (n % 10), 2), SUBSTR(?, 1 + 2 * (n % 7), 2), n), \
             '', 'https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg', '', 1750000000000, 1750000000000 \
             FROM numbers WHERE n < ? ORDER BY n",
            &[first.again(), second.again(), first.again(), second.again(), count.again()],
        )
        .await?;
        self.run(
            "INSERT INTO profiles (user_id, created_at, updated_at) \
             SELECT 1000001 + n, 1750000000000, 1750000000000 FROM numbers WHERE n < ? ORDER BY n",
            &[count],
        )
        .await
    }

    /// Makes the users findable, by the statement with which a migration does it. Nobody may have registered yet.
    pub async fn username_parts(&mut self) -> Result<(), Failure> {
        let engine = match self {
            Self::Sqlite(..) => "sqlite",
            Self::Mysql(_) => "mysql",
        };
        let file = format!("{}/migrations/{engine}/0021_username_parts_of_users.sql", env!("CARGO_MANIFEST_DIR"));
        let sql = fs::read_to_string(&file).doing(&file)?;
        // In the order of the key: a third of the time.
        let sql = format!("{} ORDER BY 1, 2, 3", sql.trim_end().trim_end_matches(';'));
        match self {
            Self::Sqlite(connection, _) => {
                QueryBuilder::<Sqlite>::new(sql).build().execute(connection).await.map(|_| ())
            }
            Self::Mysql(connection) => QueryBuilder::<MySql>::new(sql).build().execute(connection).await.map(|_| ()),
        }
        .doing(&file)
    }

    /// Leaves the database, and waits until the disk has it: writing it back must not fall into the measured time.
    pub async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(connection, path) => {
                connection.close().await.doing("leaving the database")?;
                File::open(&path).and_then(|file| file.sync_all()).doing("syncing the database")
            }
            Self::Mysql(connection) => connection.close().await.doing("leaving MySQL"),
        }
    }
}

impl<'a> Bind<'a> {
    /// The same value once more.
    pub fn again(&self) -> Bind<'a> {
        match self {
            Self::Number(number) => Bind::Number(*number),
            Self::Text(text) => Bind::Text(text),
        }
    }
}
