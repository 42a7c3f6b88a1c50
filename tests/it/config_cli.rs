//! The command line and the configuration, by the real binary: exit codes, what it prints, what it makes, signals.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, Executor, MySqlConnection};

use crate::support::{Door, Ended, PASSWORD, Process, command, database, run, skip, unique, wait};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs the binary with some variables set, to its end.
fn run_with(set: &[(&str, &str)], arguments: &[&str]) -> Ended {
    run(command(folder().path()).envs(set.iter().copied()).args(arguments))
}

#[test]
fn help_lists_the_sub_commands() {
    let ended = run_with(&[], &["--help"]);
    assert_eq!(ended.code, Some(0));
    for word in ["serve", "migrate", "check-config", "describe", "--config <FILE>", "(the default)"] {
        assert!(ended.out.contains(word), "{word} is not in\n{}", ended.out);
    }
    assert!(run_with(&[], &["--version"]).out.starts_with("qingniao "));
}

#[test]
fn an_unknown_command_or_flag_ends_with_2() {
    for arguments in [&["fly"][..], &["--fly"], &["serve", "--fly"]] {
        let ended = run_with(&[], arguments);
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains("--help"), "{}", ended.err);
    }
}

#[test]
fn check_config_says_that_the_defaults_are_valid_and_makes_nothing() {
    let folder = folder();
    let ended = run(command(folder.path()).arg("check-config"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "the configuration is valid\n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn describe_prints_each_description_and_makes_nothing() {
    let folder = folder();
    let printed = |form: &str| -> serde_json::Value {
        let ended = run(command(folder.path()).args(["describe", form]));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        serde_json::from_str(&ended.out).unwrap()
    };
    assert_eq!(printed("openapi"), qingniao::docs::openapi::document());
    assert_eq!(printed("asyncapi"), qingniao::docs::asyncapi::document());
    assert_eq!(printed("postman"), qingniao::docs::postman::collection());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_bad_value_stops_every_command_and_names_key_variable_and_what_is_allowed() {
    let bad = [
        ("QINGNIAO_LISTEN", "nowhere", "`listen`", "socket address"),
        ("DATABASE_URL", "postgres://u:hunter2@h/d", "`database_url`", "must start with mysql://"),
        ("QINGNIAO_JWT_SECRET", "hunter2", "`jwt_secret`", "16 characters or more"),
        ("QINGNIAO_HTTP_BODY_BYTES_MAX", "many", "`http.body_bytes_max`", "a whole number"),
        ("QINGNIAO_HTTP_BODY_BYTES_MAX", "0", "`http.body_bytes_max`", "1 or more"),
        ("QINGNIAO_HTTP_CONNECTIONS_MAX", "-5", "`http.connections_max`", ""),
        ("QINGNIAO_HTTP_TRUSTED_PROXIES", "10.0.0.0/8", "`http.trusted_proxies`", "one by one"),
        ("QINGNIAO_DATABASE_URL", "mysql://u:hunter2@h/d", "`database_url`", "the database's is DATABASE_URL"),
        ("QINGNIAO_TOKENS_TTL_DAYS", "0", "`tokens.ttl_days`", "between 1 and 36500"),
        ("QINGNIAO_RETENTION_MESSAGES_DAYS", "-1", "`retention.messages_days`", "0, which keeps all"),
        ("QINGNIAO_RETENTION_EVERY_HOURS", "0", "`retention.every_hours`", "between 1 and 8760"),
        ("QINGNIAO_WS_OUTBOX_BYTES_MAX", "10", "`ws.outbox_bytes_max`", "65536 or more"),
        ("QINGNIAO_COVERS_FFMPEG_DOWNLOAD", "maybe", "`covers.ffmpeg_download`", "true or false"),
        ("QINGNIAO_OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com", "`oss.region`", "must be set"),
        ("QINGNIAO_LOG_FORMAT", "xml", "`log.format`", "text"),
        ("DATABASE_URL", "mysql://u:hunter2#x@h/d", "`database_url`", "# as %23"),
        ("DATABASE_URL", "mysql://u:hunter2@h:3306", "`database_url`", "the name of a database"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d?ssl_mode=REQUIRED", "`database_url`", "it takes ssl-mode, ssl-ca"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d?ssl-mode=BOGUS", "`database_url`", "REQUIRED"),
        ("DATABASE_URL", "sqlite::memory:", "`database_url`", "must name a file"),
        ("DATABASE_URL", "sqlite:x.db?mode=memory", "`database_url`", "must name a file"),
        ("QINGNIAO_HTTP_CONNECTIONS_MAX", "9223372036854775807", "`http.connections_max`", "1000000000 at most"),
        ("QINGNIAO_HTTP_BODIES_BYTES_MAX", "9223372036854775807", "`http.bodies_bytes_max`", "1000000000 at most"),
        ("QINGNIAO_PASSWORDS_MEMORY_KIB", "4000000000", "`passwords.memory_kib`", "between 8 and 4194304"),
        ("QINGNIAO_PASSWORDS_ITERATIONS", "0", "`passwords.iterations`", "between 1 and 1000"),
        ("QINGNIAO_PASSWORDS_PARALLEL_MAX", "2000", "`passwords.parallel_max`", "1024"),
        ("RUST_LOG", "verbose", "`verbose`", "is not a level"),
        ("RUST_LOG", "[[[", "RUST_LOG", "as qingniao=debug"),
    ];
    for (variable, value, key, allowed) in bad {
        for sub_command in ["check-config", "serve", "migrate"] {
            let ended = run_with(&[(variable, value)], &[sub_command]);
            assert_eq!(ended.code, Some(2), "{variable}: {}", ended.err);
            assert!(ended.err.contains(key) && ended.err.contains(allowed), "{variable}: {}", ended.err);
            assert!(!ended.err.contains("hunter2"), "secrets are not for the screen: {}", ended.err);
            // A key that is missing beside another has no variable of its own yet.
            assert!(ended.err.contains(variable) || variable == "QINGNIAO_OSS_ENDPOINT", "{variable}: {}", ended.err);
        }
    }
}

#[test]
fn a_bad_file_is_named_with_its_key() {
    let folder = folder();
    let file = folder.path().join("my.toml");
    let shown = file.display().to_string();
    for (text, words) in [
        ("[http]\nbody_limit = 5\n", ["`http.body_limit`", "no such key"]),
        ("listen = 7001\n", ["`listen`", ""]),
        ("[tokens]\nttl_days = \"7\"\n", ["`tokens.ttl_days`", ""]),
        ("tokens = 7\n", ["`tokens`", ""]),
        ("[http\n", ["my.toml", ""]),
        ("listen = \"x\"\njwt_secret = \"hunter2\n", ["line 2", ""]),
    ] {
        std::fs::write(&file, text).unwrap();
        let ended = run(command(folder.path()).args(["check-config", "--config", &shown]));
        assert_eq!(ended.code, Some(2), "{text}: {}", ended.err);
        assert!(
            ended.err.contains(&shown)
                && words.iter().all(|word| ended.err.contains(word))
                && !ended.err.contains("hunter2"),
            "{text}: {}",
            ended.err
        );
    }
    let ended = run(command(folder.path()).args(["check-config", "--config", "absent.toml"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("absent.toml"), "{}", ended.err);
}

#[test]
fn the_environment_wins_over_the_file_and_that_over_the_defaults() {
    let folder = folder();
    std::fs::write(folder.path().join("my.toml"), "[tokens]\nttl_days = 0\n").unwrap();
    let check = |set: &[(&str, &str)]| {
        run(command(folder.path()).envs(set.iter().copied()).args(["--config", "my.toml", "check-config"])).code
    };
    assert_eq!(check(&[]), Some(2));
    assert_eq!(check(&[("QINGNIAO_TOKENS_TTL_DAYS", "7")]), Some(0));
}

#[test]
fn migrate_makes_the_store_and_may_be_repeated() {
    let folder = folder();
    for _ in 0..2 {
        let ended = run(command(folder.path()).arg("migrate"));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.contains("the schema is up to date"), "{}", ended.err);
    }
    assert!(folder.path().join("data/qingniao.db").is_file());
}

#[test]
fn the_first_start_makes_the_store_and_a_secret_that_only_its_owner_reads() {
    let folder = folder();
    let mut process = Process::start(&mut command(folder.path()));
    let secret = folder.path().join("data/jwt_secret");
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&secret).unwrap();
    assert!(text.len() >= 32 && !process.log().contains(text.trim()));
    let data = std::fs::metadata(folder.path().join("data")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700, "the messages are in it");
    assert!(folder.path().join("data/qingniao.db").is_file());
    for words in ["data: SQLite in data/qingniao.db; files: public", "Aliyun OSS is off", "a token secret was made"] {
        crate::support::eventually_blocking(words, || process.log().contains(words));
    }
    assert!(process.signal("TERM").success());
    // The second start keeps it and says nothing of it.
    let process = Process::start(&mut command(folder.path()));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), text);
    assert!(!process.log().contains("secret"));
}

#[test]
fn what_is_in_a_folder_that_others_may_enter_only_its_owner_reads() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let process = Process::start(&mut command(folder.path()));
    let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().path()).collect();
    for name in ["qingniao.db", "qingniao.db-wal", "qingniao.db-shm", "qingniao.db.lock", "jwt_secret"] {
        assert!(files.contains(&data.join(name)), "{name} is not among {files:?}");
    }
    for file in files {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    drop(process);
}

