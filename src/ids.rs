//! Ids as types of their own, so that a user is never taken for a group, and the ids that go on the wire.

/// Declares a database id: a signed 64-bit number, transparent to SQL and JSON.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
            sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A registered user or a visitor.
    UserId
);
id!(
    /// One side of a friendship (what `group/create` calls `userIds`).
    FriendshipId
);
id!(
    /// A friend application.
    ApplicationId
);
id!(
    /// A group.
    GroupId
);
id!(
    /// A person's place in a group.
    MemberId
);
id!(
    /// Row of `subscriptions`: one stay of one person in one group, with its delivery cursor.
    SubscriptionId
);
id!(
    /// Row of `messages`. Ids grow in commit order, so they are also the order of delivery.
    MessageId
);
id!(
    /// A prepared answer.
    AnswerId
);

/// A random id for users and groups, as the contract prints it (36 characters, version 4).
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The wire id of a chat message: a version-4 UUID whose first 48 bits are the time (a "COMB").
///
/// The unique index on it then grows at its right edge: with fully random ids each message would dirty an index page of
/// its own, and the cost of a message would grow with the number of messages kept.
pub fn message_uuid(now_ms: i64) -> uuid::Uuid {
    let mut bytes = *uuid::Uuid::new_v4().as_bytes();
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    #[test]
    fn message_uuids_sort_by_time_and_look_like_version_4() {
        let (early, late) = (super::message_uuid(1_752_835_449_008), super::message_uuid(1_752_835_449_009));
        assert!(early.as_bytes() < late.as_bytes());
        assert_eq!((early.get_version_num(), early.get_variant()), (4, uuid::Variant::RFC4122));
    }
}
