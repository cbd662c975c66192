//! Reads tests of attributes, which all kinds of routers share.

use meltemi_config::{AttributeMatch, Matcher, Problem, WholeRegex};

use crate::yaml::Cursor;

/// A test of an attribute.
#[derive(Clone, Debug)]
pub(crate) struct Test<'a> {
    pub(crate) name: Name,
    pub(crate) matcher: Matcher,
    pub(crate) negate: bool,
    pub(crate) at: Cursor<'a>,
}

impl Test<'_> {
    /// The test of the attribute with exactly the name that is written.
    pub(super) fn exactly(&self) -> AttributeMatch {
        AttributeMatch {
            name: self.name.written().to_owned(),
            matcher: self.matcher.clone(),
            negate: self.negate,
        }
    }
}

impl Name {
    /// The name as it is written.
    pub(crate) fn written(&self) -> &str {
        match self {
            Self::Exactly(name) | Self::Header(name) => name,
            Self::Method => "method",
            Self::Key => "key",
        }
    }
}

/// The name of an attribute, in kinds that know no protocol.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    /// Exactly the name that the protocol declares.
    Exactly(String),
    /// That name, or a header with that name.
    Header(String),
    /// The method.
    Method,
    /// The Redis key.
    Key,
}

/// Reads the tests of a `match`; attributes have exactly the names that are written.
pub(super) fn matching<'a>(here: &Cursor<'a>, problems: &mut Vec<Problem>) -> Vec<Test<'a>> {
    let attributes = here.at("attributes").entries().into_iter();
    let mut all: Vec<Test<'a>> = attributes
        .filter_map(|(name, at)| tests(Name::Exactly(name.to_owned()), &at, problems))
        .collect();
    // There may be very many routes, and most have one test.
    all.shrink_to_fit();
    all
}

/// Reads the tests of one attribute: at most one, unless there is an error.
pub(super) fn tests<'a>(
    name: Name,
    here: &Cursor<'a>,
    problems: &mut Vec<Problem>,
) -> Option<Test<'a>> {
    let not = here.at("not");
    let (place, mut negate) = if not.exists() {
        (&not, true)
    } else {
        (here, false)
    };
    let entries = place.entries();
    let matcher = match entries.first() {
        None => Matcher::Present,
        Some((kind, value)) => match *kind {
            "present" => {
                negate ^= value.flag() == Some(false);
                Matcher::Present
            }
            "range" => {
                let (start, end) = (value.at("start").integer()?, value.at("end").integer()?);
                if start >= end {
                    problems.push(
                        value
                            .error(format!("{start}..{end} holds no number"))
                            .remedy("end is the first integer past the range, so it must be larger than start"),
                    );
                    return None;
                }
                Matcher::Range { start, end }
            }
            // In Istio an empty match means presence.
            _ if value.text() == Some("") => Matcher::Present,
            "exact" => Matcher::Exact(value.text()?.to_owned()),
            "prefix" => Matcher::Prefix(value.text()?.to_owned()),
            "suffix" => Matcher::Suffix(value.text()?.to_owned()),
            // An invalid pattern has already been reported.
            "regex" => Matcher::Regex(WholeRegex::new(value.text()?).ok()?),
            _ => return None,
        },
    };
    Some(Test {
        name,
        matcher,
        negate,
        at: here.clone(),
    })
}
