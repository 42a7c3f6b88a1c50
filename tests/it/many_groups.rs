//! Somebody in more groups than the server looks up at a time.

use crate::support::TestServer;

/// More than `messages/agenda.rs` reads in one statement (`SUBSCRIPTIONS_MAX`).
const MANY: i64 = 10_050;

/// An INSERT from the numbers 0 and up to a bound that is bound last, in words that both engines know.
macro_rules! from_numbers {
    ($insert:literal) => {
        concat!(
            $insert,
            " FROM (WITH digits (d) AS (SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
              UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) \
              SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM digits a \
              CROSS JOIN digits b CROSS JOIN digits c CROSS JOIN digits e CROSS JOIN digits f) numbers \
              WHERE n < ? ORDER BY n"
        )
    };
}
pub(crate) use from_numbers;

#[tokio::test]
async fn a_member_of_very_many_groups_misses_nothing() {
    let server = TestServer::start().await;
    let bob = server.user("bob").await;
    // By SQL, since calls would take minutes. In each group one message waits, in the newest group the oldest.
    let (first, me, many) = (bob.id * 1_000_000, bob.id, MANY);
    let groups = from_numbers!(
        "INSERT INTO chat_groups (id, uuid, owner_id, name, avatar, remark, last_seq, created_at, updated_at) \
         SELECT ? + n, CONCAT(?, '-', n), 0, 'group', '', '', 1, 0, 0"
    );
    let subscriptions = from_numbers!(
        "INSERT INTO subscriptions (group_id, user_id, delivered_seq, active_from_seq) SELECT ? + n, ?, 0, 0"
    );
    let messages = from_numbers!(
        "INSERT INTO messages (group_id, sender_id, seq, audience, created_at, size, body) \
         SELECT ? - n, ?, 1, 1, 0, 233, CONCAT('{\"id\":\"a\",\"from_avatar\":\"\",\"from_name\":\"\",\"from_id\":0,\
         \"to_id\":0,\"to_name\":\"\",\"to_avatar\":\"\",\"chatType\":\"group\",\"type\":\"systemNotice\",\
         \"data\":{\"data\":\"', n, '\",\"dataType\":false,\"otherData\":null},\
         \"options\":{},\"create_time\":0,\"isremove\":0}')"
    );
    for (statement, group) in [(groups, first), (subscriptions, first), (messages, first + many - 1)] {
        let rows = server.sql(statement, &[group.into(), me.into(), many.into()]).await;
        assert_eq!(rows, many.unsigned_abs());
    }
    let mut socket = bob.asking_socket().await;
    for expected in 0..many {
        assert_eq!(socket.next_text().await, expected.to_string());
    }
    socket.go().await;
    bob.asking_socket().await.expect_silence().await;
}
