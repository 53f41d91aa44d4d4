//! How the values of a period become one.

use std::str::FromStr;

/// A statistic of CloudWatch, or one percentile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    SampleCount,
    Sum,
    Average,
    Minimum,
    Maximum,
    /// From 0 to 100.
    Percentile(f64),
}

impl FromStr for Statistic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "SampleCount" => Self::SampleCount,
            "Sum" => Self::Sum,
            "Average" => Self::Average,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                let percentile = text.strip_prefix('p').and_then(|number| number.parse::<f64>().ok());
                let within = percentile.filter(|percentile| (0.0..=100.0).contains(percentile));
                Self::Percentile(within.ok_or_else(|| format!("{text} is no statistic that is known here"))?)
            }
        })
    }
}

impl Statistic {
    /// The statistic of ascending values, none for no values.
    pub(crate) fn of(self, ascending: &[f64]) -> Option<f64> {
        let (first, last) = (ascending.first()?, ascending.last()?);
        let count = count(ascending);
        Some(match self {
            Self::SampleCount => count,
            Self::Sum => ascending.iter().sum(),
            Self::Average => ascending.iter().sum::<f64>() / count,
            Self::Minimum => *first,
            Self::Maximum => *last,
            Self::Percentile(percentile) => {
                // The smallest value that at least this share of the values does not exceed.
                let rank = percentile / 100.0 * count;
                let position = (1_usize..).zip(ascending).find(|(position, _)| as_number(*position) >= rank);
                position.map_or(*last, |(_, value)| *value)
            }
        })
    }

    /// Whether CloudWatch calls a percentile of so many values significant: 10/(1 - percentile) above the median,
    /// 10/percentile below.
    pub(crate) fn is_significant(self, values: &[f64]) -> bool {
        let Self::Percentile(percentile) = self else { return true };
        let share = percentile / 100.0;
        let tail = if share >= 0.5 { 1.0 - share } else { share };
        // One part in a million: 10/(1 - 0.95) is 200, whatever the last bit of 0.95 says.
        count(values) * tail >= 10.0 - 1e-6
    }
}

fn count(values: &[f64]) -> f64 {
    as_number(values.len())
}

#[expect(clippy::cast_precision_loss, reason = "counts of values stay far below 2^52")]
pub(crate) fn as_number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]

    use super::*;

    #[test]
    fn the_statistics_of_the_documentation() {
        let values = [1.0, 2.0, 3.0, 10.0];
        let of = |name: &str| name.parse::<Statistic>().unwrap().of(&values).unwrap();
        assert_eq!(
            [of("SampleCount"), of("Sum"), of("Average"), of("Minimum"), of("Maximum")],
            [4.0, 16.0, 4.0, 1.0, 10.0]
        );
        assert_eq!("Sum".parse::<Statistic>().unwrap().of(&[]), None);
        assert!("tm95".parse::<Statistic>().is_err() && "p101".parse::<Statistic>().is_err());
    }

    #[test]
    fn ninety_five_of_a_hundred_values_do_not_exceed_p95() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!("p95".parse::<Statistic>().unwrap().of(&hundred), Some(95.0));
        assert_eq!("p99.5".parse::<Statistic>().unwrap().of(&hundred), Some(100.0));
        assert_eq!("p50".parse::<Statistic>().unwrap().of(&[7.0]), Some(7.0));
        assert_eq!("p0".parse::<Statistic>().unwrap().of(&hundred), Some(1.0));
    }

    /// "p99 needs 1,000 samples, p5 needs 200": 10/(1 - percentile) from 0.5 on, 10/percentile below.
    #[test]
    fn a_percentile_needs_enough_values_to_be_significant() {
        let significant =
            |name: &str, count: usize| name.parse::<Statistic>().unwrap().is_significant(&vec![0.0; count]);
        assert!(significant("p95", 200) && !significant("p95", 199));
        assert!(significant("p99", 1_000) && !significant("p99", 999));
        assert!(significant("p50", 20) && !significant("p50", 19));
        assert!(significant("p5", 200) && !significant("p5", 199));
        assert!(significant("Average", 1));
    }
}
