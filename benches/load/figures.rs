//! What a run of a row yields: named figures with their goals, and alarms about messages that went astray.

use std::time::Duration;

/// The target of a figure, as `goals.md` has it.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The figure must not be above this.
    AtMost(f64),
    /// The figure must not be below this.
    AtLeast(f64),
    /// Printed for the reader, no target.
    Told,
}

/// One number of one run.
pub struct Figure {
    /// Name with unit; the same in every run of the row.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What it should be.
    pub goal: Goal,
}

/// All that one run of a row found.
#[derive(Default)]
pub struct Findings {
    /// In the order in which they are printed.
    pub figures: Vec<Figure>,
    /// Lost, late or repeated messages, dropped sockets: printed loudly.
    pub alarms: Vec<String>,
}

impl Findings {
    /// Adds a figure.
    pub fn tell(&mut self, name: impl Into<String>, value: f64, goal: Goal) {
        self.figures.push(Figure { name: name.into(), value, goal });
    }
}

/// Times of single operations, kept whole: a run has a few hundred thousand at most.
#[derive(Default)]
pub struct Times(Vec<u64>);

impl Times {
    /// Adds one operation.
    pub fn add_ns(&mut self, ns: u64) {
        self.0.push(ns);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The `part` quantile (0 to 1) in milliseconds; 0 when there is none.
    pub fn quantile_ms(&mut self, part: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index between 0 and the length"
        )]
        let index = (float(last) * part).round() as usize;
        self.0.get(index).map_or(0.0, |ns| float(*ns) / 1e6)
    }
}

/// A whole number as a float.
pub fn float(number: impl TryInto<u64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "figures have far fewer than 52 bits that matter")]
    let float = number.try_into().unwrap_or(u64::MAX) as f64;
    float
}

/// Microseconds of a duration.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Milliseconds of a duration.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
