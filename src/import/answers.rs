//! The answers that people prepared. The old backend keeps them in files, one a person and kind, newest entry first
//! (contract: messaging, "Outside the 40").

use std::fmt::Display;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use tracing::warn;

use crate::error::{AppError, Result};
use crate::http::fields::is_truthy;
use crate::http::{Fields, json};

/// Longest word of a client for a kind of entries, in code points.
const KIND_MAX: u64 = 50;

/// An entry, with the columns of `answers`.
#[derive(Debug)]
pub struct Entry {
    pub user: i64,
    pub kind: String,
    pub ask: String,
    pub answer: String,
    pub like_count: i64,
    pub liked: bool,
    pub created_at: i64,
    pub updated_at: i64,
}

/// All entries of the files in `folder`, oldest first.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder).map_err(|cause| unread(folder, &cause))? {
        let path = file.map_err(|cause| unread(folder, &cause))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            warn!("{} is no file of answers and was passed over", path.display());
            continue;
        }
        all.extend(of_file(&path)?);
    }
    all.sort_by_key(|entry| entry.created_at);
    Ok(all)
}

fn of_file(path: &Path) -> Result<Vec<Entry>> {
    let text = fs::read(path).map_err(|cause| unread(path, &cause))?;
    let values: Vec<Map<String, Value>> = json::parse(&text).map_err(|cause| unread(path, &cause))?;
    let read = values.into_iter().zip(1..).filter_map(|(values, number)| {
        let told = |cause: &AppError| warn!("{}: left out was entry {number}: {cause}", path.display());
        entry(&Fields::new(values)).inspect_err(told).ok()
    });
    // Newest last, as they were made.
    Ok(read.collect::<Vec<_>>().into_iter().rev().collect())
}

fn entry(fields: &Fields) -> Result<Entry> {
    let time = |name| fields.optional_int(name, 0, i64::MAX, 0);
    Ok(Entry {
        user: fields.id("create_userId", "create_userId")?,
        kind: fields.optional_string("type", 1, KIND_MAX),
        ask: fields.any_string("ask", "ask")?,
        answer: fields.any_string("answer", "answer")?,
        like_count: fields.optional_int("likeCount", 0, i64::from(i32::MAX), 0),
        liked: fields.raw("liked").is_some_and(is_truthy),
        created_at: time("create_time"),
        updated_at: time("update_time"),
    })
}

fn unread(path: &Path, cause: &dyn Display) -> AppError {
    AppError::internal(format!("{} (--answers) cannot be read: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn entries_that_lack_something_are_left_out_and_those_without_a_time_keep_their_order() {
        let text = r#"[{"ask":"d\ud83d","answer":"4","create_userId":7},{"answer":"1","create_userId":7},{"ask":"a","answer":"1","create_userId":0},
                      {"ask":"c","answer":"3","create_userId":7}]"#;
        let entries = read(folder(&[("chatuser_shop_7.json", text)]).path()).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.ask.as_str()).collect::<Vec<_>>(), ["c", "d\u{fffd}"]);
    }

    #[test]
    fn entries_of_all_files_come_oldest_first() {
        let one = r#"[{"id":9,"ask":"b","answer":"2","type":"shop","create_userId":"7","create_time":20,"update_time":"21","likeCount":3,"liked":true},
                      {"id":1,"ask":"a","answer":"1","type":"shop","create_userId":7,"create_time":10,"update_time":10,"likeCount":0,"liked":false}]"#;
        let other = r#"[{"ask":"c","answer":"3","create_userId":8,"create_time":15}]"#;
        let folder =
            folder(&[("chatuser_shop_7.json", one), ("chatuser_undefined_8.json", other), ("readme.txt", "x")]);
        let entries = read(folder.path()).unwrap();
        let asked = entries.iter().map(|entry| (entry.user, entry.ask.as_str(), entry.kind.as_str()));
        assert_eq!(asked.collect::<Vec<_>>(), [(7, "a", "shop"), (8, "c", ""), (7, "b", "shop")]);
        let last = &entries[2];
        assert_eq!((last.like_count, last.liked, last.created_at, last.updated_at), (3, true, 20, 21));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named() {
        for text in ["{", "{}", "[1]"] {
            let folder = folder(&[("bad.json", text)]);
            let problem = read(folder.path()).unwrap_err().for_log();
            assert!(problem.contains("bad.json (--answers) cannot be read: "), "{problem}");
        }
        assert!(read(Path::new("/nowhere")).unwrap_err().for_log().starts_with("/nowhere (--answers)"));
    }
}
