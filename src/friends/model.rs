//! One side of a friendship, and the friend list as the client shows it.

use pinyin::ToPinyin;

use crate::ids::{FriendshipId, UserId};

/// The last title of a friend list: names that begin with neither a letter nor a Chinese character of known reading.
const NO_LETTER: char = '#';

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

/// One entry of a friend list: the owner's row and the friend as it is now.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Row id.
    pub id: FriendshipId,
    /// Who it is.
    pub friend_id: UserId,
    /// The name that the owner gave the friend, or "".
    pub remark: String,
    /// The friend's public id.
    pub uuid: String,
    /// The friend's username.
    pub username: String,
    /// The friend's nickname, or "".
    pub nickname: String,
    /// The friend's picture.
    pub avatar: String,
}

impl Listed {
    /// The name in the list: remark, else nickname, else username.
    pub fn name(&self) -> &str {
        let names = [&self.remark, &self.nickname, &self.username];
        names.into_iter().find(|name| !name.is_empty()).map_or("", String::as_str)
    }
}

/// Friends under the same title, in the order of the list.
#[derive(Debug)]
pub struct Section {
    /// `A` to `Z`, or `#`.
    pub title: char,
    /// At least one.
    pub friends: Vec<Listed>,
}

/// Sorts friends under their titles: `A` to `Z`, then `#`. Titles without friends are left out.
pub fn sections(friends: Vec<Listed>) -> Vec<Section> {
    let mut sections: Vec<Section> =
        ('A'..='Z').chain([NO_LETTER]).map(|title| Section { title, friends: Vec::new() }).collect();
    for friend in friends {
        let place = match title(friend.name()) {
            title @ 'A'..='Z' => usize::from(title as u8 - b'A'),
            _ => sections.len() - 1,
        };
        sections[place].friends.push(friend);
    }
    sections.retain(|section| !section.friends.is_empty());
    sections
}

/// The letter under which a name is listed: its first, or the first of the usual reading of its first character.
fn title(name: &str) -> char {
    let Some(first) = name.chars().next() else { return NO_LETTER };
    let first = first.to_pinyin().and_then(|reading| reading.plain().chars().next()).unwrap_or(first);
    if first.is_ascii_alphabetic() { first.to_ascii_uppercase() } else { NO_LETTER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_listed_under_its_letter_or_the_usual_reading_of_its_character() {
        for (name, letter) in [
            ("Zoe", 'Z'),
            ("zoe", 'Z'),
            ("张三", 'Z'),
            ("彭", 'P'),
            ("石", 'S'),
            ("喆", 'Z'),
            ("囍", 'X'),
            ("嗯", 'N'),
            ("7up", '#'),
            ("_x", '#'),
            ("élan", '#'),
            ("Ａ", '#'),
            ("かな", '#'),
            ("👍", '#'),
            (" a", '#'),
            ("", '#'),
        ] {
            assert_eq!(title(name), letter, "{name}");
        }
        for odd in r".^$|*+?()[]{}\/".chars() {
            assert_eq!(title(&odd.to_string()), '#', "{odd}");
        }
    }

    #[test]
    fn every_character_has_a_title() {
        for character in '\0'..=char::MAX {
            let title = title(character.encode_utf8(&mut [0; 4]));
            assert!(title.is_ascii_uppercase() || title == '#', "{character:?} {title}");
        }
    }
}
