//! The data that routing needs from one message, in any transport and encoding, read from its front
//! without walking its struct. It must not depend on sides, size limits, or the next message.

mod noted;

use meltemi_frame::{Interest, Limits, ReplyContext, SmallBytes, Violation};

use crate::cursor::{Cursor, Stop};
use crate::dialect::{Dialect, Encoding, MessageType, Transport};
use crate::envelope::{self, Envelope};
use crate::header::{self, Header, Pair, Transform};
use crate::inflate::{self, Inflater};
use crate::outcome::{self, Outcome};

use noted::Noted;

/// The number of bytes of a compressed payload that must have arrived before its front is inflated.
const ENOUGH_ZIPPED: usize = 4 << 10;

/// The front of one message. Offsets count from byte 0 of the message.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) dialect: Dialect,
    pub(crate) header: Option<Header>,
    /// `None` if the payload cannot be read in place.
    pub(crate) envelope: Option<Envelope>,
    /// The message type; `None` if it is unknown.
    pub(crate) kind: Option<MessageType>,
    /// The data read from a compressed payload.
    pub(crate) inflated: Option<Box<Inflated>>,
    /// `true` if the payload was read as a server reads it. Otherwise method, service and type are
    /// guesses.
    pub(crate) payload_sure: bool,
    /// `true` if the codec can read all entries of the header block.
    pub(crate) entries_sure: bool,
    pub(crate) outcome: Outcome,
    pub(crate) noted: Noted,
    /// `true` if the entries of the header block were walked and are valid.
    pub(crate) entries_checked: bool,
    /// The violation in a message that can still get a reply.
    pub(crate) flaw: Option<Violation>,
}

/// The data read from a compressed payload. It is boxed because few messages have one, and the
/// front of every message with a header is moved.
#[derive(Debug)]
pub(crate) struct Inflated {
    /// The name as written. It is not in the bytes of the message.
    pub(crate) name: Vec<u8>,
    /// The whole payload, if the body must be walked and is not too large.
    pub(crate) whole: Option<(Vec<u8>, Envelope)>,
}

impl Inflated {
    fn new(bytes: &[u8], envelope: &Envelope) -> Box<Self> {
        let (start, end) = envelope.name;
        Box::new(Self {
            name: bytes.get(start..end).unwrap_or_default().to_vec(),
            whole: None,
        })
    }
}

/// Set in the bits of a receipt whose request never gets a reply.
const ONE_WAY: u32 = 1 << Dialect::BITS;

/// Returns the bit for a message type that gets no reply.
pub(crate) const fn one_way(kind: MessageType) -> u32 {
    match kind {
        MessageType::Call => 0,
        _ => ONE_WAY,
    }
}

impl Front {
    /// Reads the message in a frame of `total` bytes. `bytes` is the front of the frame.
    pub(crate) fn framed(
        bytes: &[u8],
        total: usize,
        want: Interest,
        limits: &Limits,
        inflater: &mut Inflater,
    ) -> Result<Self, Stop> {
        let magic = match bytes.get(header::MAGIC_AT..header::MAGIC_AT + 2) {
            Some(&[first, second]) => [first, second],
            _ if total < header::MAGIC_AT + 2 => [0, 0],
            _ => return Err(Stop::Short(header::MAGIC_AT + 2)),
        };
        match header::transport_of(magic) {
            Some(transport) => Self::headed(bytes, total, transport, want, limits, inflater),
            None => Ok(Self::bare(
                bytes,
                envelope::read(bytes, 4)?,
                Transport::Framed,
            )),
        }
    }

    /// Returns the message with the front `envelope` and without a header.
    pub(crate) fn bare(bytes: &[u8], envelope: Envelope, transport: Transport) -> Self {
        Self {
            dialect: Dialect {
                transport,
                encoding: envelope.encoding,
                framed_payload: false,
            },
            header: None,
            envelope: Some(envelope),
            kind: Some(envelope.kind),
            inflated: None,
            payload_sure: true,
            entries_sure: true,
            outcome: outcome::read(bytes, &envelope),
            noted: Noted::default(),
            entries_checked: false,
            flaw: None,
        }
    }

