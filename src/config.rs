//! The configuration: `config/default.toml` (embedded), then a file of the operator's, then the environment.
//!
//! A bad value stops the start with the key's name and what is allowed; nothing is guessed.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;
use toml::Table;

mod layers;
mod paths;

pub use layers::unknown_variables;
use layers::{decode, overlay, overlay_env};
use paths::resolved;
pub use paths::{make_private, open_private};

/// The largest count, number of bytes or time of a setting that is one.
const COUNT_MAX: u64 = 1_000_000_000;

/// The defaults, which are also the documentation of every key.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// All settings. Field docs are in `config/default.toml`, beside each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the one description of the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub public_dir: PathBuf,
    pub database_url: String,
    pub jwt_secret: String,
    pub sign_salt: String,
    pub http: Http,
    pub operations: Operations,
    pub database: Database,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub limits: Limits,
    pub retention: Retention,
    pub ws: Ws,
    pub answers: Answers,
    pub uploads: Uploads,
    pub oss: Oss,
    pub covers: Covers,
    pub log: Log,
}

/// Declares one section of the file; every key is required because the defaults name them all.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "config/default.toml is the one description of the keys")]
        pub struct $name { $(pub $key: $kind),* }
    };
}

section!(
    /// `[http]`
    Http {
        body_bytes_max: usize,
        bodies_bytes_max: usize,
        request_timeout_s: u64,
        header_timeout_s: u64,
        stall_timeout_s: u64,
        idle_timeout_s: u64,
        connections_max: usize,
        connections_per_address_max: usize,
        trusted_proxies: Vec<IpAddr>,
        docs: bool,
    }
);
section!(
    /// `[operations]`
    Operations { address: String }
);
section!(
    /// `[database]`
    Database { connections_max: u32, acquire_timeout_ms: u64 }
);
section!(
    /// `[passwords]`
    Passwords { memory_kib: u32, iterations: u32, parallel_max: usize }
);
section!(
    /// `[tokens]`
    Tokens { ttl_days: i64 }
);
section!(
    /// `[limits]`
    Limits {
        visitor_calls_per_hour: usize,
        visitor_repeats_per_hour: usize,
        login_failures_per_hour: usize,
        login_failures_per_address: usize,
        registrations_per_address: usize,
        guests_per_address: usize,
    }
);
section!(
    /// `[retention]`
    Retention { messages_days: i64, first_s: u64, every_hours: u64 }
);
section!(
    /// `[ws]`
    Ws { heartbeat_s: u64, pong_timeout_s: u64, stall_timeout_s: u64, outbox_bytes_max: usize }
);
section!(
    /// `[answers]`
    Answers { delay_ms: u64 }
);
section!(
    /// `[uploads]`
    Uploads {
        image_bytes_max: u64,
        audio_bytes_max: u64,
        video_bytes_max: u64,
        other_bytes_max: u64,
        parallel_max: usize,
        stall_timeout_s: u64,
        free_bytes_min: u64,
        base_url: String,
    }
);
section!(
    /// `[covers]`
    Covers { ffmpeg_path: String, ffmpeg_download: bool, hosts: Vec<String>, timeout_s: u64, parallel_max: usize }
);
section!(
    /// `[oss]`
    Oss {
        endpoint: String,
        region: String,
        bucket: String,
        access_key_id: String,
        access_key_secret: String,
        public_url: String,
        signature: OssSignature,
        timeout_s: u64,
    }
);
section!(
    /// `[log]`
    Log { format: LogFormat }
);

/// How uploads to OSS are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OssSignature {
    /// The current scheme (OSS4-HMAC-SHA256).
    V4,
    /// The scheme of buckets made before September 2025; needs the cargo feature `oss-v1`.
    V1,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// A setting that stops the start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key holds a value that is not allowed, or does not exist.
    #[error("configuration key `{key}` ({origin}): {problem}")]
    Key {
        /// Dotted name, as `http.body_bytes_max`.
        key: String,
        /// The variable or file that set it.
        origin: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The operator's file cannot be read or parsed.
    #[error("configuration file {path}: {problem}")]
    File {
        /// As given to `--config`.
        path: String,
        /// The cause.
        problem: String,
    },
}

