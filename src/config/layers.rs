//! How the file and the environment are laid over the defaults, and how a value that does not fit is named.

use toml::{Table, Value};

use super::{Config, ConfigError, DEFAULTS};

/// What the rule for the names would make of `database_url`.
const NOT_DATABASE_URL: &str = "QINGNIAO_DATABASE_URL";

/// Keys whose values are not for the screen.
const SECRET: [&str; 4] = ["database_url", "jwt_secret", "sign_salt", "oss.access_key_secret"];

/// Those of `names` that look like settings and are none, as a misspelt one.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let table: Table = DEFAULTS.parse().expect("the embedded defaults are valid TOML");
    let mut known = Vec::new();
    for (section, value) in &table {
        match value {
            Value::Table(keys) => known.extend(keys.keys().map(|key| variable(&dotted(section, key)))),
            _ => known.push(variable(section)),
        }
    }
    names.filter(|name| name.starts_with("QINGNIAO_") && !known.contains(name)).collect()
}

/// Lays `own` over `table`; a key that the defaults do not name is an error.
pub(super) fn overlay(
    table: &mut Table,
    own: Table,
    prefix: &str,
    origin: &str,
    origins: &mut Vec<(String, String)>,
) -> Result<(), ConfigError> {
    for (name, value) in own {
        let key = dotted(prefix, &name);
        let unknown = || ConfigError::Key {
            key: key.clone(),
            origin: origin.to_owned(),
            problem: "no such key; config/default.toml lists them all".to_owned(),
        };
        match (table.get_mut(&name).ok_or_else(unknown)?, value) {
            (Value::Table(inner), Value::Table(own)) => overlay(inner, own, &key, origin, origins)?,
            (slot, value) => {
                *slot = value;
                origins.push((key, origin.to_owned()));
            }
        }
    }
    Ok(())
}

/// Takes each key's variable, read as the type that its default has, whatever the file has made of it.
pub(super) fn overlay_env(
    table: &mut Table,
    defaults: &Table,
    prefix: &str,
    env: &dyn Fn(&str) -> Option<String>,
    origins: &mut Vec<(String, String)>,
) -> Result<(), ConfigError> {
    for (name, slot) in table.iter_mut() {
        let (key, default) = (dotted(prefix, name), &defaults[name]);
        if let Value::Table(defaults) = default {
            // Where the file has something else than a section, the file is what is refused.
            if let Value::Table(inner) = slot {
                overlay_env(inner, defaults, &key, env, origins)?;
            }
            continue;
        }
        let variable = variable(&key);
        if key == "database_url" && env(NOT_DATABASE_URL).is_some_and(|url| !url.trim().is_empty()) {
            // A warning would leave whoever follows the rule for the names with a new, empty SQLite.
            let problem = format!("there is no such variable; the database's is {variable}");
            return Err(ConfigError::Key { key, origin: NOT_DATABASE_URL.to_owned(), problem });
        }
        // An empty variable, as compose makes of one that is not set, sets nothing; one address may be switched off by it.
        let Some(text) = env(&variable).filter(|text| !text.trim().is_empty() || key == "operations.address") else {
            continue;
        };
        let bad = |allowed: &str| ConfigError::Key {
            key: key.clone(),
            origin: variable.clone(),
            problem: format!("`{text}` is not allowed: {allowed}"),
        };
        *slot = match default {
            Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| bad("a whole number"))?),
            Value::Boolean(_) => Value::Boolean(text.trim().parse().map_err(|_| bad("true or false"))?),
            Value::Array(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => Value::String(text.clone()),
        };
        origins.push((key, variable));
    }
    Ok(())
}

/// Reads the merged table, naming the key of a value that does not fit.
pub(super) fn decode(table: &Table, origin_of: &dyn Fn(&str) -> String) -> Result<Config, ConfigError> {
    let text = toml::to_string(table).expect("a table that was parsed can be printed");
    toml::from_str(&text).map_err(|e| {
        let key = e.span().map_or_else(String::new, |span| key_at(&text, span.start));
        let allowed = match key.as_str() {
            "listen" => ": an address and a port are allowed, as 0.0.0.0:7001",
            key if SECRET.contains(&key) => {
                // A number in its place is the secret, or a part of it.
                let problem = "must be a text in quotation marks".to_owned();
                return ConfigError::Key { origin: origin_of(key), problem, key: key.to_owned() };
            }
            "http.trusted_proxies" => ": addresses are allowed, one by one, as 10.0.0.2,127.0.0.1; networks are not",
            _ => "",
        };
        ConfigError::Key { origin: origin_of(&key), problem: format!("{}{allowed}", plain(e.message(), &key)), key }
    })
}