#[test]
fn a_database_that_everybody_could_read_stops_the_start() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join("public/kept")).unwrap();
    std::os::unix::fs::symlink("public/kept", folder.path().join("link")).unwrap();
    for set in [
        ("DATABASE_URL", "sqlite://public/x.db"),
        ("DATABASE_URL", "sqlite:link/new/x.db"),
        ("QINGNIAO_DATA_DIR", "link/new"),
    ] {
        let ended = run(command(folder.path()).arg("check-config").envs([set]));
        assert_eq!(ended.code, Some(2), "{set:?}: {}", ended.err);
        assert!(ended.err.contains(set.0) && ended.err.contains("outside of public_dir"), "{}", ended.err);
    }
}

#[tokio::test]
async fn tokens_survive_a_kill() {
    let folder = folder();
    let process = Process::start(&mut command(folder.path()));
    let credentials = json!({ "username": unique("alice"), "password": PASSWORD });
    let token = Door::to(process.address).post("/api/regChat", credentials).await.ok()["token"].clone();
    process.kill();
    let process = Process::start(&mut command(folder.path()));
    let call = Door::to(process.address).call(reqwest::Method::POST, "chatGetmessageOffLine");
    call.token(token.as_str().unwrap()).send().await.ok();
}

#[test]
fn a_secret_that_was_cut_short_stops_the_start() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/jwt_secret"), "short\n").unwrap();
    let ended = run(command(folder.path()).env("QINGNIAO_LISTEN", "127.0.0.1:0"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("data/jwt_secret is too short"), "{}", ended.err);
}