impl Config {
    /// Defaults, then `file`, then the variables that `env` knows.
    pub fn load(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are valid TOML");
        let (mut table, mut origins) = (defaults.clone(), Vec::new());
        if let Some(path) = file {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::File { path: shown.clone(), problem: e.to_string() })?;
            let own: Table =
                text.parse().map_err(|e| ConfigError::File { path: shown.clone(), problem: problem_of(&e, &text) })?;
            overlay(&mut table, own, "", &shown, &mut origins)?;
        }
        overlay_env(&mut table, &defaults, "", env, &mut origins)?;
        let origin_of = |key: &str| {
            origins
                .iter()
                .rev()
                .find(|(k, _)| k == key)
                .map_or_else(|| "default".to_owned(), |(_, origin)| origin.clone())
        };
        let mut config = decode(&table, &origin_of)?;
        for proxy in &mut config.http.trusted_proxies {
            // As the addresses that they are compared with.
            *proxy = proxy.to_canonical();
        }
        config.check(&origin_of)?;
        Ok(config)
    }

    /// The defaults alone.
    pub fn defaults() -> Self {
        Self::load(None, &|_| None).expect("the embedded defaults are valid")
    }

    /// Where the embedded database lives when no URL is given.
    pub fn sqlite_path(&self) -> PathBuf {
        self.data_dir.join("qingniao.db")
    }

    /// Where operators' tools are answered, if they are.
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations.address.parse().ok()
    }

    /// Whether uploads may go to OSS.
    pub fn oss_enabled(&self) -> bool {
        !self.oss.endpoint.is_empty()
    }

    /// Whether everybody can read what lies at `path`: in `public_dir`, links followed.
    pub fn is_public(&self, path: &Path) -> bool {
        resolved(path).starts_with(resolved(&self.public_dir))
    }

    fn check(&self, origin_of: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
        let bad = |key: &str, problem: &str| {
            Err(ConfigError::Key { key: key.to_owned(), origin: origin_of(key), problem: problem.to_owned() })
        };
        let operations = self.operations.address.as_str();
        if !operations.is_empty() && operations.parse::<SocketAddr>().is_err() {
            return bad(
                "operations.address",
                "must be an address and a port, as 127.0.0.1:7002, or empty to switch it off",
            );
        }
        let url = self.database_url.as_str();
        if !(url.is_empty()
            || url.starts_with("mysql://")
            || url.starts_with("mariadb://")
            || url.starts_with("sqlite:"))
        {
            return bad(
                "database_url",
                "must start with mysql://, mariadb:// or sqlite:, or be empty for the embedded SQLite",
            );
        }
        if !self.jwt_secret.is_empty() && self.jwt_secret.len() < 16 {
            return bad("jwt_secret", "must have 16 characters or more, or be empty to have one made");
        }
        self.check_counts(&bad)?;
        let (one, all) = (self.http.body_bytes_max as u64, self.http.bodies_bytes_max as u64);
        if !(one..=COUNT_MAX).contains(&all) {
            return bad("http.bodies_bytes_max", "must be http.body_bytes_max or more, and 1000000000 at most");
        }
        if self.ws.outbox_bytes_max < 65_536 {
            return bad("ws.outbox_bytes_max", "must be 65536 or more");
        }
        if !(8..=4_194_304).contains(&self.passwords.memory_kib) {
            return bad("passwords.memory_kib", "must be between 8 and 4194304");
        }
        if !(1..=1000).contains(&self.passwords.iterations) {
            return bad("passwords.iterations", "must be between 1 and 1000");
        }
        if self.passwords.parallel_max > 1024 {
            return bad("passwords.parallel_max", "must be between 0, which is the number of cores, and 1024");
        }
        if !(1..=36_500).contains(&self.tokens.ttl_days) {
            return bad("tokens.ttl_days", "must be between 1 and 36500");
        }
        if !(0..=36_500).contains(&self.retention.messages_days) {
            return bad("retention.messages_days", "must be between 0, which keeps all, and 36500");
        }
        if !(1..=8760).contains(&self.retention.every_hours) {
            return bad("retention.every_hours", "must be between 1 and 8760");
        }
        self.check_files(&bad)
    }

    /// Settings that would switch something off if they were 0, and overflow something if they were too large.
    fn check_counts(&self, bad: &dyn Fn(&str, &str) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
        let positive = [
            ("http.body_bytes_max", self.http.body_bytes_max as u64),
            ("http.request_timeout_s", self.http.request_timeout_s),
            ("http.header_timeout_s", self.http.header_timeout_s),
            ("http.stall_timeout_s", self.http.stall_timeout_s),
            ("http.idle_timeout_s", self.http.idle_timeout_s),
            ("http.connections_max", self.http.connections_max as u64),
            ("http.connections_per_address_max", self.http.connections_per_address_max as u64),
            ("database.connections_max", u64::from(self.database.connections_max)),
            ("database.acquire_timeout_ms", self.database.acquire_timeout_ms),
            ("limits.visitor_calls_per_hour", self.limits.visitor_calls_per_hour as u64),
            ("limits.visitor_repeats_per_hour", self.limits.visitor_repeats_per_hour as u64),
            ("limits.login_failures_per_hour", self.limits.login_failures_per_hour as u64),
            ("limits.login_failures_per_address", self.limits.login_failures_per_address as u64),
            ("limits.registrations_per_address", self.limits.registrations_per_address as u64),
            ("limits.guests_per_address", self.limits.guests_per_address as u64),
            ("ws.heartbeat_s", self.ws.heartbeat_s),
            ("ws.pong_timeout_s", self.ws.pong_timeout_s),
            ("ws.stall_timeout_s", self.ws.stall_timeout_s),
            ("uploads.parallel_max", self.uploads.parallel_max as u64),
            ("uploads.stall_timeout_s", self.uploads.stall_timeout_s),
            ("covers.timeout_s", self.covers.timeout_s),
            ("covers.parallel_max", self.covers.parallel_max as u64),
            ("oss.timeout_s", self.oss.timeout_s),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| !(1..=COUNT_MAX).contains(value)) {
            return bad(key, "must be 1 or more, and 1000000000 at most");
        }
        Ok(())
    }

    /// The sections about files.
    fn check_files(&self, bad: &dyn Fn(&str, &str) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
        for (key, folder) in [("public_dir", &self.public_dir), ("data_dir", &self.data_dir)] {
            if folder.as_os_str().is_empty() {
                return bad(key, "must be a folder; \".\" is the one that the server is started in");
            }
        }
        if self.is_public(&self.data_dir) {
            return bad("data_dir", "must lie outside of public_dir, which everybody can read");
        }
        for (key, url) in [("uploads.base_url", &self.uploads.base_url), ("oss.public_url", &self.oss.public_url)] {
            if !url.is_empty() && !is_base(url) {
                return bad(key, "must be the beginning of URLs, as https://chat.example.com, or be empty");
            }
        }
        let odd = |host: &String| !is_base(host) && (host.contains("://") || !is_base(&format!("https://{host}")));
        if self.covers.hosts.iter().any(odd) {
            return bad("covers.hosts", "must be whole host names, as videos.example.com or http://10.0.0.5:9000");
        }
        if self.oss_enabled() {
            let missing = [
                ("oss.region", &self.oss.region),
                ("oss.bucket", &self.oss.bucket),
                ("oss.access_key_id", &self.oss.access_key_id),
                ("oss.access_key_secret", &self.oss.access_key_secret),
            ];
            if let Some((key, _)) = missing.iter().find(|(_, value)| value.is_empty()) {
                return bad(key, "must be set when oss.endpoint is");
            }
            let endpoint = self.oss.endpoint.rsplit("://").next().unwrap_or_default();
            if endpoint.ends_with(".aliyuncs.com") && endpoint.starts_with(&format!("{}.", self.oss.bucket)) {
                return bad(
                    "oss.endpoint",
                    "must be the region's, without the bucket's name, as oss-cn-hangzhou.aliyuncs.com",
                );
            }
            if self.oss.signature == OssSignature::V1 && !cfg!(feature = "oss-v1") {
                return bad("oss.signature", "\"v1\" needs a binary built with --features oss-v1");
            }
        }
        if self.covers.ffmpeg_download && !cfg!(feature = "ffmpeg-download") {
            return bad("covers.ffmpeg_download", "true needs a binary built with --features ffmpeg-download");
        }
        Ok(())
    }
}

