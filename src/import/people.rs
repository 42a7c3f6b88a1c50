//! What becomes of the old backend's names and devices.
//!
//! Ours compare names without regard to case (decision 16), and a device has one row. The old tables promise neither.

use std::collections::{HashMap, HashSet};

use crate::accounts::Role;
use crate::accounts::model::{DEFAULT_AVATAR, username_key, username_parts};
use crate::db::Cell;
use crate::error::{AppError, Result};
use crate::visitors::service::NO_PASSWORD;

/// Pairs that are told when names clash.
const CLASHES_TOLD: usize = 10;

/// Where in a row of [`super::store::USERS`] these stand.
const ID: usize = 0;
const USERNAME: usize = 1;
const DEVICE: usize = 2;
const ROLE: usize = 3;
const PASSWORD: usize = 5;
const AVATAR: usize = 7;

/// Names and devices that have been seen.
#[derive(Debug, Default)]
pub struct People {
    /// Whose they are, and whether those are registered.
    names: HashMap<String, (i64, bool)>,
    devices: HashSet<String>,
    /// Two rows each whose names are one name here.
    clashes: Vec<(i64, i64)>,
}

impl People {
    /// Makes an old row one of ours. False if its name is another's.
    pub fn take(&mut self, row: &mut Vec<Cell>) -> bool {
        let (Cell::Int(id), Cell::Text(name)) = (&row[ID], &row[USERNAME]) else { return false };
        let (id, key) = (*id, username_key(name));
        let registered = row[ROLE] != Cell::Text(Role::Visitor.as_str().to_owned());
        if let Some((other, _)) = self.names.insert(key.clone(), (id, registered)) {
            self.clashes.push((other, id));
            return false;
        }
        if !registered {
            // The old backend gave guests passwords of six digits that it told nobody.
            row[PASSWORD] = Cell::Text(NO_PASSWORD.to_owned());
        }
        if let Cell::Text(device) = &row[DEVICE] {
            // MySQL compares without regard to spaces at the end. Of two rows of one device the old backend took the first.
            let device = device.trim_end_matches(' ');
            if device.is_empty() || !self.devices.insert(device.to_owned()) {
                row[DEVICE] = Cell::Null;
            }
        }
        if row[AVATAR] == Cell::Null {
            row[AVATAR] = Cell::Text(DEFAULT_AVATAR.to_owned());
        }
        row.push(Cell::Text(key));
        true
    }

    /// Refuses rows whose names are one name here: neither may log in as the other.
    pub fn check(&self) -> Result<()> {
        if self.clashes.is_empty() {
            return Ok(());
        }
        let told: Vec<_> =
            self.clashes.iter().take(CLASHES_TOLD).map(|(one, other)| format!("{one} and {other}")).collect();
        let more = if self.clashes.len() > CLASHES_TOLD { ", and more" } else { "" };
        Err(AppError::internal(format!(
            "in the old backend's table `user` these ids have names that differ only in case or in spaces at the end, which are one \
             name here: {}{more}; give one of each pair another name there",
            told.join(", ")
        )))
    }

    /// What registered names are found by: whether it is the whole name, the part, and whose.
    pub fn parts(&self) -> impl Iterator<Item = (bool, &str, i64)> {
        let registered = self.names.iter().filter(|(_, (_, registered))| *registered);
        registered.flat_map(|(key, (id, _))| username_parts(key).map(|(whole, part)| (whole, part, *id)))
    }

    /// The ids of all who were taken.
    pub fn ids(&self) -> HashSet<i64> {
        self.names.values().map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, name: &str, device: Option<&str>, role: &str) -> Vec<Cell> {
        let text = |text: &str| Cell::Text(text.to_owned());
        let mut row = vec![Cell::Int(id), text(name), device.map_or(Cell::Null, text), text(role)];
        row.resize(AVATAR, Cell::Null);
        row.push(Cell::Null);
        row
    }

    #[test]
    fn names_that_differ_in_case_or_in_spaces_clash() {
        let mut people = People::default();
        assert!(people.take(&mut row(1, "Alice", None, "user")));
        assert!(!people.take(&mut row(2, "alice ", None, "visitor")));
        assert!(people.take(&mut row(3, "alicia", None, "user")));
        assert!(people.check().unwrap_err().for_log().contains("one name here: 1 and 2; give one"));
    }

    #[test]
    fn a_device_stays_with_its_first_row() {
        let mut people = People::default();
        let mut rows =
            [row(1, "one", Some("d"), "visitor"), row(2, "two", Some("d "), "visitor"), row(3, "x", Some(""), "user")];
        for row in &mut rows {
            assert!(people.take(row));
        }
        assert_eq!(rows.map(|row| row[DEVICE].clone()), [Cell::Text("d".to_owned()), Cell::Null, Cell::Null]);
    }

    #[test]
    fn only_registered_names_are_found_by_their_parts() {
        let mut people = People::default();
        assert!(people.take(&mut row(1, "Bo", None, "user")));
        assert!(people.take(&mut row(2, "VIS1", None, "visitor")));
        let mut guest = row(9, "VIS2", None, "visitor");
        assert!(people.take(&mut guest) && guest[PASSWORD] == Cell::Text(NO_PASSWORD.to_owned()));
        assert_eq!(people.parts().collect::<Vec<_>>(), [(true, "bo", 1), (false, "o", 1)]);
        let mut bo = row(3, "Bob", None, "bureau");
        assert!(people.take(&mut bo));
        assert_eq!(
            (&bo[AVATAR], bo.last()),
            (&Cell::Text(DEFAULT_AVATAR.to_owned()), Some(&Cell::Text("bob".to_owned())))
        );
    }
}
