//! Reads ApplicationProtocol: the name of a protocol.

use meltemi_config::Problem;

use crate::yaml::{Cursor, Document};

#[derive(Debug)]
pub(crate) struct ApplicationProtocol<'a> {
    pub(crate) at: Cursor<'a>,
    /// In lower case.
    pub(crate) name: String,
    pub(crate) codec: Option<Codec<'a>>,
}

#[derive(Debug)]
pub(crate) enum Codec<'a> {
    /// A built-in codec.
    Named(String, Cursor<'a>),
    /// A description.
    Declared(Cursor<'a>),
}

impl<'a> ApplicationProtocol<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let spec = document.cursor().at("spec");
        let (codec, declared) = (spec.at("codec"), spec.at("declarative"));
        let parsed = match (codec.text(), declared.exists()) {
            (Some(_), true) => {
                problems.push(
                    codec
                        .error("declarative is given, too")
                        .remedy("give one of them"),
                );
                None
            }
            (Some(text), false) => {
                let name = text
                    .strip_prefix("aeraki.meta_protocol.codec.")
                    .unwrap_or(text);
                Some(Codec::Named(name.to_ascii_lowercase(), codec))
            }
            (None, true) => Some(Codec::Declared(declared)),
            (None, false) => {
                // In Aeraki's kind the table requires the codec.
                if document.group == crate::reference::OWN_GROUP {
                    problems.push(
                        spec.error("has neither codec nor declarative")
                            .remedy("name a codec, or describe the protocol"),
                    );
                }
                None
            }
        };
        let name = spec.at("protocol");
        let text = name.text().unwrap_or("").to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.exists() && (text.is_empty() || !text.chars().all(fits)) {
            problems.push(
                name.error("cannot be part of a port's name")
                    .remedy("use letters, digits, - and _"),
            );
        }
        Self {
            at: name,
            name: text,
            codec: parsed,
        }
    }
}
