//! Figures, their targets, and the table of them. Nothing is measured here.

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    measured: f64,
    unit: &'static str,
    /// At most this much; none: shown alone.
    target: Option<f64>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, measured: f64, unit: &'static str, target: Option<f64>) -> Self {
        Self { what: what.into(), measured, unit, target }
    }

    pub(crate) fn is_missed(&self) -> bool {
        self.target.is_some_and(|target| self.measured > target)
    }

    pub(crate) fn line(&self) -> String {
        let Self { what, measured, unit, target } = self;
        let target = target.map(|target| format!("at most {target} {unit}")).unwrap_or_default();
        let missed = if self.is_missed() { "MISSED" } else { "" };
        let unit = format!("{unit:<5}");
        format!("{what:<58} {measured:>9.2} {unit} {target:<18} {missed}").trim_end().to_owned()
    }
}

/// The middle of several runs: one that was held up by a neighbour does not count.
pub(crate) fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

pub(crate) fn largest(runs: &[f64]) -> f64 {
    runs.iter().copied().fold(0.0, f64::max)
}
