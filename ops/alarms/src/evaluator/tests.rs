#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::{cloudformation::Parameters, datum::Dimensions};

const TEMPLATE: &str = r#"
Parameters:
  Deployment: {Type: String}
  Limit: {Type: Number, Default: 10}
Resources:
  Rate:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub "${Deployment}-rate"
      AlarmDescription: "Users wait.\nSeverity: warning\nRunbook: https://example.com/rate.md\nFirst: sallyport doctor"
      Metrics:
        - {Id: n, ReturnData: false, MetricStat: {Metric: {Namespace: S, MetricName: requests, Dimensions: [{Name: deployment, Value: shop}]}, Period: 60, Stat: Sum}}
        - {Id: e, ReturnData: false, MetricStat: {Metric: {Namespace: S, MetricName: errors, Dimensions: [{Name: deployment, Value: shop}]}, Period: 60, Stat: Sum}}
        - {Id: rate, Expression: "IF(n >= 20, 100 * e / n, 0)"}
      EvaluationPeriods: 2
      DatapointsToAlarm: 2
      Threshold: !Ref Limit
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
  Slow:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub "${Deployment}-slow"
      AlarmDescription: "Slow.\nSeverity: warning"
      Namespace: S
      MetricName: time
      ExtendedStatistic: p95
      EvaluateLowSampleCountPercentile: ignore
      Period: 60
      EvaluationPeriods: 1
      Threshold: 100
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
  Table:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub "${Deployment}-table"
      AlarmDescription: "Table.\nSeverity: warning"
      AlarmActions: [topic]
      OKActions: [topic]
      Namespace: AWS/DynamoDB
      MetricName: ThrottledRequests
      Statistic: Sum
      Period: 60
      EvaluationPeriods: 1
      Threshold: 0
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
  Down:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub "${Deployment}-down"
      AlarmDescription: "Down.\nSeverity: critical"
      Namespace: S
      MetricName: ready
      Statistic: Average
      Period: 60
      EvaluationPeriods: 1
      Threshold: 1
      ComparisonOperator: LessThanThreshold
      TreatMissingData: notBreaching
  Page:
    Type: AWS::CloudWatch::CompositeAlarm
    Properties:
      AlarmName: !Sub "${Deployment}-page"
      AlarmDescription: "Page.\nSeverity: critical"
      AlarmActions: [pager]
      OKActions: [pager]
      AlarmRule: !Sub 'ALARM("${Down}")'
  Degraded:
    Type: AWS::CloudWatch::CompositeAlarm
    Properties:
      AlarmName: !Sub "${Deployment}-degraded"
      AlarmDescription: "Degraded.\nSeverity: warning"
      AlarmActions: [desk]
      OKActions: [desk]
      AlarmRule: !Sub 'ALARM("${Rate}") OR ALARM("${Page}") AND NOT ALARM("${Page}")'
      ActionsSuppressor: !Ref Page
      ActionsSuppressorWaitPeriod: 120
      ActionsSuppressorExtensionPeriod: 60
"#;

fn evaluator() -> Evaluator {
    let parameters = Parameters::from([("Deployment".to_owned(), "shop".to_owned())]);
    Evaluator::new(Template::load(TEMPLATE, &parameters).unwrap(), 0)
}

fn datum(namespace: &str, metric: &str, deployment: Option<&str>, minute: u64, value: f64) -> Datum {
    Datum {
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        dimensions: deployment.map(|name| ("deployment".to_owned(), name.to_owned())).into_iter().collect(),
        at: minute * MINUTE_MS + 1,
        value,
        unit: None,
    }
}

/// Requests and errors of a minute.
fn traffic(minute: u64, requests: u32, errors: u32) -> Vec<Datum> {
    (0..requests)
        .flat_map(|number| {
            let error = f64::from(u8::from(number < errors));
            [
                datum("S", "requests", Some("shop"), minute, 1.0),
                datum("S", "errors", Some("shop"), minute, error),
            ]
        })
        .collect()
}

fn told(evaluator: &Evaluator) -> Vec<(u64, &str, State)> {
    evaluator
        .notifications()
        .iter()
        .map(|note| (note.at / MINUTE_MS, note.alarm.as_str(), note.state))
        .collect()
}

#[test]
fn an_alarm_fires_after_its_periods_and_clears_with_them() {
    let mut evaluator = evaluator();
    evaluator
        .add((1..6).flat_map(|minute| traffic(minute, 20, if (2..4).contains(&minute) { 3 } else { 2 })));
    evaluator.run_until(6 * MINUTE_MS);
    let changes: Vec<_> = evaluator
        .transitions()
        .iter()
        .filter(|change| change.alarm == "rate")
        .map(|change| (change.at / MINUTE_MS, change.to, change.reason.as_str()))
        .collect();
    assert_eq!(
        changes,
        [(1, State::Ok, "-"), (4, State::Alarm, "- 10 15 15"), (5, State::Ok, "10 15 15 10")]
    );
}

#[test]
fn another_set_of_dimensions_is_another_metric() {
    let mut evaluator = evaluator();
    let mut both: Dimensions = [("deployment".to_owned(), "shop".to_owned())].into();
    both.insert("function".to_owned(), "login".to_owned());
    for minute in 1..5 {
        evaluator.add(
            traffic(minute, 20, 20).into_iter().map(|datum| Datum { dimensions: both.clone(), ..datum }),
        );
    }
    evaluator.run_until(5 * MINUTE_MS);
    assert_eq!(evaluator.state("rate"), Some(State::Ok));
    let (read, written) =
        (traffic(1, 1, 0)[0].series(), Series { dimensions: both, ..traffic(1, 1, 0)[0].series() });
    assert!(!evaluator.has_data(&read) && evaluator.has_data(&written));
}

