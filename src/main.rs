//! The command line: `serve` (the default), `migrate`, `import`, `check-config`, `describe`.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use qingniao::clock::Clock;
use qingniao::config::{self, Config, LogFormat};
use qingniao::db::{self, Claim, Db};
use qingniao::docs;
use qingniao::error::AppError;
use qingniao::import;
use qingniao::lifecycle::Server;
use qingniao::os::{self, Signals};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Messages are freed by other threads than made them, and glibc's allocator has a lock for that: 10 % of a message's CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the log says of a start that a signal has ended.
const STOPPED_EARLY: &str = "stopped before the start was complete";

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
    /// Bring over what the old backend's database holds, into one that has nobody yet, and exit.
    Import(Import),
    /// Check the configuration and exit.
    CheckConfig,
    /// Print a description of the API and exit.
    Describe {
        /// In which form.
        form: Form,
    },
}

/// Where the old backend keeps its things.
#[derive(Debug, Args)]
struct Import {
    /// The old backend's MySQL database: mysql://user:password@host:3306/name. In the environment no other user can read it.
    #[arg(long, value_name = "URL", env = "OLD_DATABASE_URL", hide_env_values = true)]
    from: String,
    /// The old backend's Redis, redis://:password@host:6379/0: the messages that wait there for absent people.
    #[arg(long, value_name = "URL", env = "OLD_REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
    /// The old backend's folder data/askAnswer: the answers that people prepared.
    #[arg(long, value_name = "FOLDER")]
    answers: Option<PathBuf>,
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
    let (config, filter) = match read_settings(arguments.config.as_deref()) {
        Ok(settings) => settings,
        Err(cause) => {
            // As with the log.
            let _ = writeln!(std::io::stderr(), "qingniao: {cause}");
            return ExitCode::from(2);
        }
    };
    start_log(config.log.format, filter);
    for name in config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        warn!("unknown setting {name}; config/default.toml lists them all (the database's is DATABASE_URL)");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    let outcome = runtime.block_on(async {
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => serve(config).await,
            Command::Migrate => migrate(&config).await,
            Command::Import(Import { from, redis, answers }) => {
                // As every other variable, an empty one sets nothing.
                let redis = redis.filter(|url| !url.is_empty());
                import::run(&config, &import::Source { url: from, redis, answers }).await
            }
            Command::CheckConfig => {
                if let Some(problem) = ffmpeg_problem(&config) {
                    warn!("{problem}");
                }
                // The exit code says so, too.
                let _ = writeln!(std::io::stdout(), "the configuration is valid");
                Ok(())
            }
            Command::Describe { form } => {
                let description = match form {
                    Form::Openapi => docs::openapi::document(),
                    Form::Asyncapi => docs::asyncapi::document(),
                    Form::Postman => docs::postman::collection(),
                };
                // Whoever reads may have seen enough.
                let _ = writeln!(std::io::stdout(), "{description:#}");
                Ok(())
            }
        }
    });
    // Do not wait for work stuck on a blocking thread, such as a DNS lookup or a disk that never answers.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            error!(cause = cause.for_log(), "fatal error, exiting");
            ExitCode::FAILURE
        }
    }
}

async fn migrate(config: &Config) -> Result<(), AppError> {
    // What an older server writes meanwhile would lack what a migration derives.
    let mut claim = Claim::new(config).await?;
    let opened = tokio::select! {
        opened = Db::open(config) => opened,
        cause = claim.lost() => Err(cause),
    };
    opened?.close().await;
    claim.release().await;
    info!("the schema is up to date");
    Ok(())
}

async fn serve(config: Config) -> Result<(), AppError> {
    raise_open_files(config.http.connections_max);
    // Before the first log line says that the server is there: a signal that follows it must find its handler.
    let mut signals = Signals::listen().expect("signals can be listened to");
    let claimed = tokio::select! {
        // The wait for the end of another server may take long.
        () = signals.next() => None,
        claimed = Claim::new(&config) => Some(claimed?),
    };
    let Some(claim) = claimed else {
        info!("{STOPPED_EARLY}");
        return Ok(());
    };
    Box::pin(serve_claimed(config, signals, claim)).await
}

