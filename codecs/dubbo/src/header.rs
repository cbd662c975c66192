//! The 16 bytes before every body, and their constants (`ExchangeCodec`, `Constants` and `Response`
//! of Dubbo 3.3).

use meltemi_frame::{Fault, Status};

/// The length of the header in bytes.
pub(crate) const LENGTH: usize = 16;
/// The first two bytes of every message.
pub(crate) const MAGIC: [u8; 2] = [0xda, 0xbb];
/// The position of the id: eight bytes.
pub(crate) const ID_AT: usize = 4;
/// The position of the body length: four bytes, the last of the header.
pub(crate) const BODY_AT: usize = 12;

/// A request, not a response.
pub(crate) const REQUEST: u8 = 0x80;
/// A request that gets a reply.
pub(crate) const TWO_WAY: u8 = 0x40;
/// A message of the connection, not of an application.
pub(crate) const EVENT: u8 = 0x20;
/// The bits of the serialization id.
pub(crate) const SERIALIZATION: u8 = 0x1f;

/// A header, not interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    pub(crate) status: u8,
    pub(crate) id: i64,
    pub(crate) body: i32,
}

impl Header {
    /// Reads the header at the front of `bytes`. The caller has checked the magic.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (front, rest) = bytes.split_first_chunk::<ID_AT>()?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let (body, _) = rest.split_first_chunk::<4>()?;
        let [_, _, flags, status] = *front;
        Some(Self {
            flags,
            status,
            id: i64::from_be_bytes(*id),
            body: i32::from_be_bytes(*body),
        })
    }

    pub(crate) const fn write(&self) -> [u8; LENGTH] {
        let [i0, i1, i2, i3, i4, i5, i6, i7] = self.id.to_be_bytes();
        let [b0, b1, b2, b3] = self.body.to_be_bytes();
        let [m0, m1] = MAGIC;
        [
            m0,
            m1,
            self.flags,
            self.status,
            i0,
            i1,
            i2,
            i3,
            i4,
            i5,
            i6,
            i7,
            b0,
            b1,
            b2,
            b3,
        ]
    }

    pub(crate) const fn is_request(&self) -> bool {
        self.flags & REQUEST != 0
    }

    pub(crate) const fn is_two_way(&self) -> bool {
        self.flags & TWO_WAY != 0
    }

    pub(crate) const fn is_event(&self) -> bool {
        self.flags & EVENT != 0
    }

    pub(crate) const fn serialization(&self) -> u8 {
        self.flags & SERIALIZATION
    }
}

/// Returns the name of a serialization for `serialization=` in a Dubbo URL. Others have only a
/// number.
pub(crate) const fn serialization_name(id: u8) -> Option<&'static str> {
    Some(match id {
        2 => "hessian2",
        3 => "java",
        4 => "compactedjava",
        6 => "fastjson",
        7 => "nativejava",
        8 => "kryo",
        9 => "fst",
        10 => "native-hessian",
        11 => "avro",
        12 => "protostuff",
        16 => "gson",
        18 => "jackson",
        21 => "protobuf-json",
        22 => "protobuf",
        23 => "fastjson2",
        25 => "kryo2",
        27 => "msgpack",
        28 => "fury",
        _ => return None,
    })
}

/// The response is a value, a null or an exception of the application.
pub(crate) const OK: u8 = 20;
pub(crate) const SERVER_TIMEOUT: u8 = 31;
pub(crate) const BAD_REQUEST: u8 = 40;
pub(crate) const SERVICE_NOT_FOUND: u8 = 60;
pub(crate) const SERVICE_ERROR: u8 = 70;
pub(crate) const SERVER_ERROR: u8 = 80;
pub(crate) const THREADPOOL_EXHAUSTED: u8 = 100;

/// Returns the text of a status that Dubbo defines.
pub(crate) const fn status_text(status: u8) -> Option<&'static str> {
    Some(match status {
        0 => "0",
        OK => "20",
        25 => "25",
        30 => "30",
        SERVER_TIMEOUT => "31",
        35 => "35",
        BAD_REQUEST => "40",
        50 => "50",
        SERVICE_NOT_FOUND => "60",
        SERVICE_ERROR => "70",
        SERVER_ERROR => "80",
        90 => "90",
        THREADPOOL_EXHAUSTED => "100",
        _ => return None,
    })
}

/// Returns the result of the call for a status. For [`OK`] the body decides.
pub(crate) const fn outcome(status: u8) -> Status {
    Status::Failed(match status {
        OK => return Status::Ok,
        25 | BAD_REQUEST => Fault::Malformed,
        30 | SERVER_TIMEOUT => Fault::Timeout,
        35 => Fault::Reset,
        50 => Fault::BadResponse,
        SERVICE_NOT_FOUND => Fault::NoRoute,
        SERVICE_ERROR => Fault::Application,
        THREADPOOL_EXHAUSTED => Fault::Overload,
        _ => Fault::Server,
    })
}
