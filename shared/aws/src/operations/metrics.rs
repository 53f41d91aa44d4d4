//! The deployment's figures, from CloudWatch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime,
    types::{Dimension, Metric as Address, MetricDataQuery, MetricStat, ScanBy},
};
use sallyport_core::{clock::Timestamp, store::StoreResult};
use sallyport_operations::metrics::{
    Figures, Kind, METRICS, Metric, QUANTILES, ReadMetrics, Reading, WINDOW,
};
use tokio::sync::Mutex;

use crate::platform::store::unavailable;

const NAMESPACE: &str = "Sallyport";

/// How long an answer serves: each metric that CloudWatch is asked for is paid.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Levels are written by schedules, some of them once a day.
const LEVELS_BACK: Duration = Duration::from_secs(26 * 60 * 60);

/// Reads with GetMetricData, one call for what happened in the window and one for levels.
#[derive(Debug)]
pub struct CloudWatchMetrics {
    client: Client,
    deployment: Arc<str>,
    last: Mutex<Option<(Timestamp, Figures)>>,
}

/// Where a value of an answer belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Count(&'static str, Option<&'static str>),
    Time(&'static str, usize),
    Level(&'static str),
}

#[derive(Debug)]
struct Wanted {
    place: Place,
    metric: &'static str,
    function: Option<&'static str>,
    statistic: String,
    period: i32,
}

impl CloudWatchMetrics {
    pub fn new(client: Client, deployment: &str) -> Self {
        Self { client, deployment: deployment.into(), last: Mutex::new(None) }
    }

    async fn figures(&self, now: Timestamp) -> StoreResult<Figures> {
        // Held while CloudWatch is asked: of many scrapes at once one asks.
        let mut last = self.last.lock().await;
        if let Some((at, figures)) = &*last
            && now.since(*at) < MAX_AGE
        {
            return Ok(figures.clone());
        }
        let (happened, levels): (Vec<_>, Vec<_>) =
            METRICS.iter().flat_map(wanted).partition(|wanted| !matches!(wanted.place, Place::Level(_)));
        // Whole minutes: the one under way is not complete.
        let end = Timestamp::from_seconds(now.seconds() / 60 * 60);
        let (happened, levels) =
            tokio::try_join!(self.ask(&happened, end, WINDOW), self.ask(&levels, end, LEVELS_BACK))?;
        let figures = assemble(happened.into_iter().chain(levels));
        *last = Some((now, figures.clone()));
        Ok(figures)
    }

    /// The values of each, newest first.
    async fn ask(
        &self,
        wanted: &[Wanted],
        end: Timestamp,
        back: Duration,
    ) -> StoreResult<Vec<(Place, Vec<f64>)>> {
        let ids: BTreeMap<String, Place> =
            wanted.iter().enumerate().map(|(index, wanted)| (format!("m{index}"), wanted.place)).collect();
        let queries = wanted.iter().enumerate().map(|(index, wanted)| {
            MetricDataQuery::builder().id(format!("m{index}")).metric_stat(self.statistic(wanted)).build()
        });
        let mut pages = self
            .client
            .get_metric_data()
            .set_metric_data_queries(Some(queries.collect()))
            .start_time(moment(end.minus(back)))
            .end_time(moment(end))
            .scan_by(ScanBy::TimestampDescending)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for result in page.map_err(unavailable("read metrics"))?.metric_data_results() {
                if let Some(place) = result.id().and_then(|id| ids.get(id)) {
                    found.push((*place, result.values().to_vec()));
                }
            }
        }
        Ok(found)
    }

    fn statistic(&self, wanted: &Wanted) -> MetricStat {
        let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
        let mut address = Address::builder()
            .namespace(NAMESPACE)
            .metric_name(wanted.metric)
            .dimensions(dimension("deployment", &self.deployment));
        if let Some(function) = wanted.function {
            address = address.dimensions(dimension("function", function));
        }
        MetricStat::builder().metric(address.build()).period(wanted.period).stat(&wanted.statistic).build()
    }
}

