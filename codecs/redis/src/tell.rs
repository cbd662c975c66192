//! The attributes of a request, and its retry safety. It must not depend on connections: it sees
//! single requests.

use meltemi_frame::{KeyId, Message, Open, Safety, Span};

use crate::args::{Args, Argument};
use crate::command::{Act, Command, Keys};
use crate::keys;
use crate::layout;
use crate::spec;

/// Sets an attribute to an unknown name, in lower case.
pub(crate) fn set_lower<'b>(message: &mut Message<'b>, key: KeyId, name: Option<Argument<'b>>) {
    match name {
        Some(Argument::Wire(span)) => {
            let bytes = span.of(message.wire()).unwrap_or_default();
            if bytes.iter().any(u8::is_ascii_uppercase) {
                message.attributes.set_kept(key, bytes.to_ascii_lowercase());
            } else {
                message.attributes.set_span(key, span);
            }
        }
        Some(Argument::Built(bytes)) => {
            message.attributes.set_kept(key, bytes.to_ascii_lowercase());
        }
        None => {}
    }
}

pub(crate) fn set_key<'b>(
    message: &mut Message<'b>,
    args: &Args<'b>,
    command: Option<&'static Command>,
) {
    let (first, single) = if keys::is_behind_name(command) {
        (1, true)
    } else {
        let plan = keys::of(args, command);
        if command.is_some_and(|command| command.keys == Keys::Script) {
            // Only the script knows what it calls.
            message.attributes.set_undetermined(spec::SCRIPT_COMMAND);
        }
        if plan.is_open() {
            message.attributes.set_undetermined(spec::KEY);
            message.attributes.set_open_undetermined();
        }
        let Some(first) = plan.first() else {
            return;
        };
        (first, plan.is_single())
    };
    match args.at(first) {
        Some(Argument::Wire(span)) => {
            message.attributes.set_span(spec::KEY, span);
            layout::note_key(&mut message.layout, first, Some(span), single);
        }
        Some(Argument::Built(bytes)) => {
            message.attributes.set_kept(spec::KEY, bytes.into_owned());
            layout::note_key(&mut message.layout, first, None, single);
        }
        None => return,
    }
    let region = Span::new(0, args.wire().len());
    message.attributes.set_open(Open::Walk {
        region,
        walk: keys::walk,
    });
}

/// Returns the retry safety of a command with these options.
pub(crate) fn safety(command: &Command, args: &Args<'_>, whole: bool) -> Safety {
    if command.act != Act::Set || args.count() <= 3 {
        return command.safety;
    }
    // The reply with `NX` or `GET` depends on the earlier value: a second attempt returns another
    // reply.
    let tells = |at| args.is(at, "nx") || args.is(at, "get");
    if !whole || args.count() > 8 || (3..args.count()).any(tells) {
        return Safety::Unknown;
    }
    command.safety
}
