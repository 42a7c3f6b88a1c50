//! What a URL of a store must be. Refuses what a driver would overlook: with `ssl_mode` for `ssl-mode` there would be no TLS.

use std::str::{FromStr, Utf8Error};

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::sqlite::SqliteConnectOptions;

use crate::config::Config;

/// The parameters that sqlx-mysql takes from a URL; it passes over all others.
const MYSQL_PARAMETERS: [&str; 9] = [
    "ssl-mode",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "charset",
    "collation",
    "socket",
    "time-zone",
    "statement-cache-capacity",
];
/// Other names of some of them.
const MYSQL_ALIASES: [&str; 5] = ["sslmode", "sslca", "sslcert", "sslkey", "timezone"];
/// What to do about a password that ends the part of the URL in which it stands.
const ESCAPES: &str = "in its name and password write # as %23, % as %25, / as %2F, ? as %3F, @ as %40";

/// Whether [`Db::open`](super::Db::open) can make something of the URL in `config`; if not, why. Shows nothing that may be a
/// password.
pub fn check_url(config: &Config) -> Result<(), String> {
    match config.database_url.as_str() {
        "" => Ok(()),
        url if url.starts_with("sqlite:") => check_sqlite(url, config),
        url => check_mysql(url.trim()),
    }
}

fn check_sqlite(url: &str, config: &Config) -> Result<(), String> {
    let options = SqliteConnectOptions::from_str(url).map_err(|cause| root_of(&cause))?;
    let is_file =
        !url.contains(":memory:") && !url.contains("mode=memory") && !options.get_filename().as_os_str().is_empty();
    if !is_file {
        return Err("must name a file: all else is gone at the end".to_owned());
    }
    if config.is_public(options.get_filename()) {
        return Err("must name a file outside of public_dir, which everybody can read".to_owned());
    }
    Ok(())
}

/// As [`check_url`], for a database of MySQL's alone.
pub fn check_mysql(url: &str) -> Result<(), String> {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let rest = &after[after.find(['/', '?', '#']).unwrap_or(after.len())..];
    // The @ after a password that was taken for something else, from its first /, ? or # on.
    let torn = rest.contains('@');
    let hinted = |problem: String, fits: bool| if fits { format!("{problem}; {ESCAPES}") } else { problem };
    let query = rest.split('#').next().and_then(|rest| rest.split_once('?')).map_or("", |(_, query)| query);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_known = MYSQL_PARAMETERS.contains(&&*key) || MYSQL_ALIASES.contains(&&*key);
        if !is_known {
            let named = if torn { "has an unknown parameter".to_owned() } else { format!("has no parameter `{key}`") };
            return Err(hinted(format!("{named}; it takes {}", MYSQL_PARAMETERS.join(", ")), torn));
        }
        if matches!(&*key, "ssl-mode" | "sslmode") && value.parse::<MySqlSslMode>().is_err() {
            let modes = "must be DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY";
            return Err(hinted(format!("its parameter `{key}` {modes}"), torn));
        }
    }
    let options = MySqlConnectOptions::from_str(url).map_err(|cause| {
        // A % that begins no escape of a character.
        let is_escape = matches!(&cause, sqlx::Error::Configuration(root) if root.is::<Utf8Error>());
        hinted(root_of(&cause), torn || is_escape)
    })?;
    match options.get_database() {
        Some(name) if !(name.is_empty() || torn && name.contains('@')) => Ok(()),
        _ => {
            let problem = "must end with the name of a database, as mysql://user:password@host:3306/qingniao";
            Err(hinted(problem.to_owned(), torn))
        }
    }
}

/// sqlx wraps errors of configuration into one another, and each says that it is one.
fn root_of(error: &sqlx::Error) -> String {
    let sqlx::Error::Configuration(cause) = error else { return error.to_string() };
    cause.downcast_ref::<sqlx::Error>().map_or_else(|| cause.to_string(), root_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_url(url: &str) -> Result<(), String> {
        let mut config = Config::defaults();
        config.public_dir = "shown".into();
        url.clone_into(&mut config.database_url);
        super::check_url(&config)
    }

    fn refused(url: &str) -> String {
        let problem = check_url(url).unwrap_err();
        assert!(!problem.contains("error with configuration"), "{problem}");
        assert!(!problem.contains("hunter2"), "secrets are not for the screen: {problem}");
        problem
    }

    #[test]
    fn a_parameter_that_the_driver_would_pass_over_is_refused() {
        for url in ["", "sqlite:x.db", "mysql://u:p@h/d", "mysql://h/d?", "mariadb://u:p@h:1/d?sslmode=required#note"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for parameter in MYSQL_PARAMETERS.iter().chain(&MYSQL_ALIASES) {
            let value = if parameter.contains("mode") { "VERIFY_CA" } else { "1" };
            assert_eq!(
                check_url(&format!("mysql://u:p@h/d?charset=utf8mb4&{parameter}={value}")),
                Ok(()),
                "{parameter}"
            );
        }
        for parameter in ["ssl_mode", "SSL-MODE", "tls", "ssl-mode "] {
            let problem = refused(&format!("mysql://u:hunter2@h/d?charset=utf8mb4&{parameter}=REQUIRED"));
            assert!(problem.contains(&format!("`{parameter}`")) && problem.contains("ssl-mode, ssl-ca"), "{problem}");
        }
        for url in ["sqlite:shown/x.db", "sqlite://./y/../shown/x.db?mode=rwc", "sqlite:shown%2Fx.db"] {
            assert!(refused(url).contains("outside of public_dir"), "{url}");
        }
        assert!(refused("sqlite:x.db?tls=1").contains("unknown query parameter `tls`"));
    }

    #[test]
    fn escapes_are_spoken_of_only_where_they_help() {
        for (url, words) in [
            ("mysql://u:hunter2@h/d?ssl-mode=BOGUS", "`ssl-mode` must be DISABLED"),
            ("mysql://u:hunter2@h:99999/d", "invalid port number"),
            ("mysql://u:hunter2@h/d?statement-cache-capacity=x", "invalid digit"),
            ("mysql://u:hunter2@h:3306", "the name of a database"),
        ] {
            let problem = refused(url);
            assert!(problem.contains(words) && !problem.contains("%23"), "{problem}");
        }
        for url in [
            "mysql://u:hunter2#x@h/d",
            "mysql://u:hunter2/x@h/d",
            "mysql://u:hunter2?x@h/d",
            "mysql://u:1#hunter2@h/d",
            "mysql://u:1/hunter2@h/d",
            "mysql://u:1/x?hunter2@h/d",
            "mysql://u:a@b/hunter2@h/d",
            "mysql://u:hunter2%ff@h/d",
        ] {
            let problem = refused(url);
            assert_eq!(problem.matches("# as %23").count(), 1, "{url}: {problem}");
        }
    }
}