fn wanted(metric: &'static Metric) -> Vec<Wanted> {
    let one = |place, function, statistic: &str, period| Wanted {
        place,
        metric: metric.name,
        function,
        statistic: statistic.to_owned(),
        period,
    };
    match metric.kind {
        // By the minute, since a longer period may begin before the window does.
        Kind::Count if metric.by_function => metric
            .functions()
            .iter()
            .map(|function| one(Place::Count(metric.name, Some(function)), Some(*function), "Sum", 60))
            .collect(),
        Kind::Count | Kind::Rare => vec![one(Place::Count(metric.name, None), None, "Sum", 60)],
        Kind::Time => QUANTILES
            .iter()
            .enumerate()
            .map(|(index, quantile)| {
                let statistic = format!("p{}", quantile * 100.0);
                one(Place::Time(metric.name, index), None, &statistic, 300)
            })
            .collect(),
        Kind::Level => vec![one(Place::Level(metric.name), None, "Maximum", 300)],
        Kind::Floor => vec![one(Place::Level(metric.name), None, "Minimum", 300)],
    }
}

fn assemble(found: impl Iterator<Item = (Place, Vec<f64>)>) -> Figures {
    let mut figures = Figures::default();
    for (place, values) in found {
        // A metric that nobody has written in that time has no values; a long answer comes in several parts.
        let Some(newest) = values.first().copied() else { continue };
        match place {
            Place::Count(name, function) => {
                *figures.counts.entry((name, function)).or_default() += values.iter().sum::<f64>();
            }
            Place::Time(name, index) => {
                let percentiles = figures.times.entry(name).or_default();
                if let Some(percentile) = percentiles.get_mut(index) {
                    percentile.get_or_insert(newest);
                }
            }
            Place::Level(name) => {
                figures.levels.entry(name).or_insert(newest);
            }
        }
    }
    figures
}

fn moment(at: Timestamp) -> DateTime {
    DateTime::from_secs(i64::try_from(at.seconds()).unwrap_or(i64::MAX))
}

impl ReadMetrics for CloudWatchMetrics {
    fn read(&self, now: Timestamp) -> Reading<'_> {
        Box::pin(self.figures(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_asked_for_with_the_dimensions_it_is_emitted_with() {
        let all: Vec<_> = METRICS.iter().flat_map(wanted).collect();
        assert!(all.len() <= 500, "more than one call of GetMetricData takes");
        for metric in METRICS {
            let asked: Vec<_> = all.iter().filter(|wanted| wanted.metric == metric.name).collect();
            assert!(!asked.is_empty(), "{}", metric.name);
            assert!(
                asked.iter().all(|wanted| wanted.function.is_none() == metric.functions().is_empty()),
                "{}",
                metric.name
            );
        }
        let percentiles: Vec<_> = all
            .iter()
            .filter(|wanted| wanted.metric == "response_time")
            .map(|wanted| &*wanted.statistic)
            .collect();
        assert_eq!(percentiles, ["p50", "p95", "p99"]);
    }

    #[test]
    fn minutes_are_added_up_and_of_levels_the_newest_counts() {
        let figures = assemble(
            [
                (Place::Count("requests", Some("login")), vec![3.0, 4.0]),
                (Place::Count("requests", Some("login")), vec![5.0]),
                (Place::Count("lockouts", None), vec![]),
                (Place::Time("response_time", 1), vec![80.0, 20.0]),
                (Place::Level("active_sessions"), vec![7.0, 9.0]),
            ]
            .into_iter(),
        );
        assert_eq!(figures.counts, BTreeMap::from([(("requests", Some("login")), 12.0)]));
        assert_eq!(figures.times, BTreeMap::from([("response_time", [None, Some(80.0), None])]));
        assert_eq!(figures.levels, BTreeMap::from([("active_sessions", 7.0)]));
    }
}
