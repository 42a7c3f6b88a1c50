//! The statements of the source, read from every `store.rs`: one a function.

use crate::tidy::{literals, rust_files};

/// Words by which a literal of a store is known for a part of a statement.
const WORDS: [&str; 6] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", " ORDER BY ", "WHERE "];

/// A store function that makes a statement.
#[derive(Debug)]
pub struct Statement {
    /// As `groups::find_group`.
    pub name: String,
    /// Its literals; what runs holds them all.
    parts: Vec<String>,
    /// The index that its doc promises.
    pub index: Option<String>,
}

/// Every function of every store that makes a statement.
pub fn statements() -> Vec<Statement> {
    // An import reads another program's tables, whole, and fills ours while no server has them.
    let is_store = |path: &str| path.ends_with("store.rs") && path != "src/import/store.rs";
    let stores = rust_files("src").into_iter().filter(|(path, _)| is_store(path));
    stores.flat_map(|(path, text)| of_store(&path, &text)).collect()
}

fn of_store(path: &str, text: &str) -> Vec<Statement> {
    let module = path.trim_start_matches("src/").trim_end_matches("/store.rs").replace('/', "::");
    let heads = heads(text);
    let mut found = Vec::new();
    let mut docs = "";
    for part in text.split_inclusive("\n}\n") {
        if let Some((before, function)) = part.split_once("async fn ") {
            docs = before;
            let name = function.split(['(', '<']).next().unwrap_or_default();
            let parts = parts(function, &heads);
            if !parts.is_empty() {
                found.push(Statement { name: format!("{module}::{name}"), parts, index: promised(docs) });
            }
        }
    }
    assert!(!docs.is_empty() && !found.is_empty(), "{path} has functions");
    found
}

/// Macros of a store that put a common beginning before a condition: name and beginning.
fn heads(text: &str) -> Vec<(&str, String)> {
    let macros = text.split("macro_rules! ").skip(1);
    macros
        .map(|made| {
            let name = made.split(' ').next().unwrap_or_default();
            let body = made.split("\n}\n").next().unwrap_or_default();
            (name, literals(body).remove(0).1)
        })
        .collect()
}

fn parts(function: &str, heads: &[(&str, String)]) -> Vec<String> {
    let whole = heads
        .iter()
        .fold(function.to_owned(), |text, (name, head)| text.replace(&format!("{name}!(\""), &format!("\"{head}")));
    let found = literals(&whole).into_iter().map(|(_, literal)| literal);
    found.filter(|literal| WORDS.iter().any(|word| literal.contains(word))).collect()
}

/// `(index `friends_list`)` in a doc.
fn promised(docs: &str) -> Option<String> {
    let docs = docs.replace("\n///", "");
    let (_, rest) = docs.rsplit_once("(index `")?;
    rest.split('`').next().map(str::to_owned)
}

/// The function that makes the statement `text`: of those whose literals it holds, the one that says most of it.
pub fn maker<'a>(statements: &'a [Statement], text: &str) -> Option<&'a Statement> {
    let makers = statements.iter().filter(|statement| statement.parts.iter().all(|part| text.contains(part.as_str())));
    makers.max_by_key(|statement| statement.parts.iter().map(String::len).sum::<usize>())
}