#[test]
fn a_port_in_use_stops_the_start_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run_with(&[("QINGNIAO_LISTEN", &address)], &["serve"]);
    assert_eq!(ended.code, Some(1));
    for words in [address.as_str(), "another program has it", "`listen` (QINGNIAO_LISTEN) another port"] {
        assert!(ended.err.contains(words), "{words} is not in\n{}", ended.err);
    }
}

#[test]
fn a_database_that_is_not_there_stops_the_start_and_no_password_is_shown() {
    let url = "mysql://root:hunter2@127.0.0.1:1/qingniao_none";
    let set =
        [("DATABASE_URL", url), ("QINGNIAO_DATABASE_ACQUIRE_TIMEOUT_MS", "300"), ("QINGNIAO_LISTEN", "127.0.0.1:0")];
    for sub_command in ["serve", "migrate"] {
        let ended = run_with(&set, &[sub_command]);
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(ended.err.contains("fatal error") && !ended.err.contains("hunter2"), "{}", ended.err);
        assert!(ended.err.contains("(DATABASE_URL) at 127.0.0.1:1: "), "{}", ended.err);
    }
}

#[test]
fn a_file_that_is_no_database_stops_the_start_and_is_named_with_its_key() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join("data/folder.db")).unwrap();
    std::fs::write(folder.path().join("data/qingniao.db"), "no database ".repeat(1000)).unwrap();
    let kept = run(command(folder.path()).env("DATABASE_URL", "sqlite:kept.db").arg("migrate"));
    assert_eq!(kept.code, Some(0), "{}", kept.err);
    for (url, file, key) in [
        ("", "data/qingniao.db", "key `data_dir`, QINGNIAO_DATA_DIR"),
        ("sqlite:data/folder.db", "data/folder.db", "key `database_url`, DATABASE_URL"),
        ("sqlite:kept.db?mode=ro", "kept.db", "key `database_url`, DATABASE_URL"),
    ] {
        for sub_command in ["serve", "migrate"] {
            let set = [("DATABASE_URL", url), ("QINGNIAO_LISTEN", "127.0.0.1:0")];
            let ended = run(command(folder.path()).envs(set).arg(sub_command));
            assert_eq!(ended.code, Some(1), "{}", ended.err);
            assert!(ended.err.contains(&format!("the database {file} ({key}): ")), "{}", ended.err);
        }
    }
}

