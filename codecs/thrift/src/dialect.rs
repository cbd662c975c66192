//! The dialects of Thrift: transports, encodings and message types. It contains only names and
//! numbers, and must not read messages.

/// The framing of messages on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A 32-bit length before each message.
    Framed,
    /// None: a message ends with its outermost struct ("buffered").
    Unframed,
    /// Framed, with a block of headers (Apache and fbthrift `THeader`).
    Header,
    /// Framed, with a block of headers (`CloudWeGo` `TTHeader`).
    TtHeader,
}

impl Transport {
    const ALL: [Self; 4] = [Self::Framed, Self::Unframed, Self::Header, Self::TtHeader];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Framed => "framed",
            Self::Unframed => "unframed",
            Self::Header => "header",
            Self::TtHeader => "ttheader",
        }
    }

    /// Returns `true` if its messages have headers.
    pub(crate) const fn has_headers(self) -> bool {
        matches!(self, Self::Header | Self::TtHeader)
    }

    const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Framed,
            1 => Self::Unframed,
            2 => Self::Header,
            _ => Self::TtHeader,
        }
    }
}

/// The encoding of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Binary with a version word. All writers use it since 2009.
    Strict,
    /// Binary without a version word.
    Lax,
    /// Compact.
    Compact,
    /// JSON.
    Json,
}

impl Encoding {
    const ALL: [Self; 4] = [Self::Strict, Self::Lax, Self::Compact, Self::Json];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Strict => "binary",
            Self::Lax => "lax",
            Self::Compact => "compact",
            Self::Json => "json",
        }
    }

    /// Returns the protocol id of `THeader` (`HeaderFormat.md`). `TTHeader` uses the same ids for
    /// these.
    pub(crate) const fn header_id(self) -> u8 {
        match self {
            Self::Strict | Self::Lax => 0,
            Self::Json => 1,
            Self::Compact => 2,
        }
    }

    const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Strict,
            1 => Self::Lax,
            2 => Self::Compact,
            _ => Self::Json,
        }
    }
}

/// The type of a message (`thrift-rpc.md`, "Message exchange").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageType {
    Call,
    Reply,
    Exception,
    OneWay,
}

impl MessageType {
    /// Returns the type with this number on the wire.
    pub(crate) const fn from_wire(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Call),
            2 => Some(Self::Reply),
            3 => Some(Self::Exception),
            4 => Some(Self::OneWay),
            _ => None,
        }
    }

    /// Returns the number on the wire.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Reply => 2,
            Self::Exception => 3,
            Self::OneWay => 4,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Reply => "reply",
            Self::Exception => "exception",
            Self::OneWay => "oneway",
        }
    }
}

/// The dialect of one message, small enough for a layout and a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) transport: Transport,
    /// The encoding for a reply, as far as it is known.
    pub(crate) encoding: Encoding,
    /// `TTHeader` only: the payload has its own frame length.
    pub(crate) framed_payload: bool,
}

impl Dialect {
    /// The default dialect: most servers can read it.
    pub(crate) const ORDINARY: Self = Self {
        transport: Transport::Framed,
        encoding: Encoding::Strict,
        framed_payload: false,
    };

    const FRAMED_PAYLOAD: u32 = 1 << 4;
    /// The number of bits that [`Dialect::bits`] uses.
    pub(crate) const BITS: u32 = 5;

    pub(crate) const fn bits(self) -> u32 {
        let framed = if self.framed_payload {
            Self::FRAMED_PAYLOAD
        } else {
            0
        };
        self.transport as u32 | (self.encoding as u32) << 2 | framed
    }

    /// Returns the dialect with this name: a transport, an encoding, or both with a dash between
    /// them.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let (mut transport, mut encoding) = (None, None);
        for word in name.split('-') {
            let (is_transport, is_encoding) = (
                Transport::ALL.iter().find(|one| one.name() == word),
                Encoding::ALL.iter().find(|one| one.name() == word),
            );
            let twice = match (is_transport, is_encoding) {
                (Some(found), _) => transport.replace(*found).is_some(),
                (_, Some(found)) => encoding.replace(*found).is_some(),
                (None, None) => return None,
            };
            if twice {
                return None;
            }
        }
        Some(Self {
            transport: transport.unwrap_or(Self::ORDINARY.transport),
            encoding: encoding.unwrap_or(Self::ORDINARY.encoding),
            framed_payload: false,
        })
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self {
            transport: Transport::from_bits(bits),
            encoding: Encoding::from_bits(bits >> 2),
            framed_payload: bits & Self::FRAMED_PAYLOAD != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_survives_its_bits() {
        for bits in 0..1 << Dialect::BITS {
            assert_eq!(Dialect::from_bits(bits).bits(), bits);
        }
    }
}
