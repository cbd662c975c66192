//! Blocks of names and values, each with its length before it: walks, finds and edits them.

use std::borrow::Cow;
use std::ops::ControlFlow;

use meltemi_frame::{Edit, Entry, Span, Walk};

use crate::number::{Form, Number, all_bits};

/// The format of the lengths in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub key: u8,
    pub value: u8,
    pub little: bool,
}

/// One entry: the spans of its name and value, and the start of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub name: Span,
    pub value: Span,
    pub end: usize,
}

impl Format {
    /// Reads a text with a length of 1, 2 or 4 bytes at `at`. Returns its start and end.
    fn text(self, size: u8, wire: &[u8], at: usize, end: usize) -> Option<(usize, usize)> {
        let size = usize::from(size);
        let start = at.checked_add(size).filter(|start| *start <= end)?;
        let bytes = wire.get(at..start)?;
        let length = match (bytes.first_chunk(), self.little) {
            // Every entry of every message is read: the common form has a fast path.
            (Some(four), false) if size == 4 => i64::from(u32::from_be_bytes(*four)),
            _ => self.number(0, size).read(bytes)?,
        };
        // A 4-byte length of -1 is null if Java wrote it (SOFABolt's header map).
        let length = if size == 4 && length == i64::from(u32::MAX) {
            0
        } else {
            length
        };
        let stop = start
            .checked_add(usize::try_from(length).ok()?)
            .filter(|stop| *stop <= end)?;
        Some((start, stop))
    }

    const fn number(self, at: usize, size: usize) -> Number {
        let form = if self.little { Form::Little } else { Form::Big };
        Number {
            at,
            size,
            form,
            signed: false,
            mask: all_bits(size),
        }
    }

    /// Reads the entry at `at` in a block that ends at `end`. `None` if it is invalid.
    pub(crate) fn entry(self, wire: &[u8], at: usize, end: usize) -> Option<Found> {
        let (name_start, name_end) = self.text(self.key, wire, at, end)?;
        let (value_start, value_end) = self.text(self.value, wire, name_end, end)?;
        Some(Found {
            name: Span::new(name_start, name_end),
            value: Span::new(value_start, value_end),
            end: value_end,
        })
    }

    fn put(self, block: &mut Vec<u8>, size: u8, text: &[u8]) {
        let at = block.len();
        block.resize(at + usize::from(size), 0);
        let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
        self.number(at, usize::from(size)).write(block, length);
        block.extend_from_slice(text);
    }

    const fn room(size: u8, text: &[u8]) -> bool {
        // Many peers read the highest 4-byte lengths as negative numbers.
        let max = if size == 4 {
            i32::MAX as u64
        } else {
            all_bits(size as usize)
        };
        text.len() as u64 <= max
    }

    /// Writes the block `old` with one change to `new`: a set value replaces the first entry with
    /// its name. `Ok(false)` if `old` cannot be read to its end.
    pub(crate) fn edit(
        self,
        old: &[u8],
        name: &str,
        edit: &Edit,
        new: &mut Vec<u8>,
    ) -> Result<bool, TooLong> {
        new.clear();
        let (value, adds) = match edit {
            Edit::Set(_, value) => (Some(value), false),
            Edit::Add(_, value) => (Some(value), true),
            Edit::Remove(_) => (None, false),
        };
        if let Some(value) = value
            && !(Self::room(self.key, name.as_bytes()) && Self::room(self.value, value))
        {
            return Err(TooLong);
        }
        let mut value = value;
        let mut at = 0;
        while at < old.len() {
            let Some(found) = self.entry(old, at, old.len()) else {
                return Ok(false);
            };
            if adds || found.name.of(old) != Some(name.as_bytes()) {
                new.extend_from_slice(old.get(at..found.end).unwrap_or_default());
            } else if let Some(value) = value.take() {
                self.put(new, self.key, name.as_bytes());
                self.put(new, self.value, value);
            }
            at = found.end;
        }
        if let Some(value) = value {
            self.put(new, self.key, name.as_bytes());
            self.put(new, self.value, value);
        }
        Ok(true)
    }

    /// Returns the number of entries in a valid block.
    pub(crate) fn count(self, block: &[u8]) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < block.len() {
            let Some(found) = self.entry(block, at, block.len()) else {
                break;
            };
            at = found.end;
            count += 1;
        }
        count
    }

    /// Returns the same walk as a plain function, for [`meltemi_frame::Open::Walk`]. `None` for
    /// sizes that the language does not have.
    pub(crate) fn walk(self) -> Option<Walk> {
        macro_rules! walks {
            ($($key:literal $value:literal)*) => {
                match (self.key, self.value, self.little) {
                    $(($key, $value, false) => Some(visit_all::<$key, $value, false> as Walk),
                      ($key, $value, true) => Some(visit_all::<$key, $value, true> as Walk),)*
                    _ => None,
                }
            };
        }
        walks!(1 1  1 2  1 4  2 1  2 2  2 4  4 1  4 2  4 4)
    }
}

