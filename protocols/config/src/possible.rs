//! Finds tests that no value can pass, from the protocol's description of its attributes.

use meltemi_frame::{KeySpec, Spec, ValueSet};

use crate::{AttributeMatch, Matcher, ValueMatch};

/// The reason why no value of an attribute passes a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// The problem.
    pub what: String,
    /// The text to write instead.
    pub remedy: String,
}

impl AttributeMatch {
    /// Returns the reason why no value of the attribute passes, negated or not. `None` if a value
    /// may pass.
    pub fn impossible(&self, spec: &Spec) -> Option<Impossible> {
        let key = spec.key(&self.name)?;
        impossible(&self.normalised(spec).matcher, key)
    }
}

impl ValueMatch {
    /// Returns the reason why no value of the attribute passes. `None` if a value may pass.
    pub fn impossible(&self, attribute: &str, spec: &Spec) -> Option<Impossible> {
        let matcher = match self {
            Self::Exact(text) => Matcher::Exact(text.clone()),
            Self::Prefix(text) => Matcher::Prefix(text.clone()),
            Self::Suffix(text) => Matcher::Suffix(text.clone()),
            Self::Present | Self::Block(_) => return None,
        };
        let test = AttributeMatch {
            name: attribute.to_owned(),
            matcher,
            negate: false,
        };
        test.impossible(spec)
    }
}

fn impossible(matcher: &Matcher, key: &KeySpec) -> Option<Impossible> {
    if let Matcher::Exact(text) | Matcher::Prefix(text) | Matcher::Suffix(text) = matcher {
        let found = key.never.iter().find(|(part, _)| text.contains(part));
        if let Some((part, instead)) = found {
            return Some(Impossible {
                what: format!("no `{}` ever {matcher}: none contains `{part}`", key.name),
                remedy: (*instead).to_owned(),
            });
        }
    }
    let (words, numbers) = match &key.values {
        ValueSet::Words(words) => (words, false),
        ValueSet::WordsOrNumbers(words) => (words, true),
        _ => return None,
    };
    let passes = words.iter().any(|word| matcher.test(word.as_bytes()));
    if passes || (numbers && can_be_a_number(matcher)) {
        return None;
    }
    Some(Impossible {
        what: format!("no `{}` ever {matcher}", key.name),
        remedy: format!("it can be {}", words.join(", ")),
    })
}

fn can_be_a_number(matcher: &Matcher) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match matcher {
        Matcher::Exact(text) => text.parse::<i64>().is_ok(),
        Matcher::Prefix(text) => digits(text.strip_prefix('-').unwrap_or(text)),
        Matcher::Suffix(text) => digits(text),
        Matcher::Present | Matcher::Regex(_) | Matcher::Range { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use meltemi_frame::Correlation;

    use super::*;
    use crate::WholeRegex;

    fn spec() -> Spec {
        let mut format = KeySpec::request("format", "f");
        format.values = ValueSet::WordsOrNumbers(vec!["json".into(), "none".into()]);
        Spec::new("test", "verb", Correlation::Id { bits: 32 }).keys([
            KeySpec::request("verb", "v")
                .ignore_case()
                .never(&[("|", "write two")]),
            KeySpec::request("class", "c")
                .ignore_case()
                .one_of(&["read", "write"]),
            format,
            KeySpec::request("free", "f"),
        ])
    }

    #[test]
    fn tests_that_no_value_passes_are_found() {
        let exact = |text: &str| Matcher::Exact(text.to_owned());
        let prefix = |text: &str| Matcher::Prefix(text.to_owned());
        let suffix = |text: &str| Matcher::Suffix(text.to_owned());
        let regex = |text: &str| Matcher::Regex(WholeRegex::new(text).unwrap());
        let range = Matcher::Range { start: 3, end: 5 };
        for (name, matcher, possible) in [
            ("verb", exact("CONFIG"), true),
            ("verb", exact("config|set"), false),
            ("verb", prefix("config|"), false),
            ("verb", regex("config|set"), true),
            ("class", exact("Write"), true),
            ("class", exact("writes"), false),
            ("class", prefix("RE"), true),
            ("class", suffix("x"), false),
            ("class", regex("READ|x"), true),
            ("class", regex("x+"), false),
            ("class", Matcher::Present, true),
            ("class", range.clone(), false),
            ("format", exact("json"), true),
            ("format", exact("JSON"), false),
            ("format", exact("7"), true),
            ("format", prefix("-1"), true),
            ("format", suffix("x"), false),
            ("format", range, true),
            ("free", exact("a|b"), true),
            ("unknown", exact("a"), true),
        ] {
            let test = AttributeMatch {
                name: name.to_owned(),
                matcher,
                negate: false,
            };
            let found = test.impossible(&spec());
            assert_eq!(found.is_none(), possible, "{test:?} {found:?}");
        }
        let value = ValueMatch::Exact("config|get".to_owned());
        let found = value.impossible("verb", &spec()).unwrap();
        assert_eq!(found.remedy, "write two");
    }
}
