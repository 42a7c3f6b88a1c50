//! Runs rows, tells how far it is, and hands their findings to the report.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::{
    arguments::Arguments,
    failure::{Failure, While},
    figures::Findings,
    machine,
    report::{self, Part},
    rows::Row,
    server::LAST_LOG,
    setting::{Setting, Target},
};

/// Bounds one run of one row, setting up included.
const RUN_TIME_MAX: Duration = Duration::from_mins(10);
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures the chosen rows and prints them; false when one failed or sounded an alarm.
pub async fn print(arguments: &Arguments, chosen: &[&Row]) -> Result<bool, Failure> {
    let machine = format!("machine   {}", machine::describe()?);
    let settings = format!(
        "settings  release binary, a fresh server for each run, {} runs of {} s, {} unless the row says otherwise, \
         ~400-byte messages, keep-alive HTTP, loopback, generator on one thread",
        arguments.runs, arguments.seconds, arguments.engine
    );
    println!("{machine}\n{settings}");
    report::print_head();
    let begun = Instant::now();
    let (mut well, mut parts) = (true, Vec::new());
    for (index, row) in chosen.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, chosen.len(), row.name);
        let (part, row_well) = measure_row(arguments, row, &place).await;
        part.print();
        parts.push(part);
        well &= row_well;
    }
    eprintln!("all rows took {} s", begun.elapsed().as_secs());
    if arguments.markdown {
        println!("\n- {machine}\n- {settings}\n");
        report::print_markdown(&parts);
    }
    Ok(well)
}

/// Server and ceiling take turns, so that a change of the machine's mood meets both.
async fn measure_row(arguments: &Arguments, row: &Row, place: &str) -> (Part, bool) {
    let (mut servers, mut ceilings, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=arguments.runs {
        for target in [Target::Server, Target::Ceiling] {
            let can = target == Target::Server || row.has_ceiling;
            if !can || arguments.only.is_some_and(|only| only != target) {
                continue;
            }
            let what = if target == Target::Server { row.about } else { "ceiling" };
            eprintln!("{place} run {turn}/{}: {what}", arguments.runs);
            match run_once(arguments, row, target).await {
                Ok(findings) if target == Target::Server => servers.push(findings),
                Ok(findings) => ceilings.push(findings),
                Err(failure) => failures.push(failure),
            }
        }
    }
    if arguments.only == Some(Target::Ceiling) {
        std::mem::swap(&mut servers, &mut ceilings);
    }
    let part = Part::new(row.name, &servers, &ceilings, &failures);
    if !failures.is_empty() {
        eprintln!("{place}: the last server's log is {LAST_LOG}");
    }
    let quiet = |runs: &[Findings]| runs.iter().all(|run| run.alarms.is_empty());
    (part, failures.is_empty() && quiet(&servers) && quiet(&ceilings))
}

async fn run_once(arguments: &Arguments, row: &Row, target: Target) -> Result<Findings, Failure> {
    let setting = Setting {
        target,
        engine: row.engine.unwrap_or(arguments.engine),
        warm_up: WARM_UP,
        measured: Duration::from_secs(arguments.seconds),
        binary: arguments.binary.clone(),
        mysql_url: arguments.mysql_url.clone(),
    };
    timeout(RUN_TIME_MAX, row.run(&setting)).await.doing(format!("more than {RUN_TIME_MAX:?}"))?
}