    fn headed(
        bytes: &[u8],
        total: usize,
        transport: Transport,
        want: Interest,
        limits: &Limits,
        inflater: &mut Inflater,
    ) -> Result<Self, Stop> {
        let header = header::read(bytes, total, transport)?;
        let mut noted = Noted::default();
        // A TTHeader block is walked for the service, which is stored only there.
        let checks = transport == Transport::TtHeader || want >= Interest::Headers;
        let (entries_sure, flaw) = if checks {
            let note = &mut |pair: &Pair<'_>| {
                if transport == Transport::TtHeader {
                    noted.note(pair);
                }
            };
            match header::check(bytes, &header, limits, note) {
                Ok(sure) => (sure, None),
                Err(flaw) => (false, Some(flaw)),
            }
        } else {
            (true, None)
        };
        let mut front = Self {
            dialect: Dialect {
                transport,
                encoding: match header.protocol {
                    1 => Encoding::Json,
                    2 => Encoding::Compact,
                    _ => Encoding::Strict,
                },
                framed_payload: false,
            },
            envelope: None,
            kind: noted.kind,
            inflated: None,
            payload_sure: false,
            entries_sure,
            outcome: noted.outcome(),
            noted,
            entries_checked: checks && flaw.is_none(),
            flaw,
            header: Some(header),
        };
        match header.transform {
            // Empty payloads and foreign protocols are routed by their headers.
            _ if header.end == total || header.protocol > 2 => {}
            Transform::None => front.payload(bytes, total, &header)?,
            Transform::Zlib => front.zipped(bytes, total, &header, (want, inflater))?,
            _ => {}
        }
        Ok(front)
    }

    fn payload(&mut self, bytes: &[u8], total: usize, header: &Header) -> Result<(), Stop> {
        let mut at = header.end;
        if header.transport == Transport::TtHeader {
            let length = Cursor::new(bytes, at).i32()?;
            // A name of that length leaves no room for the fields after it, so this is not a
            // message in the lax encoding.
            if usize::try_from(length).is_ok_and(|length| length == total.saturating_sub(at + 4)) {
                self.dialect.framed_payload = true;
                at += 4;
            }
        }
        let envelope = envelope::read(bytes, at)?;
        if u32::from(envelope.encoding.header_id()) != header.protocol {
            let what = "the payload does not have the protocol of its header";
            return Err(Violation::Invalid(what).into());
        }
        self.found(bytes, &envelope);
        self.envelope = Some(envelope);
        self.payload_sure = true;
        Ok(())
    }

    /// Reads a compressed payload. If it is not zlib, or not a message, it stays unread: the header
    /// is enough.
    fn zipped(
        &mut self,
        bytes: &[u8],
        total: usize,
        header: &Header,
        (want, inflater): (Interest, &mut Inflater),
    ) -> Result<(), Stop> {
        if want == Interest::Body && bytes.len() == total {
            self.whole(bytes.get(header.end..).unwrap_or_default());
            // TTHeader servers implement transforms differently.
            self.payload_sure &= header.transport == Transport::Header;
            if self.payload_sure {
                return Ok(());
            }
        }
        let enough = header.end.saturating_add(ENOUGH_ZIPPED).min(total);
        let payload = bytes.get(header.end..enough).ok_or(Stop::Short(enough))?;
        let front = inflater.front(payload);
        if let Ok(envelope) = envelope::read(front, 0) {
            self.inflated = Some(Inflated::new(front, &envelope));
            self.found(front, &envelope);
        }
        Ok(())
    }

    /// Reads the message of a payload that is inflated completely.
    fn whole(&mut self, payload: &[u8]) {
        let Some(bytes) = inflate::whole(payload) else {
            return;
        };
        let Ok(envelope) = envelope::read(&bytes, 0) else {
            return;
        };
        self.found(&bytes, &envelope);
        let named = self.header.as_ref().map(|header| header.protocol);
        self.payload_sure = named == Some(u32::from(envelope.encoding.header_id()));
        let mut inflated = Inflated::new(&bytes, &envelope);
        inflated.whole = Some((bytes, envelope));
        self.inflated = Some(inflated);
    }

    fn found(&mut self, bytes: &[u8], envelope: &Envelope) {
        self.dialect.encoding = envelope.encoding;
        self.kind = Some(envelope.kind);
        let outcome = outcome::read(bytes, envelope);
        if outcome != Outcome::OK {
            self.outcome = outcome;
        }
    }

    /// Returns the sequence id: that of the header, if there is one.
    pub(crate) fn seqid(&self) -> i32 {
        match (&self.header, &self.envelope) {
            (Some(header), _) => header.seqid,
            (None, Some(envelope)) => envelope.seqid,
            (None, None) => 0,
        }
    }

    /// Returns the sequence id of the payload.
    pub(crate) fn inner_seqid(&self) -> i32 {
        self.envelope
            .as_ref()
            .map_or(self.seqid(), |envelope| envelope.seqid)
    }

    /// Returns the bits of the dialect, and the bit for a message that gets no reply.
    pub(crate) fn bits(&self) -> u32 {
        let one_way = self.kind.map_or(0, one_way);
        self.dialect.bits() | one_way
    }

    /// Returns the range of the method name: after the service name, if the message is multiplexed.
    pub(crate) fn names(&self, bytes: &[u8]) -> Names {
        match &self.envelope {
            Some(envelope) if self.is_request() => {
                let (service, method) = envelope::split_name(bytes, envelope.name);
                Names {
                    service: service.or(self.noted.service),
                    method: Some(method),
                }
            }
            // Replies repeat the method name without the service name.
            Some(envelope) => Names {
                service: self.noted.service,
                method: Some(envelope.name),
            },
            None => Names {
                service: self.noted.service,
                method: self.noted.method,
            },
        }
    }

    /// Returns the method of a compressed payload, as written.
    fn inflated_method(&self) -> Option<&[u8]> {
        let name = &*self.inflated.as_ref()?.name;
        if !self.is_request() {
            return Some(name);
        }
        let (_, (start, end)) = envelope::split_name(name, (0, name.len()));
        name.get(start..end)
    }

    /// Returns the start of the payload.
    pub(crate) fn start(&self) -> usize {
        match (&self.header, self.dialect.transport) {
            (Some(header), _) if self.dialect.framed_payload => header.end + 4,
            (Some(header), _) => header.end,
            (None, Transport::Unframed) => 0,
            (None, _) => 4,
        }
    }

    pub(crate) fn is_request(&self) -> bool {
        matches!(
            self.kind,
            None | Some(MessageType::Call | MessageType::OneWay)
        )
    }

    /// Returns the receipt, if the message must get a reply.
    pub(crate) fn answer(&self, bytes: &[u8]) -> Option<Box<ReplyContext>> {
        let known = self.kind == Some(MessageType::Call);
        known.then(|| {
            let name = match (self.inflated_method(), self.names(bytes).method) {
                (Some(method), _) => method,
                (None, Some((start, end))) => bytes.get(start..end).unwrap_or_default(),
                (None, None) => b"",
            };
            Box::new(receipt(self.seqid(), self.bits(), self.inner_seqid(), name))
        })
    }
}

/// The ranges of names in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) service: Option<(usize, usize)>,
    pub(crate) method: Option<(usize, usize)>,
}

/// Returns the receipt that is needed to reply to a request. The upper half of its bits is the
/// payload's own sequence id, which may differ from the header's.
pub(crate) fn receipt(seqid: i32, bits: u32, inner_seqid: i32, method: &[u8]) -> ReplyContext {
    ReplyContext {
        id: Some(i64::from(seqid)),
        bits: u64::from(bits) | u64::from(inner_seqid.cast_unsigned()) << 32,
        name: SmallBytes::new(method),
    }
}

/// Returns the parts of a [`receipt`]: the dialect, `true` if no reply is due, and both sequence
/// ids.
pub(crate) fn remembered(receipt: &ReplyContext) -> (Dialect, bool, i32, i32) {
    let low = receipt.bits as u32;
    let dialect = Dialect::from_bits(low);
    let seqid = receipt.id.unwrap_or_default() as i32;
    let inner = if dialect.transport.has_headers() {
        ((receipt.bits >> 32) as u32).cast_signed()
    } else {
        seqid
    };
    (dialect, low & ONE_WAY != 0, seqid, inner)
}
