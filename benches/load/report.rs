//! Puts the runs of a row together and prints its part of the table.

use crate::figures::{Findings, Goal};

/// A figure over all runs: the median and the extremes.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Prints the table's head.
pub fn print_head() {
    println!(
        "{:<14}{:<44}{:>12}{:>12}  {:<22}{:>10}{:>8}",
        "row", "figure", "goal", "median", "min–max", "ceiling", "ratio"
    );
}

/// Prints all figures of a row, then its alarms.
pub fn print_row(name: &str, runs: &[Findings], ceilings: &[Findings]) {
    let Some(first) = runs.first() else { return };
    for figure in &first.figures {
        let Some(spread) = Spread::over(runs, &figure.name) else { continue };
        let ceiling = Spread::over(ceilings, &figure.name);
        let (goal, verdict) = match figure.goal {
            Goal::AtMost(limit) => (format!("≤ {}", number(limit)), verdict(spread.median <= limit)),
            Goal::AtLeast(limit) => (format!("≥ {}", number(limit)), verdict(spread.median >= limit)),
            Goal::Told => (String::new(), ""),
        };
        let extremes = format!("{}–{}", number(spread.min), number(spread.max));
        let ratio = ceiling.as_ref().map(|ceiling| format!("{:.2}×", spread.median / ceiling.median));
        let line = format!(
            "{name:<14}{:<44}{goal:>12}{:>12}  {extremes:<22}{:>10}{:>8}  {verdict}",
            figure.name,
            number(spread.median),
            ceiling.map(|ceiling| number(ceiling.median)).unwrap_or_default(),
            ratio.unwrap_or_default(),
        );
        println!("{}", line.trim_end());
    }
    for alarm in runs.iter().chain(ceilings).flat_map(|run| &run.alarms) {
        println!("{name:<14}!!! {alarm}");
    }
}

impl Spread {
    fn over(runs: &[Findings], name: &str) -> Option<Self> {
        let figures = runs.iter().flat_map(|run| &run.figures).filter(|figure| figure.name == name);
        let mut values: Vec<f64> = figures.map(|figure| figure.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max })
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// Three or four digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}
