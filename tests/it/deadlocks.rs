//! Transactions that wait for each other: the store ends one of them, and the call that it served is tried again.

use qingniao::db::{Conn, Tx, is_deadlock};
use qingniao::error::AppError;

use crate::support::{TestServer, mysql_url};

async fn touch(tx: &mut Tx, user: i64) -> Result<(), AppError> {
    let Conn::MySql(conn) = tx.conn() else { panic!("the test is for MySQL") };
    let touched = sqlx::query("UPDATE users SET updated_at = updated_at + 1 WHERE id = ?");
    touched.bind(user).execute(conn.start()).await.map(drop).map_err(AppError::from)
}

#[tokio::test]
async fn the_store_s_choice_between_two_that_wait_for_each_other_is_known_as_such() {
    if mysql_url().await.is_none() {
        return;
    }
    let server = TestServer::start().await;
    let (alice, bob) = server.users("alice", "bob").await;
    let (mut one, mut other) = (server.app.db.begin().await.unwrap(), server.app.db.begin().await.unwrap());
    touch(&mut one, alice.id).await.unwrap();
    touch(&mut other, bob.id).await.unwrap();
    let outcomes = tokio::join!(touch(&mut one, bob.id), touch(&mut other, alice.id));
    let ((Err(cause), Ok(())) | (Ok(()), Err(cause))) = outcomes else { panic!("one of them goes on") };
    assert!(is_deadlock(&cause), "{cause:?}");
    assert!(!is_deadlock(&AppError::busy()));
}
