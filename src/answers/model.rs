//! A prepared answer, and how well it fits a question.

use std::collections::HashSet;

use crate::ids::AnswerId;

/// From this score on an entry answers a question.
const FIT_MIN: u32 = 500;
/// Share of all word pieces that question and entry must have in common, in percent, unless one contains the other.
const SHARED_MIN: usize = 50;

/// A row of `answers`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Entry {
    /// Row id.
    pub id: AnswerId,
    /// The client's own word, called `type` on the wire.
    pub kind: String,
    /// The question.
    pub ask: String,
    /// What to answer.
    pub answer: String,
    /// How many liked it.
    pub like_count: i64,
    /// Whether the owner liked it.
    pub liked: i64,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub updated_at: i64,
}

/// What an entry says; absent fields are left as they are.
#[derive(Debug, Default)]
pub struct EntryChange {
    /// See [`Entry::kind`].
    pub kind: Option<String>,
    /// See [`Entry::ask`].
    pub ask: Option<String>,
    /// See [`Entry::answer`].
    pub answer: Option<String>,
}

/// The entries that answer `question`, best first; of two that fit alike, the more liked, then the newer (`entries` come
/// newest first).
pub fn ranked(entries: Vec<Entry>, question: &str) -> Vec<Entry> {
    let question = question.to_lowercase();
    let question = Words::of(&question);
    let mut scored: Vec<(u32, Entry)> = entries
        .into_iter()
        .map(|entry| (question.fit(&Words::of(&entry.ask.to_lowercase())), entry))
        .filter(|(score, _)| *score >= FIT_MIN)
        .collect();
    scored.sort_by_key(|(score, entry)| std::cmp::Reverse((*score, entry.like_count)));
    scored.into_iter().map(|(_, entry)| entry).collect()
}

/// A text of lower case without spaces and punctuation, whole and in pieces: words of letters and digits, and pairs of
/// neighbouring characters where a script has no spaces.
#[derive(Debug)]
struct Words<'a> {
    whole: String,
    pieces: HashSet<&'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let whole = text.chars().filter(|c| c.is_alphanumeric()).collect();
        let mut pieces = HashSet::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let places: Vec<_> = word.char_indices().collect();
            for run in places.chunk_by(|(_, a), (_, b)| spaced(*a) == spaced(*b)) {
                let piece = |run: &[(usize, char)]| {
                    let ((begin, _), (last, c)) = (run[0], run[run.len() - 1]);
                    &word[begin..last + c.len_utf8()]
                };
                if spaced(run[0].1) || run.len() == 1 {
                    pieces.insert(piece(run));
                } else {
                    pieces.extend(run.windows(2).map(piece));
                }
            }
        }
        Self { whole, pieces }
    }

    /// How well a prepared question fits this one: the same words 1000, one inside the other from 700, half the pieces
    /// in common from 500.
    fn fit(&self, ask: &Words<'_>) -> u32 {
        let (mine, theirs) = (self.whole.chars().count(), ask.whole.chars().count());
        if mine == 0 || theirs == 0 {
            return 0;
        }
        if self.whole == ask.whole {
            return 1000;
        }
        let shorter = mine.min(theirs);
        // A single character says too little to be found inside a longer text.
        if shorter >= 2 && (self.whole.contains(&ask.whole) || ask.whole.contains(&self.whole)) {
            return 700 + percent(shorter, mine.max(theirs)) * 2;
        }
        let shared = self.pieces.intersection(&ask.pieces).count() * 2;
        let all = self.pieces.len() + ask.pieces.len();
        if shared * 100 < all * SHARED_MIN { 0 } else { 400 + percent(shared, all) * 2 }
    }
}

/// Whether a script puts spaces between its words; Chinese, Japanese and Korean do not (the last not always).
fn spaced(c: char) -> bool {
    c < '\u{1100}' || ('\u{1e00}'..'\u{2e80}').contains(&c)
}

fn percent(part: usize, whole: usize) -> u32 {
    u32::try_from(part * 100 / whole.max(1)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(asks: &[&str]) -> Vec<Entry> {
        let entry = |(id, ask): (i64, &&str)| Entry {
            id: AnswerId(id),
            kind: String::new(),
            ask: (*ask).to_owned(),
            answer: String::new(),
            like_count: 0,
            liked: 0,
            created_at: 0,
            updated_at: 0,
        };
        (0..).zip(asks).map(entry).collect()
    }

    fn found(asks: &[&str], question: &str) -> Vec<String> {
        ranked(entries(asks), question).into_iter().map(|entry| entry.ask).collect()
    }

    #[test]
    fn the_same_words_win_over_a_part_and_a_part_over_likeness() {
        let asks = ["价格怎么样，能便宜吗", "价格", "价格怎么样"];
        assert_eq!(found(&asks, "价格怎么样？"), ["价格怎么样", "价格怎么样，能便宜吗", "价格"]);
    }

    #[test]
    fn case_spaces_and_punctuation_do_not_matter() {
        assert_eq!(found(&["How much is it?"], "how  much is it"), ["How much is it?"]);
        assert_eq!(found(&["发货时间"], "发货 时间！"), ["发货时间"]);
    }

    #[test]
    fn words_in_another_order_are_found_by_what_they_share() {
        assert_eq!(found(&["when do you ship", "return policy"], "do you ship today when"), ["when do you ship"]);
        assert_eq!(found(&["什么时候发货"], "请问发货是什么时候"), ["什么时候发货"]);
    }

    #[test]
    fn what_shares_too_little_is_no_answer() {
        assert!(found(&["什么时候发货", "a", "退款"], "你好，在吗 a b c").is_empty());
        assert!(found(&["", "？！"], "？！").is_empty());
        assert!(found(&["price"], "").is_empty());
        assert!(found(&["价"], "价格是多少").is_empty());
    }

    #[test]
    fn of_two_that_fit_alike_the_liked_one_wins_then_the_newer() {
        let mut two = entries(&["price", "price"]);
        assert_eq!(ranked(two.clone(), "price")[0].id, AnswerId(0));
        two[1].like_count = 1;
        assert_eq!(ranked(two, "price")[0].id, AnswerId(1));
    }
}
