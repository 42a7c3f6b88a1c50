//! What the documents say of the source is true: bounds, files, variables, and that the two READMEs are one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use qingniao::config;

/// Variables that the documents name and the server does not read.
const NOT_THE_SERVERS: [&str; 3] = ["QINGNIAO_TEST_DATABASE_URL", "QINGNIAO_PORT", "QINGNIAO_WRITE_EXAMPLES"];

/// Files that are compiled for tests only.
const TESTS_OF_THEIR_OWN: [&str; 1] = ["hub/simulation.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// Every file under `src/`, with its path from there.
pub fn sources() -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root().join("src")).unwrap().display().to_string().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// `const NAME: TYPE = VALUE;` of one file, with durations in words.
fn constants(source: &str) -> Vec<(&str, &str, String)> {
    source.lines().filter_map(constant).collect()
}

fn constant(line: &str) -> Option<(&str, &str, String)> {
    // Indented ones are a test's or a function's own.
    let declared = ["pub const ", "pub(super) const ", "const "].iter().find_map(|word| line.strip_prefix(word))?;
    let (name, rest) = declared.split_once(": ")?;
    let (kind, value) = rest.strip_suffix(';')?.split_once(" = ")?;
    let value = value.strip_prefix("if cfg!(test) { ").map_or(value, |branches| {
        let (_, real) = branches.split_once(" } else { ").unwrap_or_default();
        real.trim_end_matches(" }")
    });
    let words = |call: &str, unit: &str| Some(format!("{} {unit}", value.strip_prefix(call)?.strip_suffix(')')?));
    let units = [
        ("Duration::from_hours(", "h"),
        ("Duration::from_mins(", "min"),
        ("Duration::from_secs(", "s"),
        ("Duration::from_millis(", "ms"),
        ("Duration::from_micros(", "µs"),
    ];
    let shown = units.iter().find_map(|(call, unit)| words(call, unit));
    Some((name, kind, shown.unwrap_or_else(|| value.to_owned())))
}

/// `(name, value, file)` of each row of the table of bounds.
fn documented_bounds() -> BTreeSet<(String, String, String)> {
    let architecture = text("ARCHITECTURE.md");
    let rows = architecture.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
        let [name, value, file, _] = cells.as_slice() else { return None };
        let file = file.trim_matches('`');
        file.contains(".rs").then(|| (name.trim_matches('`').to_owned(), (*value).to_owned(), file.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_table_of_bounds_is_that_of_the_source() {
    let mut declared = BTreeSet::new();
    for (file, source) in sources().into_iter().filter(|(file, _)| !TESTS_OF_THEIR_OWN.contains(&file.as_str())) {
        for (name, kind, value) in constants(&source) {
            if name.ends_with("_MAX") || kind == "Duration" {
                declared.insert((name.to_owned(), value, file.clone()));
            }
        }
    }
    let documented = documented_bounds();
    let missing: Vec<_> = declared.difference(&documented).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md, section \"Bounds\", lacks {missing:#?}");
    let named = |bound: &&(String, String, String)| {
        let (name, value, file) = bound;
        let source = sources().into_iter().find(|(path, _)| path == file).map(|(_, source)| source).unwrap_or_default();
        constants(&source).into_iter().any(|(n, _, v)| n == name && v == *value)
    };
    let wrong: Vec<_> = documented.iter().filter(|bound| !named(bound)).collect();
    assert!(wrong.is_empty(), "ARCHITECTURE.md, section \"Bounds\", has what the source has not: {wrong:#?}");
}

#[test]
fn every_dependency_has_its_reason() {
    let cargo = text("Cargo.toml");
    // Those of one system, too; and not those of tests.
    let sections = cargo.split("\n[").filter_map(|section| section.split_once("]\n"));
    let sections = sections.filter(|(name, _)| *name == "dependencies" || name.ends_with(".dependencies"));
    let used: BTreeSet<&str> =
        sections.flat_map(|(_, lines)| lines.lines()).filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    let architecture = text("ARCHITECTURE.md");
    let table = architecture.split("\n## ").find(|section| section.contains("Dependencies\n")).unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let explained: BTreeSet<&str> = rows.filter_map(|row| row.split(" | ").next()).flat_map(code_spans).collect();
    assert_eq!(used, explained, "Cargo.toml, and the table in ARCHITECTURE.md");
}

#[test]
fn the_architecture_names_only_files_that_exist() {
    let known: Vec<PathBuf> = ["", "src", "tests", "benches"].iter().map(|folder| root().join(folder)).collect();
    let architecture = text("ARCHITECTURE.md");
    let missing: Vec<&str> = code_spans(&architecture)
        .into_iter()
        .filter(|span| span.contains('/') && [".rs", ".md", ".toml"].iter().any(|end| span.ends_with(end)))
        .filter(|span| !known.iter().any(|folder| folder.join(span).exists()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn links_lead_somewhere() {
    for document in ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "benches/README.md", "tests/faults/README.md"] {
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in text(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let local = !file.is_empty() && !file.contains("://");
            assert!(!local || folder.join(file).exists(), "{document} links to {link}");
        }
    }
}

#[test]
fn every_variable_that_is_named_is_a_key_s() {
    for document in
        ["README.md", "README.zh-CN.md", ".env.example", "docker-compose.yml", "Dockerfile", "ARCHITECTURE.md"]
    {
        let text = text(document);
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        for name in words.filter(|word| word.starts_with("QINGNIAO_") && word.len() > "QINGNIAO_".len()) {
            let known = config::DEFAULTS.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).any(|key| key == name);
            assert!(known || NOT_THE_SERVERS.contains(&name), "{document} names {name}");
        }
    }
}

#[test]
fn the_two_readmes_are_twins() {
    let (english, chinese) = (text("README.md"), text("README.zh-CN.md"));
    let headings = |text: &str| -> Vec<usize> {
        let (prose, _) = parts(text);
        prose.lines().filter_map(|line| line.find("# ").filter(|_| line.starts_with('#'))).collect()
    };
    assert_eq!(headings(&english), headings(&chinese));
    assert_eq!(parts(&english).1, parts(&chinese).1, "the code blocks, comments aside");
    let spans = |text: &str| -> BTreeSet<String> {
        let (prose, _) = parts(text);
        code_spans(&prose).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(spans(&english), spans(&chinese), "what stands between backquotes");
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| ") || line.starts_with("- ")).count();
    assert_eq!(rows(&english), rows(&chinese), "rows of tables and points of lists");
}

/// The prose of a document, and its code blocks without their comments.
fn parts(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            prose.push_str(part);
        } else {
            let lines = part.lines().map(|line| {
                let comment = ["# ", "// "].iter().filter_map(|mark| line.find(mark)).min();
                line[..comment.unwrap_or(line.len())].trim_end()
            });
            blocks.push(lines.collect::<Vec<_>>().join("\n"));
        }
    }
    (prose, blocks)
}

/// What stands between backquotes.
fn code_spans(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}
