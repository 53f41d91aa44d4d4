//! What CloudWatch makes of the functions' wide events, in this process: sums, percentiles, last values.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sallyport_core::clock::Timestamp;
use sallyport_operations::metrics::{
    FUNCTIONS, Figures, Kind, METRICS, Metric, QUANTILES, ReadMetrics, Reading, TRIGGERS, WINDOW, at_quantile,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The figures of one backend, by the functions' clock.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<Key, Series>>);

type Key = (&'static str, Option<&'static str>);

#[derive(Debug, Default)]
struct Series {
    /// By the second, so that a flood of requests is not kept one by one.
    seconds: BTreeMap<u64, Second>,
    last: Option<(u64, f64)>,
}

#[derive(Debug, Default)]
struct Second {
    sum: f64,
    /// Of times alone, for percentiles.
    values: Vec<f64>,
}

/// A line of the Embedded Metric Format.
#[derive(Deserialize)]
struct WideEvent {
    #[serde(rename = "_aws")]
    metadata: Metadata,
    function: Option<String>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: u64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

impl Registry {
    /// Takes a line of a function. One that is no wide event says nothing here.
    pub(crate) fn take(&self, line: &str) {
        if !line.contains("\"_aws\"") {
            return;
        }
        let Ok(event) = serde_json::from_str::<WideEvent>(line) else { return };
        let second = event.metadata.timestamp / 1000;
        let mut series = self.locked();
        for directive in &event.metadata.cloud_watch_metrics {
            let apart = directive.dimensions.iter().any(|set| set.iter().any(|name| name == "function"));
            let function = event.function.as_deref().filter(|_| apart).and_then(known_function);
            for named in &directive.metrics {
                let value = event.fields.get(&named.name).and_then(Value::as_f64);
                if let (Some(metric), Some(value)) = (known_metric(&named.name), value) {
                    let function = function.filter(|_| !metric.functions().is_empty());
                    series.entry((metric.name, function)).or_default().add(metric.kind, second, value);
                }
            }
        }
    }

    fn figures(&self, now: Timestamp) -> Figures {
        let since = now.minus(WINDOW).seconds();
        let mut figures = Figures::default();
        for ((name, function), series) in &*self.locked() {
            let within = || series.seconds.range(since.saturating_add(1)..).map(|(_, second)| second);
            match known_metric(name).map(|metric| metric.kind) {
                Some(Kind::Count | Kind::Rare) => {
                    // Rust's sum of no numbers is -0.0, which would be shown.
                    let sum = 0.0 + within().map(|second| second.sum).sum::<f64>();
                    figures.counts.insert((*name, *function), sum);
                }
                Some(Kind::Time) => {
                    let mut values: Vec<_> = within().flat_map(|second| second.values.clone()).collect();
                    values.sort_by(f64::total_cmp);
                    figures.times.insert(*name, QUANTILES.map(|quantile| at_quantile(&values, quantile)));
                }
                Some(Kind::Level | Kind::Floor) => {
                    figures.levels.extend(series.last.map(|(_, value)| (*name, value)));
                }
                None => {}
            }
        }
        figures
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Key, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn add(&mut self, kind: Kind, at: u64, value: f64) {
        if matches!(kind, Kind::Level | Kind::Floor) {
            // Lines of several functions may come out of order.
            if self.last.is_none_or(|(last, _)| last <= at) {
                self.last = Some((at, value));
            }
            return;
        }
        let oldest = at.saturating_sub(WINDOW.as_secs());
        self.seconds = self.seconds.split_off(&oldest);
        let second = self.seconds.entry(at).or_default();
        second.sum += value;
        if kind == Kind::Time {
            second.values.push(value);
        }
    }
}

fn known_metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

fn known_function(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().chain(&TRIGGERS).copied().find(|known| *known == name)
}

impl ReadMetrics for Registry {
    fn read(&self, now: Timestamp) -> Reading<'_> {
        Box::pin(async move { Ok(self.figures(now)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(seconds: u64, values: &Value) -> String {
        let mut event = json!({
            "_aws": {"Timestamp": seconds * 1000, "CloudWatchMetrics": [
                {"Namespace": "Sallyport", "Dimensions": [["deployment"], ["deployment", "function"]], "Metrics": [
                    {"Name": "requests"},
                ]},
                {"Namespace": "Sallyport", "Dimensions": [["deployment"]], "Metrics": [
                    {"Name": "response_time", "Unit": "Milliseconds"}, {"Name": "login_attempts"}, {"Name": "active_sessions"}, {"Name": "unheard_of"},
                ]},
            ]},
            "deployment": "sallyport-local", "function": "login", "unheard_of": 1,
        });
        event.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        event.to_string()
    }

    #[test]
    fn wide_events_become_sums_percentiles_and_last_values() {
        let registry = Registry::default();
        for (seconds, values) in [
            (1000, json!({"requests": 1, "response_time": 5.0, "login_attempts": 1, "active_sessions": 9})),
            (1100, json!({"requests": 1, "response_time": 30.0, "login_attempts": 0, "active_sessions": 8})),
            (1100, json!({"requests": 1, "response_time": 10.0})),
        ] {
            registry.take(&event(seconds, &values));
        }
        registry.take("not a line of metrics, though it says \"_aws\"");
        let figures = registry.figures(Timestamp::from_seconds(1200));
        assert_eq!(figures.total("requests"), 3.0);
        assert_eq!(figures.counts.get(&("requests", Some("login"))), Some(&3.0));
        assert_eq!(figures.counts.get(&("login_attempts", None)), Some(&1.0));
        assert_eq!(figures.times.get("response_time"), Some(&[Some(10.0), Some(30.0), Some(30.0)]));
        assert_eq!(figures.levels.get("active_sessions"), Some(&8.0));
        let later = registry.figures(Timestamp::from_seconds(1350));
        assert_eq!(
            (later.total("requests"), later.total("login_attempts")),
            (2.0, 0.0),
            "the window moves on"
        );
        assert_eq!(later.levels.get("active_sessions"), Some(&8.0), "and the last value stays");
    }
}
