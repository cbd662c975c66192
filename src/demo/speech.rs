//! What the demo's clients and services say, by protocol: whole messages, built by hand. The bytes are
//! taken apart into messages by the codecs themselves.

mod bytes;
mod dubbo;
mod quill;
mod redis;
mod thrift;

use meltemi_frame::{Message, Spec};

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The method or command.
    pub(super) method: &'static str,
    /// The argument or key, which the answer names.
    pub(super) name: String,
    /// An attachment or entry of the metadata.
    pub(super) header: Option<(&'static str, &'static str)>,
}

/// The words of a protocol.
#[derive(Debug)]
pub(super) struct Speech {
    /// The protocol.
    pub(super) protocol: &'static str,
    /// A request.
    pub(super) request: fn(id: i64, ask: &Ask) -> Vec<u8>,
    /// The answer of the service of this version; `None`: it does not know what is asked.
    pub(super) reply: fn(request: &Message<'_>, spec: &Spec, version: &str) -> Option<Vec<u8>>,
    /// The text in an answer.
    pub(super) text: fn(reply: &[u8]) -> Option<&[u8]>,
}

pub(super) static DUBBO: Speech = Speech {
    protocol: "dubbo",
    request: dubbo::request,
    reply: dubbo::reply,
    text: dubbo::text,
};
pub(super) static THRIFT: Speech = Speech {
    protocol: "thrift",
    request: thrift::request,
    reply: thrift::reply,
    text: thrift::text,
};
pub(super) static REDIS: Speech = Speech {
    protocol: "redis",
    request: redis::request,
    reply: redis::reply,
    text: redis::text,
};
pub(super) static QUILL: Speech = Speech {
    protocol: "quill",
    request: quill::request,
    reply: quill::reply,
    text: quill::text,
};

/// What a service answers: enough to tell that the answer is that of the very request.
pub(super) fn hello(name: &str, version: &str) -> String {
    // Longer names are a guest's; the forms below are the short ones of their protocols.
    let name: String = name.chars().take(200).collect();
    format!("hello {name}, this is {version}")
}

/// The value of a declared attribute.
fn attribute(message: &Message<'_>, spec: &Spec, name: &str) -> Option<String> {
    let (lookup, _) = spec.lookup(name)?;
    let value = message.attribute(&lookup)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

#[cfg(test)]
mod tests;
