//! Fields, and the values that they are compared with.

use std::collections::BTreeMap;

use super::Compiler;
use crate::description::{self, ByteOrder, Encoding, Scalar, Values};
use crate::number::{Form, MAX_DIGITS, Number, all_bits};
use crate::plan::{Field, MAX_WORDS, Test};

impl<'d> Compiler<'d> {
    /// Returns the fields of a variant. An invalid field is reported and left out.
    pub(super) fn fields_of(
        &mut self,
        at: usize,
        variant: &'d description::Variant,
    ) -> BTreeMap<&'d str, Field> {
        let header = variant.header_length.unwrap_or(0) as usize;
        let mut fields: BTreeMap<&'d str, Field> = BTreeMap::new();
        for (name, field) in &variant.fields {
            let path = format!("variants[{at}].fields.{name}");
            let Some(compiled) = self.field(&path, field, header) else {
                continue;
            };
            if let Some((other, _)) = fields.iter().find(|(_, other)| overlap(other, &compiled)) {
                let problem = format!("it overlaps with the field `{other}`");
                let remedy = "move one of them, or give both of them a `mask` without common bits";
                self.problems.add(path, place(field), problem, remedy);
            }
            fields.insert(name, compiled);
        }
        fields
    }

    fn field(&mut self, path: &str, field: &description::Field, header: usize) -> Option<Field> {
        if self.all.delimiter.is_some() {
            self.word(path, field)
        } else {
            self.header_field(path, field, header)
        }
    }

    fn word(&mut self, path: &str, field: &description::Field) -> Option<Field> {
        if field.offset.is_some()
            || field.size.is_some()
            || field.mask.is_some()
            || field.signed
            || field.byte_order.is_some()
        {
            self.problems.add(
                path,
                place(field),
                "a delimited message consists of words",
                "use `word` (and `rest`) alone, without `offset`, `size`, `mask`, `signed` and `byteOrder`",
            );
            return None;
        }
        let index = field.word.map(|word| word as usize);
        let Some(index) = index.filter(|index| *index < MAX_WORDS) else {
            self.problems.add(
                format!("{path}.word"),
                field.word.map_or("missing".into(), |word| word.to_string()),
                format!("words are counted from 0 to {}", MAX_WORDS - 1),
                "give its number",
            );
            return None;
        };
        let digits = match field.encoding {
            None | Some(Encoding::Text) => false,
            Some(Encoding::Digits) if !field.rest => true,
            Some(_) => {
                let problem = "words are text or (without `rest`) digits";
                self.problems.add(
                    format!("{path}.encoding"),
                    "integer",
                    problem,
                    "use text or digits",
                );
                return None;
            }
        };
        Some(Field::Word {
            index,
            rest: field.rest,
            digits,
        })
    }

    fn header_field(
        &mut self,
        path: &str,
        field: &description::Field,
        header: usize,
    ) -> Option<Field> {
        let (Some(at), Some(size)) = (field.offset, field.size) else {
            let remedy = "give both `offset` and `size`, in bytes";
            self.problems
                .add(path, place(field), "its position is missing", remedy);
            return None;
        };
        if field.word.is_some() || field.rest {
            let remedy = "leave out `word` and `rest`, or describe a `delimiter`";
            self.problems.add(
                path,
                place(field),
                "only delimited messages have words",
                remedy,
            );
        }
        let (at, size) = (at as usize, size as usize);
        let encoding = field.encoding.unwrap_or(Encoding::Integer);
        let most = match encoding {
            Encoding::Integer => 8,
            Encoding::Digits => MAX_DIGITS,
            Encoding::Text => 255,
        };
        if !(1..=most).contains(&size) {
            let problem = format!("such a field has 1 to {most} bytes");
            self.problems
                .add(format!("{path}.size"), size, problem, "correct it");
            return None;
        }
        if at + size > header {
            self.problems.add(
                format!("{path}.offset"),
                at,
                format!(
                    "it ends at byte {}, outside the header of {header} bytes",
                    at + size
                ),
                "correct it, or `headerLength`",
            );
            return None;
        }
        if encoding != Encoding::Integer
            && (field.mask.is_some() || field.signed || field.byte_order.is_some())
        {
            let remedy = "leave out `mask`, `signed` and `byteOrder`";
            self.problems
                .add(path, place(field), "it is not an integer", remedy);
            return None;
        }
        if encoding == Encoding::Text {
            return Some(Field::Text { at, size });
        }
        let form = match (encoding, field.byte_order.unwrap_or(self.all.byte_order)) {
            (Encoding::Digits, _) => Form::Digits,
            (_, ByteOrder::Big) => Form::Big,
            (_, ByteOrder::Little) => Form::Little,
        };
        let mask = field.mask.unwrap_or(u64::MAX) & all_bits(size);
        let low = mask.checked_shr(mask.trailing_zeros()).unwrap_or(0);
        let whole = low != 0 && (low & low.wrapping_add(1)) == 0;
        if !whole || field.mask.is_some_and(|mask| mask > all_bits(size)) {
            let problem = format!("it must be consecutive bits within {size} bytes");
            let value = format!("{:#x}", field.mask.unwrap_or(0));
            self.problems.add(
                format!("{path}.mask"),
                value,
                problem,
                "correct it: 0x0c is two bits",
            );
            return None;
        }
        Some(Field::Number(Number {
            at,
            size,
            form,
            signed: field.signed,
            mask,
        }))
    }

    /// Compiles the conditions on the fields of one variant. Reports the fields that it does not
    /// have.
    pub(super) fn when(
        &mut self,
        path: &str,
        at: usize,
        when: &BTreeMap<String, Values>,
    ) -> Box<[Test]> {
        let mut tests = Vec::new();
        for (name, values) in when {
            let path = format!("{path}.{name}");
            match self
                .fields
                .get(at)
                .and_then(|fields| fields.get(&**name))
                .copied()
            {
                Some(field) => tests.extend(self.test(&path, field, values)),
                None => self.problems.add(
                    path,
                    name,
                    "the variant has no such field",
                    "correct the name",
                ),
            }
        }
        tests.into()
    }

    /// Compiles a condition on one field.
    pub(super) fn test(&mut self, path: &str, field: Field, values: &Values) -> Option<Test> {
        if values.0.is_empty() {
            self.problems
                .add(path, "[]", "there is no value", "give at least one");
        }
        let mut test = Test {
            field,
            numbers: Box::default(),
            texts: Box::default(),
        };
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for value in &values.0 {
            match self.value(path, field, value)? {
                Value::Number(number) => numbers.push(number),
                Value::Text(text) => texts.push(text),
            }
        }
        test.numbers = numbers.into();
        test.texts = texts.into();
        Some(test)
    }

    /// Compiles a value of the field.
    pub(super) fn value(&mut self, path: &str, field: Field, value: &Scalar) -> Option<Value> {
        match (field, value) {
            (Field::Number(number), Scalar::Number(value)) => {
                if !number.fits(*value) {
                    let problem =
                        format!("it does not fit into the field's {} bits", number.bits());
                    self.problems.add(
                        path,
                        value,
                        problem,
                        "correct it, or the field's `size`, `mask` or `signed`",
                    );
                    return None;
                }
                // The value as it will be read: -1 is 255 in an unsigned byte.
                let mut bytes = vec![0; number.end()];
                number.write(&mut bytes, *value);
                Some(Value::Number(number.read(&bytes).unwrap_or(*value)))
            }
            (Field::Word { digits: true, .. }, Scalar::Number(value)) if *value >= 0 => {
                Some(Value::Number(*value))
            }
            (Field::Text { size, .. }, Scalar::Text(text)) if text.len() > size => {
                let problem = format!("the field has only {size} bytes");
                self.problems.add(
                    path,
                    text,
                    problem,
                    "shorten it, or correct the field's `size`",
                );
                None
            }
            (Field::Text { .. } | Field::Word { digits: false, .. }, text) => {
                Some(Value::Text(text.to_string().into_bytes().into()))
            }
            (_, other) => {
                self.problems
                    .add(path, other, "the field holds a number", "give a number");
                None
            }
        }
    }
}

pub(super) enum Value {
    Number(i64),
    Text(Box<[u8]>),
}

fn overlap(one: &Field, other: &Field) -> bool {
    let bytes = |field: &Field| match field {
        Field::Number(number) => Some((number.at, number.end())),
        Field::Text { at, size } => Some((*at, at + size)),
        Field::Word { .. } => None,
    };
    if let (Field::Number(one), Field::Number(other)) = (one, other)
        && (one.at, one.size, one.form) == (other.at, other.size, other.form)
    {
        return one.mask & other.mask != 0;
    }
    match (bytes(one), bytes(other)) {
        (Some((a, a_end)), Some((b, b_end))) => a < b_end && b < a_end,
        _ => false,
    }
}

/// Formats the position of a field for error messages.
fn place(field: &description::Field) -> String {
    let show = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
    match field.word {
        Some(word) => format!("word {word}"),
        None => format!("offset {}, size {}", show(field.offset), show(field.size)),
    }
}
