//! The language: what an operator writes of a protocol. Plain serde data, no meaning yet.
//!
//! It knows nothing of frames or plans: `compile` gives it its meaning and finds its mistakes.
//! Every field is listed in the crate's README, which a test holds to these types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::scalar::{Scalar, Texts, Values};

/// A protocol in words. Made from YAML or JSON, turned into a codec by
/// [`Declarative::new`](crate::Declarative::new).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Description {
    /// The protocol's name: lower-case letters and digits, as in the port name `tcp-<name>-x`.
    pub name: String,
    /// What it is, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The byte order of every field that does not say its own. Default big.
    #[serde(default)]
    pub byte_order: ByteOrder,
    /// Messages end with a delimiter and consist of words. Without it, messages have a header that
    /// tells their length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// The largest message that the protocol allows, in bytes; the router's limit holds as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// The shapes that a message can have; the first that fits its first bytes is taken.
    pub variants: Vec<Variant>,
    /// What a message is for; the first rule that fits is taken.
    pub kinds: Vec<KindRule>,
    /// The field that a response repeats from its request. Without it, replies come in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How requests share an upstream connection. Default: multiplexed with an id, else exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingName>,
    /// Whether servers answer in any order or in that of the requests. Default: any with an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_order: Option<ReplyOrder>,
    /// The field that tells how long the caller waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// The field that tells how a response went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusTable>,
    /// Routable metadata with names of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Routable metadata whose names come from the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// The attribute that names the operation in metrics and logs. Default: `method`, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The attribute that names the service in metrics and logs. Default: `service`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What the mesh itself has to say.
    #[serde(default)]
    pub replies: Replies,
}

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ByteOrder {
    /// The highest byte first.
    #[default]
    Big,
    /// The lowest byte first.
    Little,
}

/// Messages that end with a delimiter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Delimiter {
    /// What ends a message, one to four bytes. With `"\n"`, a `\r` before it is not of the message.
    pub end: String,
    /// The character between words. Several blanks in a row are one; other characters are not.
    #[serde(default = "Delimiter::blank")]
    pub separator: String,
}

impl Delimiter {
    fn blank() -> String {
        " ".into()
    }
}

/// One shape of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Variant {
    /// Its name, for replies and error messages.
    pub name: String,
    /// It is sent by this side only. Default: by both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// Bytes that every message of this shape has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub magic: Vec<Pattern>,
    /// Further bytes that tell it from other protocols. They are not checked after detection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detect: Vec<Pattern>,
    /// The length of the fixed header, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_length: Option<u32>,
    /// The fields of the header, or the words of a delimited message.
    #[serde(default)]
    pub fields: BTreeMap<String, Field>,
    /// How long the message is. Default: no longer than its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Length>,
    /// What lies behind the header, in wire order. What is behind the last section is the payload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// What ends the message, not counted by a `sum`, counted by a total unless `counts` is `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailer: Option<Trailer>,
}

/// Who sends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum From {
    /// The one that sends requests.
    Client,
    /// The one that answers them.
    Server,
}

/// Bytes at a fixed place: one of `bytes` or `text` is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pattern {
    /// Where, counted from the first byte of the message.
    #[serde(default)]
    pub offset: u32,
    /// One or several alternatives of equal length, in hexadecimal: `"da bb"`.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub bytes: Texts,
    /// The same as characters: `"PRPC"`.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub text: Texts,
}

/// A field: `offset` and `size` in a header, `word` in a delimited message.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Field {
    /// Where it starts, counted from the first byte of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// How many bytes it has: 1 to 8 for an integer, 1 to 18 for digits, 1 to 255 for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// What it holds. Default: an integer in a header, text in a delimited message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The order of its bytes. Default: the description's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_order: Option<ByteOrder>,
    /// It is in two's complement.
    #[serde(default)]
    pub signed: bool,
    /// Only these bits are the field, moved down to the lowest: several fields can share bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u64>,
    /// The number of the word, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<u32>,
    /// The word and everything behind it.
    #[serde(default)]
    pub rest: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// A binary integer.
    Integer,
    /// A decimal number in ASCII, filled up with zeros.
    Digits,
    /// Characters, filled up with blanks or zero bytes.
    Text,
}

/// How long a message is: one of `sum` and `total` is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Length {
    /// The header, these fields together, and the trailer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sum: Vec<String>,
    /// One field tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// What the total counts. Default: everything.
    #[serde(default)]
    pub counts: Counts,
    /// Is added to what the fields say. Default 0.
    #[serde(default)]
    pub adjust: i64,
}

/// What a total length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Counts {
    /// The whole message, the length field included.
    #[default]
    Message,
    /// What is behind the length field.
    AfterField,
    /// What is behind the header.
    AfterHeader,
    /// What is behind the header, without the trailer.
    Body,
}

/// A part of what lies behind the header. One of `length`, `prefix`, `entries.count` tells where it
/// ends; without any it takes all that is left and is the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The header field that tells how many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    /// The size of the number in front of it that tells how many bytes follow: 1, 2, 4 or 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
    /// It holds names and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Entries>,
    /// It is there only if these fields have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
}

