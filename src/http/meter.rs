//! Counts and times of requests, by the template of their route and by status.
//!
//! The route is told from the path by tables of our own: axum knows it only inside the router, and a layer there would be boxed
//! anew for each request. A path that no route has counts under one name, so nobody can make the server keep more.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use axum::http::StatusCode;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::metrics::{SECONDS, register};

/// Statuses that have a number of their own; all others are `other`. The last is no status: the client went away first.
const STATUSES: [&str; 17] = [
    "200", "101", "206", "304", "400", "404", "405", "408", "413", "416", "422", "500", "503", "204", "302", "other",
    "gone",
];
const OTHER: usize = STATUSES.len() - 2;
const GONE: usize = STATUSES.len() - 1;
/// The route of a path that has none.
const NO_ROUTE: &str = "none";

const VALID: &str = "a metric has a valid name of its own";

/// Measures requests.
#[derive(Debug)]
pub struct Meter {
    /// Templates without parameters, as they are; those whose last part is one, up to it.
    exact: HashMap<&'static str, usize>,
    /// Templates that take any number of parts, up to there.
    folders: Vec<(&'static str, usize)>,
    routes: Vec<Route>,
    requests: IntCounterVec,
    seconds: HistogramVec,
    running: IntGauge,
}

/// What is counted of one route; each metric is made when it is first needed, so that routes without traffic are not shown.
#[derive(Debug)]
struct Route {
    template: &'static str,
    seconds: OnceLock<Histogram>,
    by_status: [OnceLock<IntCounter>; STATUSES.len()],
}

/// A request that is being answered; counts as gone unless [`Running::answered`] is called.
#[derive(Debug)]
pub struct Running<'a> {
    meter: &'a Meter,
    route: &'a Route,
    began: Instant,
    status: usize,
}

impl Meter {
    /// For routes with these templates.
    pub fn new(registry: &Registry, templates: &[&'static str]) -> Self {
        let mut meter = Self {
            exact: HashMap::new(),
            folders: Vec::new(),
            routes: Vec::new(),
            requests: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "qingniao_http_requests_total",
                        "Requests by route and status; gone: the client left first.",
                    ),
                    &["route", "status"],
                )
                .expect(VALID),
            ),
            seconds: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "qingniao_http_request_seconds",
                        "Time from the end of a request's head to the head of its reply.",
                    )
                    .buckets(SECONDS.to_vec()),
                    &["route"],
                )
                .expect(VALID),
            ),
            running: register(
                registry,
                IntGauge::new("qingniao_http_requests_running", "Requests that are being answered.").expect(VALID),
            ),
        };
        for template in templates {
            meter.add(template);
        }
        // The last is that of paths without a route.
        meter.routes.push(Route::new(NO_ROUTE));
        meter
    }

    fn add(&mut self, template: &'static str) {
        let place = self.routes.len();
        self.routes.push(Route::new(template));
        match template.split_once('{') {
            None => {
                self.exact.insert(template, place);
            }
            Some((before, parameter)) if parameter.starts_with('*') => self.folders.push((before, place)),
            Some((before, _)) => {
                self.exact.insert(before, place);
            }
        }
    }

    fn route(&self, path: &str) -> &Route {
        let whole = self.exact.get(path);
        let place = whole
            .or_else(|| self.exact.get(&path[..=path.rfind('/')?]))
            .or_else(|| self.folders.iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, place)| place));
        &self.routes[place.copied().unwrap_or(self.routes.len() - 1)]
    }

    /// A request for this path begins.
    pub fn begin(&self, path: &str) -> Running<'_> {
        self.running.inc();
        Running { meter: self, route: self.route(path), began: Instant::now(), status: GONE }
    }
}

impl Route {
    fn new(template: &'static str) -> Self {
        Self { template, seconds: OnceLock::new(), by_status: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl Running<'_> {
    /// It has its reply.
    pub fn answered(mut self, status: StatusCode) {
        self.status = STATUSES.iter().position(|known| *known == status.as_str()).unwrap_or(OTHER);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { meter, route, began, status } = self;
        meter.running.dec();
        let count = || meter.requests.with_label_values(&[route.template, STATUSES[*status]]);
        route.by_status[*status].get_or_init(count).inc();
        if *status != GONE {
            let seconds = route.seconds.get_or_init(|| meter.seconds.with_label_values(&[route.template]));
            seconds.observe(began.elapsed().as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_counts_under_the_template_of_its_route() {
        let templates = ["/api/login", "/api/list/{page}", "/api/list/all", "/public/", "/public/{*path}", "/ws"];
        let meter = Meter::new(&Registry::new(), &templates);
        let of = |path: &str| meter.route(path).template;
        for (path, template) in [
            ("/api/login", "/api/login"),
            ("/api/list/1", "/api/list/{page}"),
            ("/api/list/1&limit=3", "/api/list/{page}"),
            ("/api/list/all", "/api/list/all"),
            ("/api/list/1/2", NO_ROUTE),
            ("/public/", "/public/"),
            ("/public/a/b/c.png", "/public/{*path}"),
            ("/ws", "/ws"),
            ("/ws/", NO_ROUTE),
            ("/api/login/x", NO_ROUTE),
            ("/", NO_ROUTE),
            ("*", NO_ROUTE),
        ] {
            assert_eq!(of(path), template, "{path}");
        }
    }

    #[test]
    fn a_request_is_counted_once_and_one_that_its_client_left_is_gone() {
        let registry = Registry::new();
        let meter = Meter::new(&registry, &["/a"]);
        meter.begin("/a").answered(StatusCode::OK);
        meter.begin("/a").answered(StatusCode::IM_A_TEAPOT);
        drop(meter.begin("/b"));
        let count = |route: &str, status: &str| meter.requests.with_label_values(&[route, status]).get();
        assert_eq!((count("/a", "200"), count("/a", "other"), count(NO_ROUTE, "gone")), (1, 1, 1));
        assert_eq!(meter.seconds.with_label_values(&["/a"]).get_sample_count(), 2);
        assert_eq!(meter.seconds.with_label_values(&[NO_ROUTE]).get_sample_count(), 0);
        assert_eq!(meter.running.get(), 0);
    }
}
