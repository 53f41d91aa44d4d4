//! One measured value, as CloudWatch receives it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Names and values. CloudWatch aggregates over none of them: another set is another metric.
pub type Dimensions = BTreeMap<String, String>;

/// A value with its place and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Datum {
    pub namespace: String,
    pub metric: String,
    pub dimensions: Dimensions,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Datum {
    /// The metric that it belongs to.
    pub fn series(&self) -> Series {
        Series {
            namespace: self.namespace.clone(),
            metric: self.metric.clone(),
            dimensions: self.dimensions.clone(),
        }
    }
}

/// What CloudWatch calls a metric: namespace, name and the exact dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    pub namespace: String,
    pub metric: String,
    pub dimensions: Dimensions,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{:?}", self.namespace, self.metric, self.dimensions)
    }
}
