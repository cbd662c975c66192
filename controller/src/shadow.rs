//! Lists of tests that are tried in order: finds the lists that no request can reach, because an
//! earlier list takes all of their requests. This module knows only which tests are equal, not what
//! they mean.

use std::collections::HashMap;

use meltemi_config::AttributeMatch;

/// Lists of tests, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Shadows {
    ids: HashMap<String, usize>,
    /// Indexes of lists by one of their tests: the test with the fewest lists at that time.
    by_test: HashMap<usize, Vec<usize>>,
    lists: Vec<Vec<usize>>,
    /// The first list without tests.
    all: Option<usize>,
}

/// The reason why a list is never reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The earlier list has no tests.
    Everything,
    /// The earlier list has the same tests.
    Same,
    /// The earlier list has some of the same tests, and no others.
    Fewer,
}

impl Why {
    /// Describes the earlier list in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Everything => "takes every request",
            Self::Same => "has the same tests",
            Self::Fewer => "has fewer of the same tests",
        }
    }
}

impl Shadows {
    /// Adds a list after the others. Returns the position of an earlier list that takes all of its
    /// requests; `None` if there is none.
    pub(crate) fn add(&mut self, tests: &[AttributeMatch]) -> Option<(usize, Why)> {
        let own = self.identified(tests);
        let found = self.shadow(&own);
        let at = self.lists.len();
        let rarest = own.iter().copied().min_by_key(|id| {
            let found_by = self.by_test.get(id);
            found_by.map_or(0, Vec::len)
        });
        // A list that is never reached is not stored: its shadow already covers the lists after it.
        match rarest {
            _ if found.is_some() => {}
            None => self.all = Some(at),
            Some(id) => self.by_test.entry(id).or_default().push(at),
        }
        self.lists.push(own);
        found
    }

    /// Returns the tests as numbers, sorted and without duplicates.
    fn identified(&mut self, tests: &[AttributeMatch]) -> Vec<usize> {
        let mut own: Vec<usize> = tests
            .iter()
            .map(|test| {
                let next = self.ids.len();
                let key = format!("{} {} {}", test.name, test.negate, test.matcher);
                *self.ids.entry(key).or_insert(next)
            })
            .collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    fn shadow(&self, own: &[usize]) -> Option<(usize, Why)> {
        if let Some(all) = self.all {
            return Some((all, Why::Everything));
        }
        let candidates = own.iter().filter_map(|id| self.by_test.get(id)).flatten();
        let first = candidates
            .copied()
            .filter(|at| {
                let list = self.lists.get(*at);
                list.is_some_and(|list| list.iter().all(|id| own.binary_search(id).is_ok()))
            })
            .min()?;
        let same = self.lists.get(first).map(Vec::len) == Some(own.len());
        Some((first, if same { Why::Same } else { Why::Fewer }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_config::Matcher;

    fn list(names: &str) -> Vec<AttributeMatch> {
        let test = |name: &str| AttributeMatch {
            name: name.trim_start_matches('!').to_owned(),
            matcher: Matcher::Present,
            negate: name.starts_with('!'),
        };
        names.split_whitespace().map(test).collect()
    }

    #[test]
    fn a_list_is_reached_unless_an_earlier_one_asks_for_no_more() {
        let mut all = Shadows::default();
        let found: Vec<_> = ["a b", "b a a", "a c", "a b c", "!a b", "b", "c b", "", "d"]
            .iter()
            .map(|names| all.add(&list(names)))
            .collect();
        assert_eq!(
            found,
            [
                None,
                Some((0, Why::Same)),
                None,
                Some((0, Why::Fewer)),
                None,
                None,
                Some((5, Why::Fewer)),
                None,
                Some((7, Why::Everything)),
            ]
        );
    }

    #[test]
    fn agrees_with_comparing_every_pair() {
        // Every list of four tests, in a mixed order that is always the same.
        let mut all = Shadows::default();
        let mut before: Vec<u32> = Vec::new();
        for step in 0..64_u32 {
            let bits = step.wrapping_mul(11).wrapping_add(7) % 16;
            let names: Vec<String> = (0..4)
                .filter(|bit| bits & (1 << bit) != 0)
                .map(|bit| format!("t{bit}"))
                .collect();
            let expected = before.iter().any(|other| other & bits == *other);
            assert_eq!(
                all.add(&list(&names.join(" "))).is_some(),
                expected,
                "{bits:04b} behind {before:?}"
            );
            before.push(bits);
        }
    }
}
