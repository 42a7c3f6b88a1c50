//! Finding people by a part of their username (contract: people §4, decision 21).

use super::model::{Found, folded};
use super::store;
use crate::app::App;
use crate::error::Result;
use crate::ids::UserId;

/// Most people in one answer.
const FOUND_MAX: i64 = 50;

/// Registered, enabled users other than `me` whose names contain `keyword` in any case: an exact match first, then names
/// that begin with it, then the rest, each by name. The cost is that of the answer, however many users there are.
pub async fn search(app: &App, me: UserId, keyword: &str) -> Result<Vec<Found>> {
    let keyword = folded(keyword);
    let mut reader = app.db.read().await?;
    // The exact name is the shortest of those that begin with it, and so the first.
    let mut found = store::list_users_by_start(&mut reader.conn(), &keyword, me, FOUND_MAX).await?;
    let room = usize::try_from(FOUND_MAX).unwrap_or_default().saturating_sub(found.len());
    if room > 0 {
        let mut others = store::list_users_by_middle(&mut reader.conn(), &keyword, me, FOUND_MAX).await?;
        others.retain(|user| found.iter().all(|first| first.id != user.id));
        others.truncate(room);
        others.sort_unstable_by(|a, b| a.username.cmp(&b.username));
        found.append(&mut others);
    }
    Ok(found)
}
