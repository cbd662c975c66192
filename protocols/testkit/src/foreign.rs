//! The first bytes of clients of other protocols, which `detect` must not claim.
//!
//! The bytes are those of real clients (HTTP/1.1 RFC 9112, HTTP/2 RFC 9113 §3.4, TLS RFC 8446
//! §4.1.2, MQTT 5 §3.1, the Redis and memcached protocol texts, and captures of real libraries).

/// The first bytes of one client.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// The protocol's name, as in [`Spec::name`](meltemi_frame::Spec::name).
    pub protocol: &'static str,
    /// The form of the protocol.
    pub form: &'static str,
    /// The bytes that the client sends first.
    pub bytes: &'static [u8],
    /// Names of protocols in which the same bytes are valid. The configuration must decide between
    /// them.
    pub shared_with: &'static [&'static str],
}

const fn of(protocol: &'static str, form: &'static str, bytes: &'static [u8]) -> Foreign {
    Foreign {
        protocol,
        form,
        bytes,
        shared_with: &[],
    }
}

/// An inline Redis command and a memcached text command can have the same bytes.
const fn either(protocol: &'static str, form: &'static str, bytes: &'static [u8]) -> Foreign {
    Foreign {
        protocol,
        form,
        bytes,
        shared_with: &["redis", "memcached"],
    }
}

/// All protocols that the testkit contains.
pub const FOREIGN: &[Foreign] = &[
    of("http", "HTTP/1.1 GET", b"GET /index.html HTTP/1.1\r\nHost: example.com\r\n\r\n"),
    of("http", "HTTP/1.1 POST", b"POST /v1/echo HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\n{}"),
    of("http", "HTTP/1.1 OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n"),
    of("http2", "preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64"),
    of("tls", "ClientHello 1.2", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a"),
    of("redis", "array", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    of("redis", "array HELLO", b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
    either("redis", "inline GET", b"GET k\r\n"),
    either("redis", "inline PING", b"PING\r\n"),
    of("dubbo", "request", b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01\0\0\0\x97\x052.0.2\x10demo.DemoService\x050.0.0\x05hello"),
    of("dubbo", "one-way", b"\xda\xbb\x82\0\0\0\0\0\0\0\0\x07\0\0\0\x2a\x052.0.2\x10demo.DemoService\x050.0.0\x04fire"),
    of("dubbo", "heartbeat", b"\xda\xbb\xe2\0\0\0\0\0\0\0\0\x02\0\0\0\x01\x4e"),
    of("thrift", "framed binary", b"\0\0\0\x1e\x80\x01\0\x01\0\0\0\x03add\0\0\0\x01\x08\0\x01\0\0\0\x01\x08\0\x02\0\0\0\x02\0"),
    of("thrift", "framed compact", b"\0\0\0\x0c\x82\x21\x01\x03add\x15\x02\x15\x04\0"),
    of("thrift", "unframed binary", b"\x80\x01\0\x04\0\0\0\x04fire\0\0\0\x01\x0b\0\x01\0\0\0\x01x\0"),
    of("thrift", "unframed compact", b"\x82\x21\x01\x03add\x15\0\x15\0\0"),
    of("thrift", "THeader", b"\0\0\0\x26\x0f\xff\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0\x80\x01\0\x01\0\0\0\x03add\0\0\0\x01\x08\0\x01\0\0\0\x01\0"),
    of("thrift", "TTHeader", b"\0\0\0\x24\x10\0\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0\x80\x01\0\x01\0\0\0\x03add\0\0\0\x01\x08\0\x01\0\0\0\x01\0"),
    of("bolt", "v1 request", b"\x01\x01\0\x01\x01\0\0\0\x05\x01\0\0\x01\x2c\0\x05\0\0\0\0\0\x13\x42\x24\x52\x65\x71"),
    of("bolt", "v2 request", b"\x02\x02\x01\0\x01\x01\0\0\0\x01\x01\x01\0\0\x0b\xb8\0\x05\0\0\0\0\0\x11\x42\x24\x52"),
    of("bolt", "v2 heartbeat", b"\x02\x02\x01\0\0\x01\0\0\0\x07\x01\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0"),
    of("brpc", "baidu_std", b"PRPC\0\0\0\x20\0\0\0\x20\x0a\x1b\x0a\x13example.EchoService\x12\x04Echo\x20\xb9\x60"),
    of("trpc", "unary request", b"\x09\x30\0\0\0\0\0\x71\0\x5a\0\0\0\x01\0\0\x18\x01\x20\xe8\x07\x2a\x17trpc.app.client.greeter"),
    of("tars", "request", b"\0\0\0\x49\x10\x01\x2c\x3c\x40\x02\x56\x1fTARS.NodeTarsServer.NodeTarsObjf\x06get"),
    of("kafka", "ApiVersions v2", b"\0\0\0\x11\0\x12\0\x02\0\0\0\0\0\x07corp-js"),
    of("kafka", "Metadata v13", b"\0\0\0\x2e\0\x03\0\x0d\0\0\0\x03\0\x07corp-rd\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07orders\0\x01"),
    of("zookeeper", "connect", b"\0\0\0\x2c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    of("mqtt", "CONNECT v5", b"\x10\x39\0\x04MQTT\x05\xc6\0\x01\x13\x11\0\0\0\x0a\x26\0\x05rover\0\x04blue"),
    of("mqtt", "CONNECT v3.1", b"\x10\x12\0\x06MQIsdp\x03\x02\0\x3c\0\x04test"),
    either("memcached", "text get", b"get nope\r\n"),
    either("memcached", "text set", b"set k1 0 2 5\r\nhello\r\n"),
    either("memcached", "meta get", b"mg foo v\r\n"),
    of("memcached", "binary set", b"\x80\x01\0\x02\x08\0\0\0\0\0\0\x0d\x01\x02\x03\x04\0\0\0\0\0\0\0\0\xde\xad\xbe\xef\0\0\0\x3ckbval"),
    of("postgres", "SSLRequest", b"\0\0\0\x08\x04\xd2\x16\x2f"),
];
