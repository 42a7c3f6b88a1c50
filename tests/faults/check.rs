//! Whether a history keeps what the server promises. Pure: a history goes in, what is wrong with it comes out.
//!
//! What is asked of it: every acknowledged message came to exactly those to whom it was due, whole; nothing came that was
//! never sent, and nothing to anybody else; each chat is in order, and a group's order is one for all; a message came twice
//! only where its confirmation was lost; a revoked one is not shown to whoever comes later; 503 only while something is
//! wrong.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::history::{Answer, Call, Change, Chat, History, Item, Kind, Message, Moment, Number, Receipt, Shown, Who};

/// A healthy server has confirmed, and recorded, what was received this long ago.
const CONFIRMED_AFTER: Duration = Duration::from_millis(1500);
/// How long after the end of a fault the server may still say 503.
pub const RECOVERY_MAX: Duration = Duration::from_secs(2);

/// What a round came to.
#[derive(Debug, Default)]
pub struct Verdict {
    pub wrongs: Vec<String>,
    pub sent: usize,
    pub acknowledged: usize,
    pub busy: usize,
    pub unanswered: usize,
    /// Receipts of whole messages, the first of each person and message.
    pub deliveries: usize,
    pub lost: usize,
    pub doubled: usize,
    pub revoked: usize,
}

/// Whether somebody is to get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Yes,
    No,
    /// Its sender was not told, or it came while the person came or went.
    Perhaps,
}

/// What is due to people in the present round, as person, message, and whether it is the notice of its revocation.
pub fn due(history: &History) -> Vec<Item> {
    let memberships = Memberships::of(history);
    let everybody = 0..history.people.len();
    let mut due = Vec::new();
    for (number, message) in history.current() {
        let whom = everybody.clone().filter(|who| memberships.due(message, *who) == Due::Yes);
        due.extend(whom.map(|who| (who, number, false)));
    }
    for revoke in history.revokes.iter().filter(|revoke| revoke.message >= history.first && revoke.call.is_yes()) {
        let Message { sender, chat, .. } = history.messages[revoke.message];
        let notice = Message { sender, chat, call: revoke.call.clone(), size: 0, ends_group: false, id: None };
        let whom = everybody.clone().filter(|who| memberships.due(&notice, *who) == Due::Yes);
        due.extend(whom.map(|who| (who, revoke.message, true)));
    }
    due
}

/// What of `due` has not come yet.
pub fn missing(history: &History, due: &[Item]) -> Vec<Item> {
    let came: HashSet<_> = history.receipts[history.first_receipt..].iter().map(Receipt::item).collect();
    due.iter().filter(|one| !came.contains(one)).copied().collect()
}

pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict { wrongs: history.wrongs.clone(), ..Verdict::default() };
    for (_, message) in history.current() {
        verdict.sent += 1;
        match message.call.answer() {
            Answer::Yes => verdict.acknowledged += 1,
            Answer::Busy => verdict.busy += 1,
            Answer::Nothing => verdict.unanswered += 1,
            Answer::No => {}
        }
    }
    verdict.revoked = history.revokes.iter().filter(|r| r.message >= history.first && r.call.is_yes()).count();
    let missing = missing(history, &due(history));
    verdict.lost = missing.len();
    for (who, number, notice) in missing {
        let what = if notice { "that it was revoked" } else { "the message" };
        verdict.wrongs.push(format!("lost: m{number} was acknowledged, and p{who} never got {what}"));
    }
    check_strangers(history, &mut verdict);
    check_doubled(history, &mut verdict);
    check_order(history, &mut verdict);
    check_revoked(history, &mut verdict);
    check_busy(history, &mut verdict);
    verdict
}

/// Who was in which group when.
struct Memberships<'h>(HashMap<(i64, Who), Vec<&'h Change>>);

impl<'h> Memberships<'h> {
    fn of(history: &'h History) -> Self {
        let mut memberships: HashMap<_, Vec<_>> = HashMap::new();
        for change in &history.changes {
            memberships.entry((change.group, change.who)).or_default().push(change);
        }
        Self(memberships)
    }

