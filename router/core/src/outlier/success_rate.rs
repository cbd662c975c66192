//! Finds the endpoints whose success rate is far below that of the others.

use meltemi_config::SuccessRate;

/// Returns the endpoints to eject, by their success rates, the worst first.
pub(super) fn outliers(mut rates: Vec<(usize, f64)>, config: &SuccessRate) -> Vec<usize> {
    let hosts = usize::try_from(config.hosts).unwrap_or(usize::MAX);
    if rates.is_empty() || rates.len() < hosts {
        return Vec::new();
    }
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let squares: f64 = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum();
    let deviation = (squares / count).sqrt();
    let threshold = mean - deviation * f64::from(config.deviation) / 1000.0;
    rates.retain(|&(_, rate)| rate < threshold);
    rates.sort_by(|one, other| one.1.total_cmp(&other.1));
    rates.into_iter().map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rates: &[f64], hosts: u32) -> Vec<usize> {
        let config = SuccessRate {
            hosts,
            requests: 100,
            deviation: 1900,
        };
        outliers(rates.iter().copied().enumerate().collect(), &config)
    }

    #[test]
    fn who_is_far_below_the_others_is_an_outlier() {
        let mut rates = vec![0.99; 20];
        rates[7] = 0.5;
        assert_eq!(of(&rates, 5), [7]);
        rates[3] = 0.3;
        assert_eq!(of(&rates, 5), [3, 7], "the worst comes first");
    }

    #[test]
    fn all_the_same_is_nobody_and_so_are_too_few() {
        assert_eq!(of(&[0.1; 10], 5), [0; 0]);
        let mut rates = vec![1.0; 9];
        rates[0] = 0.0;
        assert_eq!(of(&rates, 9), [0]);
        assert_eq!(of(&rates, 10), [0; 0]);
        assert_eq!(of(&[], 0), [0; 0]);
    }

    #[test]
    fn rounding_ejects_nobody() {
        // The mean of equal rates need not be the same number.
        for rate in [0.1, 0.3, 0.7, 0.9] {
            for count in 5..50 {
                assert_eq!(of(&vec![rate; count], 5), [0; 0], "{count} of {rate}");
            }
        }
    }
}
