//! Reads the source as text and fails on what the design and the house style forbid: a call against the direction of the
//! layers, SQL that one engine does not know, a file without a head.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Modules of `src/`, lowest first; each may use only those of the lines above its own.
const LAYERS: &[&[&str]] = &[
    &["error", "ids", "clock", "config", "limits", "metrics"],
    &["http", "db", "hub", "blobs"],
    &["app"],
    &["accounts"],
    &["visitors"],
    &["friends", "groups", "answers"],
    &["media"],
    &["messages"],
    &["requests"],
    &["gateway", "jobs", "operations"],
    &["docs"],
    &["router"],
    &["lifecycle"],
    &["lib", "main"],
];

/// Edges against the layers that are wanted, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The shared state names one State of each feature that keeps any; it holds no logic.
    ("app", "accounts"),
    ("app", "visitors"),
    ("app", "friends"),
    ("app", "groups"),
    ("app", "media"),
    ("app", "messages"),
    ("app", "requests"),
    ("app", "gateway"),
];

/// Folders with rules about their four files.
const FEATURES: &[&str] = &["accounts", "visitors", "friends", "groups", "media", "messages", "requests"];

const FILE_LINES_MAX: usize = 600;

/// A source file without its unit tests.
struct Source {
    /// Relative to the crate.
    path: String,
    /// The first folder or file under `src/`.
    module: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository: path and text.
pub fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let shown = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((shown, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 3, "the sources are where this test looks for them");
    found
}

fn sources() -> Vec<Source> {
    let files = rust_files("src");
    // Files that only tests compile: `#[cfg(test)] mod name;` beside them.
    let of_tests: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| {
            let folder = path.rsplit_once('/').unwrap().0;
            let declared =
                text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
            declared.map(move |name| format!("{folder}/{name}.rs"))
        })
        .collect();
    let module = |path: &str| path["src/".len()..].split(['/', '.']).next().unwrap().to_owned();
    files
        .into_iter()
        .filter(|(path, _)| !of_tests.contains(path))
        .map(|(path, text)| {
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            Source { module: module(&path), path, text: code }
        })
        .collect()
}

/// Fails with all findings at once.
fn none(rule: &str, findings: &[String]) {
    let list = findings.iter().fold(String::new(), |mut list, finding| {
        write!(list, "\n  {finding}").unwrap();
        list
    });
    assert!(findings.is_empty(), "{rule}:{list}");
}

/// Code lines with their numbers; comment lines left out.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Modules of the crate that a file names, with the rest of each path: `crate::a::b` and the members of `use crate::{…}`.
fn uses(text: &str) -> Vec<(String, String)> {
    let code: String = code_lines(text).fold(String::new(), |code, (_, line)| code + line.trim() + " ");
    let mut found = Vec::new();
    for marker in ["crate::", "qingniao::"] {
        for (at, _) in code.match_indices(marker) {
            // `$crate::` in a macro, and `pub(in crate::…)`, count as any other path.
            let rest = &code[at + marker.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                found.extend(members(list).into_iter().map(|member| split_path(&member)));
            } else {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
                found.push(split_path(&rest[..end]));
            }
        }
    }
    found
}

fn split_path(path: &str) -> (String, String) {
    let (module, rest) = path.trim().split_once("::").unwrap_or((path.trim(), ""));
    (module.to_owned(), rest.to_owned())
}

/// The members of `a, b::{c, d}, e}` up to the closing brace.
fn members(list: &str) -> Vec<String> {
    let (mut depth, mut member, mut found) = (0, String::new(), Vec::new());
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => found.push(std::mem::take(&mut member)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                member.push(c);
            }
        }
    }
    found.push(member);
    found.retain(|member| !member.trim().is_empty());
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut findings = Vec::new();
    for source in sources() {
        let Some(own) = layer(&source.module) else {
            findings.push(format!("{}: the module is in no layer; add it to LAYERS", source.path));
            continue;
        };
        for (used, _) in uses(&source.text) {
            let Some(other) = layer(&used) else { continue };
            let wanted = EXCEPTIONS.contains(&(source.module.as_str(), used.as_str()));
            if used != source.module && other >= own && !wanted {
                findings.push(format!("{}: `{}` may not use `{used}`", source.path, source.module));
            }
        }
    }
    none("layers (design.md section 2)", &findings);
}