/// A name or value that is too long for its length field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

fn visit_all<'b, const KEY: u8, const VALUE: u8, const LITTLE: bool>(
    wire: &'b [u8],
    region: Span,
    visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>,
) {
    let format = Format {
        key: KEY,
        value: VALUE,
        little: LITTLE,
    };
    let end = (region.end as usize).min(wire.len());
    let mut at = region.start as usize;
    while at < end {
        let Some(found) = format.entry(wire, at, end) else {
            return;
        };
        let (Some(name), Some(value)) = (found.name.of(wire), found.value.of(wire)) else {
            return;
        };
        if visit(Entry {
            name: Cow::Borrowed(name),
            value: Cow::Borrowed(value),
        })
        .is_break()
        {
            return;
        }
        at = found.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOLT: Format = Format {
        key: 4,
        value: 4,
        little: false,
    };

    fn block(format: Format, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in pairs {
            format.put(&mut block, format.key, name.as_bytes());
            format.put(&mut block, format.value, value.as_bytes());
        }
        block
    }

    fn pairs(format: Format, block: &[u8]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        format.walk().unwrap()(block, Span::new(0, block.len()), &mut |entry| {
            all.push((text(&entry.name), text(&entry.value)));
            ControlFlow::Continue(())
        });
        all
    }

    #[test]
    fn a_set_value_takes_the_place_of_all_the_old_ones() {
        let old = block(BOLT, &[("a", "1"), ("b", "2"), ("a", "3")]);
        let mut new = Vec::new();
        let set = Edit::Set("header.a".into(), (*b"9").into());
        assert_eq!(BOLT.edit(&old, "a", &set, &mut new), Ok(true));
        assert_eq!(new, block(BOLT, &[("a", "9"), ("b", "2")]));
        let add = Edit::Add("header.a".into(), (*b"9").into());
        assert_eq!(BOLT.edit(&old, "a", &add, &mut new), Ok(true));
        assert_eq!(
            new,
            block(BOLT, &[("a", "1"), ("b", "2"), ("a", "3"), ("a", "9")])
        );
        assert_eq!(
            BOLT.edit(&old, "a", &Edit::Remove("header.a".into()), &mut new),
            Ok(true)
        );
        assert_eq!(new, block(BOLT, &[("b", "2")]));
        assert_eq!(BOLT.count(&old), 3);
    }

    #[test]
    fn a_null_is_empty_and_a_broken_block_is_left_alone() {
        let null = b"\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(pairs(BOLT, null), [("a".into(), String::new())]);
        let broken = b"\0\0\0\x01a\0\0\0\x05b";
        let remove = Edit::Remove("header.z".into());
        assert_eq!(BOLT.edit(broken, "z", &remove, &mut Vec::new()), Ok(false));
        let short = Format {
            key: 1,
            value: 1,
            little: false,
        };
        let long = Edit::Set("z".into(), vec![0; 256].into());
        assert_eq!(short.edit(b"", "z", &long, &mut Vec::new()), Err(TooLong));
    }

    fn formats() -> impl Strategy<Value = Format> {
        let size = || prop::sample::select(vec![1u8, 2, 4]);
        (size(), size(), any::<bool>()).prop_map(|(key, value, little)| Format {
            key,
            value,
            little,
        })
    }

    proptest! {
        #[test]
        fn every_format_reads_what_it_writes(
            format in formats(), list in prop::collection::vec(("[a-z]{0,9}", ".{0,9}"), 0..6),
        ) {
            let list: Vec<(&str, &str)> = list.iter().map(|(a, b)| (&**a, &**b)).collect();
            let bytes = block(format, &list);
            let got = pairs(format, &bytes);
            prop_assert_eq!(got.iter().map(|(a, b)| (&**a, &**b)).collect::<Vec<_>>(), list);
        }

        #[test]
        fn any_bytes_are_walked_without_harm(format in formats(), bytes: Vec<u8>) {
            let mut steps = 0;
            format.walk().unwrap()(&bytes, Span::new(0, bytes.len()), &mut |_| {
                steps += 1;
                ControlFlow::Continue(())
            });
            prop_assert!(steps <= bytes.len());
            let mut new = Vec::new();
            let _ = format.edit(&bytes, "a", &Edit::Remove("a".into()), &mut new);
            prop_assert!(new.len() <= bytes.len());
        }
    }
}
