//! Figures in the text format of OpenMetrics 1.0.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use sallyport_operations::metrics::{Figures, Kind, METRICS, Metric, QUANTILES};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The format before it, in which the same text reads: what OpenMetrics adds are comments there.
pub(crate) const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything is a gauge: these are the figures of the last minutes, and a counter must never go down.
///
/// # Errors
/// The formatter failed.
pub(crate) fn text(deployment: &str, figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { deployment: deployment.to_owned(), figures }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    deployment: String,
    figures: Figures,
}

/// A metric's name without a unit that Prometheus has another for, and what its values are multiplied by.
fn in_base_units(name: &str) -> (String, f64) {
    for (unit, seconds) in [("_days", 86_400.0), ("_hours", 3_600.0)] {
        if let Some(name) = name.strip_suffix(unit) {
            return (format!("{name}_seconds"), seconds);
        }
    }
    (name.to_owned(), 1.0)
}

type Labels = Vec<(&'static str, String)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in METRICS {
            let (name, factor) = in_base_units(metric.name);
            let name = format!("sallyport_{name}");
            match metric.kind {
                Kind::Time => {
                    Self::family(
                        &mut encoder,
                        &name,
                        metric.meaning,
                        Some(&Unit::Seconds),
                        self.percentiles(metric),
                    )?;
                }
                Kind::Count | Kind::Rare => {
                    Self::family(&mut encoder, &name, metric.meaning, None, self.counts(metric))?;
                }
                Kind::Level | Kind::Floor => {
                    let level = self.figures.levels.get(metric.name).map(|level| level * factor);
                    self.single(&mut encoder, &name, metric.meaning, level)?;
                }
            }
        }
        let figures = &self.figures;
        for (name, meaning, value) in [
            ("throughput", "Requests a second", Some(figures.throughput())),
            ("error_rate", "Part of the requests that were answered with 5xx", Some(figures.error_rate())),
            (
                "cache_hit_ratio",
                "Part of the reads of keyring and flags that the copy in the process served",
                figures.cache_hit_ratio(),
            ),
            (
                "authentication_success_rate",
                "Part of the sign-ins of valid form whose password was right",
                figures.authentication_success_rate(),
            ),
        ] {
            self.single(&mut encoder, &format!("sallyport_{name}"), meaning, value)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn counts(&self, metric: &Metric) -> Vec<(Labels, f64)> {
        let one = |function: Option<&'static str>| {
            let value = self.figures.counts.get(&(metric.name, function)).copied().unwrap_or_default();
            (self.labels(function.map(|function| ("function", function.to_owned()))), value)
        };
        if metric.by_function {
            metric.functions().iter().map(|function| one(Some(function))).collect()
        } else {
            vec![one(None)]
        }
    }

    /// `quantile` is a label of summaries alone, which these are not: nothing is told of their count and sum.
    fn percentiles(&self, metric: &Metric) -> Vec<(Labels, f64)> {
        let Some(percentiles) = self.figures.times.get(metric.name) else {
            return Vec::new();
        };
        QUANTILES
            .iter()
            .zip(percentiles)
            .filter_map(|(quantile, millis)| {
                let percentile = (quantile * 100.0).to_string();
                Some((self.labels(Some(("percentile", percentile))), (*millis)? / 1000.0))
            })
            .collect()
    }

    fn labels(&self, further: Option<(&'static str, String)>) -> Labels {
        std::iter::once(("deployment", self.deployment.clone())).chain(further).collect()
    }

    /// One value. What is not known has its description and no sample.
    fn single(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        meaning: &str,
        value: Option<f64>,
    ) -> Result<(), fmt::Error> {
        let samples = value.map(|value| (self.labels(None), value)).into_iter().collect();
        Self::family(encoder, name, meaning, None, samples)
    }

    fn family(
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        meaning: &str,
        unit: Option<&Unit>,
        samples: Vec<(Labels, f64)>,
    ) -> Result<(), fmt::Error> {
        let mut metric = encoder.encode_descriptor(name, meaning, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use super::*;

    fn line(text: &str, start: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    #[test]
    fn figures_are_shown_in_base_units_with_their_labels() {
        let figures = Figures {
            counts: BTreeMap::from([
                (("requests", Some("login")), 150.0),
                (("login_attempts", None), 4.0),
                (("login_successes", None), 3.0),
            ]),
            times: BTreeMap::from([("response_time", [Some(12.5), Some(80.0), None])]),
            levels: BTreeMap::from([
                ("active_sessions", 42.0),
                ("signing_key_age_days", 2.0),
                ("restore_proof_age_hours", 0.5),
            ]),
        };
        let text = text("shop-prod", figures).unwrap();
        assert!(text.ends_with("# EOF\n"));
        insta::assert_snapshot!(line(&text, "sallyport_re").join("\n"), @r#"
        sallyport_requests{deployment="shop-prod",function="login"} 150.0
        sallyport_requests{deployment="shop-prod",function="refresh"} 0.0
        sallyport_requests{deployment="shop-prod",function="mfa"} 0.0
        sallyport_requests{deployment="shop-prod",function="keys"} 0.0
        sallyport_requests{deployment="shop-prod",function="health"} 0.0
        sallyport_response_time_seconds{deployment="shop-prod",percentile="50"} 0.0125
        sallyport_response_time_seconds{deployment="shop-prod",percentile="95"} 0.08
        sallyport_reauthentications{deployment="shop-prod"} 0.0
        sallyport_reauthentication_failures{deployment="shop-prod"} 0.0
        sallyport_refreshes{deployment="shop-prod"} 0.0
        sallyport_refresh_failures{deployment="shop-prod"} 0.0
        sallyport_refresh_token_reuses{deployment="shop-prod"} 0.0
        sallyport_restore_proof_age_seconds{deployment="shop-prod"} 1800.0
        "#);
        insta::assert_snapshot!(line(&text, "sallyport_active").join("\n"), @r#"sallyport_active_sessions{deployment="shop-prod"} 42.0"#);
        assert_eq!(
            line(&text, "sallyport_signing_key"),
            ["sallyport_signing_key_age_seconds{deployment=\"shop-prod\"} 172800.0"]
        );
        assert_eq!(
            line(&text, "sallyport_restore_proof"),
            ["sallyport_restore_proof_age_seconds{deployment=\"shop-prod\"} 1800.0"]
        );
        insta::assert_snapshot!(line(&text, "sallyport_authentication").join("\n"), @r#"sallyport_authentication_success_rate{deployment="shop-prod"} 0.75"#);
        insta::assert_snapshot!(line(&text, "# HELP sallyport_response").join("\n"), @"# HELP sallyport_response_time_seconds Time in the function until the answer");
    }

    #[test]
    fn before_anything_has_happened_every_name_is_there_all_the_same() {
        let text = text("shop-prod", Figures::default()).unwrap();
        for wanted in ["response_time", "error_rate", "throughput", "cache_hit_ratio", "active_sessions"] {
            assert!(text.contains(&format!("# TYPE sallyport_{wanted}")), "{wanted}");
        }
        assert!(line(&text, "sallyport_cache_hit_ratio").is_empty(), "a ratio of nothing");
        assert_eq!(
            line(&text, "sallyport_error_rate"),
            ["sallyport_error_rate{deployment=\"shop-prod\"} 0.0"]
        );
    }
}