#[test]
fn features_use_each_other_through_service_and_model_only() {
    let mut findings = Vec::new();
    for source in sources() {
        for (used, rest) in uses(&source.text) {
            let inner = rest.split("::").next().unwrap_or_default();
            let private = inner == "store" || (inner == "handlers" && source.module != "router");
            if FEATURES.contains(&used.as_str()) && used != source.module && private {
                findings.push(format!("{}: {used}::{inner} is private to its feature", source.path));
            }
        }
    }
    none("a feature calls another's service, never its store or handlers", &findings);
}

#[test]
fn each_file_of_a_feature_keeps_to_its_part() {
    let rules: &[(&str, &[&str])] = &[
        ("handlers.rs", &["sqlx", "crate::db", "crate::hub"]),
        ("service.rs", &["axum::", "sqlx", "StatusCode"]),
        ("store.rs", &["crate::hub", "crate::clock", "axum::", "crate::app", "crate::config"]),
        ("model.rs", &["crate::app", "crate::db::", "crate::config"]),
    ];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| FEATURES.contains(&source.module.as_str())) {
        let name = source.path.rsplit('/').next().unwrap();
        let Some((_, forbidden)) = rules.iter().find(|(file, _)| *file == name) else { continue };
        for (n, line) in code_lines(&source.text) {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                // A row's or an id's derive is the store's decoding, not a query.
                if !line.contains("sqlx::FromRow") && !line.contains("sqlx::Type") {
                    findings.push(format!("{}:{n}: `{word}` does not belong into {name}", source.path));
                }
            }
        }
    }
    none("handlers, service, store and model (design.md section 2)", &findings);
}

/// String literals of a file, `concat!`s and line continuations joined, with the line that they begin on.
pub fn literals(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => line += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while at + 1 < bytes.len() && bytes[at + 1] != b'\n' {
                    at += 1;
                }
            }
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at += 3,
            b'"' => {
                let (start, begin) = (line, at + 1);
                at += 1;
                while bytes[at] != b'"' {
                    if bytes[at] == b'\\' {
                        at += 1;
                    }
                    if bytes[at] == b'\n' {
                        line += 1;
                    }
                    at += 1;
                }
                let literal: Vec<&str> = text[begin..at].split("\\\n").map(str::trim_start).collect();
                found.push((start, literal.concat()));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_sql(literal: &str) -> bool {
    ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "REPLACE ", "WITH "].iter().any(|verb| literal.starts_with(verb))
}

#[test]
fn sql_is_portable_outside_the_dialect() {
    // Words of one engine, of MariaDB only, or of neither index nor bound (design.md section 3).
    let words = [
        "RETURNING",
        "REPLACE",
        "INSERT IGNORE",
        "INSERT OR ",
        "FOR UPDATE",
        "ON DUPLICATE",
        "ON CONFLICT",
        "NOW()",
        "CONCAT(",
        "JSON_",
        "||",
        "strftime",
        "datetime(",
        "IFNULL(",
        "SELECT *",
        "GROUP_CONCAT",
        "LIKE BINARY",
        " REGEXP ",
        "UNIX_TIMESTAMP",
    ];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path != "src/db/dialect.rs") {
        for (n, literal) in literals(&source.text) {
            let sql = is_sql(&literal) || (source.path.ends_with("store.rs") && literal.contains(' '));
            let mut bad: Vec<&str> = words.iter().copied().filter(|word| sql && literal.contains(word)).collect();
            if literal.starts_with("UPDATE ") && literal.split(" SET ").next().unwrap().contains(" JOIN ") {
                bad.push("UPDATE … JOIN");
            }
            if literal.starts_with("DELETE ") && literal.contains(" LIMIT ") {
                bad.push("DELETE … LIMIT");
            }
            if literal.starts_with("DELETE ") && !literal.starts_with("DELETE FROM ") {
                bad.push("DELETE without FROM");
            }
            findings.extend(bad.iter().map(|word| format!("{}:{n}: {word}", source.path)));
        }
    }
    none("SQL that only db/dialect.rs may write", &findings);
}

