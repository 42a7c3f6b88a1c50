//! Starts and stops the process under load: the release binary, or this program again as the ceiling.
//!
//! Each server has its own directory, its own port on 127.0.0.1 and, on MySQL, a database made anew. Dropping it kills it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    database,
    failure::{Failure, While},
    setting::{Engine, Setting, Target},
};

/// Outside the range from which the kernel gives ports to clients.
static NEXT_PORT: AtomicU16 = AtomicU16::new(21_000);
const PORTS_TRIED_MAX: usize = 500;
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
            ("QINGNIAO_DATA_DIR".to_owned(), path("data")),
            ("QINGNIAO_PUBLIC_DIR".to_owned(), path("public")),
            ("QINGNIAO_JWT_SECRET".to_owned(), "load-program-secret-of-32-bytes-or-more".to_owned()),
        ];
        if setting.engine == Engine::Mysql && setting.target == Target::Server {
            command.push(("DATABASE_URL".to_owned(), database::make_mysql(&setting.mysql_url).await?));
        }
        command.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        fs::create_dir_all(directory.path().join("public")).doing("making the public directory")?;
        let child = spawn(setting.target, &command, &directory, address)?;
        let mut server = Self { child, command, target: setting.target, address, directory };
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
    /// Returns the time from the start of the process to the first accepted connection.
    pub async fn stop_and_start(&mut self) -> Result<Duration, Failure> {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().doing("stopping the server")?;
        let asked = Instant::now();
        while self.child.try_wait().doing("waiting for the stopped server")?.is_none() {
            if asked.elapsed() > STOP_TIME_MAX {
                return Err(Failure::new("the server did not stop after SIGTERM"));
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.start_again().await
    }

    async fn start_again(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.child = spawn(self.target, &self.command, &self.directory, self.address)?;
        self.wait_until_listening().await?;
        Ok(begun.elapsed())
    }

    async fn wait_until_listening(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            if TcpStream::connect(self.address).is_ok() {
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

fn spawn(
    target: Target,
    environment: &[(String, String)],
    directory: &TempDir,
    address: SocketAddr,
) -> Result<Child, Failure> {
    let mut command = match target {
        Target::Server => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_qingniao"));
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
    let ports = (0..PORTS_TRIED_MAX).map(|_| NEXT_PORT.fetch_add(1, Ordering::Relaxed));
    let mut unused = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    unused.next().doing("an unused port")
}
