//! The command line: `serve` (the default), `migrate`, `check-config`, `describe`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use qingniao::clock::Clock;
use qingniao::config::{self, Config, LogFormat};
use qingniao::db::Db;
use qingniao::docs;
use qingniao::lifecycle::Server;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// Messages are freed by other threads than made them, and glibc's allocator has a lock for that: 10 % of a message's CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Qingniao 青鸟: a chat backend in one binary, drop-in for uni-app clients.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// A TOML file laid over the defaults of config/default.toml; environment variables win over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP and /ws (the default).
    Serve,
    /// Bring the database's schema up to date and exit.
    Migrate,
    /// Check the configuration and exit.
    CheckConfig,
    /// Print a description of the API and exit.
    Describe {
        /// In which form.
        form: Form,
    },
}

/// Descriptions that can be printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// OpenAPI 3.1 of the routes.
    Openapi,
    /// AsyncAPI 3.0 of the frames of /ws.
    Asyncapi,
    /// A Postman collection of the routes, for Postman and Apipost.
    Postman,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref(), &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(cause) => {
            eprintln!("qingniao: {cause}");
            return ExitCode::from(2);
        }
    };
    start_log(config.log.format);
    for name in config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        warn!("{name} is no setting; config/default.toml names them all");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    let outcome = runtime.block_on(async {
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => serve(config).await,
            Command::Migrate => Db::open(&config).await.map(|_| info!("the schema is up to date")),
            Command::CheckConfig => {
                println!("the configuration is valid");
                Ok(())
            }
            Command::Describe { form } => {
                let description = match form {
                    Form::Openapi => docs::openapi::document(),
                    Form::Asyncapi => docs::asyncapi::document(),
                    Form::Postman => docs::postman::collection(),
                };
                println!("{description:#}");
                Ok(())
            }
        }
    });
    // Work that hangs on a blocking thread, as a name that nobody resolves or a disk that does not answer, is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            use std::error::Error;
            let source = cause.source().map_or_else(|| cause.to_string(), ToString::to_string);
            error!(cause = source, "qingniao cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> qingniao::error::Result<()> {
    let shown = config.clone();
    raise_open_files(config.http.connections_max);
    // Before the first log line says that the server is there: a signal that follows it must find its handler.
    let signals = Signals::listen();
    let server = Server::start(config, Clock::System).await?;
    info!("listening on http://{} (HTTP under /api, push under /ws)", server.address);
    if let Some(operations) = &server.operations {
        info!("operations on http://{} (/healthz, /readyz, /metrics)", operations.address);
    }
    let store = if shown.database_url.is_empty() {
        format!("SQLite in {}", shown.sqlite_path().display())
    } else {
        // Credentials are not for the log.
        shown.database_url.rsplit('@').next().unwrap_or_default().to_owned()
    };
    info!("data: {store}; files: {}", shown.public_dir.display());
    if shown.oss_enabled() {
        info!(
            "Aliyun OSS: bucket {} at {}, {:?} signatures",
            shown.oss.bucket, shown.oss.endpoint, shown.oss.signature
        );
    } else {
        info!("Aliyun OSS is off (no oss.endpoint): uploadAliyun stores locally");
    }
    if let Some(path) = server.app.media.ffmpeg() {
        info!("ffmpeg: {}", path.display());
    } else {
        warn!("no ffmpeg was found: getVideoScreenshot fails; install it or set covers.ffmpeg_path");
    }
    signals.wait().await;
    info!("stopping");
    server.stop().await;
    info!("stopped");
    Ok(())
}

/// Every connection is an open file, and a shell's usual limit is 1024: takes all that the system allows this process.
fn raise_open_files(connections_max: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(cause) = setrlimit(Resource::Nofile, limit) {
        warn!(%cause, "the limit of open files cannot be raised");
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if allowed < connections_max as u64 {
        warn!("only {allowed} open files are allowed, fewer than http.connections_max ({connections_max})");
    }
}

/// The signals that stop the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Self {
        Self {
            terminate: signal(SignalKind::terminate()).expect("signals can be listened to"),
            interrupt: signal(SignalKind::interrupt()).expect("signals can be listened to"),
        }
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn start_log(format: LogFormat) {
    // An empty RUST_LOG is not set, as with every other variable.
    let level = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|level| !level.trim().is_empty());
    let filter = level.and_then(|level| level.parse().ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
