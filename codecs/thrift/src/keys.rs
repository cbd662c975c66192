//! Thrift's description of itself: its attributes, and the correlation of its messages.

use meltemi_frame::{
    Correlation, Interest, KeyId, KeySpec, OpenKeys, Reason, Sharing, Spec, System,
};

pub(crate) const METHOD: KeyId = KeyId(0);
pub(crate) const SERVICE: KeyId = KeyId(1);
pub(crate) const TRANSPORT: KeyId = KeyId(2);
pub(crate) const PROTOCOL: KeyId = KeyId(3);
pub(crate) const TYPE: KeyId = KeyId(4);
pub(crate) const TRANSFORM: KeyId = KeyId(5);
pub(crate) const ACL_TOKEN: KeyId = KeyId(6);
pub(crate) const EXCEPTION: KeyId = KeyId(7);

/// The prefix of open metadata.
pub(crate) const HEADER_PREFIX: &str = "header.";

/// The cases in which service and method cannot be determined.
const UNREAD: &str = "servers split the name differently (`a::b`), or the payload is compressed by other means than \
    zlib, or to more than 1 MiB";

pub(crate) fn spec() -> Spec {
    let request = KeySpec::request;
    // Servers reply in order, unless they are asynchronous. But they repeat the sequence id.
    let correlation = Correlation::InOrder { id_bits: Some(32) };
    Spec::new("thrift", "method", correlation)
        .sharing(Sharing::Exclusive)
        .probes(true)
        .keys([
            request(
                "method",
                "the method, without the service of a multiplexed name",
            )
            .both()
            .authoritative_at(Interest::Body)
            .blind(UNREAD),
            request(
                "service",
                "the service of a multiplexed name (Service:method), or of the TTHeader",
            )
            .authoritative_at(Interest::Body)
            .blind(UNREAD),
            request("transport", "framed, unframed, header or ttheader").both(),
            request(
                "protocol",
                "binary, lax (binary without a version), compact or json",
            )
            .both(),
            request("type", "call, oneway, reply or exception")
                .both()
                .authoritative_at(Interest::Body)
                .blind("the payload is compressed by other means than zlib, or to more than 1 MiB"),
            request(
                "transform",
                "what was done to a THeader payload: zlib, hmac, snappy, qlz, zstd or other",
            )
            .both(),
            request("acl_token", "the access token of a TTHeader").blind("there are two"),
            KeySpec::response(
                "exception",
                "declared, business, or a TApplicationException's type, as unknown_method",
            ),
        ])
        .open([OpenKeys::new(
            HEADER_PREFIX,
            "a header of THeader or TTHeader; TTHeader's numbers are named in decimal",
        )
        .editable(true, true)
        .blind("the block has entries for the whole connection, or a kind that is not known")])
        .replies(Reason::ALL)
        .service("service")
        // The conventions have no name for it.
        .system(System::Rpc("thrift".into()))
}