    fn due(&self, message: &Message, who: Who) -> Due {
        if message.call.answer() == Answer::No {
            return Due::No;
        }
        let there = match message.chat {
            Chat::Direct(to) if to == who => Due::Yes,
            // Its end reaches those who were in it until then.
            Chat::Group(group) if message.ends_group => self.member(group, who, &just(message.call.began)),
            Chat::Group(group) if who != message.sender => self.member(group, who, &message.call),
            _ => Due::No,
        };
        if there == Due::Yes && !message.call.is_yes() { Due::Perhaps } else { there }
    }

    /// Whether a person was in a group during a call.
    fn member(&self, group: i64, who: Who, during: &Call) -> Due {
        let mut state = Due::No;
        for change in self.0.get(&(group, who)).into_iter().flatten() {
            if change.call.began >= during.end() {
                break;
            }
            let after = if change.comes { Due::Yes } else { Due::No };
            state = match change.call.answer() {
                Answer::No => state,
                Answer::Yes if change.call.end() <= during.began => after,
                _ if state == after => state,
                _ => Due::Perhaps,
            };
        }
        state
    }
}

/// A call that took no time.
fn just(at: Moment) -> Call {
    Call { began: at, ended: Some((at, Answer::Yes)) }
}

fn check_strangers(history: &History, verdict: &mut Verdict) {
    let memberships = Memberships::of(history);
    for receipt in &history.receipts[history.first_receipt..] {
        let Receipt { who, message: number, kind, at, .. } = *receipt;
        let message = &history.messages[number];
        if kind != Kind::Revoked && memberships.due(message, who) == Due::No {
            verdict.wrongs.push(format!("stranger: p{who} got m{number}, which is for {:?}", message.chat));
        }
        if message.call.began > at {
            verdict.wrongs.push(format!("phantom: p{who} got m{number} before it was sent"));
        }
    }
}

/// The first receipt of each message by each person, in the order in which they came.
fn firsts(history: &History) -> Vec<&Receipt> {
    let mut seen = HashSet::new();
    let receipts = history.receipts[history.first_receipt..].iter();
    let content = receipts.filter(|receipt| receipt.kind != Kind::Revoked && receipt.message >= history.first);
    content.filter(|receipt| seen.insert((receipt.who, receipt.message))).collect()
}

fn check_doubled(history: &History, verdict: &mut Verdict) {
    let mut earlier: HashMap<Item, Vec<&Receipt>> = HashMap::new();
    for (place, receipt) in history.receipts.iter().enumerate() {
        let before = earlier.entry(receipt.item()).or_default();
        if place >= history.first_receipt {
            let again = !before.is_empty();
            verdict.doubled += usize::from(again);
            verdict.deliveries += usize::from(!again && receipt.kind == Kind::Whole);
            for one in before.iter().filter(|one| !may_repeat(history, one, receipt)) {
                let wrong = format!(
                    "doubled: p{} got m{} by socket {} at {} and again by socket {} at {}",
                    one.who,
                    one.message,
                    one.line,
                    Shown(one.at),
                    receipt.line,
                    Shown(receipt.at)
                );
                verdict.wrongs.push(wrong);
            }
            if history.had.contains(&receipt.item()) {
                verdict.wrongs.push(format!("doubled: p{} got m{} rounds ago", receipt.who, receipt.message));
            }
        }
        before.push(receipt);
    }
}

/// Whether the confirmation of `one` can have been lost before it came `again`.
fn may_repeat(history: &History, one: &Receipt, again: &Receipt) -> bool {
    if one.line == again.line {
        return false;
    }
    let unconfirmed = history.lines[one.line].heard_until().is_some_and(|until| {
        // The end of a socket may be noticed here a moment later than there.
        until < again.at + CONFIRMED_AFTER && until < one.at + CONFIRMED_AFTER
    });
    let mut deaths = history.deaths.iter().filter(|death| (one.at..again.at).contains(*death));
    unconfirmed || deaths.any(|death| healthy(history, one.at, *death) < CONFIRMED_AFTER)
}

/// How much of the time from one moment to another the store was well.
fn healthy(history: &History, from: Moment, to: Moment) -> Duration {
    let troubles = history.troubles.iter().filter(|trouble| trouble.store);
    let ill = troubles.map(|trouble| {
        let healed = trouble.healed.map_or(Moment::MAX, |healed| healed + RECOVERY_MAX);
        to.min(healed).saturating_sub(from.max(trouble.began))
    });
    to.saturating_sub(from).saturating_sub(ill.sum())
}

