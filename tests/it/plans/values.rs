//! Values for the question marks of a statement, so that an engine that chooses its plan by them sees those of a busy
//! person and a busy group: mostly 1, since the first row of every table is theirs (`filling.rs`).

/// What a question mark stands for.
struct Place<'a> {
    /// The column that it is compared with or written to, `LIMIT`, `OFFSET`, or nothing.
    column: &'a str,
    /// As `<=`, or nothing.
    operator: &'a str,
    /// Its place in a list.
    nth: usize,
}

/// Values that are not 1, by function (or any), column and operator (or any).
const VALUES: &[(&str, &str, &str, &str)] = &[
    ("", "LIMIT", "", "50"),
    ("", "OFFSET", "", "0"),
    ("", "friend_id", "", "2"),
    ("", "username_key", "", "'name1'"),
    ("", "device_id", "=", "'device-10'"),
    ("", "password_hash", "", "'hash'"),
    ("", "token_id", "", "'none'"),
    ("", "kind", "", "'kind'"),
    ("accounts::list_users_by_start", "part", ">=", "x'6e616d65'"),
    ("accounts::list_users_by_start", "part", "<", "x'6e616d65ff'"),
    ("accounts::list_users_by_middle", "part", ">=", "x'616d65'"),
    ("accounts::list_users_by_middle", "part", "<", "x'616d65ff'"),
    ("accounts::update_guest_to_user", "id", "", "10"),
    ("accounts::update_guest_to_user", "username_key", "", "'another'"),
    ("accounts::update_device_unlinked", "id", "", "10"),
    ("accounts::find_user_by_uuid", "uuid", "", "'uuid-1'"),
    ("friends::list_part", "LIMIT", "", "1000"),
    ("groups::list_members", "LIMIT", "", "100000"),
    ("groups::list_participants", "LIMIT", "", "100000"),
    ("groups::list_avatars", "LIMIT", "", "9"),
    ("messages::find_sent", "uuid", "", "x'00000000000000000000000000000001'"),
    ("messages::list_subscriptions", "group_id", ">", "0"),
    ("messages::list_subscriptions", "LIMIT", "", "10000"),
    ("messages::list_unreceived", "id", ">", "30000"),
    ("messages::list_unreceived", "id", "<=", "31000"),
    ("messages::list_due_filed", "message_id", ">", "5000"),
    ("messages::list_due_filed", "message_id", "<=", "30000"),
    ("messages::list_due_unfiled", "id", ">", "39744"),
    ("messages::list_due_unfiled", "id", "<=", "40000"),
    ("messages::list_received", "id", "<=", "5000"),
    ("messages::list_received", "LIMIT", "", "512"),
    ("messages::list_filed", "message_id", "<=", "5000"),
    ("messages::list_holders", "delivered_seq", "<", "10000"),
    ("messages::list_holders", "LIMIT", "", "1000"),
    ("messages::list_early_receipts", "LIMIT", "", "512"),
    ("messages::list_early_receipts_after", "LIMIT", "", "512"),
    ("messages::delete_early_receipts", "message_id", "IN", "1000"),
    ("groups::list_ended_subscriptions", "LIMIT", "", "512"),
    ("accounts::delete_expired_session", "role", "=", "'user'"),
    ("accounts::update_session_role", "role", "=", "'user'"),
    ("messages::list_due_group", "seq", ">", "5000"),
    ("messages::list_due_group", "seq", "<=", "9000"),
    ("messages::update_subscription_cursors", "delivered_seq", "", "100"),
];

/// The statement `text` of the function `name` with values in it.
pub fn filled(name: &str, text: &str) -> String {
    let mut whole = String::with_capacity(text.len() + 100);
    let mut rest = text;
    let mut place = Place { column: "", operator: "", nth: 1 };
    while let Some((before, after)) = rest.split_once('?') {
        place = if before.trim() == "," { Place { nth: place.nth + 1, ..place } } else { after_words(before) };
        whole.push_str(before);
        whole.push_str(&value(name, &place));
        rest = after;
    }
    whole + rest
}

/// What the next question mark is for, by the words before it.
fn after_words(before: &str) -> Place<'_> {
    let before = before.trim_end().trim_end_matches('(').trim_end();
    let (left, operator) = match before.rsplit_once(' ') {
        Some((left, operator @ ("=" | "<" | ">" | "<=" | ">=" | "<>" | "IN"))) => (left, operator),
        _ => (before, ""),
    };
    let word = left.rsplit([' ', '(', '.']).next().unwrap_or_default();
    let column = if operator.is_empty() && !["LIMIT", "OFFSET"].contains(&word) { "" } else { word };
    Place { column, operator, nth: 1 }
}

fn value(name: &str, place: &Place<'_>) -> String {
    let mut fitting = VALUES.iter().filter(|(function, column, operator, _)| {
        (function.is_empty() || *function == name)
            && *column == place.column
            && (operator.is_empty() || *operator == place.operator)
    });
    // What is said of a function counts more than what is said of any.
    fitting.next_back().map_or_else(|| place.nth.to_string(), |(.., value)| (*value).to_owned())
}

#[test]
fn question_marks_get_the_values_of_their_columns() {
    let text = "UPDATE t SET a = ? WHERE x.friend_id = ? AND id IN (?,?,?) AND part < ? LIMIT ?";
    let expected = "UPDATE t SET a = 1 WHERE x.friend_id = 2 AND id IN (1,2,3) AND part < 1 LIMIT 50";
    assert_eq!(filled("", text), expected);
}
