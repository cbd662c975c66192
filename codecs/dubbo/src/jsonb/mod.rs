//! JSONB, the binary format of fastjson2, as far as a proxy needs it: finds strings and skips all
//! other values. Each value of a Dubbo body is in its own frame: its length as an i32, then JSONB
//! (`FastJson2ObjectOutput` of Dubbo; `JSONB.Constants` of fastjson2).

mod scan;
mod string;

pub(crate) use scan::{has_parts, leaf, skip};
pub(crate) use string::{is_exact, put_text, rebuild};

/// The start of an object or map.
pub(crate) const MAP: u8 = 0xa6;
/// The end mark of an object or map.
pub(crate) const END: u8 = 0xa5;
/// A null.
pub(crate) const NULL: u8 = 0xaf;
