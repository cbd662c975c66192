//! A number at a fixed position of a message: binary or decimal, of any size and byte order, or a
//! bit field.

/// The position and the format of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub at: usize,
    /// The size in bytes: 1 to 8 in binary, 1 to 18 as digits.
    pub size: usize,
    pub form: Form,
    pub signed: bool,
    /// The bits of a binary number that are the value. Without a mask, all of its bits.
    pub mask: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Big,
    Little,
    Digits,
}

/// The largest number of decimal digits that always fits into 63 bits.
pub(crate) const MAX_DIGITS: usize = 18;

/// Returns a mask of all bits of a binary number of this size in bytes.
pub(crate) const fn all_bits(size: usize) -> u64 {
    if size >= 8 {
        u64::MAX
    } else {
        (1 << (size * 8)) - 1
    }
}

impl Number {
    #[cfg(test)]
    pub(crate) fn big(at: usize, size: usize) -> Self {
        Self {
            at,
            size,
            form: Form::Big,
            signed: false,
            mask: all_bits(size),
        }
    }

    pub(crate) const fn end(&self) -> usize {
        self.at + self.size
    }

    const fn shift(&self) -> u32 {
        self.mask.trailing_zeros()
    }

    /// Returns the number of bits of the value.
    pub(crate) fn bits(&self) -> u8 {
        match self.form {
            // The bits that every number with this many digits can store: 3.32 per digit, rounded
            // down.
            Form::Digits => u8::try_from(self.size * 332 / 100).unwrap_or(59),
            Form::Big | Form::Little => {
                u8::try_from(64 - (self.mask >> self.shift()).leading_zeros()).unwrap_or(64)
            }
        }
    }

    /// Returns the largest value that can be written and read back as a length or a count.
    pub(crate) fn max(&self) -> u64 {
        match self.form {
            Form::Digits => 10u64.saturating_pow(u32::try_from(self.size).unwrap_or(0)) - 1,
            Form::Big | Form::Little => {
                let all = self.mask.checked_shr(self.shift()).unwrap_or(0);
                if self.signed { all >> 1 } else { all }
            }
        }
    }

    /// Returns `true` if the value is read back as it was written (or with the same bits, for
    /// unsigned values).
    pub(crate) fn fits(&self, value: i64) -> bool {
        if value >= 0 {
            return value.cast_unsigned() <= self.max() || (!self.signed && self.max() == u64::MAX);
        }
        match (self.form, self.bits()) {
            (Form::Digits, _) => false,
            (_, 64..) => true,
            (_, bits) => value >= -(1i64 << (bits.saturating_sub(1))),
        }
    }

    /// Returns the value. `None` if the bytes are missing or are not digits.
    pub(crate) fn read(&self, wire: &[u8]) -> Option<i64> {
        let bytes = wire.get(self.at..self.end())?;
        if self.form == Form::Digits {
            return digits(bytes);
        }
        let value = (raw(bytes, self.form) & self.mask) >> (self.shift() & 63);
        Some(if self.signed {
            sign_extend(value, self.bits())
        } else {
            value.cast_signed()
        })
    }

    /// Writes the value over the bytes in place. Bits outside the mask stay. Bits that do not fit
    /// are lost: check [`Number::fits`] first.
    pub(crate) fn write(&self, wire: &mut [u8], value: i64) {
        let Some(bytes) = wire.get_mut(self.at..self.at + self.size) else {
            return;
        };
        if self.form == Form::Digits {
            let mut left = value.unsigned_abs();
            for byte in bytes.iter_mut().rev() {
                *byte = b'0' + u8::try_from(left % 10).unwrap_or(0);
                left /= 10;
            }
            return;
        }
        let bits = (value.cast_unsigned() << (self.shift() & 63)) & self.mask;
        let mut left = (raw(bytes, self.form) & !self.mask) | bits;
        let low = |left: u64| u8::try_from(left & 0xff).unwrap_or(0);
        if self.form == Form::Big {
            for byte in bytes.iter_mut().rev() {
                *byte = low(left);
                left >>= 8;
            }
        } else {
            for byte in bytes {
                *byte = low(left);
                left >>= 8;
            }
        }
    }
}

fn raw(bytes: &[u8], form: Form) -> u64 {
    let join = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    if form == Form::Little {
        bytes.iter().rev().fold(0, join)
    } else {
        bytes.iter().fold(0, join)
    }
}

fn sign_extend(value: u64, bits: u8) -> i64 {
    let unused = 64u32.saturating_sub(bits.into()) & 63;
    (value << unused).cast_signed() >> unused
}

/// Parses a decimal number in ASCII, of at most [`MAX_DIGITS`] digits.
pub(crate) fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > MAX_DIGITS {
        return None;
    }
    bytes.iter().try_fold(0i64, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_signs_masks_and_digits() {
        let wire = *b"\x01\x02\x83\xff0042";
        let number = |at, size, form, signed, mask| Number {
            at,
            size,
            form,
            signed,
            mask,
        };
        assert_eq!(Number::big(0, 3).read(&wire), Some(0x01_0283));
        assert_eq!(
            number(0, 3, Form::Little, false, 0xff_ffff).read(&wire),
            Some(0x83_0201)
        );
        assert_eq!(number(3, 1, Form::Big, true, 0xff).read(&wire), Some(-1));
        assert_eq!(number(2, 1, Form::Big, false, 0xc0).read(&wire), Some(2));
        assert_eq!(number(2, 1, Form::Big, true, 0xc0).read(&wire), Some(-2));
        assert_eq!(number(4, 4, Form::Digits, false, 0).read(&wire), Some(42));
        assert_eq!(number(3, 4, Form::Digits, false, 0).read(&wire), None);
        assert_eq!(Number::big(6, 4).read(&wire), None);
        assert_eq!(Number::big(0, 8).bits(), 64);
        assert_eq!(number(0, 1, Form::Big, false, 0x3c).bits(), 4);
    }

    #[test]
    fn what_fits_is_known() {
        let byte = Number::big(0, 1);
        assert!(byte.fits(255) && byte.fits(-128) && !byte.fits(256) && !byte.fits(-129));
        let digits = Number {
            form: Form::Digits,
            ..Number::big(0, 3)
        };
        assert!(digits.fits(999) && !digits.fits(1000) && !digits.fits(-1));
        assert!(Number::big(0, 8).fits(i64::MIN) && Number::big(0, 8).fits(i64::MAX));
        let signed = Number {
            signed: true,
            ..byte
        };
        assert!(signed.fits(127) && !signed.fits(128) && signed.fits(-128));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_the_rest_stays(
            before: [u8; 20], at in 0usize..12, size in 1usize..=8, little: bool, signed: bool,
            low in 0u32..64, width in 1u32..=64, value: i64,
        ) {
            let form = if little { Form::Little } else { Form::Big };
            let low = low % (u32::try_from(size).unwrap() * 8);
            let mask = ((u64::MAX >> (64 - width)) << low) & all_bits(size);
            let number = Number { at, size, form, signed, mask };
            let mut wire = before;
            number.write(&mut wire, value);
            let got = number.read(&wire).unwrap();
            if number.fits(value) && (signed || value >= 0) {
                prop_assert_eq!(got, value);
            }
            let old = Number { mask: !mask & all_bits(size), ..number };
            if old.mask != 0 {
                prop_assert_eq!(raw(&wire[at..at + size], form) & old.mask, raw(&before[at..at + size], form) & old.mask);
            }
            prop_assert_eq!(&wire[..at], &before[..at]);
            prop_assert_eq!(&wire[at + size..], &before[at + size..]);
        }
    }
}