/// What is wrong with a file, and where; not the line itself, which may hold a secret.
fn problem_of(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
    format!("line {line}: {}", error.message())
}

/// Whether it is what URLs of a host begin with. A path is for proxies that put the server, or the files, below one.
fn is_base(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_whole = url.host_str().is_some_and(|host| !host.starts_with('.') && !host.contains('*'));
    let has_more = text.contains(['?', '#', '@']) || !text.starts_with(&format!("{}://", url.scheme()));
    matches!(url.scheme(), "http" | "https") && is_whole && !has_more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(set: &[(&str, &str)]) -> Result<Config, String> {
        let env = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Config::load(None, &env).map_err(|e| e.to_string())
    }

    #[test]
    fn the_environment_overrides_every_kind_of_key() {
        let config = load(&[
            ("DATABASE_URL", "mysql://root@127.0.0.1/x"),
            ("QINGNIAO_LISTEN", "127.0.0.1:9"),
            ("QINGNIAO_HTTP_TRUSTED_PROXIES", "10.0.0.1, ::ffff:127.0.0.1"),
            ("QINGNIAO_TOKENS_TTL_DAYS", "7"),
            ("QINGNIAO_COVERS_FFMPEG_DOWNLOAD", " false "),
        ])
        .unwrap();
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.database_url, "mysql://root@127.0.0.1/x");
        assert_eq!(config.http.trusted_proxies, [[10, 0, 0, 1], [127, 0, 0, 1]].map(IpAddr::from));
        assert_eq!(config.tokens.ttl_days, 7);
        assert!(!config.covers.ffmpeg_download);
    }

    #[test]
    fn an_empty_variable_sets_nothing_but_switches_off_what_it_may() {
        let empty = ["QINGNIAO_SIGN_SALT", "QINGNIAO_LISTEN", "QINGNIAO_HTTP_DOCS", "QINGNIAO_TOKENS_TTL_DAYS"];
        let config = load(&empty.map(|name| (name, ""))).unwrap();
        let defaults = Config::defaults();
        assert_eq!((&config.sign_salt, config.listen), (&defaults.sign_salt, defaults.listen));
        assert!(config.http.docs && config.operations_address().is_some());
        assert_eq!(load(&[("QINGNIAO_OPERATIONS_ADDRESS", "")]).unwrap().operations_address(), None);
    }

    #[test]
    fn a_misspelt_variable_is_noticed() {
        let names = ["QINGNIAO_LISTEN", "DATABASE_URL", "QINGNIAO_HTTP_TRUSTED_PROXY", "QINGNIAO_OSS_BUCKET", "PATH"];
        let unknown = unknown_variables(names.map(str::to_owned).into_iter());
        assert_eq!(unknown, ["QINGNIAO_HTTP_TRUSTED_PROXY"]);
    }

    #[test]
    fn a_bad_value_names_its_key_and_what_is_allowed() {
        let refused = |name, value| load(&[(name, value)]).unwrap_err();
        assert!(refused("QINGNIAO_LISTEN", "nowhere").contains("`listen` (QINGNIAO_LISTEN)"));
        assert!(refused("QINGNIAO_LISTEN", "nowhere").contains("0.0.0.0:7001"));
        assert!(refused("QINGNIAO_OPERATIONS_ADDRESS", "7002").contains("127.0.0.1:7002"));
        assert!(refused("QINGNIAO_HTTP_BODY_BYTES_MAX", "many").contains("a whole number"));
        assert!(refused("QINGNIAO_HTTP_BODY_BYTES_MAX", "-1").contains("`http.body_bytes_max`"));
        assert!(refused("DATABASE_URL", "postgres://x").contains("must start with mysql://"));
        assert!(refused("QINGNIAO_JWT_SECRET", "short").contains("16 characters"));
        assert!(refused("QINGNIAO_OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com").contains("`oss.region`"));
        for url in
            ["chat.example.com", "https://", "http://:80", "https://a.com:99999", "https://a b.com", "ftp://a.com"]
        {
            assert!(refused("QINGNIAO_UPLOADS_BASE_URL", url).contains("as https://chat.example.com"), "{url}");
        }
        for url in ["https://a.com?x=1", "https://a.com/#x", "https://me@a.com", "https:a.com"] {
            assert!(refused("QINGNIAO_UPLOADS_BASE_URL", url).contains("`uploads.base_url`"), "{url}");
        }
        load(&[("QINGNIAO_UPLOADS_BASE_URL", "http://[::1]:7001/chat/")]).unwrap();
        assert!(refused("QINGNIAO_OSS_PUBLIC_URL", "cdn.example.com").contains("`oss.public_url`"));
        for hosts in ["a.com,ftp://b.com", "*.example.com", ".example.com", "a b", "me@a.com"] {
            assert!(refused("QINGNIAO_COVERS_HOSTS", hosts).contains("`covers.hosts`"), "{hosts}");
        }
        load(&[("QINGNIAO_COVERS_HOSTS", "a.com:9000,http://10.0.0.5:9000/media,localhost")]).unwrap();
        let bucket = [
            ("QINGNIAO_OSS_ENDPOINT", "b.oss-cn-hangzhou.aliyuncs.com"),
            ("QINGNIAO_OSS_REGION", "cn-hangzhou"),
            ("QINGNIAO_OSS_BUCKET", "b"),
            ("QINGNIAO_OSS_ACCESS_KEY_ID", "x"),
            ("QINGNIAO_OSS_ACCESS_KEY_SECRET", "x"),
        ];
        assert!(load(&bucket).unwrap_err().contains("`oss.endpoint`"));
        assert!(refused("QINGNIAO_COVERS_FFMPEG_DOWNLOAD", "yes").contains("true or false"));
        assert!(refused("QINGNIAO_PUBLIC_DIR", ".").contains("outside of public_dir"));
        assert!(refused("QINGNIAO_DATA_DIR", "x/../public/data").contains("outside of public_dir"));
        load(&[("QINGNIAO_PUBLIC_DIR", "."), ("QINGNIAO_DATA_DIR", "../data")]).unwrap();
        assert!(refused("QINGNIAO_DATA_DIR", "./public/data").contains("`data_dir`"));
        assert!(refused("QINGNIAO_LOG_FORMAT", "xml").contains("`log.format`"));
    }

    #[test]
    fn the_url_under_a_made_up_name_is_refused() {
        let url = "mysql://u:hunter2@h/d";
        for set in [&[("QINGNIAO_DATABASE_URL", url)][..], &[("QINGNIAO_DATABASE_URL", url), ("DATABASE_URL", url)]] {
            let refused = load(set).unwrap_err();
            assert!(refused.contains("`database_url` (QINGNIAO_DATABASE_URL)"), "{refused}");
            assert!(refused.contains("the database's is DATABASE_URL") && !refused.contains("hunter2"), "{refused}");
        }
        load(&[("QINGNIAO_DATABASE_URL", ""), ("QINGNIAO_DATABASE_PATH", "x")]).unwrap();
    }

    #[test]
    fn a_file_may_only_use_known_keys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[http]\nbody_limit = 5\n").unwrap();
        let refusal = Config::load(Some(file.path()), &|_| None).unwrap_err().to_string();
        assert!(refusal.contains("`http.body_limit`"), "{refusal}");
        std::fs::write(file.path(), "[http]\nbody_bytes_max = 5\n").unwrap();
        assert_eq!(Config::load(Some(file.path()), &|_| None).unwrap().http.body_bytes_max, 5);
        std::fs::write(file.path(), "public_dir = \"\"\n").unwrap();
        let refusal = Config::load(Some(file.path()), &|_| None).unwrap_err().to_string();
        assert!(refusal.contains("`public_dir`"), "{refusal}");
    }
}
