//! What is at the moment: looked at when somebody asks for the metrics, so that nothing has to keep count of it.

use prometheus::core::{AtomicU64, GenericGauge, GenericGaugeVec};
use prometheus::{Opts, Registry};

use crate::app::App;
use crate::cache::Fill;
use crate::metrics::register;
use crate::os;

type Gauge = GenericGauge<AtomicU64>;
type GaugeVec = GenericGaugeVec<AtomicU64>;

const VALID: &str = "a metric has a valid name of its own";

/// All gauges of one server.
#[derive(Debug)]
pub struct Gauges {
    connections: GaugeVec,
    connections_max: Gauge,
    sockets: GaugeVec,
    users: Gauge,
    unconfirmed: Gauge,
    queues: GaugeVec,
    large: Gauge,
    database: GaugeVec,
    database_max: GaugeVec,
    cache_entries: GaugeVec,
    cache_weight: GaugeVec,
    cache_weight_max: GaugeVec,
    uploads: Gauge,
    uploads_max: Gauge,
    tasks: Gauge,
}

impl Gauges {
    /// Registers them, with what the system and the build say of this process.
    pub fn new(app: &App) -> Self {
        let registry = app.metrics.registry();
        if let Some(process) = os::process_metrics() {
            registry.register(process).expect(VALID);
        }
        registry.register(Box::new(app.db.waits())).expect(VALID);
        let build = family(registry, "qingniao_build_info", "The running build and its store.", &["version", "store"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), app.db.engine().name()]).set(1);
        let one = |name, help| gauge(registry, name, help);
        let by = |name, help, labels: &[&str]| family(registry, name, help, labels);
        Self {
            connections: by(
                "qingniao_connections",
                "Open TCP connections: that wait to be let in (a herd), of HTTP, of sockets that prepare their first frames, of registered \
                 sockets.",
                &["phase"],
            ),
            connections_max: one("qingniao_connections_max", "Most open TCP connections (http.connections_max)."),
            sockets: by(
                "qingniao_sockets",
                "Registered sockets: the client has not asked yet (fresh), is fed from the store (draining), gets every message at \
                 once (live), another socket of the same person gets the pushes (silent).",
                &["phase"],
            ),
            users: one("qingniao_users_online", "People with a registered socket."),
            unconfirmed: one(
                "qingniao_messages_unconfirmed",
                "Messages that were handed to sockets and are not proved to be received, one for each recipient. What waits for \
                 absent people is not counted: that would mean reading the store.",
            ),
            queues: by(
                "qingniao_queue_length",
                "What waits: messages for the committer (commit), confirmations to be written (receipts), messages to be filed for \
                 absent recipients (filing), sockets for a look at what is pending for them (drains), tasks of the runtime for a \
                 thread (runtime).",
                &["queue"],
            ),
            large: one(
                "qingniao_large_messages_bytes",
                "Room taken by pending messages of more than 64 KiB, from before each is read until its socket has taken it; 67108864 at \
                 most, then others wait.",
            ),
            database: by("qingniao_database_connections", "Connections of a pool.", &["pool", "state"]),
            database_max: by("qingniao_database_connections_max", "Most connections of a pool.", &["pool"]),
            cache_entries: by("qingniao_cache_entries", "Entries of a cache.", &["cache"]),
            cache_weight: by(
                "qingniao_cache_weight",
                "What they weigh in the cache's own measure: entries, members or bytes.",
                &["cache"],
            ),
            cache_weight_max: by("qingniao_cache_weight_max", "What they may weigh.", &["cache"]),
            uploads: one("qingniao_uploads_running", "Uploads that are being received."),
            uploads_max: one("qingniao_uploads_running_max", "Most of them at once (uploads.parallel_max)."),
            tasks: one("qingniao_tasks", "Tasks that a stop would wait for."),
        }
    }

    /// Looks at everything.
    pub fn look(&self, app: &App) {
        self.look_at_connections(app);
        let runtime = tokio::runtime::Handle::current().metrics().global_queue_depth();
        for (queue, length) in app.messages.queues().into_iter().chain([("runtime", runtime)]) {
            self.queues.with_label_values(&[queue]).set(length as u64);
        }
        for pool in app.db.pools() {
            let idle = (pool.idle as u64).min(pool.size.into());
            self.database.with_label_values(&[pool.pool, "idle"]).set(idle);
            self.database.with_label_values(&[pool.pool, "lent"]).set(u64::from(pool.size) - idle);
            self.database_max.with_label_values(&[pool.pool]).set(pool.max.into());
        }
        app.accounts.fills().iter().for_each(|fill| self.fill(fill));
        app.friends.fills().iter().for_each(|fill| self.fill(fill));
        app.groups.fills().iter().for_each(|fill| self.fill(fill));
        app.messages.fills().iter().for_each(|fill| self.fill(fill));
        app.media.fills().iter().for_each(|fill| self.fill(fill));
        let (uploads, uploads_max) = app.media.uploads();
        self.uploads.set(uploads as u64);
        self.uploads_max.set(uploads_max as u64);
        self.tasks.set(app.tasks.len() as u64);
    }

    fn look_at_connections(&self, app: &App) {
        let census = app.hub.census();
        let count = |gauge: &prometheus::IntGauge| u64::try_from(gauge.get()).unwrap_or_default();
        let registered = census.fresh + census.draining + census.live + census.silent;
        let (open, opening) = (count(&app.metrics.connections.open), count(&app.metrics.sockets.opening));
        // They are looked at one after the other while sockets come and go.
        let waiting = count(&app.metrics.connections.waiting);
        let http = open.saturating_sub(waiting + opening + registered as u64);
        let phases = [("waiting", waiting), ("http", http), ("ws_opening", opening), ("ws", registered as u64)];
        for (phase, number) in phases {
            self.connections.with_label_values(&[phase]).set(number);
        }
        self.connections_max.set(app.config.http.connections_max as u64);
        let phases =
            [("fresh", census.fresh), ("draining", census.draining), ("live", census.live), ("silent", census.silent)];
        for (phase, number) in phases {
            self.sockets.with_label_values(&[phase]).set(number as u64);
        }
        self.users.set(census.users as u64);
        self.large.set(app.messages.large_bytes() as u64);
        self.unconfirmed.set(census.unconfirmed as u64);
        self.queues.with_label_values(&["drains"]).set(census.drains_waiting as u64);
    }

    fn fill(&self, fill: &Fill) {
        self.cache_entries.with_label_values(&[fill.cache]).set(fill.entries as u64);
        self.cache_weight.with_label_values(&[fill.cache]).set(fill.weight);
        self.cache_weight_max.with_label_values(&[fill.cache]).set(fill.weight_max);
    }
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    register(registry, Gauge::new(name, help).expect(VALID))
}

fn family(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(name, help), labels).expect(VALID))
}
