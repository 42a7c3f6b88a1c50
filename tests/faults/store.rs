//! The stores that faults are done to: SQLite in a folder, or a MariaDB of our own behind a proxy.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

use super::support::{Proxy, send_signal, wait};

/// How long MariaDB may take to answer after its start.
const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// A MariaDB that is the runner's own; it ends with it.
pub struct MariaDb {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    /// What the servers under test connect to.
    pub proxy: Proxy,
}

impl MariaDb {
    /// Makes one in `folder` and starts it; `None` if there is no MariaDB on this machine.
    pub async fn install(folder: &Path) -> Option<Self> {
        find_program("mariadbd")?;
        let install = find_program("mariadb-install-db")?;
        std::fs::create_dir_all(folder).unwrap();
        let done = Command::new(install)
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", folder.join("data").display()))
            // Two that run at the same time would else remove each other's files.
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&done.stderr));
        let port = unused_port();
        let proxy = Proxy::to(([127, 0, 0, 1], port).into());
        let mut maria = Self { folder: folder.to_owned(), port, child: None, proxy };
        maria.start().await;
        Some(maria)
    }

    /// Starts it, and returns when it answers.
    pub async fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let path = |name: &str| self.folder.join(name).display().to_string();
        let child = Command::new(find_program("mariadbd").expect("it was there before"))
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--max-connections=200", "--skip-name-resolve"])
            // Durable as the defaults are, but small.
            .args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"])
            .arg(format!("--user={}", user()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--datadir={}", path("data")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let began = Instant::now();
        while self.connect().await.is_err() {
            assert!(began.elapsed() < STARTS_WITHIN, "MariaDB answers; its log is {}", path("log"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it, politely or by kill -9.
    pub fn stop(&mut self, politely: bool) {
        if let Some(mut child) = self.child.take() {
            send_signal(if politely { "TERM" } else { "KILL" }, child.id());
            wait(&mut child);
        }
    }

    /// A connection of our own, past the proxy.
    pub async fn connect(&self) -> sqlx::Result<MySqlConnection> {
        let options: MySqlConnectOptions = format!("mysql://root@127.0.0.1:{}", self.port).parse()?;
        options.connect().await
    }

    /// Makes a database, and returns the URL by which a server reaches it.
    pub async fn database(&self, name: &str) -> String {
        let mut connection = self.connect().await.unwrap();
        let create = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
        connection.close().await.unwrap();
        format!("mysql://root@{}/{name}", self.proxy.address)
    }

    /// Holds a lock on the messages of a database for a while, as a backup does.
    pub async fn lock_messages(&self, name: &str, pause: Duration) {
        let mut connection = self.connect().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("USE `{name}`"))).await.unwrap();
        connection.execute("LOCK TABLES messages WRITE").await.unwrap();
        tokio::time::sleep(pause).await;
        connection.close().await.unwrap();
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// Holds SQLite's write lock for a while, as another process could.
pub async fn lock_sqlite(file: &Path, pause: Duration) {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(30));
    let mut connection = options.connect().await.unwrap();
    connection.execute("BEGIN IMMEDIATE").await.unwrap();
    tokio::time::sleep(pause).await;
    connection.execute("ROLLBACK").await.unwrap();
    connection.close().await.unwrap();
}

/// A file system of its own, in memory and small, so that it can be filled.
pub struct SmallDisk {
    pub folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one, which takes root.
    pub fn mount(folder: PathBuf, size: &str) -> Result<Self, String> {
        std::fs::create_dir_all(&folder).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(&folder).output();
        match mount {
            Ok(done) if done.status.success() => Ok(Self { folder }),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Err(cause) => Err(cause.to_string()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Leaves not a byte.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        // Ends with "no space left on device".
        let full = std::io::copy(&mut std::io::repeat(7), &mut ballast);
        assert!(full.is_err(), "a small disk fills up");
    }

    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// A port outside the range from which the kernel gives them to clients: a server that is away keeps it.
pub fn unused_port() -> u16 {
    let tries = std::iter::repeat_with(|| rand::random_range(20_000..32_000_u16));
    let mut free = tries.take(1000).filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("one of a thousand ports is free")
}

/// The path of a program, also of those that only administrators have on their PATH.
fn find_program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn user() -> String {
    let done = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}
