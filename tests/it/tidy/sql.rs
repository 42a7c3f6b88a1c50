//! Statements: portable, bounded, in their stores (design.md section 3).

use super::{code_lines, literals, none, sources};

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
