//! Walks the open entries of attachments whose values have no parts.

use std::ops::ControlFlow;

use meltemi_frame::{Entry, Span, Walk};

use crate::cursor::Cursor;
use crate::format::Format;

/// Returns the function that walks the entries of such a map.
pub(crate) fn of(format: Format) -> Walk {
    match format {
        Format::Hessian2 => walk_hessian,
        Format::Fastjson2 => walk_jsonb,
    }
}

type Visit<'v, 'b> = &'v mut dyn FnMut(Entry<'b>) -> ControlFlow<()>;

fn walk_hessian<'b>(wire: &'b [u8], region: Span, visit: Visit<'_, 'b>) {
    walk(Format::Hessian2, wire, region, visit);
}

fn walk_jsonb<'b>(wire: &'b [u8], region: Span, visit: Visit<'_, 'b>) {
    walk(Format::Fastjson2, wire, region, visit);
}

fn walk<'b>(format: Format, wire: &'b [u8], region: Span, visit: Visit<'_, 'b>) {
    let Some(bytes) = wire.get(..region.end as usize) else {
        return;
    };
    let mut cursor = Cursor::new(bytes, region.start as usize);
    while cursor.left() > 0 {
        let (Ok(Some(key)), Ok(Some(value))) = (format.leaf(&mut cursor), format.leaf(&mut cursor))
        else {
            return;
        };
        if let Some(name) = format.text(wire, &key)
            && let Some(value) = format.text(wire, &value)
            && visit(Entry { name, value }).is_break()
        {
            return;
        }
    }
}
