//! Values in the language: a number or a text, alone or as a list. One value needs no brackets.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number. Unsigned 64-bit fields get the value with the same bits.
    Number(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_i64(*number),
            Self::Text(text) => to.serialize_str(text),
        }
    }
}

/// One or several numbers or texts.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Values(pub Vec<Scalar>);

/// One or several texts.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<String>);

impl Texts {
    /// Returns `true` if there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a text")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        // The same bits: fields compare and write bits, so that every 64-bit value can be written.
        Ok(Scalar::Number(value.cast_signed()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

/// Accepts a list, or one item of it.
struct ListVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Vec<T>, E> {
        T::deserialize(de::value::I64Deserializer::new(value)).map(|one| vec![one])
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Vec<T>, E> {
        T::deserialize(de::value::U64Deserializer::new(value)).map(|one| vec![one])
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Vec<T>, E> {
        T::deserialize(de::value::StrDeserializer::new(value)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ListVisitor(std::marker::PhantomData))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ListVisitor(std::marker::PhantomData))
            .map(Self)
    }
}

/// Parses a hexadecimal text: `"da bb"`, `"dabb"`, `"0xdabb"`.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for character in text.chars().filter(|character| !character.is_whitespace()) {
        let digit = u8::try_from(character.to_digit(16)?).ok()?;
        match high.take() {
            None => high = Some(digit << 4),
            Some(high) => bytes.push(high | digit),
        }
    }
    (high.is_none() && !bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_with_and_without_blanks() {
        assert_eq!(hex("da bb"), Some(vec![0xda, 0xbb]));
        assert_eq!(hex("0xDAbb"), Some(vec![0xda, 0xbb]));
        for wrong in ["", "d", "da b", "xy", "é"] {
            assert_eq!(hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_value_needs_no_list() {
        let values: Values = serde_json::from_str("[1, -1, \"x\", 18446744073709551615]").unwrap();
        let number = Scalar::Number;
        assert_eq!(
            values.0,
            [number(1), number(-1), Scalar::Text("x".into()), number(-1)]
        );
        let one: Values = serde_json::from_str("7").unwrap();
        assert_eq!(one.0, [number(7)]);
        assert!(serde_json::from_str::<Values>("1.5").is_err());
        assert!(serde_json::from_str::<Texts>("3").is_err());
    }
}