/// In `/proc` nobody makes a file, not even root, who may write everywhere else.
#[test]
fn a_folder_that_cannot_be_written_stops_the_start_with_the_key_that_named_it() {
    if !cfg!(target_os = "linux") {
        return skip("it needs /proc");
    }
    for (variable, value, words) in [
        ("QINGNIAO_DATA_DIR", "/proc", "/proc/qingniao.db.lock cannot be locked (key `data_dir`, QINGNIAO_DATA_DIR)"),
        ("DATABASE_URL", "sqlite:///proc/x.db", "/proc/x.db.lock cannot be locked (key `database_url`, DATABASE_URL)"),
        ("DATABASE_URL", "sqlite:///proc/x/x.db", "/proc/x cannot be made (key `database_url`, DATABASE_URL)"),
        ("QINGNIAO_PUBLIC_DIR", "/proc", "/proc/uploads/.incoming (key `public_dir`, QINGNIAO_PUBLIC_DIR)"),
    ] {
        let ended = run_with(&[(variable, value), ("QINGNIAO_LISTEN", "127.0.0.1:0")], &["serve"]);
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(ended.err.contains(words), "{words} is not in\n{}", ended.err);
    }
}

#[test]
fn a_path_of_ffmpeg_that_leads_nowhere_is_named() {
    let folder = folder();
    let words = "`covers.ffmpeg_path` /nope is not a file";
    let checked = run(command(folder.path()).env("QINGNIAO_COVERS_FFMPEG_PATH", "/nope").arg("check-config"));
    assert_eq!((checked.code, checked.out.as_str()), (Some(0), "the configuration is valid\n"));
    assert!(checked.err.contains(words), "{}", checked.err);
    let process = Process::start(command(folder.path()).env("QINGNIAO_COVERS_FFMPEG_PATH", "/nope"));
    crate::support::eventually_blocking(words, || process.log().contains(words));
    assert!(!process.log().contains("no ffmpeg was found"));
}

#[test]
fn a_folder_that_cannot_be_made_stops_the_start_and_is_named() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let set = [("QINGNIAO_DATA_DIR", "file/data"), ("QINGNIAO_LISTEN", "127.0.0.1:0")];
    let ended = run(command(folder.path()).envs(set));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("file/data"), "{}", ended.err);
}

#[test]
fn signals_stop_the_server_in_good_order_and_soon() {
    for name in ["TERM", "INT"] {
        let folder = folder();
        let mut process = Process::start(&mut command(folder.path()));
        let _open = std::net::TcpStream::connect(process.address).unwrap();
        let began = Instant::now();
        assert!(process.signal(name).success());
        assert!(began.elapsed() < Duration::from_secs(3), "{name} took {:?}", began.elapsed());
        assert!(process.log().contains("stopped"), "{}", process.log());
        // SQLite's log was folded into the file.
        assert!(!folder.path().join("data/qingniao.db-wal").exists());
    }
}

