//! The language: what messages look like. Fields, lengths, sections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalar::{Texts, Values};

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
