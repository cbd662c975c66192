//! The messages of the demo's clients and services, by protocol: whole messages, built by hand. The
//! codecs split the bytes into messages.

mod bytes;
mod dubbo;
mod quill;
mod redis;
mod thrift;

use meltemi_frame::{Message, Spec};

/// The content of a request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The method or command.
    pub(super) method: &'static str,
    /// The argument or key, which the reply repeats.
    pub(super) name: String,
    /// An attachment or an entry of the metadata.
    pub(super) header: Option<(&'static str, &'static str)>,
}

/// The messages of a protocol.
#[derive(Debug)]
pub(super) struct Speech {
    /// The protocol.
    pub(super) protocol: &'static str,
    /// Makes a request.
    pub(super) request: fn(id: i64, ask: &Ask) -> Vec<u8>,
    /// Makes the reply of the service of this version; `None` if the service does not know the
    /// operation.
    pub(super) reply: fn(request: &Message<'_>, spec: &Spec, version: &str) -> Option<Vec<u8>>,
    /// Returns the text of a reply.
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

/// Returns the text of a reply. It identifies the request.
pub(super) fn hello(name: &str, version: &str) -> String {
    // Users may send longer names; the encodings below are for short ones.
    let name: String = name.chars().take(200).collect();
    format!("hello {name}, this is {version}")
}

/// Returns the value of a declared attribute.
fn attribute(message: &Message<'_>, spec: &Spec, name: &str) -> Option<String> {
    let (lookup, _) = spec.lookup(name)?;
    let value = message.attribute(&lookup)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

#[cfg(test)]
mod tests;
