//! What the server counts of itself, for Prometheus; `operations` serves it.
//!
//! Each counter is made at the start with the value of its label and is held by the code that counts: on the way of a message an
//! event costs one atomic addition, no lookup, no lock and no allocation. What merely *is* (open sockets, queues, caches) is not
//! counted here: `operations` looks at it when somebody asks.

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Seconds of what takes from a tenth of a millisecond to a minute.
pub const SECONDS: [f64; 16] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Sizes of batches.
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const VALID: &str = "a metric has a valid name of its own";

/// All counters of one server.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field is documented at its type")]
pub struct Metrics {
    registry: Registry,
    pub connections: Connections,
    pub messages: Messages,
    pub commits: Commits,
    pub overflows: Overflows,
    pub sockets: Sockets,
    pub drains: Drains,
    pub loads: Loads,
    pub uploads: Uploads,
    pub limited: Limited,
    pub retention: Retention,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        Self {
            connections: Connections::new(&registry),
            messages: Messages::new(&registry),
            commits: Commits::new(&registry),
            overflows: Overflows::new(&registry),
            sockets: Sockets::new(&registry),
            drains: Drains::new(&registry),
            loads: Loads::new(&registry),
            uploads: Uploads::new(&registry),
            limited: Limited::new(&registry),
            retention: Retention::new(&registry),
            registry,
        }
    }
}

impl Metrics {
    /// Where everything is registered that is to be seen.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// TCP connections of HTTP and `/ws`.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Open ones, sockets included.
    pub open: IntGauge,
    /// Of these, those that have spoken and wait to be let in.
    pub waiting: IntGauge,
    /// Accepted ones.
    pub accepted: IntCounter,
    /// Failures to accept one: no open files are left, as a rule.
    pub failed: IntCounter,
    /// Those of an address that has too many.
    pub refused: IntCounter,
}

impl Connections {
    /// Counted in `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self {
            // `operations` shows both by what the connections are used for.
            open: IntGauge::new("open", "open").expect(VALID),
            waiting: IntGauge::new("waiting", "waiting").expect(VALID),
            accepted: counter(registry, "qingniao_connections_accepted_total", "TCP connections that were accepted."),
            failed: counter(
                registry,
                "qingniao_connections_failed_total",
                "TCP connections that could not be accepted, as when no open files are left.",
            ),
            refused: counter(
                registry,
                "qingniao_connections_refused_total",
                "TCP connections beyond http.connections_per_address_max.",
            ),
        }
    }
}

/// Messages on their way.
#[derive(Debug)]
pub struct Messages {
    /// Chat messages to one person that are stored.
    pub single: IntCounter,
    /// Chat messages to groups that are stored.
    pub group: IntCounter,
    /// Notices that are stored.
    pub notice: IntCounter,
    /// Messages written to sockets.
    pub delivered: IntCounter,
    /// Of these, proved to be received by a pong.
    pub confirmed_by_pong: IntCounter,
    /// Of these, taken for received because the peer never answers pings.
    pub confirmed_unproved: IntCounter,
    /// Those due to somebody that were not handed to a socket at once.
    pub left_pending: IntCounter,
    /// Failed attempts to store confirmations.
    pub unrecorded: IntCounter,
}

impl Messages {
    fn new(registry: &Registry) -> Self {
        let [single, group, notice] = counters(
            registry,
            ("qingniao_messages_sent_total", "Messages that are durably stored, each once however many it is due to."),
            ("kind", ["single", "group", "notice"]),
        );
        let [confirmed_by_pong, confirmed_unproved] = counters(
            registry,
            ("qingniao_messages_confirmed_total", "Delivered messages that count as received, and why."),
            ("by", ["pong", "written"]),
        );
        Self {
            single,
            group,
            notice,
            confirmed_by_pong,
            confirmed_unproved,
            delivered: counter(
                registry,
                "qingniao_messages_delivered_total",
                "Messages written to sockets, one for each recipient, repetitions included.",
            ),
            left_pending: counter(
                registry,
                "qingniao_messages_left_pending_total",
                "Messages that were not handed to a socket of a recipient at once, one for each recipient: nobody connected, or the \
                 store is feeding the socket. They are pushed later.",
            ),
            unrecorded: counter(
                registry,
                "qingniao_receipts_failed_total",
                "Failed attempts to store confirmations; they are tried again.",
            ),
        }
    }
}

