//! The metrics of a server at one moment, as a monitoring system reads them.

use std::collections::BTreeMap;

use super::{Door, Reply, TestServer};

/// Every series with its value, as `name{label="value"}`.
#[derive(Clone, Debug)]
pub struct Scrape(pub BTreeMap<String, f64>);

impl Scrape {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Self(series.collect())
    }

    /// The value of a series; one that is not there counts as zero.
    pub fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    /// How much a series has grown since.
    pub fn since(&self, before: &Self, series: &str) -> f64 {
        self.get(series) - before.get(series)
    }
}

impl TestServer {
    /// A GET from the operations' address; the server was started with one.
    pub async fn ask_operations(&self, path: &str) -> Reply {
        let address = self.operations.expect("the test's server has operations");
        Door::to(address).get(path).await
    }

    pub async fn scrape(&self) -> Scrape {
        let reply = self.ask_operations("/metrics").await;
        assert_eq!(reply.status, 200);
        Scrape::parse(&reply.text)
    }
}
