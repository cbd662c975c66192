//! The language: the form of messages. Fields, lengths, sections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scalar::{Texts, Values};

/// The byte order of a number.
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
    /// The end of a message, one to four bytes. With `"\n"`, a `\r` before it does not belong to
    /// the message.
    pub end: String,
    /// The character between words. Several blanks in a row count as one. Other characters do not.
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
    /// Only this side sends it. Default: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// Bytes that every message of this shape has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub magic: Vec<Pattern>,
    /// Further bytes that separate it from other protocols. They are not checked after detection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detect: Vec<Pattern>,
    /// The length of the fixed header, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_length: Option<u32>,
    /// The fields of the header, or the words of a delimited message.
    #[serde(default)]
    pub fields: BTreeMap<String, Field>,
    /// The length of the message. Default: the length of its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Length>,
    /// The parts after the header, in wire order. The bytes after the last section are the payload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// The end of the message. A `sum` does not count it. A total counts it, unless `counts` is
    /// `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailer: Option<Trailer>,
}

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum From {
    /// The side that sends requests.
    Client,
    /// The side that replies to them.
    Server,
}

/// Bytes at a fixed position: one of `bytes` or `text` must be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pattern {
    /// The position, counted from the first byte of the message.
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
    /// Its start, counted from the first byte of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Its size in bytes: 1 to 8 for an integer, 1 to 18 for digits, 1 to 255 for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Its encoding. Default: an integer in a header, text in a delimited message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Its byte order. Default: the description's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_order: Option<ByteOrder>,
    /// The number is in two's complement.
    #[serde(default)]
    pub signed: bool,
    /// The bits of the field, shifted down to the lowest bit. Several fields can share bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u64>,
    /// The number of the word, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<u32>,
    /// The word and all bytes after it.
    #[serde(default)]
    pub rest: bool,
}

/// The encoding of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// A binary integer.
    Integer,
    /// A decimal number in ASCII, padded with zeros.
    Digits,
    /// Characters, padded with blanks or zero bytes.
    Text,
}

/// The length of a message: one of `sum` and `total` must be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Length {
    /// The length is the header, the sum of these fields, and the trailer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sum: Vec<String>,
    /// The length is this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// The bytes that the total counts. Default: all.
    #[serde(default)]
    pub counts: Counts,
    /// A number that is added to the fields. Default: 0.
    #[serde(default)]
    pub adjust: i64,
}

/// The bytes that a total length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Counts {
    /// The whole message, including the length field.
    #[default]
    Message,
    /// The bytes after the length field.
    AfterField,
    /// The bytes after the header.
    AfterHeader,
    /// The bytes after the header, without the trailer.
    Body,
}

/// A part of the bytes after the header. One of `length`, `prefix`, `entries.count` gives its end.
/// Without any of them it takes all remaining bytes and must be the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The header field with its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    /// The size of the number before it that counts its bytes: 1, 2, 4 or 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
    /// The section contains names and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Entries>,
    /// The part exists only if these fields have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Values>,
}

/// Names and values in sequence, each with its length before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entries {
    /// The size of a name's length: 1, 2 or 4.
    pub key_length: u32,
    /// The size of a value's length: 1, 2 or 4. A 4-byte length of -1 is an absent value.
    pub value_length: u32,
    /// The byte order of the lengths. Default: the description's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_order: Option<ByteOrder>,
    /// The size of the number of entries before them: 1, 2 or 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// The end of a message: one of `bytes` and `checksum` must be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Trailer {
    /// These bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// A checksum of all bytes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// The part exists only if these fields have these values.
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