/// Group commit.
#[derive(Debug)]
pub struct Commits {
    /// Messages in one batch.
    pub messages: Histogram,
    /// Time of one batch: statements and sync.
    pub seconds: Histogram,
    /// Batches that could not be stored.
    pub failed: IntCounter,
    /// Messages that found no place in the queue.
    pub refused: IntCounter,
}

impl Commits {
    fn new(registry: &Registry) -> Self {
        Self {
            messages: histogram(
                registry,
                "qingniao_commit_batch_messages",
                "Chat messages in one batch of the committer.",
                &BATCH,
            ),
            seconds: histogram(
                registry,
                "qingniao_commit_seconds",
                "Time to store one batch durably and hand it to the sockets.",
                &SECONDS,
            ),
            failed: counter(
                registry,
                "qingniao_commits_failed_total",
                "Batches that could not be stored; their senders were told.",
            ),
            refused: counter(
                registry,
                "qingniao_commit_queue_refused_total",
                "Messages that found no place in the committer's queue; their senders were told.",
            ),
        }
    }
}

/// Bounded queues that were full.
#[derive(Clone, Debug)]
pub struct Overflows {
    /// A live mailbox went back to being fed by the store.
    pub draining: IntCounter,
    /// A message found no room before the client had asked.
    pub missed: IntCounter,
    /// More was committed during a drain than is kept for its end.
    pub tail: IntCounter,
    /// A heartbeat that a socket did not take.
    pub transient: IntCounter,
}

impl Overflows {
    /// Counted in `registry`.
    pub fn new(registry: &Registry) -> Self {
        let [draining, missed, tail, transient] = counters(
            registry,
            (
                "qingniao_queue_overflows_total",
                "Queues of sockets that were full: the mailbox is fed from the store instead (draining), the message waits for the \
                 client to ask (missed), a drain reads the store again (tail), a heartbeat was dropped (transient).",
            ),
            ("queue", ["draining", "missed", "tail", "transient"]),
        );
        Self { draining, missed, tail, transient }
    }
}

/// Sockets that come and go.
#[derive(Debug)]
pub struct Sockets {
    /// Those that prepare their first frames now, or wait for their turn to.
    pub opening: IntGauge,
    /// Registered.
    pub opened: IntCounter,
    /// Told what is wrong with the token, and closed.
    pub refused: IntCounter,
    /// Dropped because the store was away, or because the upgrade broke off.
    pub failed: IntCounter,
    /// The peer said goodbye.
    pub goodbye: IntCounter,
    /// The network broke.
    pub lost: IntCounter,
    /// A pong that had to come did not.
    pub unanswered: IntCounter,
    /// The peer took no bytes.
    pub stalled: IntCounter,
    /// Its token was replaced.
    pub superseded: IntCounter,
    /// The server stopped.
    pub stopped: IntCounter,
}

impl Sockets {
    fn new(registry: &Registry) -> Self {
        let [opened, refused, failed] = counters(
            registry,
            ("qingniao_sockets_opened_total", "Sockets by how their opening went."),
            ("outcome", ["registered", "refused", "failed"]),
        );
        let [goodbye, lost, unanswered, stalled, superseded, stopped] = counters(
            registry,
            ("qingniao_sockets_ended_total", "Registered sockets that ended, and why."),
            ("why", ["goodbye", "lost", "unanswered", "stalled", "superseded", "stop"]),
        );
        // `operations` shows it among the connections.
        let opening = IntGauge::new("opening", "opening").expect(VALID);
        Self { opening, opened, refused, failed, goodbye, lost, unanswered, stalled, superseded, stopped }
    }
}

/// Pushing what is pending.
#[derive(Debug)]
pub struct Drains {
    /// Runs that push.
    pub asked: IntCounter,
    /// Runs that only look whether anything is pending.
    pub probe: IntCounter,
    /// Runs that the store interrupted.
    pub failed: IntCounter,
}

