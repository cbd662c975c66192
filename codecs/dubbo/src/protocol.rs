//! Dubbo's description of itself: keys, edits, replies, detection.

use meltemi_frame::{
    Codec, Correlation, Detect, Interest, KeySpec, Limits, OpenKeys, Protocol, Session, Side, Spec,
    System,
};

use crate::codec::DubboCodec;
use crate::header::MAGIC;
use crate::reply;

/// The slots of the declared keys, in the order of the specification's list.
pub(crate) mod key {
    use meltemi_frame::KeyId;

    pub(crate) const INTERFACE: KeyId = KeyId(0);
    pub(crate) const METHOD: KeyId = KeyId(1);
    pub(crate) const VERSION: KeyId = KeyId(2);
    pub(crate) const PATH: KeyId = KeyId(3);
    pub(crate) const TYPES: KeyId = KeyId(4);
    pub(crate) const DUBBO: KeyId = KeyId(5);
    pub(crate) const SERIALIZATION: KeyId = KeyId(6);
    pub(crate) const GROUP: KeyId = KeyId(7);
    pub(crate) const GENERIC_METHOD: KeyId = KeyId(8);
    pub(crate) const STATUS: KeyId = KeyId(9);
    pub(crate) const RESULT: KeyId = KeyId(10);
}

/// The prefix of an attachment name, for names that alone have another meaning.
pub(crate) const ATTACHMENT: &str = "attachment.";

/// The Dubbo 2.x protocol, as spoken by Dubbo 2.6, 2.7 and 3.x.
///
/// ```
/// use meltemi_dubbo::Dubbo;
/// use meltemi_frame::{Codec as _, Decoded, Interest, Kind, Limits, Protocol, Session, Side};
///
/// // A heartbeat.
/// let bytes = b"\xda\xbb\xe2\x00\0\0\0\0\0\0\0\x07\0\0\0\x01N";
/// let dubbo = Dubbo::new();
/// let mut codec = dubbo.codec(Side::Server, &Limits::default(), &Session::default());
/// let Ok(Decoded::Message(message, 17)) = codec.decode(bytes, Interest::Route) else { panic!() };
/// assert_eq!((message.head.kind, message.head.id), (Kind::Ping, Some(7)));
/// ```
#[derive(Debug)]
pub struct Dubbo {
    spec: Spec,
}

impl Dubbo {
    /// Returns the protocol.
    pub fn new() -> Self {
        Self { spec: spec() }
    }
}

impl Default for Dubbo {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Dubbo {
    fn calls_back(&self) -> bool {
        true
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn detect(&self, prefix: &[u8]) -> Detect {
        match prefix {
            [first] if *first == MAGIC[0] => Detect::Need(2),
            [first, second, ..] if [*first, *second] == MAGIC => Detect::Yes,
            _ => Detect::No,
        }
    }

    fn codec(&self, side: Side, limits: &Limits, _session: &Session) -> Box<dyn Codec> {
        Box::new(DubboCodec::new(side, *limits))
    }
}

/// The cases in which the service cannot be determined.
const SERVICE: &str = "the body is neither hessian2 nor fastjson2, arguments are too deep, attachments are too many \
    or in a form that is not read, or the path or the group contain `/` or `:`";
/// The cases in which a field before the arguments cannot be determined.
const FRONT: &str = "the serialization does not write it plainly, or its encoding is not read";
/// The cases in which attachments cannot be determined.
const OPEN: &str = "the body is neither hessian2 nor fastjson2, arguments are too deep, or attachments are too many \
    or in a form that is not read";

fn spec() -> Spec {
    let headers = Interest::Headers;
    Spec::new("dubbo", "method", Correlation::Id { bits: 64 })
        .heartbeat(true)
        .keys([
            KeySpec::request("interface", "the service's interface: the path")
                .authoritative_at(headers)
                .blind(SERVICE),
            KeySpec::request("method", "the method; `$invoke` for a generic call")
                .editable()
                .blind(FRONT),
            KeySpec::request(
                "version",
                "the version of the service, `0.0.0` if it has none",
            )
            .authoritative_at(headers)
            .blind(SERVICE),
            KeySpec::request("path", "the same as `interface`")
                .authoritative_at(headers)
                .blind("as for `interface`; or the call names a group"),
            KeySpec::request("types", "the parameter types as a JVM descriptor").blind(FRONT),
            KeySpec::request(
                "dubbo",
                "the version of the Dubbo protocol, not of the product",
            )
            .both(),
            KeySpec::request(
                "serialization",
                "how the body is written: `hessian2`, `fastjson2`, …",
            )
            .both(),
            KeySpec::request("group", "the group of the service: the attachment `group`")
                .at(headers)
                .editable()
                .blind(SERVICE),
            KeySpec::request("generic.method", "the method that a generic call names, trimmed")
                .at(headers)
                .blind(
                    "as for `interface`; or the name and the parameter types, joined, can be cut elsewhere",
                ),
            KeySpec::response(
                "status",
                "the status in the header, as a number: 20 is well",
            ),
            KeySpec::response(
                "result",
                "`value`, `null` or `exception`, where the status is 20",
            ),
        ])
        .open([
            OpenKeys::new("", "an attachment")
                .editable(true, true)
                .blind(OPEN),
            OpenKeys::new(
                ATTACHMENT,
                "an attachment, also where the name alone is a key of its own",
            )
            .editable(true, true)
            .blind(OPEN),
        ])
        .replies(reply::REASONS)
        .generic_operation("generic.method")
        .service("interface")
        .system(System::Rpc("dubbo".into()))
}
