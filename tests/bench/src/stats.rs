//! Figures: no means, since one slow sample of a shared machine moves a mean and not a median.

/// The smallest, the middle and the largest of some measurements.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        Self { min: quantile(&sorted, 0.0), median: quantile(&sorted, 0.5), max: quantile(&sorted, 1.0) }
    }

    /// `min / median / max` with that many decimals.
    pub(crate) fn show(self, decimals: usize) -> String {
        format!("{:.decimals$} / **{:.decimals$}** / {:.decimals$}", self.min, self.median, self.max)
    }
}

pub(crate) fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    quantile(&sorted(samples), 0.5)
}

/// The nearest rank; 0 of nothing.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of samples are far below 2^52"
)]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The two-sided sign test over paired differences: the chance of a split at least this uneven between equals.
#[expect(clippy::cast_precision_loss, reason = "counts of samples are far below 2^52")]
pub(crate) fn sign_test(differences: &[f64]) -> f64 {
    let above = differences.iter().filter(|difference| **difference > 0.0).count() as f64;
    let below = differences.iter().filter(|difference| **difference < 0.0).count() as f64;
    let n = above + below;
    if n == 0.0 {
        return 1.0;
    }
    // The normal approximation with correction for continuity: hundreds of pairs.
    let z = (((above - below).abs() - 1.0) / n.sqrt()).max(0.0);
    erfc(z / std::f64::consts::SQRT_2).min(1.0)
}

/// Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let polynomial = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    polynomial * (-x * x).exp()
}

/// Holm's correction: the probabilities, adjusted, in their order.
#[expect(clippy::cast_precision_loss, reason = "a handful of tests")]
pub(crate) fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = (0..probabilities.len()).collect();
    let value = |index: usize| probabilities.get(index).copied().unwrap_or(1.0);
    order.sort_by(|left, right| value(*left).total_cmp(&value(*right)));
    let mut adjusted = vec![1.0; probabilities.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let remaining = (probabilities.len() - rank) as f64;
        largest = largest.max((value(index) * remaining).min(1.0));
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = largest;
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_medians() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((quantile(&samples, 0.5) - 50.0).abs() < f64::EPSILON);
        assert!((quantile(&samples, 0.99) - 99.0).abs() < f64::EPSILON);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn an_even_split_says_nothing_and_an_uneven_one_does() {
        let even: Vec<f64> = (0..1000).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(sign_test(&even) > 0.9);
        let uneven: Vec<f64> = (0..1000).map(|i| if i % 5 < 3 { 1.0 } else { -1.0 }).collect();
        assert!(sign_test(&uneven) < 1e-6, "{}", sign_test(&uneven));
        // 550 of 1000: z = 3.13, p = 0.0017.
        let some: Vec<f64> = (0..1000).map(|i| if i < 550 { 1.0 } else { -1.0 }).collect();
        assert!((sign_test(&some) - 0.001_75).abs() < 0.000_1, "{}", sign_test(&some));
    }

    #[test]
    fn holm_is_stepwise_and_monotone() {
        let adjusted = holm(&[0.01, 0.04, 0.03]);
        assert!((adjusted[0] - 0.03).abs() < 1e-12);
        assert!((adjusted[2] - 0.06).abs() < 1e-12);
        assert!((adjusted[1] - 0.06).abs() < 1e-12);
    }
}
