//! What was measured, by metric and minute.

use std::collections::BTreeMap;

use crate::datum::{Datum, Series};

/// A minute, the shortest period of an alarm on metrics of standard resolution.
pub(crate) const MINUTE_MS: u64 = 60_000;

/// Values in no particular order: what arrives late counts from then on, as in CloudWatch.
#[derive(Debug, Default)]
pub(crate) struct Data(BTreeMap<Series, BTreeMap<u64, Vec<f64>>>);

impl Data {
    pub(crate) fn add(&mut self, datum: &Datum) {
        let minutes = self.0.entry(datum.series()).or_default();
        minutes.entry(datum.at / MINUTE_MS).or_default().push(datum.value);
    }

    /// The values of `[from, to)`, both in minutes, in ascending order: a sum does not depend on who came first.
    pub(crate) fn values(&self, series: &Series, from: u64, to: u64) -> Vec<f64> {
        let Some(minutes) = self.0.get(series) else { return Vec::new() };
        let mut values: Vec<f64> =
            minutes.range(from..to).flat_map(|(_, values)| values.iter().copied()).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub(crate) fn contains(&self, series: &Series) -> bool {
        self.0.contains_key(series)
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = &Series> {
        self.0.keys()
    }

    /// Forgets what lies before the minute.
    pub(crate) fn forget_before(&mut self, minute: u64) {
        for minutes in self.0.values_mut() {
            *minutes = minutes.split_off(&minute);
        }
    }
}
