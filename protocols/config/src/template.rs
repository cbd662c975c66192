//! Values with placeholders for attributes of the message and facts of its connection.

use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag};
use nom::combinator::{map, value};
use nom::multi::many0;
use nom::sequence::delimited;
use nom::{IResult, Parser as _};

/// A value that is built for each message.
///
/// It is written as text with placeholders. `%NAME%` in upper case is a [`Variable`]. Any other
/// name is the attribute of that name (`%method%`, `%attachment.user%`). `%ATTRIBUTE(name)%` is an
/// attribute whose name is in upper case. `%%` is a percent sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Constant text.
    Text(String),
    /// The first value of the message's attribute with this name. Empty if there is none.
    Attribute(String),
    /// A fact of the connection or of the decision.
    Variable(Variable),
}

/// A fact of the connection or of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The client's address and port.
    DownstreamAddress,
    /// The client's address.
    DownstreamIp,
    /// The client's identity (a SPIFFE URI). Empty if it has none.
    DownstreamPrincipal,
    /// The listener's name.
    Listener,
    /// The route's name.
    Route,
    /// The cluster's name.
    Cluster,
}

impl Variable {
    /// All variables with their names: Envoy's, if it has the same variable.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("DOWNSTREAM_REMOTE_ADDRESS", Self::DownstreamAddress),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Self::DownstreamIp),
        ("DOWNSTREAM_PEER_URI_SAN", Self::DownstreamPrincipal),
        ("LISTENER_NAME", Self::Listener),
        ("ROUTE_NAME", Self::Route),
        ("UPSTREAM_CLUSTER", Self::Cluster),
    ];

    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, variable)| *variable)
    }

    /// Returns the name in a template.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, variable)| *variable == self);
        found.map_or("", |(name, _)| name)
    }
}

/// The errors of [`Template::parse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A percent sign without a closing one.
    #[error("a `%` has no second one; write `%%` for a percent sign")]
    Open,
    /// An upper-case name that is not a variable.
    #[error("there is no `%{0}%`; there are {list}, and `%name%` for an attribute", list = variables())]
    Unknown(String),
}

fn variables() -> String {
    let names: Vec<String> = Variable::ALL
        .iter()
        .map(|(name, _)| format!("`%{name}%`"))
        .collect();
    names.join(", ")
}

impl Template {
    /// Creates a template of constant text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Part::Text(text.into())])
    }

    /// Parses a template.
    ///
    /// # Errors
    /// Fails if a percent sign has no closing one, or if a variable does not exist.
    pub fn parse(written: &str) -> Result<Self, TemplateError> {
        let mut pieces = many0(alt((
            value(Piece::Percent, tag("%%")),
            map(
                delimited(tag("%"), is_not("%"), tag("%")),
                Piece::Placeholder,
            ),
            map(is_not("%"), Piece::Text),
        )));
        let parsed: IResult<&str, Vec<Piece<'_>>> = pieces.parse(written);
        let Ok(("", pieces)) = parsed else {
            return Err(TemplateError::Open);
        };
        let mut parts = Vec::new();
        for piece in pieces {
            let text = match piece {
                Piece::Placeholder(name) => {
                    parts.push(hole(name)?);
                    continue;
                }
                Piece::Percent => "%",
                Piece::Text(text) => text,
            };
            match parts.last_mut() {
                Some(Part::Text(before)) => before.push_str(text),
                _ => parts.push(Part::Text(text.to_owned())),
            }
        }
        if parts.is_empty() {
            parts.push(Part::Text(String::new()));
        }
        Ok(Self(parts))
    }

    /// Returns the parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Returns the text if there are no placeholders. `None` if there are.
    pub fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            [] => Some(""),
            _ => None,
        }
    }

    /// Iterates over the names of the attributes that it needs.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Attribute(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// A piece of a template in its written form.
#[derive(Clone, Copy)]
enum Piece<'t> {
    Percent,
    Placeholder(&'t str),
    Text(&'t str),
}

/// Parses the text between two percent signs.
fn hole(name: &str) -> Result<Part, TemplateError> {
    let attribute = name
        .strip_prefix("ATTRIBUTE(")
        .and_then(|rest| rest.strip_suffix(')'));
    if let Some(attribute) = attribute.filter(|name| !name.is_empty()) {
        return Ok(Part::Attribute(attribute.to_owned()));
    }
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.bytes().all(upper) && !name.contains(['(', ')']) {
        return Ok(Part::Attribute(name.to_owned()));
    }
    Variable::named(name)
        .map(Part::Variable)
        .ok_or_else(|| TemplateError::Unknown(name.to_owned()))
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(&text.replace('%', "%%"))?,
                Part::Attribute(name) if hole(name).as_ref() == Ok(part) => write!(f, "%{name}%")?,
                Part::Attribute(name) => write!(f, "%ATTRIBUTE({name})%")?,
                Part::Variable(variable) => write!(f, "%{}%", variable.name())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_is_text_with_holes() {
        let template =
            Template::parse("v=%method%;from=%DOWNSTREAM_REMOTE_ADDRESS%;100%%").unwrap();
        let expected = [
            Part::Text("v=".to_owned()),
            Part::Attribute("method".to_owned()),
            Part::Text(";from=".to_owned()),
            Part::Variable(Variable::DownstreamAddress),
            Part::Text(";100%".to_owned()),
        ];
        assert_eq!(template.parts(), expected);
        assert_eq!(Template::parse(&template.to_string()), Ok(template));
        assert_eq!(Template::parse("").unwrap().as_text(), Some(""));
        assert_eq!(Template::parse("50%%").unwrap().as_text(), Some("50%"));
        let upper = Template::parse("%ATTRIBUTE(X-USER)%").unwrap();
        assert_eq!(upper.parts(), [Part::Attribute("X-USER".to_owned())]);
        let upper = "%ATTRIBUTE(USER)%";
        assert_eq!(Template::parse(upper).unwrap().to_string(), upper);
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        assert_eq!(Template::parse("50%"), Err(TemplateError::Open));
        let unknown = Template::parse("%PROTOCOL%").unwrap_err();
        assert!(unknown.to_string().contains("%ROUTE_NAME%"), "{unknown}");
        assert!(Template::parse("%REQ(x)%").is_err());
    }

    proptest! {
        /// The displayed template has the same meaning as the written one.
        #[test]
        fn whatever_is_written_is_read_or_refused(
            written in "\\PC{0,40}|(%|%%|a|X_1|ATTRIBUTE\\(|\\)|LISTENER_NAME|%method%|%ATTRIBUTE\\(X\\)%){0,8}"
        ) {
            if let Ok(template) = Template::parse(&written) {
                prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            }
        }

        #[test]
        fn text_is_itself(text in "\\PC{0,40}") {
            let template = Template::parse(&text.replace('%', "%%")).unwrap();
            prop_assert_eq!(template.as_text(), Some(&*text));
        }
    }
}
