//! The notes in [`Message::layout`](meltemi_frame::Message) that the server side leaves for the client
//! side: places, and what a command will do to the connection. It knows no bytes.

use meltemi_frame::{Layout, Span};

use crate::args::Args;
use crate::command::Act;
use crate::subscriptions::Family;
use crate::words::Local;

/// What the command does that the client side must follow.
pub(crate) const NOTE: usize = 0;
/// The codec's own answer.
pub(crate) const LOCAL: usize = 1;
/// How many channels a command of the subscribe family names.
pub(crate) const CHANNELS: usize = 2;
/// How many keys there are: [`KEY_NONE`], [`KEY_ONE`] or [`KEY_MANY`].
pub(crate) const KEYS: usize = 3;
/// Where the key starts and ends, both 0 if it is not on the wire as it is meant.
pub(crate) const KEY_START: usize = 4;
pub(crate) const KEY_END: usize = 5;
/// Which argument the key is.
pub(crate) const KEY_AT: usize = 6;

/// 1: the `MULTI` that was kept goes before it.
pub(crate) const OPENS: usize = 7;

pub(crate) const KEY_NONE: u32 = 0;
pub(crate) const KEY_ONE: u32 = 1;
pub(crate) const KEY_MANY: u32 = 2;

pub(crate) const MONITOR: u32 = 1;
/// A `HELLO` whose credentials are not for the upstream.
pub(crate) const HELLO_STRIPPED: u32 = 2;
/// A `HELLO` whose options must be put in order.
pub(crate) const HELLO_ORDERED: u32 = 3;
/// A `WAIT` that begins on a connection of its own: the same that waits for nothing goes before it.
pub(crate) const WAIT: u32 = 4;
/// An `EXEC` of a transaction of which a command was refused: it is discarded instead.
pub(crate) const ABORT: u32 = 5;
/// A `SCAN` or one of its like. [`CHANNELS`] is the place of the cursor among the arguments.
pub(crate) const SCAN: u32 = 6;
/// A call of a script by its name, or a command that changes which scripts there are.
pub(crate) const LOADS: u32 = 7;
/// Commands of the subscribe family have notes from here on.
const SUBSCRIBE: u32 = 8;

pub(crate) fn note_command(layout: &mut Layout, act: Act, args: &Args<'_>) {
    let (family, subscribe) = match act {
        Act::Monitor => {
            layout[NOTE] = MONITOR;
            return;
        }
        Act::Subscribe(family) => (family, true),
        Act::Unsubscribe(family) => (family, false),
        _ => return,
    };
    let family = match family {
        Family::Channel => 0,
        Family::Pattern => 1,
        Family::Shard => 2,
    };
    layout[NOTE] = SUBSCRIBE + family * 2 + u32::from(subscribe);
    layout[CHANNELS] = u32::try_from(args.count().saturating_sub(1)).unwrap_or(u32::MAX);
}

/// The family, and whether it subscribes.
pub(crate) const fn subscription(layout: &Layout) -> Option<(Family, bool)> {
    let Some(note) = layout[NOTE].checked_sub(SUBSCRIBE) else {
        return None;
    };
    let family = match note / 2 {
        0 => Family::Channel,
        1 => Family::Pattern,
        2 => Family::Shard,
        _ => return None,
    };
    Some((family, note % 2 == 1))
}

pub(crate) const fn note_local(layout: &mut Layout, local: Option<Local>) {
    if let Some(local) = local {
        layout[LOCAL] = local as u32;
    }
}

pub(crate) fn note_key(layout: &mut Layout, position: usize, span: Option<Span>, single: bool) {
    layout[KEYS] = if single { KEY_ONE } else { KEY_MANY };
    layout[KEY_AT] = u32::try_from(position).unwrap_or(u32::MAX);
    if let Some(span) = span {
        layout[KEY_START] = span.start;
        layout[KEY_END] = span.end;
    }
}
