//! Everything in which MySQL and SQLite differ. No other module may ask for the engine.

use super::{Done, Engine};

/// The tail of an upsert on the unique column `key` that takes the new value of `columns`.
pub fn on_conflict_update(engine: Engine, key: &str, columns: &[&str]) -> String {
    let taken = |form: &dyn Fn(&str) -> String| columns.iter().map(|c| form(c)).collect::<Vec<_>>().join(", ");
    match engine {
        Engine::MySql => format!(" ON DUPLICATE KEY UPDATE {}", taken(&|c| format!("{c} = VALUES({c})"))),
        Engine::Sqlite => format!(" ON CONFLICT ({key}) DO UPDATE SET {}", taken(&|c| format!("{c} = excluded.{c}"))),
    }
}

/// The tail of an upsert on the unique column `key` that takes the new value of `column` if it is greater.
pub fn on_conflict_raise(engine: Engine, key: &str, column: &str) -> String {
    match engine {
        Engine::MySql => format!(" ON DUPLICATE KEY UPDATE {column} = GREATEST({column}, VALUES({column}))"),
        Engine::Sqlite => format!(" ON CONFLICT ({key}) DO UPDATE SET {column} = MAX({column}, excluded.{column})"),
    }
}

/// The tail of an upsert on the unique column `key` that adds the new value of `column` to the one that is there.
pub fn on_conflict_add(engine: Engine, key: &str, column: &str) -> String {
    match engine {
        Engine::MySql => format!(" ON DUPLICATE KEY UPDATE {column} = {column} + VALUES({column})"),
        Engine::Sqlite => format!(" ON CONFLICT ({key}) DO UPDATE SET {column} = {column} + excluded.{column}"),
    }
}

/// The tail of an insert that does nothing when the unique columns `key` hold the row already.
pub fn on_conflict_ignore(engine: Engine, key: &str) -> String {
    let first = key.split(',').next().unwrap_or(key).trim();
    match engine {
        Engine::MySql => format!(" ON DUPLICATE KEY UPDATE {first} = {first}"),
        Engine::Sqlite => format!(" ON CONFLICT ({key}) DO NOTHING"),
    }
}

/// What stands after the name of a table that is to be read by one index. MySQL weighs its indexes against a walk through the
/// whole table, and where many rows of it match, it takes less of the index than it could: it then passes over a whole history
/// to come to what is new. SQLite, without statistics, takes the index for what it is.
pub fn by_index(engine: Engine, index: &'static str) -> String {
    match engine {
        Engine::MySql => format!(" FORCE INDEX ({index})"),
        Engine::Sqlite => String::new(),
    }
}

/// Id of the first of `count` rows that one insert made; both engines number them without gaps
/// (MySQL because `db::open` sets `auto_increment_increment` to 1).
pub fn first_id(engine: Engine, done: Done, count: usize) -> i64 {
    match engine {
        Engine::MySql => done.id,
        Engine::Sqlite => done.id - i64::try_from(count).unwrap_or(i64::MAX) + 1,
    }
}

/// One text of all rows: each column's bytes, with their number and a colon before them.
pub fn pack(engine: Engine, columns: &[&str]) -> String {
    let joined = |form: &dyn Fn(&str) -> String, between: &str| {
        columns.iter().map(|column| form(column)).collect::<Vec<_>>().join(between)
    };
    match engine {
        Engine::MySql => {
            format!("GROUP_CONCAT(CONCAT({}) SEPARATOR '')", joined(&|c| format!("LENGTH({c}), ':', {c}"), ", "))
        }
        Engine::Sqlite => {
            format!("GROUP_CONCAT({}, '')", joined(&|c| format!("OCTET_LENGTH({c}) || ':' || {c}"), " || "))
        }
    }
}
