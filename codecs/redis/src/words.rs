//! The texts that the proxy itself sends to a client, in Redis's wording. It must not make
//! decisions.

use meltemi_frame::{Output, Reason, ReplyContext};

use crate::broken::Broken;
use crate::state::BadHello;

/// A reply that the codec generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Ok = 1,
    Reset,
    NoAuth,
    HelloNoAuth,
    WrongPass,
    Refused,
    NoProto,
    ProtoNumber,
    HelloOption,
    ClientName,
    AuthArity,
    AuthSyntax,
    ReplyInMulti,
    Queued,
    ExecAbort,
    LongName,
    LongCredentials,
}

impl Local {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Reset,
        Self::NoAuth,
        Self::HelloNoAuth,
        Self::WrongPass,
        Self::Refused,
        Self::NoProto,
        Self::ProtoNumber,
        Self::HelloOption,
        Self::ClientName,
        Self::AuthArity,
        Self::AuthSyntax,
        Self::ReplyInMulti,
        Self::Queued,
        Self::ExecAbort,
        Self::LongName,
        Self::LongCredentials,
    ];

    /// Returns `true` if it is an error.
    pub(crate) const fn is_error(self) -> bool {
        !matches!(self, Self::Ok | Self::Reset | Self::Queued)
    }

    pub(crate) fn of(bits: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|local| *local as u64 == bits & 0xff)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Ok => "+OK",
            Self::Reset => "+RESET",
            Self::NoAuth => "-NOAUTH Authentication required.",
            Self::HelloNoAuth => {
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
                 select the RESP protocol version at the same time"
            }
            Self::WrongPass => "-WRONGPASS invalid username-password pair or user is disabled.",
            Self::Refused => "-ERR this command is not supported through a proxy: ",
            Self::NoProto => "-NOPROTO unsupported protocol version",
            Self::ProtoNumber => "-ERR Protocol version is not an integer or out of range",
            Self::HelloOption => "-ERR Syntax error in HELLO option",
            Self::ClientName => {
                "-ERR Client names cannot contain spaces, newlines or special characters."
            }
            Self::AuthArity => "-ERR wrong number of arguments for 'auth' command",
            Self::AuthSyntax => "-ERR syntax error",
            Self::Queued => "+QUEUED",
            Self::ExecAbort => "-EXECABORT Transaction discarded because of previous errors.",
            Self::LongName => "-ERR a name over 1 KiB is not supported through a proxy",
            Self::LongCredentials => {
                "-ERR a user name or password over 16 KiB is not supported through a proxy"
            }
            Self::ReplyInMulti => "-ERR CLIENT REPLY within MULTI is not supported through a proxy",
        }
    }
}

impl From<BadHello> for Local {
    fn from(bad: BadHello) -> Self {
        match bad {
            BadHello::Number => Self::ProtoNumber,
            BadHello::Version => Self::NoProto,
            BadHello::Option => Self::HelloOption,
            BadHello::Name => Self::ClientName,
            BadHello::LongName => Self::LongName,
            BadHello::LongCredentials => Self::LongCredentials,
        }
    }
}

/// Returns the receipt bits of a request that the codec answers itself.
pub(crate) fn bits(local: u32) -> u64 {
    u64::from(local & 0xff)
}

/// Returns the receipt of a request with a framing error.
pub(crate) fn broken(broken: Broken) -> ReplyContext {
    ReplyContext {
        bits: broken.code() << 8,
        ..ReplyContext::default()
    }
}

/// Writes the codec's own reply.
pub(crate) fn own(local: Local, receipt: &ReplyContext, out: &mut Output) {
    out.put(local.text().as_bytes());
    if local == Local::Refused {
        put_line(receipt.name.as_slice(), out);
    }
    out.put(b"\r\n");
}

/// The maximum length of an error text in bytes.
const TEXT_MAX: usize = 200;

/// Writes the error for a failed request. Some clients retry after `LOADING`, `TRYAGAIN`,
/// `CLUSTERDOWN` or `BUSY`, and go to another server after `MOVED` or `READONLY`. None of these
/// codes is used: the router decides about retries, and has already done so.
pub(crate) fn failure(reason: Reason, text: &str, receipt: &ReplyContext, out: &mut Output) {
    if let Some((text, found)) = Broken::text((receipt.bits >> 8) & 0xffff) {
        out.put(b"-ERR Protocol error: ");
        out.put(text.as_bytes());
        if let Some(found) = found {
            out.put(b"'");
            put_line(&[found], out);
            out.put(b"'");
        }
        out.put(b"\r\n");
        return;
    }
    out.put(match reason {
        Reason::BadRequest => b"-ERR bad request".as_slice(),
        Reason::NotFound => b"-ERR no route",
        Reason::Unavailable => b"-ERR upstream unavailable",
        Reason::Timeout => b"-ERR upstream timeout",
        Reason::Overloaded => b"-ERR overloaded",
        Reason::Denied => b"-NOPERM denied by policy",
        Reason::Internal => b"-ERR proxy failure",
    });
    if !text.is_empty() {
        out.put(b": ");
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        put_line(text.as_bytes().get(..end).unwrap_or_default(), out);
    }
    out.put(b"\r\n");
}

/// Writes a text without the bytes that would end the line.
fn put_line(text: &[u8], out: &mut Output) {
    for part in text.chunk_by(|a, b| a.is_ascii_control() == b.is_ascii_control()) {
        if part.first().is_some_and(u8::is_ascii_control) {
            out.put(b" ");
        } else {
            out.put(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reason: Reason, text: &str, receipt: &ReplyContext) -> String {
        let mut out = Output::new();
        failure(reason, text, receipt, &mut out);
        String::from_utf8(out.drain().to_vec()).unwrap()
    }

    #[test]
    fn failures_are_one_short_line() {
        let receipt = ReplyContext::default();
        assert_eq!(said(Reason::NotFound, "", &receipt), "-ERR no route\r\n");
        assert_eq!(
            said(Reason::Denied, "a\r\nb\0", &receipt),
            "-NOPERM denied by policy: a b \r\n"
        );
        let long = said(Reason::Internal, &"ü".repeat(500), &receipt);
        assert!(long.len() < 256 && long.ends_with("ü\r\n"));
    }

    #[test]
    fn broken_framing_is_told_as_redis_tells_it() {
        let receipt = broken(Broken::NoDollar(b':'));
        assert_eq!(
            said(Reason::BadRequest, "x", &receipt),
            "-ERR Protocol error: expected '$', got ':'\r\n"
        );
        let receipt = broken(Broken::Count(-1));
        assert_eq!(
            said(Reason::BadRequest, "x", &receipt),
            "-ERR Protocol error: invalid multibulk length\r\n"
        );
    }

    #[test]
    fn every_own_answer_is_found_again() {
        for local in Local::ALL {
            assert_eq!(Local::of(bits(local as u32)), Some(local));
        }
        assert_eq!(Local::of(0), None);
    }
}
