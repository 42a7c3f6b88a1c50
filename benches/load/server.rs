//! Starts and stops the process under load: the release binary, or this program again as the ceiling.
//!
//! Each server has its own directory, its own port on 127.0.0.1 and, on MySQL, a database made anew. Dropping it kills it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    database,
    failure::{Failure, While},
    seed::{Place, Seed},
    setting::{Engine, Setting, Target},
};

/// Ports outside the range from which the kernel gives them to clients; each load program begins at another one.
const FIRST_PORT: u16 = 21_000;
const FIRST_PORTS: u32 = 10;
static PORTS_TAKEN: AtomicU16 = AtomicU16::new(0);
const PORTS_TRIED_MAX: u16 = 1000;
const START_TIME_MAX: Duration = Duration::from_secs(30);
const STOP_TIME_MAX: Duration = Duration::from_secs(20);
const LOG_SHOWN_BYTES: usize = 1500;
/// Where the log of the last server stays, for whoever wants to know why a row failed.
pub const LAST_LOG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/load-last.log");

/// Settings for rows in which passwords are not what is measured: a registration then costs next to nothing.
pub const CHEAP_PASSWORDS: &[(&str, &str)] =
    &[("QINGNIAO_PASSWORDS_MEMORY_KIB", "64"), ("QINGNIAO_PASSWORDS_ITERATIONS", "1")];

/// A running process to be measured.
pub struct Server {
    child: Child,
    command: Vec<(String, String)>,
    target: Target,
    binary: PathBuf,
    pub address: SocketAddr,
    /// Holds database, log and files; gone with the server.
    pub directory: TempDir,
}

impl Server {
    /// Starts a server with nothing in it and waits until it listens.
    pub async fn start(setting: &Setting, extra: &[(&str, &str)]) -> Result<Self, Failure> {
        // Not /tmp, which is memory on many machines: the price of a durable commit belongs to the figures.
        let directory = tempfile::Builder::new().prefix("load-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let directory = directory.doing("making the server's directory")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()?));
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut command = vec![
            ("QINGNIAO_LISTEN".to_owned(), address.to_string()),
            ("QINGNIAO_OPERATIONS_ADDRESS".to_owned(), String::new()),
            // All the people of a load come from one.
            ("QINGNIAO_HTTP_CONNECTIONS_PER_ADDRESS_MAX".to_owned(), "50000".to_owned()),
            ("QINGNIAO_LIMITS_REGISTRATIONS_PER_ADDRESS".to_owned(), "10000000".to_owned()),
            ("QINGNIAO_DATA_DIR".to_owned(), path("data")),
            ("QINGNIAO_PUBLIC_DIR".to_owned(), path("public")),
            ("QINGNIAO_JWT_SECRET".to_owned(), "load-program-secret-of-32-bytes-or-more".to_owned()),
        ];
        if setting.engine == Engine::Mysql && setting.target == Target::Server {
            command.push(("DATABASE_URL".to_owned(), database::make_mysql(&setting.mysql_url).await?));
        }
        command.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        fs::create_dir_all(directory.path().join("public")).doing("making the public directory")?;
        let binary = setting.binary.clone();
        let child = spawn(setting.target, &binary, &command, &directory, address)?;
        let mut server = Self { child, command, target: setting.target, binary, address, directory };
        server.wait_until_listening().await?;
        Ok(server)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True for the program without rules, to which groups and friends mean nothing.
    pub fn is_ceiling(&self) -> bool {
        self.target == Target::Ceiling
    }

    /// Kills the server as a power cut would, and starts it again on the same data.
    pub async fn kill_and_start(&mut self) -> Result<Duration, Failure> {
        self.child.kill().doing("killing the server")?;
        self.child.wait().doing("waiting for the killed server")?;
        self.start_again().await
    }

    /// Stops the server as an operator would, and starts it again on the same data.
    /// Returns the time from the start of the process to the first answer.
    pub async fn stop_and_start(&mut self) -> Result<Duration, Failure> {
        self.stop().await?;
        self.start_again().await
    }

    /// Stops the server, fills its database, and starts it again on it.
    pub async fn seed(&mut self, fill: impl AsyncFnOnce(&mut Seed) -> Result<(), Failure>) -> Result<(), Failure> {
        self.stop().await?;
        let url = self.command.iter().find(|(name, _)| name == "DATABASE_URL");
        let place = match url {
            Some((_, url)) => Place::Mysql(url.clone()),
            None => Place::Sqlite(self.directory.path().join("data/qingniao.db")),
        };
        let mut seed = Seed::open(place).await?;
        fill(&mut seed).await?;
        seed.close().await?;
        self.start_again().await.map(|_| ())
    }

    /// Stops the server as an operator would.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().doing("stopping the server")?;
        let asked = Instant::now();
        while self.child.try_wait().doing("waiting for the stopped server")?.is_none() {
            if asked.elapsed() > STOP_TIME_MAX {
                return Err(Failure::new("the server did not stop after SIGTERM"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn start_again(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.child = spawn(self.target, &self.binary, &self.command, &self.directory, self.address)?;
        self.wait_until_listening().await?;
        Ok(begun.elapsed())
    }

    async fn wait_until_listening(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            if answers(self.address) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().doing("watching the server start")? {
                return Err(Failure::new(format!("the server ended at once, {status}\n{}", self.last_log())));
            }
            if begun.elapsed() > START_TIME_MAX {
                return Err(Failure::new(format!("the server does not listen\n{}", self.last_log())));
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The end of what the server wrote, for a failure's text.
    pub fn last_log(&self) -> String {
        let log = fs::read(self.directory.path().join("log")).unwrap_or_default();
        let start = log.len().saturating_sub(LOG_SHOWN_BYTES);
        String::from_utf8_lossy(&log[start..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and nothing more can be done about either.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::rename(self.directory.path().join("log"), LAST_LOG);
    }
}

/// Whether a request is answered: a connection alone may be accepted long before the database is open.
fn answers(address: SocketAddr) -> bool {
    let answer = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(START_TIME_MAX))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        stream.read_exact(&mut [0])
    };
    answer().is_ok()
}

fn spawn(
    target: Target,
    binary: &Path,
    environment: &[(String, String)],
    directory: &TempDir,
    address: SocketAddr,
) -> Result<Child, Failure> {
    let mut command = match target {
        Target::Server => {
            let mut command = Command::new(binary);
            command.arg("serve");
            command
        }
        Target::Ceiling => {
            let mut command = Command::new(std::env::current_exe().doing("finding this program")?);
            command.args(["--ceiling", &address.to_string()]);
            command
        }
    };
    let log = File::options().create(true).append(true).open(directory.path().join("log"));
    let log = log.doing("opening the server's log")?;
    // The caller's own settings must not leak into the figures.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QINGNIAO_")) {
        command.env_remove(name);
    }
    command.env_remove("DATABASE_URL").env_remove("RUST_LOG");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(directory.path()).stdin(Stdio::null());
    command.stdout(log.try_clone().doing("sharing the server's log")?).stderr(log);
    command.spawn().doing("starting the server")
}

fn unused_port() -> Result<u16, Failure> {
    let place = u16::try_from(std::process::id() % FIRST_PORTS).unwrap_or_default();
    let first = FIRST_PORT + place * PORTS_TRIED_MAX;
    let ports = (0..PORTS_TRIED_MAX).map(|_| first + PORTS_TAKEN.fetch_add(1, Ordering::Relaxed) % PORTS_TRIED_MAX);
    let mut unused = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    unused.next().doing("an unused port")
}