#[test]
fn a_delete_never_reads_its_own_table() {
    let mut findings = Vec::new();
    for source in sources() {
        for (n, literal) in literals(&source.text) {
            let Some(rest) = literal.strip_prefix("DELETE FROM ").or_else(|| literal.strip_prefix("UPDATE ")) else {
                continue;
            };
            let table = rest.split(' ').next().unwrap();
            if rest.matches(&format!("FROM {table}")).count() > usize::from(literal.starts_with("DELETE FROM FROM")) {
                findings.push(format!("{}:{n}: MySQL refuses a subquery on {table} here", source.path));
            }
        }
    }
    none("a statement that changes a table may not select from it (MySQL error 1093)", &findings);
}

#[test]
fn statements_live_in_stores() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.module != "db" && !source.path.contains("store")) {
        let statements = literals(&source.text).into_iter().filter(|(_, literal)| is_sql(literal));
        findings.extend(statements.map(|(n, literal)| format!("{}:{n}: {literal}", source.path)));
    }
    none("SQL belongs into store.rs", &findings);
}

#[test]
fn only_the_database_kit_knows_the_engines() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.module != "db") {
        for (n, line) in code_lines(&source.text) {
            for word in
                ["Engine::", "Conn::MySql", "Conn::Sqlite", "Db::MySql", "Db::Sqlite", "sqlx::mysql", "sqlx::sqlite"]
            {
                if line.contains(word) {
                    findings.push(format!("{}:{n}: {word}", source.path));
                }
            }
        }
    }
    none("no module but db may ask for the engine", &findings);
}

#[test]
fn lists_are_bounded() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path.contains("store")) {
        // A function with its docs, as rustfmt lays it out.
        for part in source.text.split("\n}\n") {
            let fetches = part.contains("fetch_all!") || part.contains("fetch_all_with!");
            let bounded = part.contains("LIMIT")
                || part.contains("At most ")
                || part.contains(" up to ")
                || part.contains("Up to ");
            if fetches && !bounded {
                let name = part.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next()).unwrap_or("?");
                findings.push(format!("{}: {name}", source.path));
            }
        }
    }
    none("a list query has a LIMIT, or its doc says \"At most …\" or \"… up to …\"", &findings);
}

#[test]
fn files_have_a_head_and_a_readable_length() {
    let mut findings = Vec::new();
    for (path, text) in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let lines = text.lines().count();
        if !text.starts_with("//! ") {
            findings.push(format!("{path}: no `//!` head"));
        }
        if lines > FILE_LINES_MAX && path.starts_with("src") {
            findings.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}"));
        }
    }
    none("heads and lengths (style.md \"Files\")", &findings);
}

#[test]
fn nothing_unwraps_or_prints_outside_tests() {
    let mut findings = Vec::new();
    for source in sources() {
        for (n, line) in code_lines(&source.text) {
            for word in [".unwrap()", "println!(", "dbg!(", "todo!(", "unimplemented!(", "Utc::now", "SystemTime::now"]
            {
                let allowed = (source.path == "src/main.rs" && word == "println!(")
                    || (source.path == "src/clock.rs" && word == "Utc::now");
                if line.contains(word) && !allowed {
                    findings.push(format!("{}:{n}: {word}", source.path));
                }
            }
        }
    }
    none("forbidden outside tests", &findings);
}