impl Drains {
    fn new(registry: &Registry) -> Self {
        let [asked, probe] = counters(
            registry,
            (
                "qingniao_drains_total",
                "Looks for what is pending for one socket: to push it (asked), or only to know (probe).",
            ),
            ("kind", ["asked", "probe"]),
        );
        let failed = counter(
            registry,
            "qingniao_drains_failed_total",
            "Drains that the store interrupted; they are tried again.",
        );
        Self { asked, probe, failed }
    }
}

/// What caches did not have.
#[derive(Debug)]
pub struct Loads {
    /// A user with its live tokens.
    pub users: IntCounter,
    /// A friendship row.
    pub friends: IntCounter,
    /// A friend list.
    pub friend_lists: IntCounter,
    /// A group with its members.
    pub rooms: IntCounter,
}

impl Loads {
    fn new(registry: &Registry) -> Self {
        let [users, friends, friend_lists, rooms] = counters(
            registry,
            ("qingniao_cache_loads_total", "Reads of the store for what a cache did not have."),
            ("cache", ["users", "friends", "friend_lists", "rooms"]),
        );
        Self { users, friends, friend_lists, rooms }
    }
}

/// Files that came in.
#[derive(Debug)]
pub struct Uploads {
    /// Kept on this server.
    pub to_disk: IntCounter,
    /// Kept in the bucket.
    pub to_bucket: IntCounter,
    /// Their bytes.
    pub bytes: IntCounter,
    /// Covers of videos that were made.
    pub covers: IntCounter,
    /// Covers that could not be made.
    pub covers_failed: IntCounter,
}

impl Uploads {
    fn new(registry: &Registry) -> Self {
        let [to_disk, to_bucket] = counters(
            registry,
            ("qingniao_uploads_total", "Files that were uploaded, by where they are kept."),
            ("kept", ["disk", "bucket"]),
        );
        let [covers, covers_failed] = counters(
            registry,
            ("qingniao_covers_total", "Covers of videos that were asked for."),
            ("outcome", ["made", "failed"]),
        );
        let bytes = counter(registry, "qingniao_upload_bytes_total", "Bytes of uploaded files.");
        Self { to_disk, to_bucket, bytes, covers, covers_failed }
    }
}

/// Calls that a rate limit refused.
#[derive(Debug)]
pub struct Limited {
    /// Wrong passwords, at a login or for a new password.
    pub password: IntCounter,
    /// New accounts from one address.
    pub registration: IntCounter,
    /// A device's visitor calls.
    pub visitor: IntCounter,
}

impl Limited {
    fn new(registry: &Registry) -> Self {
        let [password, registration, visitor] = counters(
            registry,
            ("qingniao_rate_limited_total", "Calls that a rate limit refused."),
            ("limit", ["password", "registration", "visitor"]),
        );
        Self { password, registration, visitor }
    }
}

/// Rows that were deleted because nobody needs them any more.
#[derive(Debug)]
pub struct Retention {
    /// Messages that everybody has.
    pub messages: IntCounter,
    /// Marks of messages received early.
    pub early_receipts: IntCounter,
    /// Ended subscriptions in groups.
    pub subscriptions: IntCounter,
    /// Expired tokens.
    pub sessions: IntCounter,
    /// Passes that an error has ended.
    pub failed: IntCounter,
}

impl Retention {
    fn new(registry: &Registry) -> Self {
        let [messages, early_receipts, subscriptions, sessions] = counters(
            registry,
            ("qingniao_retention_deleted_total", "Rows that were deleted because nobody needs them any more."),
            ("table", ["messages", "early_receipts", "subscriptions", "sessions"]),
        );
        let failed =
            counter(registry, "qingniao_retention_failed_total", "Passes over old rows that an error has ended.");
        Self { messages, early_receipts, subscriptions, sessions, failed }
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help).expect(VALID))
}

/// One counter for each value of the label.
fn counters<const N: usize>(
    registry: &Registry,
    (name, help): (&str, &str),
    (label, values): (&str, [&str; N]),
) -> [IntCounter; N] {
    let family = register(registry, IntCounterVec::new(Opts::new(name, help), &[label]).expect(VALID));
    values.map(|value| family.with_label_values(&[value]))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(options).expect(VALID))
}

/// Makes a metric seen.
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}