/// Whether it may have overtaken older messages: it was pushed before the client had asked for what was pending.
fn may_overtake(history: &History, receipt: &Receipt, call: &Call) -> bool {
    let line = &history.lines[receipt.line];
    call.end() >= line.opening && line.asked.is_none_or(|asked| call.began <= asked)
}

fn check_order(history: &History, verdict: &mut Verdict) {
    let mut streams: HashMap<(Who, Chat), Vec<Number>> = HashMap::new();
    for receipt in firsts(history) {
        let message = &history.messages[receipt.message];
        // What was answered 503 may be stored late.
        if message.call.answer() != Answer::Busy && !may_overtake(history, receipt, &message.call) {
            streams.entry((receipt.who, message.chat)).or_default().push(receipt.message);
        }
    }
    let mut after: HashMap<Number, Vec<Number>> = HashMap::new();
    for ((who, chat), numbers) in &streams {
        let mut latest: HashMap<Who, Number> = HashMap::new();
        for number in numbers {
            let sender = history.messages[*number].sender;
            if let Some(last) = latest.insert(sender, *number).filter(|last| last > number) {
                verdict.wrongs.push(format!("order: p{who} got m{number} of p{sender} after m{last} ({chat:?})"));
            }
        }
        if matches!(chat, Chat::Group(_)) {
            for pair in numbers.windows(2) {
                after.entry(pair[0]).or_default().push(pair[1]);
            }
        }
    }
    if let Some(number) = in_a_circle(&after) {
        verdict.wrongs.push(format!("one order: people got the messages of a group in different orders, as m{number}"));
    }
}

/// A message that some got before and some after another one: takes away what comes first until only circles are left.
fn in_a_circle(after: &HashMap<Number, Vec<Number>>) -> Option<Number> {
    let mut ahead: HashMap<Number, usize> = after.keys().map(|number| (*number, 0)).collect();
    after.values().flatten().for_each(|number| *ahead.entry(*number).or_default() += 1);
    let mut free: Vec<Number> = ahead.iter().filter(|(_, count)| **count == 0).map(|(number, _)| *number).collect();
    while let Some(number) = free.pop() {
        ahead.remove(&number);
        for next in after.get(&number).into_iter().flatten() {
            let count = ahead.get_mut(next).expect("what comes after something is still there");
            *count -= 1;
            if *count == 0 {
                free.push(*next);
            }
        }
    }
    ahead.into_keys().min()
}

fn check_revoked(history: &History, verdict: &mut Verdict) {
    let mut revokes: HashMap<Number, &Call> = HashMap::new();
    for revoke in &history.revokes {
        revokes.insert(revoke.message, &revoke.call);
    }
    let mut told: HashSet<(Who, Number)> = HashSet::new();
    let mut got: HashSet<(Who, Number)> = HashSet::new();
    for receipt in &history.receipts[history.first_receipt..] {
        let Receipt { who, message, kind, .. } = *receipt;
        let call = revokes.get(&message);
        if kind != Kind::Whole && call.is_none_or(|call| call.began > receipt.at || call.answer() == Answer::No) {
            verdict.wrongs.push(format!("revoked: p{who} is told that m{message} was revoked, and nobody did"));
        }
        match (kind, call) {
            (Kind::Whole, Some(call)) if call.is_yes() && call.end() < history.lines[receipt.line].opening => {
                verdict.wrongs.push(format!("revoked: p{who} came after m{message} was revoked, and still reads it"));
            }
            // Whoever came into the group later is told too, and never gets it.
            (Kind::Revoked, Some(call)) if !may_overtake(history, receipt, call) && !got.contains(&(who, message)) => {
                told.insert((who, message));
            }
            _ => {}
        }
        if kind != Kind::Revoked {
            got.insert((who, message));
            if told.contains(&(who, message)) {
                verdict.wrongs.push(format!("order: p{who} is told that m{message} was revoked before it came"));
            }
        }
    }
}

fn check_busy(history: &History, verdict: &mut Verdict) {
    for at in &history.busy {
        let cause = history.troubles.iter().any(|trouble| {
            let over = trouble.healed.map_or(Moment::MAX, |healed| healed + RECOVERY_MAX);
            (trouble.began..over).contains(at)
        });
        if !cause {
            verdict.wrongs.push(format!("busy: 503 at {}, when nothing was wrong", Shown(*at)));
        }
    }
}
