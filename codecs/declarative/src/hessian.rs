//! Finds a text field by its name, in the object at the front of a Hessian 2 stream.
//!
//! A server that is called through an object in the content uses the object, and not the header of
//! the message. Two forms are supported: that of the draft, which sofa-hessian writes, and that of
//! the final specification. Only texts and nulls may come before the field. With other values the
//! result is unknown.

/// The maximum number of fields of a class.
const MAX_FIELDS: i64 = 64;

/// Returns the range of the text of `field`, in an object of this class at the front of `bytes`.
/// `None` if it cannot be read, if the field is null, or if a server may find another text.
pub(crate) fn text_field(bytes: &[u8], class: &[u8], field: &[u8]) -> Option<(usize, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let draft = match reader.byte()? {
        b'O' => true,
        b'C' => false,
        _ => return None,
    };
    let name = if draft {
        let length = usize::try_from(reader.int()?).ok()?;
        reader.take(length)?
    } else {
        reader.text()??
    };
    if bytes.get(name.0..name.1)? != class {
        return None;
    }
    let before = reader.fields(field)?;
    match (reader.byte()?, draft) {
        (b'o', true) | (b'O', false) => (reader.int()? == 0).then_some(())?,
        (0x60, false) => {}
        _ => return None,
    }
    for _ in 0..before {
        reader.text()?;
    }
    let (start, end) = reader.text()??;
    std::str::from_utf8(bytes.get(start..end)?).ok()?;
    Some((start, end))
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<(usize, usize)> {
        let start = self.at;
        let end = start.checked_add(length)?;
        self.bytes.get(start..end)?;
        self.at = end;
        Some((start, end))
    }

    /// Reads a small integer, such as the number of fields or of a class.
    fn int(&mut self) -> Option<i64> {
        let first = i64::from(self.byte()?);
        match first {
            0x80..=0xbf => Some(first - 0x90),
            0xc0..=0xcf => Some(((first - 0xc8) << 8) + i64::from(self.byte()?)),
            _ => None,
        }
    }

    /// Reads a text in one piece (`Some(Some(_))`), or null (`Some(None)`). The length counts
    /// characters.
    fn text(&mut self) -> Option<Option<(usize, usize)>> {
        let length = match self.byte()? {
            b'N' => return Some(None),
            short @ 0..=0x1f => usize::from(short),
            high @ 0x30..=0x33 => usize::from(high - 0x30) << 8 | usize::from(self.byte()?),
            b'S' => usize::from(self.byte()?) << 8 | usize::from(self.byte()?),
            _ => return None,
        };
        let start = self.at;
        for _ in 0..length {
            let size = match self.byte()? {
                0..=0x7f => 0,
                0xc0..=0xdf => 1,
                0xe0..=0xef => 2,
                _ => return None,
            };
            self.take(size)?;
        }
        Some(Some((start, self.at)))
    }

    /// Reads the names of the fields. Returns the number of fields before the wanted one. It must
    /// occur exactly once.
    fn fields(&mut self, wanted: &[u8]) -> Option<usize> {
        let count = self.int().filter(|count| *count <= MAX_FIELDS)?;
        let mut found = None;
        for at in 0..usize::try_from(count).ok()? {
            let (start, end) = self.text()??;
            if self.bytes.get(start..end)? == wanted && found.replace(at).is_some() {
                return None;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by sofa-hessian 3.5.5: service `Orders:1.0`, method `secret`.
    const DRAFT: &[u8] = b"O\x91X\x93\x0dtargetAppName\x0amethodName\x17targetServiceUniqueName\
        o\x90\x03app\x06secret\x0aOrders:1.0N";
    const FINAL: &[u8] = b"C\x01X\x93\x0dtargetAppName\x0amethodName\x17targetServiceUniqueName\
        \x60N\x06secret\x0aOrders:1.0N";

    fn found<'b>(bytes: &'b [u8], field: &str) -> Option<&'b [u8]> {
        let (start, end) = text_field(bytes, b"X", field.as_bytes())?;
        bytes.get(start..end)
    }

    #[test]
    fn fields_are_found_by_name_in_both_forms() {
        for bytes in [DRAFT, FINAL] {
            assert_eq!(found(bytes, "methodName"), Some(&b"secret"[..]));
            assert_eq!(
                found(bytes, "targetServiceUniqueName"),
                Some(&b"Orders:1.0"[..])
            );
            assert_eq!(found(bytes, "other"), None);
            assert_eq!(text_field(bytes, b"Y", b"methodName"), None);
            for cut in 0..60 {
                let _ = found(&bytes[..cut], "methodName");
            }
        }
        assert_eq!(found(FINAL, "targetAppName"), None, "it is null");
    }

    #[test]
    fn what_a_server_may_read_otherwise_is_not_found() {
        let cases: [&[u8]; 6] = [
            // The field occurs twice; a map, a reference, or a text in pieces comes before it;
            // another class comes first.
            b"O\x91X\x92\x01m\x01mo\x90\x01a\x01b",
            b"O\x91X\x92\x01a\x01mo\x90Mz\x01b",
            b"O\x91X\x92\x01a\x01mo\x90R\x90\x01b",
            b"O\x91X\x92\x01a\x01mo\x90s\0\x01x\x01y\x01b",
            b"O\x91X\x91\x01mo\x91\x01b",
            b"O\x91X\x91\x01mO\x91X\x91\x01mo\x90\x01b",
        ];
        for bytes in cases {
            assert_eq!(found(bytes, "m"), None, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, cut in 0..80usize) {
            let _ = text_field(&bytes, b"X", b"m");
            let mixed = [&DRAFT[..cut.min(DRAFT.len())], &bytes].concat();
            let _ = text_field(&mixed, b"X", b"methodName");
        }
    }
}
