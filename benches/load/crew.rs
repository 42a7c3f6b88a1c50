//! Tasks that run beside each other on the generator's one thread, and end with the crew.

use std::{future::Future, net::SocketAddr};

use futures_util::future::try_join_all;
use tokio::task::JoinSet;

use crate::{
    failure::{Failure, While},
    http::Http,
};

/// Connections that share a set-up job: enough for the server's group commit, few enough to be no load test of its own.
const LANES: usize = 16;

/// A set of tasks; dropping it ends them.
#[derive(Default)]
pub struct Crew(JoinSet<Result<(), Failure>>);

impl Crew {
    /// Starts a task.
    pub fn add(&mut self, task: impl Future<Output = Result<(), Failure>> + 'static) {
        self.0.spawn_local(task);
    }

    /// Waits for a task to fail; for ever when none does.
    pub async fn failure(&mut self) -> Failure {
        while let Some(ended) = self.0.join_next().await {
            if let Err(failure) = ended.doing("a task of the generator").and_then(|outcome| outcome) {
                return failure;
            }
        }
        std::future::pending().await
    }

    /// Waits until all tasks have ended, or for the first failure.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        while let Some(ended) = self.0.join_next().await {
            ended.doing("a task of the generator")??;
        }
        Ok(())
    }
}

/// Does `job` for 0..`count` over a few shared connections; the results keep their order.
pub async fn spread<T>(
    address: SocketAddr,
    count: usize,
    job: impl AsyncFn(&mut Http, usize) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let lanes = LANES.min(count).max(1);
    let lane = async |first: usize| {
        let mut http = Http::open(address).await?;
        let mut results = Vec::with_capacity(count / lanes + 1);
        for index in (first..count).step_by(lanes) {
            results.push((index, job(&mut http, index).await?));
        }
        Ok::<_, Failure>(results)
    };
    let mut results: Vec<_> = try_join_all((0..lanes).map(lane)).await?.into_iter().flatten().collect();
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