#[test]
fn a_result_that_is_dropped_has_a_reason() {
    let mut findings = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let reasoned = n > 0 && lines[n - 1].trim_start().starts_with("//");
            if line.trim_start().starts_with("let _ =") && !reasoned {
                findings.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    none("`let _ =` needs a comment that says why", &findings);
}

fn migrations(engine: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = std::fs::read_dir(root().join("migrations").join(engine))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    found
}

/// SQL without its comments.
fn bare(sql: &str) -> String {
    sql.lines().filter(|line| !line.trim_start().starts_with("--")).fold(String::new(), |bare, line| bare + line + "\n")
}

#[test]
fn migrations_have_twins_of_the_same_shape() {
    let (mysql, sqlite) = (migrations("mysql"), migrations("sqlite"));
    let names = |list: &[(String, String)]| list.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names(&mysql), names(&sqlite), "each migration exists for both engines under one name");
    let mut findings = Vec::new();
    let mut numbers = BTreeSet::new();
    for ((name, one), (_, other)) in mysql.iter().zip(&sqlite) {
        let number = name.split('_').next().unwrap();
        if number.len() != 4 || !number.bytes().all(|b| b.is_ascii_digit()) || !numbers.insert(number) {
            findings.push(format!("{name}: begins with a four-digit number of its own"));
        }
        if !one.starts_with("-- ") || !other.starts_with("-- ") {
            findings.push(format!("{name}: begins with a comment that says what it is for"));
        }
        // MySQL cannot roll DDL back: with one statement a file, a failed migration has done nothing.
        let statements = bare(one).matches(';').count();
        if statements != 1 {
            findings.push(format!("mysql/{name}: {statements} statements in place of one"));
        }
        let (mine, theirs) = (columns(one), columns(other));
        if mine != theirs {
            let differ: Vec<_> = mine.symmetric_difference(&theirs).collect();
            findings.push(format!("{name}: columns differ: {differ:?}"));
        }
    }
    none("migrations (design.md section 3)", &findings);
}

/// `table.column` of each column that a migration makes.
fn columns(sql: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut table = String::new();
    for line in bare(sql).lines() {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            rest.split([' ', '(']).next().unwrap().clone_into(&mut table);
        } else if let Some(rest) = line.trim_start().strip_prefix("ADD COLUMN ") {
            found.insert(format!("+{}", rest.split(' ').next().unwrap()));
        } else if let Some(column) = line.strip_prefix("    ").and_then(|line| line.split(' ').next())
            && column.starts_with(|c: char| c.is_ascii_lowercase())
        {
            found.insert(format!("{table}.{column}"));
        }
    }
    found
}

#[test]
fn every_configuration_key_names_its_variable() {
    let mut section = String::new();
    let mut findings = Vec::new();
    for line in qingniao::config::DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}_");
        } else if let Some((key, rest)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with('#')) {
            let variable = match key {
                "database_url" => "DATABASE_URL".to_owned(),
                key => format!("QINGNIAO_{}", format!("{section}{key}").to_uppercase()),
            };
            if !rest.contains(&format!("# {variable}")) {
                findings.push(format!("{section}{key}: the comment beside it names {variable}"));
            }
        }
    }
    none("config/default.toml", &findings);
}

#[test]
fn the_reader_of_paths_sees_every_form() {
    let text = "use crate::a::b;\nuse crate::{c, d::e::{f, g}, h};\nfn x() { crate::i::j(); }\n// crate::k\n";
    let found: Vec<_> = uses(text).into_iter().map(|(module, _)| module).collect();
    assert_eq!(found, ["a", "c", "d", "h", "i"]);
    assert_eq!(
        literals("// \"no\"\nf(\"SELECT a \\\n    FROM b\", '\"', \"c\\\"d\")"),
        [(2, "SELECT a FROM b".to_owned()), (3, "c\\\"d".to_owned())]
    );
    assert!(Path::new(&root()).join("Cargo.toml").exists());
}
