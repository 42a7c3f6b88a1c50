//! Many rows as one text. A driver hands each row over on its own: with SQLite through a channel from its thread, at
//! several times the price of reading it. Long lists are asked for packed: [`Sql::packed`] makes the store join the columns
//! of all rows, each with its length before it, and [`rows`] takes them apart.

use super::sql::Sql;
use super::{Engine, dialect};
use crate::error::{AppError, Result};

impl Sql {
    /// All rows of the query `rows`, which names the text and number columns `columns` and none of whose values is NULL, as
    /// one text (NULL if there are none), in no order.
    pub fn packed(engine: Engine, columns: &[&'static str], rows: &'static str) -> Self {
        Self::of_text(format!("SELECT {} FROM ({rows}) packed", dialect::pack(engine, columns)))
    }
}

/// Takes the rows of a packed text apart; `read` takes each row's columns in order.
pub fn rows<T>(packed: Option<&str>, mut read: impl FnMut(&mut Columns<'_>) -> Option<T>) -> Result<Vec<T>> {
    let mut columns = Columns { rest: packed.unwrap_or_default() };
    let mut rows = Vec::new();
    while !columns.rest.is_empty() {
        rows.push(read(&mut columns).ok_or_else(|| AppError::internal("a packed answer of the store was cut"))?);
    }
    Ok(rows)
}

/// What is left of a packed text.
#[derive(Debug)]
pub struct Columns<'a> {
    rest: &'a str,
}

impl<'a> Columns<'a> {
    /// The next column.
    pub fn text(&mut self) -> Option<&'a str> {
        let (length, rest) = self.rest.split_once(':')?;
        let (column, rest) = rest.split_at_checked(length.parse().ok()?)?;
        self.rest = rest;
        Some(column)
    }

    /// The next column, a number.
    pub fn int(&mut self) -> Option<i64> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number and a text a row.
    fn parted(packed: Option<&str>) -> Option<Vec<(i64, String)>> {
        rows(packed, |columns| Some((columns.int()?, columns.text()?.to_owned()))).ok()
    }

    #[test]
    fn rows_come_apart_whatever_their_texts_hold() {
        assert_eq!(parted(None), Some(vec![]));
        let expected = [(7, "a:b"), (-1, ""), (9, "1:👍")].map(|(id, text)| (id, text.to_owned()));
        assert_eq!(parted(Some("1:73:a:b2:-10:1:96:1:👍")), Some(expected.into()));
    }

    #[test]
    fn a_cut_text_is_an_error_and_not_a_short_list() {
        assert_eq!(parted(Some("1:73:👍")), None, "a length inside a character");
        let packed = "1:73:a:b2:-14:wxyz";
        for end in 1..packed.len() {
            let whole = end == "1:73:a:b".len();
            assert_eq!(parted(Some(&packed[..end])).is_some(), whole, "{}", &packed[..end]);
        }
    }
}
