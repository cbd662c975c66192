//! "Did you mean": finds the known word nearest to a mistyped one.

/// Returns the nearest candidate. `None` if no candidate is near enough.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let enough = (word.chars().count().div_ceil(3)).clamp(1, 3);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the edit distance: how many letters must be inserted, removed, changed or swapped with
/// their neighbour. Case does not count.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(&a.to_lowercase(), &b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        for (word, candidate, expected) in [
            ("metod", "method", 1),
            ("mehtod", "method", 1),
            ("Method", "method", 0),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(word, candidate), expected, "{word}");
        }
        let known = ["host", "subsets", "trafficPolicy"];
        assert_eq!(nearest("hots", known.into_iter()), Some("host"));
        assert_eq!(
            nearest("trafikPolicy", known.into_iter()),
            Some("trafficPolicy")
        );
        assert_eq!(nearest("ports", known.into_iter()), None);
    }
}
