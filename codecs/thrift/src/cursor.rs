//! Reads numbers at a position of a message, and reports how many bytes are missing. It must not
//! depend on the meaning of the numbers.

use meltemi_frame::Violation;

/// The reason why reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes end too early. At least this many are needed, counted from the front of the
    /// message.
    Short(usize),
    /// The bytes are invalid.
    Bad(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Bad(violation)
    }
}

/// A position in a message. Offsets count from the first byte of the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    pub(crate) const fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Returns `true` if there are no bytes after the position.
    pub(crate) const fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn peek(&self) -> Result<u8, Stop> {
        self.bytes
            .get(self.at)
            .copied()
            .ok_or(Stop::Short(self.at.saturating_add(1)))
    }

    /// Skips `count` bytes and returns them.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], Stop> {
        let end = self.at.saturating_add(count);
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Short(end))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let taken = self.take(N)?;
        <[u8; N]>::try_from(taken).map_err(|_| Stop::Short(self.at))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Stop> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Stop> {
        self.array().map(i32::from_be_bytes)
    }

    /// Reads an unsigned LEB128 number of at most 32 bits.
    pub(crate) fn varint32(&mut self, field: &'static str) -> Result<u32, Stop> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| too_wide(field, value));
            }
        }
        self.at = start;
        Err(too_wide(field, value))
    }

    /// Reads a byte string with a 32-bit varint length of at most `most`.
    pub(crate) fn varint_bytes(
        &mut self,
        field: &'static str,
        most: usize,
    ) -> Result<(usize, usize), Stop> {
        let length = self.varint32(field)?;
        self.span(i64::from(length), field, most)
    }

    /// Skips `length` bytes and returns their range.
    pub(crate) fn span(
        &mut self,
        length: i64,
        field: &'static str,
        most: usize,
    ) -> Result<(usize, usize), Stop> {
        let count = usize::try_from(length)
            .ok()
            .filter(|count| *count <= most)
            .ok_or(Violation::Length {
                field,
                value: length,
            })?;
        let start = self.at;
        self.take(count)?;
        Ok((start, self.at))
    }
}

fn too_wide(field: &'static str, value: u64) -> Stop {
    Stop::Bad(Violation::Length {
        field,
        value: i64::try_from(value).unwrap_or(i64::MAX),
    })
}

/// Decodes the zigzag form of compact integers.
pub(crate) const fn unzigzag(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// A few bytes on the stack: a number to write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Digits {
    bytes: [u8; 11],
    length: u8,
}

impl Digits {
    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Encodes `value` as an unsigned LEB128 number.
    pub(crate) fn varint(mut value: u32) -> Self {
        let mut digits = Self::default();
        while value >= 0x80 {
            digits.push(value as u8 | 0x80);
            value >>= 7;
        }
        digits.push(value as u8);
        digits
    }

    /// Encodes `value` in decimal.
    pub(crate) fn decimal(value: i32) -> Self {
        let mut reversed = Self::default();
        let mut rest = value.unsigned_abs();
        loop {
            reversed.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            reversed.push(b'-');
        }
        let mut digits = Self::default();
        for byte in reversed.as_slice().iter().rev() {
            digits.push(*byte);
        }
        digits
    }

    /// Returns these four bytes.
    pub(crate) fn word(word: [u8; 4]) -> Self {
        let mut digits = Self::default();
        for byte in word {
            digits.push(byte);
        }
        digits
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: i32) {
            let (text, expected) = (Digits::decimal(value), value.to_string());
            prop_assert_eq!(text.as_slice(), expected.as_bytes());
            let varint = Digits::varint(value.cast_unsigned());
            let mut cursor = Cursor::new(varint.as_slice(), 0);
            prop_assert_eq!(cursor.varint32("x"), Ok(value.cast_unsigned()));
            prop_assert!(cursor.is_done());
        }
    }

    #[test]
    fn a_varint_of_more_than_32_bits_is_refused() {
        for bytes in [
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0][..],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
        ] {
            assert!(matches!(
                Cursor::new(bytes, 0).varint32("x"),
                Err(Stop::Bad(_))
            ));
        }
        assert_eq!(
            Cursor::new(&[0x80, 0x80], 0).varint32("x"),
            Err(Stop::Short(3))
        );
    }

    #[test]
    fn zigzag_is_undone() {
        let pairs = [
            (0, 0),
            (1, -1),
            (2, 1),
            (u32::MAX, i32::MIN),
            (u32::MAX - 1, i32::MAX),
        ];
        for (wire, value) in pairs {
            assert_eq!(unzigzag(wire), value);
        }
    }
}