/// Names and values one after the other, each with its length in front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entries {
    /// The size of a name's length: 1, 2 or 4.
    pub key_length: u32,
    /// The size of a value's length: 1, 2 or 4. A 4-byte length of -1 is an absent value.
    pub value_length: u32,
    /// The order of the lengths' bytes. Default: the description's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_order: Option<ByteOrder>,
    /// The size of the number of entries in front of them: 1, 2 or 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// What ends a message: one of `bytes` and `checksum` is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Trailer {
    /// These bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// A checksum over everything before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// It is there only if these fields have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
}

/// A checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Checksum {
    /// CRC-32 as in zlib and `java.util.zip.CRC32`, 4 bytes in the description's byte order.
    Crc32,
}

/// What a message is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KindRule {
    /// What it is.
    pub kind: KindName,
    /// The rule is for messages of this side only. Default: of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// These fields have these values. It is for the variants that have all of these fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
    /// What a retry may assume. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<SafetyName>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KindName {
    /// A request that is answered.
    Request,
    /// A request that is never answered.
    OneWay,
    /// The answer to a request.
    Response,
    /// What a server sends unasked.
    Push,
    /// A heartbeat that asks for an answer.
    Ping,
    /// The answer to a heartbeat.
    Pong,
    /// The peer takes no more requests.
    GoAway,
}

/// What a retry may assume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SafetyName {
    /// It changes nothing.
    Read,
    /// Twice is the same as once.
    Idempotent,
}

/// How requests share an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SharingName {
    /// One at a time.
    Exclusive,
    /// Many, answered in order.
    Pipelined,
    /// Many, told apart by id.
    Multiplexed,
}

/// In which order servers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplyOrder {
    /// As they come.
    Any,
    /// In that of the requests.
    Requests,
}

/// How long the caller waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeout {
    /// The field. Zero and below: the caller does not say.
    pub field: String,
    /// Its unit. Default: milliseconds.
    #[serde(default)]
    pub unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Thousandths.
    #[default]
    Milliseconds,
    /// Millionths.
    Microseconds,
}

/// How a response went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StatusTable {
    /// The field.
    pub field: String,
    /// Its values for success.
    pub ok: Values,
    /// Its values by fault (`timeout`, `application`…).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, Values>,
    /// The fault of every other value. Default: `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// What the field says when the mesh itself fails a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Reasons>,
}

/// The value of the status field for each reason to fail a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reasons {
    /// The request cannot be understood or carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_request: Option<Scalar>,
    /// Nobody serves what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found: Option<Scalar>,
    /// Somebody serves it, but cannot be reached now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Scalar>,
    /// The answer did not come in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Scalar>,
    /// Too much was asked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overloaded: Option<Scalar>,
    /// The caller may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<Scalar>,
    /// Something else, and every reason that is not given.
    pub internal: Scalar,
}

/// A piece of metadata. One of `field`, `section`, `entry` tells where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attribute {
    /// Its name in configuration: lower case.
    pub name: String,
    /// What it is, in one line, for the reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// It is this field; a number is written in decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Words for values of the field; values without a word are written as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// It is this section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// It is the entry of this name among the open metadata; of several names, the first that is there.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub entry: Texts,
    /// Where it is found. Default: on both.
    #[serde(default)]
    pub on: On,
    /// How deep the codec looks for it. Default: route.
    #[serde(default)]
    pub interest: InterestName,
}

/// On which messages an attribute is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum On {
    /// On requests and responses.
    #[default]
    Both,
    /// On requests.
    Requests,
    /// On responses.
    Responses,
}

/// How deep the codec looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InterestName {
    /// Always.
    #[default]
    Route,
    /// When a rule asks for headers.
    Headers,
    /// When a rule asks for bodies.
    Body,
}

/// Metadata whose names come from the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Open {
    /// What stands before the names in configuration: `header.`.
    pub prefix: String,
    /// What it is, in one line, for the reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The section with the entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// In delimited messages: the words from this one on that have the form `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_word: Option<u32>,
    /// On which messages entries can be set, added and removed. Default: on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<On>,
    /// How deep the codec looks for it. Default: route.
    #[serde(default)]
    pub interest: InterestName,
}

/// What the mesh itself has to say. Of several templates the first that serves the variant is taken.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Replies {
    /// To a client: its request failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Template>,
    /// To a server: are you there?
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ping: Vec<Template>,
    /// To either: I am here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pong: Vec<Template>,
    /// To a client: send no more requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub go_away: Vec<Template>,
}

/// A message that the mesh makes. Magic, lengths, id, checksum and status fill themselves; fields that
/// are not mentioned are zero, sections that are not mentioned are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Template {
    /// The variants of the messages that it answers (or, for what is said unasked, that the connection
    /// speaks). Default: every one.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub to: Texts,
    /// Its own variant.
    pub variant: String,
    /// Fields with fixed values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Scalar>,
    /// Fields that are copied from the message that is answered: own field, its field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copy: BTreeMap<String, String>,
    /// The section (or the field of a delimited message) that says in words what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
