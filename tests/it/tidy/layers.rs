//! Who may use whom (design.md section 2).

use super::{code_lines, none, sources};

/// Modules of `src/`, lowest first; each may use only those of the lines above its own.
const LAYERS: &[&[&str]] = &[
    &["os"],
    &["error", "ids", "clock", "config", "limits", "cache", "metrics"],
    &["http", "db", "hub", "blobs"],
    &["app"],
    &["accounts"],
    &["visitors"],
    &["friends", "groups", "answers"],
    &["media"],
    &["messages"],
    &["requests"],
    &["gateway", "import", "jobs", "operations"],
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
    ("app", "answers"),
    ("app", "media"),
    ("app", "messages"),
    ("app", "gateway"),
];

/// Folders with rules about their four files.
const FEATURES: &[&str] = &["accounts", "visitors", "friends", "groups", "answers", "media", "messages", "requests"];

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

#[test]
fn the_reader_of_paths_sees_every_form() {
    let text = "use crate::a::b;\nuse crate::{c, d::e::{f, g}, h};\nfn x() { crate::i::j(); }\n// crate::k\n";
    let found: Vec<_> = uses(text).into_iter().map(|(module, _)| module).collect();
    assert_eq!(found, ["a", "c", "d", "h", "i"]);
}
