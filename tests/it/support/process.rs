//! The real binary as a process of its own, in a folder of its own: for what only a process shows (exit codes, signals,
//! kill -9).

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// What a command that ended has said.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A serving process; killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// The binary with nothing of the caller's configuration, working in `folder`.
pub fn command(folder: &Path) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_qingniao")), folder)
}

/// The same of another build.
pub fn command_of(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("QINGNIAO_")) {
        command.env_remove(name);
    }
    command.env_remove("DATABASE_URL").env_remove("RUST_LOG").current_dir(folder);
    command.env("QINGNIAO_OPERATIONS_ADDRESS", "").env("QINGNIAO_HTTP_CONNECTIONS_PER_ADDRESS_MAX", "50000");
    command.env("QINGNIAO_LIMITS_REGISTRATIONS_PER_ADDRESS", "1000000");
    command.env("QINGNIAO_PASSWORDS_MEMORY_KIB", "8").env("QINGNIAO_PASSWORDS_ITERATIONS", "1");
    command
}

/// Runs a command to its end, which must come soon.
pub fn run(command: &mut Command) -> Ended {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Read meanwhile: a pipe that is full would hold the command.
    let (out, err) = (said(child.stdout.take().unwrap()), said(child.stderr.take().unwrap()));
    let status = wait(&mut child);
    Ended { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn said(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

/// Sends a signal by its name to a process of ours.
pub fn send_signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(sent.success(), "the process {process} is there to get a signal");
}

/// Waits for the end of a process, which must come soon.
pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the process did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Process {
    /// Starts a command that serves, and waits until it says where it listens. Without `QINGNIAO_LISTEN` it takes a free
    /// port.
    pub fn start(command: &mut Command) -> Self {
        if !command.get_envs().any(|(name, _)| name == "QINGNIAO_LISTEN") {
            command.env("QINGNIAO_LISTEN", "127.0.0.1:0");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            let length = reader.read_line(&mut line).unwrap();
            log.lock().unwrap().push_str(&line);
            assert!(length > 0, "the server did not start:\n{}", log.lock().unwrap());
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest.split(' ').next().unwrap().parse().unwrap();
            }
        };
        // Somebody must empty the pipe, or the server would block when it is full.
        let sink = log.clone();
        let reader = std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                sink.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { address, child, log, reader: Some(reader) }
    }

    /// All that it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, as `TERM`, and waits for the end.
    pub fn signal(&mut self, name: &str) -> ExitStatus {
        send_signal(name, self.id());
        let status = wait(&mut self.child);
        self.read_out();
        status
    }

    /// Waits for the end of a process that ends by itself. Returns all that it has logged.
    pub fn end(mut self) -> String {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.read_out();
        self.log()
    }

    /// `kill -9`: the process gets no chance to do anything more. Returns all that it has logged.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.read_out();
        self.log()
    }

    /// The last lines of a process that has ended may still be on their way.
    fn read_out(&mut self) {
        self.reader.take().expect("a process ends once").join().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
