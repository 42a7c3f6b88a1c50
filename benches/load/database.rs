//! Makes the database of a run on MySQL.

use sqlx::{Connection, MySqlConnection};

use crate::failure::{Failure, While};

/// Makes an empty database and returns its URL. There is one name, so that an aborted run leaves at most one behind.
pub async fn make_mysql(root_url: &str) -> Result<String, Failure> {
    let mut connection = MySqlConnection::connect(root_url).await.doing("connecting to MySQL")?;
    for statement in ["DROP DATABASE IF EXISTS qingniao_load", "CREATE DATABASE qingniao_load CHARACTER SET utf8mb4"] {
        sqlx::query(statement).execute(&mut connection).await.doing(statement)?;
    }
    connection.close().await.doing("leaving MySQL")?;
    Ok(format!("{}/qingniao_load", root_url.trim_end_matches('/')))
}
