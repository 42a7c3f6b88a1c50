//! The source keeps its layers, by its text: who may use whom, and which words stand where. `ARCHITECTURE.md` has the map.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules in their rows: each uses only rows before its own; those of the first row also each other.
const ROWS: [&[&str]; 13] = [
    &["error", "ids", "clock", "config", "limits"],
    &["http", "db", "hub", "blobs"],
    &["app"],
    &["accounts"],
    &["visitors"],
    &["friends", "groups"],
    &["media"],
    &["messages"],
    &["requests"],
    &["gateway", "jobs"],
    &["router"],
    &["lifecycle"],
    &["lib", "main"],
];

/// Words of one engine, or that give the two different results.
const NOT_PORTABLE: [&str; 8] =
    [" RETURNING ", "REPLACE INTO", "INSERT IGNORE", "FOR UPDATE", "NOW()", "CONCAT(", "JSON_", "GROUP_CONCAT"];

/// Where a file is too long to be one topic.
const LINES_MAX: usize = 600;

struct Source {
    /// From `src/`, as `accounts/store.rs`.
    path: String,
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Lines of code, numbered from 1: without comments, and without the tests at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate();
        lines.map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Every `crate::a::b` of the code as `(line, [a, b])`; of a group, the names of its first level.
    fn uses(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for (at, line) in self.code() {
            for rest in line.split("crate::").skip(1) {
                if let Some(group) = rest.strip_prefix('{') {
                    let names = group.split(['{', '}', ',']).map(|name| name.split("::").next().unwrap_or(name).trim());
                    found.extend(names.filter(|name| rank(name).is_some()).map(|name| (at, vec![name.to_owned()])));
                } else {
                    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
                    found.push((at, rest[..end].split("::").map(str::to_owned).collect()));
                }
            }
        }
        found
    }
}

fn rank(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn sources() -> Vec<Source> {
    let (mut found, mut folders) = (Vec::new(), vec![root("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root("src")).unwrap().display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    found
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Each line of code that `wrong` objects to, as `path:line: text`.
fn lines(mut wrong: impl FnMut(&Source, &str) -> bool) -> Vec<String> {
    let sources = sources();
    let found = sources.iter().flat_map(|source| source.code().map(move |(at, line)| (source, at, line)));
    let found: Vec<_> = found.collect();
    found
        .into_iter()
        .filter(|(source, _, line)| wrong(source, line))
        .map(|(source, at, line)| format!("{}:{at}: {}", source.path, line.trim()))
        .collect()
}

#[test]
fn every_module_has_a_row() {
    let strange: Vec<_> =
        sources().iter().map(|s| s.module().to_owned()).filter(|module| rank(module).is_none()).collect();
    none("add these to ROWS, and to the map in ARCHITECTURE.md", &strange);
}

#[test]
fn a_module_uses_only_rows_before_its_own() {
    let mut forbidden = Vec::new();
    for source in sources() {
        let own = rank(source.module()).unwrap_or_default();
        for (at, used) in source.uses() {
            let Some(other) = rank(&used[0]) else { continue };
            let allowed =
                used[0] == source.module() || other < own || (own == 0 && other == 0) || source.module() == "app";
            if !allowed {
                forbidden.push(format!("src/{}:{at} uses {}", source.path, used.join("::")));
            }
        }
    }
    none("a module uses only modules in rows before its own", &forbidden);
}

#[test]
fn a_feature_s_statements_and_handlers_are_its_own() {
    let mut forbidden = Vec::new();
    for source in sources() {
        for (at, used) in source.uses() {
            let inner = used.get(1).map(String::as_str);
            let handlers_of_router = inner == Some("handlers") && source.module() == "router";
            if used[0] != source.module() && matches!(inner, Some("store" | "handlers")) && !handlers_of_router {
                forbidden.push(format!("src/{}:{at} uses {}", source.path, used.join("::")));
            }
        }
    }
    none("call the other feature's service", &forbidden);
}

#[test]
fn each_technology_stays_where_it_belongs() {
    let derived = ["sqlx::FromRow", "sqlx::Type", "sqlx(transparent)"];
    let sql = lines(|source, line| {
        let at_home = source.module() == "db" || source.file() == "store.rs";
        line.contains("sqlx::") && !at_home && !derived.iter().any(|word| line.contains(word))
    });
    none("sqlx belongs to db/ and to store.rs; models derive FromRow", &sql);
    let web = lines(|source, line| {
        let above = matches!(source.file(), "service.rs" | "store.rs" | "policy.rs");
        above && line.replace("axum::body::Bytes", "").contains("axum::")
    });
    none("services and stores know nothing of axum", &web);
    let engines = lines(|source, line| source.module() != "db" && line.contains("Engine::"));
    none("only db/dialect.rs may ask which engine it is", &engines);
}

#[test]
fn statements_use_portable_words_only() {
    let strange = lines(|source, line| {
        source.path != "db/dialect.rs" && NOT_PORTABLE.iter().any(|word| line.contains(word)) && line.contains('"')
    });
    none("these words belong to db/dialect.rs or nowhere", &strange);
}

#[test]
fn migrations_are_twins() {
    let names = |engine: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root("migrations").join(engine)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("sqlite"), names("mysql"));
    for name in names("mysql") {
        let text = fs::read_to_string(root("migrations/mysql").join(&name)).unwrap();
        let code: String = text.lines().filter(|line| !line.starts_with("--")).collect();
        assert_eq!(
            code.matches(';').count(),
            1,
            "mysql/{name}: DDL cannot be rolled back there, so one statement a file"
        );
    }
}

#[test]
fn every_file_says_what_it_is_and_is_one_topic() {
    let sources = sources();
    let silent: Vec<_> = sources.iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path.clone()).collect();
    none("a file begins with //! what it is", &silent);
    let long: Vec<_> = sources.iter().filter(|s| s.text.lines().count() > LINES_MAX).map(|s| s.path.clone()).collect();
    none("split these by topic", &long);
}
