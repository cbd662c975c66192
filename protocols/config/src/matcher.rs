//! Tests of one attribute, as routes and rules use them.

use std::fmt;

use meltemi_frame::Spec;
use regex::bytes::{Regex, RegexBuilder};

/// A test of one attribute. All tests of a route must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeMatch {
    /// The attribute, as its protocol names it.
    pub name: String,
    /// The test. An attribute with several values passes if one of them does.
    pub matcher: Matcher,
    /// `true` if the test must fail instead. An absent attribute always fails, negated or not.
    pub negate: bool,
}

/// A test of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// The attribute is present, with any value.
    Present,
    /// The value equals this text.
    Exact(String),
    /// The value starts with this text.
    Prefix(String),
    /// The value ends with this text.
    Suffix(String),
    /// The whole value matches this pattern.
    Regex(WholeRegex),
    /// The value is a decimal integer from `start` up to, but not including, `end`.
    Range {
        /// The first integer in the range.
        start: i64,
        /// The first integer past the range.
        end: i64,
    },
}

impl Matcher {
    /// Returns `true` if the value passes.
    pub fn test(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
            Self::Regex(regex) => regex.is_match(value),
            Self::Range { start, end } => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        }
    }
}

impl AttributeMatch {
    /// Returns the same test with its values in the codec's form: lower case if the protocol
    /// ignores case.
    #[must_use]
    pub fn normalised(&self, spec: &Spec) -> Self {
        if !spec.ignores_case(&self.name) {
            return self.clone();
        }
        let lower = |text: &String| text.to_ascii_lowercase();
        let matcher = match &self.matcher {
            Matcher::Exact(text) => Matcher::Exact(lower(text)),
            Matcher::Prefix(text) => Matcher::Prefix(lower(text)),
            Matcher::Suffix(text) => Matcher::Suffix(lower(text)),
            Matcher::Regex(regex) => Matcher::Regex(regex.ignoring_case()),
            other @ (Matcher::Present | Matcher::Range { .. }) => other.clone(),
        };
        Self {
            matcher,
            ..self.clone()
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("is present"),
            Self::Exact(exact) => write!(f, "is `{exact}`"),
            Self::Prefix(prefix) => write!(f, "starts with `{prefix}`"),
            Self::Suffix(suffix) => write!(f, "ends with `{suffix}`"),
            Self::Regex(regex) => write!(f, "matches `{}`", regex.pattern()),
            Self::Range { start, end } => write!(f, "is in {start}..{end}"),
        }
    }
}

/// A regular expression that must match the whole value, as in Istio and Envoy. Its cost is linear,
/// and its syntax is close to RE2's.
#[derive(Clone, Debug)]
pub struct WholeRegex {
    pattern: Box<str>,
    regex: Regex,
}

/// The pattern is not a regular expression, or its compiled form exceeds the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a regular expression that can be used: {0}")]
pub struct PatternError(String);

/// The maximum memory of a compiled pattern, in bytes. The authors of patterns may be different
/// users of a shared mesh.
const REGEX_SIZE: usize = 1 << 20;

impl WholeRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Fails if the pattern is not a regular expression, or compiles to more than 1 MiB.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        // Compiles the pattern alone first, so that an unbalanced parenthesis cannot escape the
        // group below.
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern)
                .size_limit(REGEX_SIZE)
                .build()
                .map_err(|error| PatternError(error.to_string()))
        };
        compile(pattern)?;
        let regex = compile(&format!("^(?:{pattern})$"))?;
        Ok(Self {
            pattern: pattern.into(),
            regex,
        })
    }

    /// Returns the same pattern, without regard to case. Returns it unchanged if the result would
    /// exceed 1 MiB.
    #[must_use]
    pub fn ignoring_case(&self) -> Self {
        Self::new(&format!("(?i:{})", self.pattern)).unwrap_or_else(|_| self.clone())
    }

    /// Returns the pattern as written.
    pub const fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Returns `true` if it matches the whole value.
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }
}

impl PartialEq for WholeRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for WholeRegex {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_values() {
        let regex = WholeRegex::new("say|s.*o").unwrap();
        assert!(regex.is_match(b"say") && regex.is_match(b"sayHello"));
        assert!(!regex.is_match(b"says") && !regex.is_match(b"xsay"));
        assert!(WholeRegex::new("^s.*o$").unwrap().is_match(b"sayHello"));
        assert!(WholeRegex::new("a)|(b").is_err());
        assert!(WholeRegex::new("(?:a{1000}){1000}").is_err());
    }

    #[test]
    fn tests_are_normalised_where_the_protocol_ignores_case() {
        let spec = crate::check::tests::spec();
        let test = |name: &str, matcher| AttributeMatch {
            name: name.to_owned(),
            matcher,
            negate: false,
        };
        let passes = |name: &str, matcher, value: &[u8]| {
            test(name, matcher).normalised(&spec).matcher.test(value)
        };
        for (name, outcome) in [("verb", true), ("method", false)] {
            let exact = || Matcher::Exact("SET".to_owned());
            assert_eq!(passes(name, exact(), b"set"), outcome);
            let prefix = Matcher::Prefix("FLUSH".to_owned());
            assert_eq!(passes(name, prefix, b"flushall"), outcome);
            let suffix = Matcher::Suffix("ALL".to_owned());
            assert_eq!(passes(name, suffix, b"flushall"), outcome);
            let regex = Matcher::Regex(WholeRegex::new("FLUSH(ALL|DB)").unwrap());
            assert_eq!(passes(name, regex, b"flushdb"), outcome);
        }
        assert!(!passes("method", Matcher::Exact("SET".into()), b"set"));
    }

    #[test]
    fn ranges_hold_their_start_and_not_their_end() {
        let range = Matcher::Range { start: -1, end: 10 };
        assert!(range.test(b"-1") && range.test(b"9"));
        assert!(!range.test(b"10") && !range.test(b"") && !range.test(b"9.5"));
        assert!(!range.test(b"99999999999999999999"));
    }
}