/// Serves a database that is this process's, as long as it is.
async fn serve_claimed(config: Config, mut signals: Signals, mut claim: Claim) -> Result<(), AppError> {
    let shown = config.clone();
    let server = tokio::select! {
        () = signals.next() => {
            info!("{STOPPED_EARLY}");
            return Ok(());
        }
        // MySQL forgets a claim that nobody looks after, and a migration may take long.
        cause = claim.lost() => return Err(cause),
        started = Server::start(config, Clock::System) => started?,
    };
    announce(&server, &shown);
    let outcome = tokio::select! {
        () = signals.next() => Ok(()),
        cause = claim.lost() => Err(cause),
        cause = server.forgotten() => Err(cause),
    };
    info!("stopping");
    server.stop().await;
    claim.release().await;
    info!("stopped");
    outcome
}

/// Says where everything is.
fn announce(server: &Server, shown: &Config) {
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
        let set = ffmpeg_problem(shown);
        let problem = set.as_deref().unwrap_or("no ffmpeg was found; install it or set covers.ffmpeg_path");
        warn!("getVideoScreenshot fails: {problem}");
    }
}

/// What is wrong with a path of ffmpeg that is set. No reason to refuse the start: the chat needs no covers.
fn ffmpeg_problem(config: &Config) -> Option<String> {
    let path = config.covers.ffmpeg_path.as_str();
    let wrong = !path.is_empty() && !Path::new(path).is_file();
    wrong.then(|| format!("`covers.ffmpeg_path` {path} is not a file"))
}

/// Every connection is an open file, and a shell's usual limit is 1024: takes all that the system allows this process.
fn raise_open_files(connections_max: usize) {
    let (allowed, raised) = os::raise_open_files();
    if let Err(cause) = raised {
        warn!(%cause, "the limit of open files cannot be raised");
    }
    if let Some(allowed) = allowed.filter(|allowed| *allowed < connections_max as u64) {
        warn!("only {allowed} open files are allowed, fewer than http.connections_max ({connections_max})");
    }
}

/// The configuration and the log's filter, or what is wrong with them.
fn read_settings(file: Option<&Path>) -> Result<(Config, EnvFilter), Box<dyn Error>> {
    let is_ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("QINGNIAO_") || name == "DATABASE_URL" || name == EnvFilter::DEFAULT_ENV
    };
    if let Some((name, _)) = std::env::vars_os().find(|(name, value)| is_ours(name) && value.to_str().is_none()) {
        return Err(format!("the value of {} is not UTF-8", name.to_string_lossy()).into());
    }
    let config = Config::load(file, &|name| std::env::var(name).ok())?;
    db::check_url(&config).map_err(|problem| format!("`database_url` (DATABASE_URL): {problem}"))?;
    // An empty RUST_LOG is not set, as with every other variable.
    let levels = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|levels| !levels.trim().is_empty());
    Ok((config, filter(levels.as_deref().unwrap_or("info"))?))
}

/// As [`EnvFilter`] reads it, which takes a misspelt level for a module of which everything is to be logged, and logs nothing else.
fn filter(levels: &str) -> Result<EnvFilter, String> {
    let is_level = |part: &str| part.trim().parse::<LevelFilter>().is_ok();
    let odd = levels.split(',').find(|part| !part.contains(['=', '[']) && !is_level(part));
    match odd {
        Some(odd) => Err(format!(
            "RUST_LOG: `{odd}` is not a level; use error, warn, info, debug, trace or off, or a module with one, as qingniao=debug"
        )),
        None => levels.parse().map_err(|cause| {
            format!("RUST_LOG: {cause}; use levels, as info, and modules with one, as qingniao=debug, with commas between them")
        }),
    }
}

/// Where the log goes. A line that cannot be written (a full disk, a reader that is gone) is dropped; tracing-subscriber would
/// report it by `eprintln!`, which panics.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // Nobody could be told.
        let _ = std::io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn start_log(format: LogFormat, filter: EnvFilter) {
    let colours = os::has_colours() && std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log).with_ansi(colours);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused() {
        for levels in ["info", "warn,qingniao=debug", "qingniao::db=trace,off", "[span{user=1}]=debug", "INFO"] {
            assert!(filter(levels).is_ok(), "{levels}");
        }
        for levels in ["verbose", "info,loud", "qingniao=loud", "qingniao"] {
            assert!(filter(levels).is_err(), "{levels}");
        }
    }
}
