//! Puts the runs of a row together and prints its part of the table.

use crate::{
    failure::Failure,
    figures::{Figure, Findings, Goal},
};

/// A figure over all runs: the median and the extremes.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// What the table says about one row.
pub struct Part {
    name: &'static str,
    lines: Vec<Line>,
    /// What went wrong, loudly.
    alarms: Vec<String>,
}

/// One figure, as it is printed.
struct Line {
    figure: String,
    goal: String,
    median: String,
    extremes: String,
    ceiling: String,
    ratio: String,
    verdict: &'static str,
}

/// Prints the table's head.
pub fn print_head() {
    println!(
        "{:<14}{:<44}{:>12}{:>12}  {:<22}{:>10}{:>8}",
        "row", "figure", "goal", "median", "min–max", "ceiling", "ratio"
    );
}

/// Prints all of it again, as Markdown.
pub fn print_markdown(parts: &[Part]) {
    println!("| row | figure | goal | median | min–max | ceiling | ratio | |");
    println!("|---|---|--:|--:|--:|--:|--:|---|");
    for part in parts {
        let mut name = format!("`{}`", part.name);
        for line in &part.lines {
            let Line { figure, goal, median, extremes, ceiling, ratio, verdict } = line;
            println!("| {name} | {figure} | {goal} | {median} | {extremes} | {ceiling} | {ratio} | {verdict} |");
            // The name once a row is enough for the eye.
            name.clear();
        }
        for alarm in &part.alarms {
            println!("| {name} | **{}** | | | | | | |", alarm.replace('\n', " "));
        }
    }
}

impl Part {
    /// Puts the runs of a row together.
    pub fn new(name: &'static str, runs: &[Findings], ceilings: &[Findings], failures: &[Failure]) -> Self {
        let figures = runs.first().map_or(&[][..], |first| &first.figures);
        let lines = figures.iter().filter_map(|figure| Line::new(figure, runs, ceilings)).collect();
        let alarms = runs.iter().chain(ceilings).flat_map(|run| run.alarms.iter().cloned());
        let failures = failures.iter().map(|failure| format!("FAILED: {failure}"));
        Self { name, lines, alarms: alarms.chain(failures).collect() }
    }

    /// Prints the row's figures, then its alarms.
    pub fn print(&self) {
        let name = self.name;
        for Line { figure, goal, median, extremes, ceiling, ratio, verdict } in &self.lines {
            let line = format!(
                "{name:<14}{figure:<44}{goal:>12}{median:>12}  {extremes:<22}{ceiling:>10}{ratio:>8}  {verdict}"
            );
            println!("{}", line.trim_end());
        }
        for alarm in &self.alarms {
            println!("{name:<14}!!! {alarm}");
        }
    }
}

impl Line {
    fn new(figure: &Figure, runs: &[Findings], ceilings: &[Findings]) -> Option<Self> {
        let spread = Spread::over(runs, &figure.name)?;
        let ceiling = Spread::over(ceilings, &figure.name);
        let (goal, verdict) = match figure.goal {
            Goal::AtMost(limit) => (format!("≤ {}", number(limit)), verdict(spread.median <= limit)),
            Goal::AtLeast(limit) => (format!("≥ {}", number(limit)), verdict(spread.median >= limit)),
            Goal::Told => (String::new(), ""),
        };
        let ratio = ceiling.as_ref().map(|ceiling| format!("{:.2}×", spread.median / ceiling.median));
        Some(Self {
            figure: figure.name.clone(),
            goal,
            median: number(spread.median),
            extremes: format!("{}–{}", number(spread.min), number(spread.max)),
            ceiling: ceiling.map(|ceiling| number(ceiling.median)).unwrap_or_default(),
            ratio: ratio.unwrap_or_default(),
            verdict,
        })
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
