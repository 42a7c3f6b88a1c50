//! The check of the check: true histories are spoiled, one way at a time, and every spoiled copy must be found out.

use std::collections::HashSet;
use std::time::Duration;

use super::check::check;
use super::history::{Answer, Call, Chat, History, Kind, Line, Receipt};

/// One way to spoil a history; false if there is nothing in it that it could be done to.
type Way = fn(&mut History) -> bool;

const WAYS: [(&str, Way); 8] = [
    ("lost", lose),
    ("lost", lose_in_a_group),
    ("stranger", misdirect),
    ("doubled", repeat_on_the_same_socket),
    ("doubled", repeat_long_after),
    ("order", swap_in_a_chat),
    ("one order", swap_in_a_group),
    ("busy", refuse_without_cause),
];

/// Which ways have been tried, over the rounds of a run.
#[derive(Default)]
pub struct Spoiling {
    tried: HashSet<usize>,
    pub missed: Vec<String>,
}

impl Spoiling {
    /// Spoils copies of a history that was found true, in the ways not tried yet.
    pub fn try_on(&mut self, history: &History) {
        for (place, (finding, way)) in WAYS.iter().enumerate() {
            if self.tried.contains(&place) {
                continue;
            }
            let mut spoiled = history.clone();
            if !way(&mut spoiled) {
                continue;
            }
            self.tried.insert(place);
            if !check(&spoiled).wrongs.iter().any(|wrong| wrong.starts_with(finding)) {
                self.missed.push(format!("the check did not notice what is {finding} (way {place})"));
            }
        }
    }

    pub fn summary(&self) -> String {
        let found = self.tried.len() - self.missed.len();
        format!("{found} of {} spoiled copies of the history were found out ({} ways)", self.tried.len(), WAYS.len())
    }

    /// Whether all ways have been tried: one round has something for each.
    pub fn is_complete(&self) -> bool {
        self.tried.len() == WAYS.len()
    }
}

fn lose_where(history: &mut History, fits: impl Fn(Chat) -> bool) -> bool {
    let acknowledged = |receipt: &&Receipt| {
        let message = history.messages.get(receipt.message);
        let lately = receipt.message >= history.first && receipt.kind == Kind::Whole;
        lately && message.is_some_and(|message| message.call.is_yes() && fits(message.chat))
    };
    let Some(Receipt { who, message, .. }) = history.receipts.iter().find(acknowledged).copied() else { return false };
    history.receipts.retain(|receipt| (receipt.who, receipt.message) != (who, message));
    history.first_receipt = history.first_receipt.min(history.receipts.len());
    true
}

fn lose(history: &mut History) -> bool {
    lose_where(history, |chat| matches!(chat, Chat::Direct(_)))
}

fn lose_in_a_group(history: &mut History) -> bool {
    // Of those who are always in it: of the others it is due to some only.
    let Some(receipt) = history.receipts[history.first_receipt..].iter().find(|receipt| {
        let message = &history.messages[receipt.message];
        let stays = !history
            .changes
            .iter()
            .any(|change| Chat::Group(change.group) == message.chat && change.who == receipt.who && !change.comes);
        let lately = receipt.message >= history.first && receipt.kind == Kind::Whole;
        lately && stays && message.call.is_yes() && matches!(message.chat, Chat::Group(_))
    }) else {
        return false;
    };
    let Receipt { who, message, .. } = *receipt;
    history.receipts.retain(|receipt| (receipt.who, receipt.message) != (who, message));
    true
}

fn misdirect(history: &mut History) -> bool {
    let direct = |receipt: &&Receipt| matches!(history.messages[receipt.message].chat, Chat::Direct(_));
    let Some(mut receipt) = history.receipts[history.first_receipt..].iter().find(direct).copied() else {
        return false;
    };
    receipt.who = (receipt.who + 1) % history.people.len();
    history.receipts.push(receipt);
    true
}