#[test]
fn a_percentile_of_few_values_leaves_the_alarm_as_it_is() {
    let mut evaluator = evaluator();
    let slow = |minute, count| (0..count).map(move |_| datum("S", "time", None, minute, 500.0));
    evaluator.add(slow(1, 199).chain(slow(2, 200)).chain(slow(3, 5)));
    evaluator.run_until(2 * MINUTE_MS);
    assert_eq!(evaluator.state("slow"), Some(State::Ok));
    evaluator.run_until(4 * MINUTE_MS);
    assert_eq!(evaluator.state("slow"), Some(State::Alarm));
    assert_eq!(evaluator.reason("slow").unwrap(), "few 500 few");
    evaluator.run_until(9 * MINUTE_MS);
    assert_eq!(evaluator.state("slow"), Some(State::Ok));
}

#[test]
fn an_alarm_on_dynamodb_ignores_what_is_missing_whatever_it_says() {
    let mut evaluator = evaluator();
    evaluator.add([datum("AWS/DynamoDB", "ThrottledRequests", None, 1, 3.0)]);
    evaluator.run_until(60 * MINUTE_MS);
    assert_eq!(evaluator.state("table"), Some(State::Alarm));
    evaluator.add([datum("AWS/DynamoDB", "ThrottledRequests", None, 60, 0.0)]);
    evaluator.run_until(61 * MINUTE_MS);
    assert_eq!(told(&evaluator), [(2, "table", State::Alarm), (61, "table", State::Ok)]);
}

#[test]
fn one_cause_pages_once_and_the_other_composite_is_silent() {
    let mut evaluator = evaluator();
    for minute in 1..12 {
        let broken = (3..8).contains(&minute);
        evaluator.add(traffic(minute, 20, if broken { 20 } else { 0 }));
        evaluator.add([datum("S", "ready", None, minute, f64::from(u8::from(!(4..8).contains(&minute))))]);
    }
    evaluator.run_until(12 * MINUTE_MS);
    assert_eq!(told(&evaluator), [(5, "page", State::Alarm), (9, "page", State::Ok)]);
    let degraded: Vec<_> =
        evaluator.transitions().iter().filter(|change| change.alarm == "degraded").collect();
    assert_eq!(
        degraded.iter().map(|change| change.to).collect::<Vec<_>>(),
        [State::Ok, State::Alarm, State::Ok]
    );
}

#[test]
fn a_composite_without_its_suppressor_tells_after_the_wait() {
    let mut evaluator = evaluator();
    evaluator.add((1..9).flat_map(|minute| traffic(minute, 20, if minute < 6 { 20 } else { 0 })));
    evaluator.run_until(9 * MINUTE_MS);
    assert_eq!(told(&evaluator), [(5, "degraded", State::Alarm), (7, "degraded", State::Ok)]);
}

#[test]
fn what_outlasts_its_suppressor_is_told_after_the_extension() {
    let mut evaluator = evaluator();
    for minute in 1..12 {
        evaluator.add(traffic(minute, 20, 20));
        evaluator.add([datum("S", "ready", None, minute, f64::from(u8::from(minute >= 5)))]);
    }
    evaluator.run_until(12 * MINUTE_MS);
    assert_eq!(
        told(&evaluator),
        [(2, "page", State::Alarm), (6, "page", State::Ok), (7, "degraded", State::Alarm)]
    );
}

#[test]
fn time_that_was_skipped_changes_nothing() {
    let mut evaluator = evaluator();
    evaluator.add((1..3).flat_map(|minute| traffic(minute, 20, 20)));
    evaluator.run_until(3 * MINUTE_MS);
    let before = evaluator.transitions().len();
    evaluator.skip_to(90 * 24 * 60 * MINUTE_MS);
    assert_eq!((evaluator.transitions().len(), evaluator.firing()), (before, vec!["degraded", "rate"]));
}

proptest! {
    /// CloudWatch takes values as they come.
    #[test]
    fn the_order_of_data_does_not_matter(
        values in prop::collection::vec((1_u64..8, 0_u8..3, 0.0_f64..200.0), 0..300),
        seed in any::<prop::sample::Index>(),
    ) {
        let data: Vec<Datum> = values
            .iter()
            .map(|(minute, kind, value)| match kind {
                0 => datum("S", "requests", Some("shop"), *minute, *value),
                1 => datum("S", "errors", Some("shop"), *minute, *value / 10.0),
                _ => datum("S", "time", None, *minute, *value),
            })
            .collect();
        let mut shuffled = data.clone();
        if !shuffled.is_empty() {
            let at = seed.index(shuffled.len());
            shuffled.rotate_left(at);
            shuffled.reverse();
        }
        let run = |data: Vec<Datum>| {
            let mut evaluator = evaluator();
            evaluator.add(data);
            evaluator.run_until(10 * MINUTE_MS);
            (evaluator.transitions().to_vec(), evaluator.notifications().to_vec())
        };
        prop_assert_eq!(run(data), run(shuffled));
    }
}