#[test]
fn log_lines_may_be_json() {
    let folder = folder();
    let mut process = Process::start(command(folder.path()).env("QINGNIAO_LOG_FORMAT", "json"));
    process.signal("TERM");
    let log = process.log();
    assert!(log.lines().count() >= 3);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["fields"]["message"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[test]
fn the_log_s_level_is_rust_log_s() {
    let folder = folder();
    let ended = run(command(folder.path()).env("RUST_LOG", "warn").arg("migrate"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn a_value_that_is_no_text_stops_the_start() {
    use std::os::unix::ffi::OsStrExt;
    let value = std::ffi::OsStr::from_bytes(b"hunter2 is my secret\xff");
    let ended = run(command(folder().path()).env("QINGNIAO_JWT_SECRET", value).arg("check-config"));
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("QINGNIAO_JWT_SECRET is not UTF-8") && !ended.err.contains("hunter2"), "{}", ended.err);
}

#[test]
fn a_description_may_be_read_in_part() {
    let folder = folder();
    let mut describe = command(folder.path());
    let mut child = describe.args(["describe", "openapi"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(wait(&mut child).success());
}

/// A full disk, or a collector that has gone: to the log's own library a reason to panic wherever a line is written.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    if !cfg!(target_os = "linux") {
        return skip("it needs /dev/full");
    }
    let (folder, free) = (folder(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = free.local_addr().unwrap();
    drop(free);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = command(folder.path());
    server.env("QINGNIAO_LISTEN", address.to_string()).env("RUST_LOG", "trace").stderr(full);
    let mut child = server.stdout(Stdio::null()).spawn().unwrap();
    let connects = || std::net::TcpStream::connect(address).is_ok();
    crate::support::eventually_blocking("it serves", connects);
    crate::support::send_signal("TERM", child.id());
    assert!(wait(&mut child).success());
}

#[test]
fn a_second_server_of_a_database_is_refused() {
    let [folder, other] = [(); 2].map(|()| folder());
    let mut first = Process::start(&mut command(folder.path()));
    // By another name, too.
    std::fs::create_dir(other.path().join("data")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("data/qingniao.db"), other.path().join("data/qingniao.db")).unwrap();
    for (folder, sub_command) in [(&folder, "serve"), (&folder, "migrate"), (&other, "serve")] {
        let second = run(command(folder.path()).env("QINGNIAO_LISTEN", "127.0.0.1:0").arg(sub_command));
        assert_eq!(second.code, Some(1));
        for words in ["waiting up to 5 s for its end", "another Qingniao is serving this database"] {
            assert!(second.err.contains(words), "{}", second.err);
        }
    }
    assert!(first.signal("TERM").success());
}

#[test]
fn a_database_that_is_removed_while_it_is_served_ends_the_server() {
    for file in ["qingniao.db", "qingniao.db.lock"] {
        let folder = folder();
        let server = Process::start(&mut command(folder.path()));
        let path = folder.path().join("data").join(file);
        // It says that it listens just before it looks for the first time which files it has.
        std::thread::sleep(Duration::from_millis(500));
        std::fs::remove_file(&path).unwrap();
        // As a backup that is put in its place.
        std::fs::write(&path, "").unwrap();
        let log = server.end();
        assert!(log.contains(file) && log.contains("was removed or replaced while it was in use"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_waits_for_the_end_of_the_one_before_it() {
    let (folder, url) = (folder(), database::fresh("qingniao_claim_").await.unwrap_or_default());
    let server = || {
        let mut server = command(folder.path());
        server.env("DATABASE_URL", &url);
        server
    };
    let mut first = Process::start(&mut server());
    let mut command = server();
    let second = tokio::task::spawn_blocking(move || Process::start(&mut command));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!second.is_finished(), "one server at a time");
    assert!(first.signal("TERM").success());
    let second = second.await.unwrap();
    // Nothing of it is left after a kill.
    second.kill();
    Process::start(&mut server());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_mysql_that_lacks_rights_is_told_which_it_needs() {
    let Some(mut account) = database::Account::new().await else {
        return skip("it needs MySQL or MariaDB");
    };
    for (rights, denied) in [(None, "1044"), (Some("SELECT"), "1142")] {
        account.leave(rights).await;
        let (folder, url) = (folder(), account.url.clone());
        let start = move || run(command(folder.path()).env("QINGNIAO_LISTEN", "127.0.0.1:0").env("DATABASE_URL", url));
        let refused = tokio::task::spawn_blocking(start).await.unwrap();
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains(denied) && refused.err.contains("GRANT ALL ON"), "{}", refused.err);
    }
    account.remove().await;
}

/// The connection that holds the claim is cut, as by a restart of the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_cut_is_taken_again_or_ends_the_server() {
    let Some(url) = database::fresh("qingniao_claim_cut_").await else {
        return skip("it needs MySQL or MariaDB");
    };
    let (folder, mut other) = (folder(), MySqlConnection::connect(&url).await.unwrap());
    let server = Process::start(command(folder.path()).env("DATABASE_URL", &url));
    let holder = cut(&mut other).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while holder_of_claim(&mut other).await.is_none_or(|now| now == holder) {
        assert!(Instant::now() < deadline, "the claim is not taken again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Another one is faster.
    cut(&mut other).await;
    let taken: Option<i64> = sqlx::query_scalar(CLAIM).fetch_one(&mut other).await.unwrap();
    assert_eq!(taken, Some(1));
    let log = tokio::task::spawn_blocking(move || server.end()).await.unwrap();
    assert!(log.contains("another server has claimed the database in the meantime"), "{log}");
}

const CLAIM: &str = "SELECT GET_LOCK(CONCAT('qingniao:', DATABASE()), 5)";

async fn holder_of_claim(connection: &mut MySqlConnection) -> Option<i64> {
    let holder = sqlx::query_scalar("SELECT CAST(IS_USED_LOCK(CONCAT('qingniao:', DATABASE())) AS SIGNED)");
    holder.fetch_one(connection).await.unwrap()
}

async fn cut(connection: &mut MySqlConnection) -> i64 {
    let holder = holder_of_claim(connection).await.expect("the server has claimed its database");
    connection.execute(sqlx::AssertSqlSafe(format!("KILL {holder}"))).await.unwrap();
    holder
}