fn repeat_on_the_same_socket(history: &mut History) -> bool {
    let Some(receipt) = history.receipts[history.first_receipt..].first().copied() else { return false };
    history.receipts.push(receipt);
    true
}

fn repeat_long_after(history: &mut History) -> bool {
    let Some(receipt) = history.receipts[history.first_receipt..].first().copied() else { return false };
    let at = history.receipts.last().map_or(receipt.at, |last| last.at) + Duration::from_mins(1);
    history.lines.push(Line { who: receipt.who, opening: at, asked: Some(at), deaf: None, ended: None });
    // Nothing has ended meanwhile, or long after the message was confirmed.
    history.lines[receipt.line].deaf = None;
    history.lines[receipt.line].ended = Some(at);
    history.deaths.clear();
    history.receipts.push(Receipt { line: history.lines.len() - 1, at, ..receipt });
    true
}

/// Swaps the first two receipts that came to one person one after the other, and that `fit`.
fn swap(history: &mut History, fit: impl Fn(&History, &Receipt, &Receipt) -> bool) -> bool {
    let places: Vec<usize> = (history.first_receipt..history.receipts.len())
        .filter(|place| {
            history.receipts[*place].kind == Kind::Whole && history.receipts[*place].message >= history.first
        })
        .collect();
    let found = places.iter().enumerate().find_map(|(nth, place)| {
        let one = &history.receipts[*place];
        let next = places[nth + 1..].iter().find(|next| history.receipts[**next].who == one.who)?;
        fit(history, one, &history.receipts[*next]).then_some((*place, *next))
    });
    let Some((one, other)) = found else { return false };
    // Of each message its first receipt counts: with others left it would not be a swap.
    let (who, a, b) = (history.receipts[one].who, history.receipts[one].message, history.receipts[other].message);
    (history.receipts[one].message, history.receipts[other].message) = (b, a);
    let late =
        |place: usize, receipt: &Receipt| place > other && receipt.who == who && [a, b].contains(&receipt.message);
    let kept = std::mem::take(&mut history.receipts).into_iter().enumerate();
    history.receipts = kept.filter(|(place, receipt)| !late(*place, receipt)).map(|(_, receipt)| receipt).collect();
    true
}

/// Both came after the client had asked by the same socket, and were sent after that.
fn on_a_live_line(history: &History, one: &Receipt, other: &Receipt) -> bool {
    let asked = history.lines[one.line].asked.unwrap_or(Duration::MAX);
    let after = |receipt: &Receipt| {
        let message = &history.messages[receipt.message];
        message.call.began > asked && message.call.is_yes()
    };
    one.line == other.line && after(one) && after(other)
}

fn swap_in_a_chat(history: &mut History) -> bool {
    swap(history, |history, one, other| {
        let (a, b) = (&history.messages[one.message], &history.messages[other.message]);
        (a.sender, a.chat) == (b.sender, b.chat) && on_a_live_line(history, one, other)
    })
}

fn swap_in_a_group(history: &mut History) -> bool {
    swap(history, |history, one, other| {
        let (a, b) = (&history.messages[one.message], &history.messages[other.message]);
        let group = matches!(a.chat, Chat::Group(_)) && a.chat == b.chat && a.sender != b.sender;
        let by_another = |of: &Receipt| {
            let same = |receipt: &&Receipt| receipt.message == of.message && receipt.who != of.who;
            history.receipts.iter().filter(same).any(|receipt| on_a_live_line(history, receipt, receipt))
        };
        group && on_a_live_line(history, one, other) && by_another(one) && by_another(other)
    })
}

fn refuse_without_cause(history: &mut History) -> bool {
    let Some(message) = history.messages.last_mut() else { return false };
    let at = history.receipts.last().map_or(message.call.began, |last| last.at) + Duration::from_mins(1);
    message.call = Call { began: message.call.began, ended: Some((at, Answer::Busy)) };
    history.busy.push(at);
    true
}
