//! The protocol's description of itself: keys, edits, replies. It must not depend on the
//! implementation.

use meltemi_frame::{
    Correlation, Edit, EncodeError, KeyId, KeySpec, Reason, Sharing, Spec, System, Unsupported,
};

pub(crate) const NAME: &str = "redis";

pub(crate) const COMMAND: KeyId = KeyId(0);
pub(crate) const SUBCOMMAND: KeyId = KeyId(1);
pub(crate) const KEY: KeyId = KeyId(2);
pub(crate) const CATEGORY: KeyId = KeyId(3);
pub(crate) const TYPE: KeyId = KeyId(4);
pub(crate) const ERROR: KeyId = KeyId(5);
pub(crate) const SCRIPT_COMMAND: KeyId = KeyId(6);

/// The cases in which the keys of a request are unknown.
const BLIND: &str = "scripts, SORT with BY or GET, DEBUG, TS.MGET and its like, commands and options that the codec \
                     does not know, malformed counts of keys";

/// Redis writes a subcommand this way in its lists. A request has another form.
const NEVER: &[(&str, &str)] = &[("|", SUBCOMMANDS), (" ", SUBCOMMANDS)];
const SUBCOMMANDS: &str =
    "the subcommand is an attribute of its own: `command` is config and `subcommand` is set";

/// Redis does not let a script call a script. So a policy about these commands is not about scripts that
/// might call them.
const NOT_CALLED: &[(&str, &str)] = &[("eval", NO_SCRIPTS), ("fcall", NO_SCRIPTS)];
const NO_SCRIPTS: &str = "a script cannot call a script: test `command`";

pub(crate) fn spec() -> Spec {
    Spec::new(NAME, "command", Correlation::InOrder { id_bits: None })
        .sharing(Sharing::Pipelined)
        .heartbeat(true)
        .stateful_endpoints(true)
        .keys([
            KeySpec::request("command", "the command in lower case, such as `get`")
                .ignore_case()
                .never(NEVER),
            KeySpec::request(
                "subcommand",
                "the subcommand of a container command in lower case, such as `setname` of `client`",
            )
            .ignore_case()
            .never(NEVER),
            KeySpec::request(
                "key",
                "the first key; it can be set where the command has exactly one, and never removed",
            )
            .editable()
            .blind(BLIND),
            KeySpec::request(
                "category",
                "one of read, write, blocking, pubsub, transaction, scripting, connection, admin, server, unknown",
            )
            .ignore_case()
            .one_of(&[
                "read",
                "write",
                "blocking",
                "pubsub",
                "transaction",
                "scripting",
                "connection",
                "admin",
                "server",
                "unknown",
            ]),
            KeySpec::response(
                "type",
                "one of simple, error, integer, bulk, array, null, map, set, double, bool, bignum, verbatim, push",
            )
            .ignore_case()
            .one_of(&[
                "simple", "error", "integer", "bulk", "array", "null", "map", "set", "double", "bool",
                "bignum", "verbatim", "push",
            ]),
            KeySpec::response(
                "error",
                "the first word of an error reply, such as `WRONGTYPE`",
            ),
            KeySpec::request("script.command", "the commands that a script calls")
                .ignore_case()
                .never(NOT_CALLED)
                .blind("EVAL, EVALSHA, FCALL, and the same with _RO"),
            KeySpec::request(
                crate::keys::KEYS,
                "every key, in the order of the arguments",
            )
            .many()
            .blind(BLIND),
        ])
        .replies(Reason::ALL)
        .generic_operation("script.command")
        .system(System::Database(NAME.into()))
}

pub(crate) fn refused(edit: &Edit, why: &'static str) -> EncodeError {
    EncodeError::Edit {
        protocol: NAME,
        name: edit.name().to_owned(),
        why,
    }
}

pub(crate) fn no_id() -> EncodeError {
    EncodeError::Edit {
        protocol: NAME,
        name: "id".to_owned(),
        why: "replies come in the order of the requests, without ids",
    }
}

pub(crate) const fn unsupported(what: &'static str) -> Unsupported {
    Unsupported {
        protocol: NAME,
        what,
    }
}
