//! Migrations: twins of one shape (design.md section 3).

use std::collections::BTreeSet;

use super::{none, root};

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
