//! Reads Secrets: the only module that handles credentials in plain text.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use meltemi_config::Problem;

use crate::yaml::Document;

pub(crate) struct Secret<'a> {
    pub(crate) document: &'a Document,
    /// Without surrounding spaces and line ends: `echo
    /// base64` adds them. Aeraki trims them, too.
    values: BTreeMap<String, String>,
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

impl<'a> Secret<'a> {
    pub(crate) fn read(document: &'a Document, problems: &mut Vec<Problem>) -> Self {
        let root = document.cursor();
        let mut values = BTreeMap::new();
        for (key, at) in root.at("data").entries() {
            let decoded = at
                .text()
                .and_then(base64)
                .and_then(|bytes| String::from_utf8(bytes).ok());
            match decoded {
                Some(text) => _ = values.insert(key.to_owned(), text.trim().to_owned()),
                None => problems.push(
                    at.error("is not text in base64")
                        .remedy("encode it, or put it under stringData"),
                ),
            }
        }
        for (key, at) in root.at("stringData").entries() {
            if let Some(text) = at.text() {
                values.insert(key.to_owned(), text.trim().to_owned());
            }
        }
        Self { document, values }
    }

    /// The value under a key.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The keys.
    pub(crate) fn keys(&self) -> String {
        let keys: Vec<&str> = self.values.keys().map(String::as_str).collect();
        keys.join(", ")
    }
}

/// Decodes standard base64 (RFC 4648, section 4); line ends are allowed.
fn base64(text: &str) -> Option<Vec<u8>> {
    let plain: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("c2Vj\ncmV0", b"secret"),
            ("/+8=", b"\xff\xef"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Zg", "Zg=", "Z===", "Zg==Zg==", "Z!==", "====", "Zm9v="] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
