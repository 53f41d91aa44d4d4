//! Log lines in CloudWatch's Embedded Metric Format, read as CloudWatch reads them.

use serde_json::{Map, Value};

use crate::datum::{Datum, Dimensions};

/// Why CloudWatch takes no metrics from a line. Each is counted, as a metric of `AWS/Logs` by the name of [`Fault::metric`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is meant to be one, and is not.
    Parsing(String),
    /// A metric or a dimension of it is not allowed.
    Validation(String),
}

impl Fault {
    /// The metric of `AWS/Logs` that counts it.
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::Parsing(_) => "EMFParsingErrors",
            Self::Validation(_) => "EMFValidationErrors",
        }
    }
}

const MOST_METRICS: usize = 100;
const MOST_DIMENSIONS: usize = 30;
const MOST_VALUES: usize = 100;
const LONGEST_NAME: usize = 1024;

/// The units that CloudWatch knows.
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// The metrics of a line; none of a line that is not meant to have any.
///
/// # Errors
/// [`Fault`], as CloudWatch counts it.
pub fn read(line: &str) -> Result<Vec<Datum>, Fault> {
    if !line.contains("\"CloudWatchMetrics\"") {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_str(line).map_err(|error| Fault::Parsing(error.to_string()))?;
    read_value(&value)
}

/// As [`read`], of a line that was parsed.
///
/// # Errors
/// [`Fault`], as CloudWatch counts it.
pub fn read_value(line: &Value) -> Result<Vec<Datum>, Fault> {
    let Some(root) = line.as_object() else { return Ok(Vec::new()) };
    let Some(header) = root.get("_aws") else { return Ok(Vec::new()) };
    let parsing = |what: &str| Fault::Parsing(what.to_owned());
    let directives = header.get("CloudWatchMetrics").and_then(Value::as_array);
    let directives = directives.ok_or_else(|| parsing("CloudWatchMetrics is no array"))?;
    let at =
        header.get("Timestamp").and_then(Value::as_u64).ok_or_else(|| parsing("Timestamp is no number"))?;
    let mut data = Vec::new();
    for directive in directives {
        read_directive(root, directive, at, &mut data)?;
    }
    Ok(data)
}

fn read_directive(
    root: &Map<String, Value>,
    directive: &Value,
    at: u64,
    data: &mut Vec<Datum>,
) -> Result<(), Fault> {
    let invalid = |what: String| Fault::Validation(what);
    let namespace = directive.get("Namespace").and_then(Value::as_str).unwrap_or_default();
    if namespace.is_empty() || namespace.len() > LONGEST_NAME {
        return Err(invalid("a directive has no namespace".to_owned()));
    }
    let list =
        |name: &str| directive.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let metrics = list("Metrics");
    if metrics.is_empty() || metrics.len() > MOST_METRICS {
        return Err(invalid(format!("{} metrics in a directive", metrics.len())));
    }
    let sets: Vec<Dimensions> =
        list("Dimensions").iter().map(|set| dimensions(root, set)).collect::<Result<_, _>>()?;
    for metric in metrics {
        let name = metric.get("Name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(invalid("a metric has no name".to_owned()));
        }
        let unit = metric.get("Unit").and_then(Value::as_str);
        if let Some(unknown) = unit.filter(|unit| !UNITS.contains(unit)) {
            return Err(invalid(format!("{name} has the unit {unknown}")));
        }
        let values = values(root.get(name)).ok_or_else(|| invalid(format!("{name} is no number")))?;
        for dimensions in &sets {
            data.extend(values.iter().map(|value| Datum {
                namespace: namespace.to_owned(),
                metric: name.to_owned(),
                dimensions: dimensions.clone(),
                at,
                value: *value,
                unit: unit.map(str::to_owned),
            }));
        }
    }
    Ok(())
}

fn dimensions(root: &Map<String, Value>, set: &Value) -> Result<Dimensions, Fault> {
    let names =
        set.as_array().ok_or_else(|| Fault::Validation("a set of dimensions is no array".to_owned()))?;
    if names.len() > MOST_DIMENSIONS {
        return Err(Fault::Validation(format!("{} dimensions", names.len())));
    }
    names
        .iter()
        .map(|name| {
            let name = name.as_str().unwrap_or_default();
            let value = root.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| Fault::Validation(format!("dimension {name:?} has no value")))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn values(value: Option<&Value>) -> Option<Vec<f64>> {
    match value? {
        Value::Array(values) if values.len() <= MOST_VALUES => values.iter().map(Value::as_f64).collect(),
        single => single.as_f64().map(|value| vec![value]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn line() -> Value {
        json!({
            "_aws": {"Timestamp": 1_785_506_531_000_u64, "CloudWatchMetrics": [
                {"Namespace": "Sallyport", "Dimensions": [["deployment"], ["deployment", "function"]],
                 "Metrics": [{"Name": "requests"}, {"Name": "response_time", "Unit": "Milliseconds"}]},
                {"Namespace": "Sallyport", "Dimensions": [["deployment"]], "Metrics": [{"Name": "lockouts"}]},
            ]},
            "deployment": "shop-prod", "function": "login", "requests": 1, "response_time": [12.5, 3], "lockouts": 0, "route": "/x",
        })
    }

    fn changed(pointer: &str, value: Value) -> Result<Vec<Datum>, Fault> {
        let mut line = line();
        *line.pointer_mut(pointer).unwrap() = value;
        read(&line.to_string())
    }

    #[test]
    fn a_line_is_a_datum_for_each_metric_set_of_dimensions_and_value() {
        let data = read(&line().to_string()).unwrap();
        let shown: Vec<_> = data
            .iter()
            .map(|datum| (datum.metric.as_str(), datum.dimensions.len(), datum.value.to_string()))
            .collect();
        let expected = [
            ("requests", 1, "1"),
            ("requests", 2, "1"),
            ("response_time", 1, "12.5"),
            ("response_time", 1, "3"),
            ("response_time", 2, "12.5"),
            ("response_time", 2, "3"),
            ("lockouts", 1, "0"),
        ];
        assert_eq!(shown, expected.map(|(name, dimensions, value)| (name, dimensions, value.to_owned())));
        assert!(data.iter().all(|datum| datum.at == 1_785_506_531_000 && datum.namespace == "Sallyport"));
        assert_eq!(data[1].dimensions["function"], "login");
    }

    #[test]
    fn other_lines_have_no_metrics() {
        for other in ["", "plain", "{\"message\":\"request\"}", "[1]"] {
            assert_eq!(read(other), Ok(Vec::new()));
        }
    }

    #[test]
    fn what_is_meant_to_be_one_and_is_not_is_a_parsing_error() {
        let text = line().to_string();
        let cut = text.get(..text.len() / 2).unwrap();
        assert!(matches!(read(cut), Err(Fault::Parsing(_))), "{cut}");
        assert_eq!(read(cut).unwrap_err().metric(), "EMFParsingErrors");
        assert!(matches!(changed("/_aws/Timestamp", json!("now")), Err(Fault::Parsing(_))));
        assert!(matches!(changed("/_aws/CloudWatchMetrics", json!({})), Err(Fault::Parsing(_))));
    }

    #[test]
    fn what_is_not_allowed_is_a_validation_error() {
        let first = "/_aws/CloudWatchMetrics/0";
        for (pointer, value) in [
            ("/requests", json!("1")),
            ("/requests", Value::Null),
            ("/deployment", json!(1)),
            ("/deployment", json!("")),
            (&format!("{first}/Namespace"), json!("")),
            (&format!("{first}/Metrics"), json!([])),
            (&format!("{first}/Metrics"), json!(vec![json!({"Name": "requests"}); 101])),
            (&format!("{first}/Metrics/0/Name"), json!("absent")),
            (&format!("{first}/Metrics/1/Unit"), json!("Hours")),
            (&format!("{first}/Dimensions"), json!([vec!["deployment"; 31]])),
        ] {
            let read = changed(pointer, value);
            assert!(matches!(read, Err(Fault::Validation(_))), "{pointer}: {read:?}");
            assert_eq!(read.unwrap_err().metric(), "EMFValidationErrors");
        }
    }
}
