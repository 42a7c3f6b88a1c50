//! One side of a friendship.

use crate::ids::{FriendshipId, UserId};

/// How `user_id` sees `friend_id`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Friend {
    /// Row id: what `group/create` calls `userIds`.
    pub id: FriendshipId,
    /// Whose list this is.
    pub user_id: UserId,
    /// Who is in it.
    pub friend_id: UserId,
    /// The name that the owner gave the friend, or "".
    pub remark: String,
    /// Whether the friend may see my posts.
    pub friendlookme: i64,
    /// Whether I see the friend's posts.
    pub melookfriend: i64,
    /// Marked with a star.
    pub starred: i64,
    /// On the owner's blacklist.
    pub blocked: i64,
    /// 1 normal; anything else: blocked by the system.
    pub status: i64,
}