/// What a value must be, for readers who do not know Rust's names of types.
fn plain(message: &str, key: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "i64" => "a whole number",
        "u64" | "usize" => "a whole number, 0 or more",
        "u32" => "a whole number between 0 and 4294967295",
        "a boolean" => "true or false",
        "a sequence" => "a list, as [\"a\", \"b\"]",
        section if section.starts_with("struct ") => {
            return format!("{found}, expected a section: [{key}] and its keys");
        }
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// The dotted key of the line that holds byte `at`.
fn key_at(text: &str, at: usize) -> String {
    let mut section = String::new();
    let mut key = String::new();
    for line in text[..text[at..].find('\n').map_or(text.len(), |end| at + end)].lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
            key.clear();
        } else if let Some((name, _)) = line.split_once(" = ") {
            name.clone_into(&mut key);
        }
    }
    if key.is_empty() { section } else { dotted(&section, &key) }
}

fn dotted(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn variable(key: &str) -> String {
    if key == "database_url" {
        return "DATABASE_URL".to_owned();
    }
    format!("QINGNIAO_{}", key.replace('.', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_value_of_another_kind_is_refused_in_plain_words() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, key, words) in [
            ("[http]\nbody_bytes_max = \"5\"", "http.body_bytes_max", "a whole number, 0 or more"),
            ("[limits]\nguests_per_address = -1", "limits.guests_per_address", "a whole number, 0 or more"),
            ("[database]\nconnections_max = -1", "database.connections_max", "between 0 and 4294967295"),
            ("[tokens]\nttl_days = 1.5", "tokens.ttl_days", "expected a whole number"),
            ("[http]\ndocs = 1", "http.docs", "true or false"),
            ("[covers]\nhosts = \"a.com\"", "covers.hosts", "a list"),
            ("[http]\ntrusted_proxies = [\"10.0.0.0/8\"]", "http.trusted_proxies", "one by one"),
            ("http = 5", "http", "a section: [http]"),
            ("[listen]\nport = 1", "listen", "an address and a port"),
            ("jwt_secret = 1234567890123456789", "jwt_secret", "a text in quotation marks"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let refused = Config::load(Some(file.path()), &|_| None).unwrap_err().to_string();
            let origin = format!("`{key}` ({})", file.path().display());
            assert!(refused.contains(&origin) && refused.contains(words), "{text}: {refused}");
            let rest = refused.replace(&origin, "");
            for word in ["usize", "u32", "i64", "struct", "1234567890123456789"] {
                assert!(!rest.contains(word), "{text}: {refused}");
            }
        }
    }

    #[test]
    fn a_variable_is_read_as_its_default_whatever_the_file_has() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "listen = 7001\njwt_secret = 1234567890123456789\n[http]\ndocs = \"false\"\ntrusted_proxies = \"10.0.0.1\"\n\
                    [log]\nformat = 1\n[uploads]\nimage_bytes_max = \"20971520\"\n";
        std::fs::write(file.path(), text).unwrap();
        let set = [
            ("QINGNIAO_LISTEN", "127.0.0.1:7321"),
            ("QINGNIAO_JWT_SECRET", "abcdefabcdefabcdef"),
            ("QINGNIAO_HTTP_DOCS", "false"),
            ("QINGNIAO_HTTP_TRUSTED_PROXIES", "10.0.0.1"),
            ("QINGNIAO_LOG_FORMAT", "json"),
            ("QINGNIAO_UPLOADS_IMAGE_BYTES_MAX", "100"),
        ];
        let env = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let config = Config::load(Some(file.path()), &env).unwrap();
        assert_eq!((config.listen.port(), config.http.docs, config.uploads.image_bytes_max), (7321, false, 100));
        std::fs::write(file.path(), "http = 5").unwrap();
        let refused = Config::load(Some(file.path()), &env).unwrap_err().to_string();
        assert!(refused.contains("a section: [http]"), "{refused}");
    }
}
