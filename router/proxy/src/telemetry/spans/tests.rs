//! Spans as a collector receives them: names, parents, attributes, and data that must never be
//! sent.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use meltemi_config::Share;
use meltemi_dubbo::Dubbo;
use meltemi_frame::{Codec, Decoded, Fault, Interest, Limits, Output, Protocol, Session, Side};
use meltemi_redis::Redis;
use meltemi_thrift::Thrift;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;
use crate::grpc_testing::{Reply, Server};

const PATIENCE: Duration = Duration::from_secs(10);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// The data that a collector received: the service's name, and the spans.
type Got = (String, Vec<Span>);

struct Bed {
    runtime: tokio::runtime::Runtime,
    stats: Stats,
    tracer: Arc<Tracer>,
}

impl Bed {
    fn new(collector: std::net::SocketAddr) -> Self {
        let runtime = runtime();
        let stats = Stats::default();
        let tracing = Tracing {
            endpoint: format!("http://{collector}"),
            service_name: "edge".into(),
        };
        let tracer = Tracer::start(&tracing, runtime.handle(), &stats).unwrap();
        Self {
            runtime,
            stats,
            tracer,
        }
    }

    fn begin(
        &self,
        protocol: &dyn Protocol,
        message: &Message<'_>,
        sampling: Share,
    ) -> Box<Active> {
        let keys = TraceKeys::of(protocol.spec());
        let client = "192.0.2.7:4711".parse().unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let random = || random.u64(..);
        self.tracer
            .begin(message, &keys, &listener(sampling), client, random)
    }

    fn flush(&self) {
        let flush = async { tokio::time::timeout(PATIENCE, self.tracer.flush()).await };
        self.runtime.block_on(flush).unwrap();
    }

    fn count(&self, metric: &str) -> u64 {
        self.stats.values(metric).values().sum()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn listener(sampling: Share) -> Listener {
    Listener {
        sampling,
        ..Listener::new("front", ([127, 0, 0, 1], 20880).into(), Vec::new())
    }
}

fn collector() -> (Server, Receiver<Got>) {
    let (sender, receiver): (Sender<Got>, _) = channel();
    let sender = Mutex::new(sender);
    let server = Server::start(move |path, bytes| {
        assert_eq!(
            path,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        );
        let request = ExportTraceServiceRequest::decode(bytes).unwrap();
        for mut resource in request.resource_spans {
            let attributes = resource.resource.take().unwrap().attributes;
            let name = attributes.into_iter().find(|one| one.key == "service.name");
            let Some(Value::StringValue(name)) = name.unwrap().value.unwrap().value else {
                panic!("a name is text");
            };
            let spans = resource.scope_spans.into_iter().flat_map(|scope| {
                assert_eq!(scope.scope.unwrap().name, "meltemi");
                scope.spans
            });
            sender
                .lock()
                .unwrap()
                .send((name, spans.collect()))
                .unwrap();
        }
        Reply::Message(Vec::new())
    });
    (server, receiver)
}

/// Returns a Dubbo call with these attachments.
fn call(attachments: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    let put = |body: &mut Vec<u8>, text: &str| {
        // Lengths above 31 take two bytes.
        body.extend([0x30 + (text.len() >> 8) as u8, text.len() as u8]);
        body.extend(text.as_bytes());
    };
    for text in ["2.0.2", "demo.Greeter", "0.0.0", "greet", ""] {
        put(&mut body, text);
    }
    body.push(b'H');
    for (name, value) in attachments {
        put(&mut body, name);
        put(&mut body, value);
    }
    body.push(b'Z');
    let mut frame = vec![0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}

fn codec(protocol: &dyn Protocol) -> Box<dyn Codec> {
    protocol.codec(Side::Server, &Limits::default(), &Session::default())
}

fn decoded<'b>(codec: &mut dyn Codec, bytes: &'b [u8]) -> Message<'b> {
    match codec.decode(bytes, Interest::Headers) {
        Ok(Decoded::Message(message, _)) => message,
        other => panic!("{other:?}"),
    }
}

/// Returns the entries as the next hop reads them.
fn sent(protocol: &dyn Protocol, message: &Message<'_>) -> BTreeMap<String, String> {
    let mut out = Output::new();
    codec(protocol).encode(message, &mut out).unwrap();
    let bytes = out.drain();
    let mut codec = codec(protocol);
    let message = decoded(&mut *codec, &bytes);
    let mut entries = BTreeMap::new();
    message.attributes.walk(message.wire(), &mut |entry| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        entries.insert(text(&entry.name), text(&entry.value));
        std::ops::ControlFlow::Continue(())
    });
    entries
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let value = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| {
            let inner = pair.value.as_ref().unwrap().value.as_ref().unwrap();
            (pair.key.as_str(), value(inner))
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_call_goes_on_with_its_trace_and_its_span_is_told() {
    let (server, got) = collector();
    let bed = Bed::new(server.address);
    let came = format!("00-{TRACE}-{SPAN}-01");
    let bytes = call(&[
        ("traceparent", &came),
        ("tracestate", "a=1"),
        ("user", "ada"),
    ]);
    let dubbo = Dubbo::new();
    let mut codec = codec(&dubbo);
    let mut message = decoded(&mut *codec, &bytes);
    // The client's decision is final, whatever the listener's sampling is.
    let mut active = bed.begin(&dubbo, &message, Share::NONE);
    assert_eq!(active.trace_id(), TRACE);
    active.propagate(&mut message);
    let sent = sent(&dubbo, &message);
    let parent = &sent["traceparent"];
    assert!(
        parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"),
        "{parent}"
    );
    assert_ne!(*parent, came);
    assert_eq!(
        (sent["tracestate"].as_str(), sent["user"].as_str()),
        ("a=1", "ada")
    );

    active.finish(Finished {
        route: "shop/greet",
        cluster: "outbound|20880||greeter",
        endpoint: Some("10.0.0.3:20880".parse().unwrap()),
        attempts: 2,
        status: "local",
        fault: Some(Fault::Timeout),
        details: "no answer in time",
    });
    bed.flush();
    let (service, spans) = got.recv_timeout(PATIENCE).unwrap();
    assert_eq!((service.as_str(), spans.len()), ("edge", 1));
    let span = &spans[0];
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), SPAN);
    assert_eq!(parent.split('-').nth(2), Some(hex(&span.span_id).as_str()));
    assert_eq!(span.trace_state, "a=1");
    assert_eq!((span.name.as_str(), span.kind), ("demo.Greeter/greet", 2));
    let status = span.status.as_ref().unwrap();
    assert_eq!(
        (status.code, status.message.as_str()),
        (2, "no answer in time")
    );
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    let expected = [
        ("rpc.system.name", "dubbo"),
        ("rpc.method", "demo.Greeter/greet"),
        ("rpc.service", "demo.Greeter"),
        ("meltemi.protocol", "dubbo"),
        ("meltemi.listener", "front"),
        ("meltemi.route", "shop/greet"),
        ("meltemi.cluster", "outbound|20880||greeter"),
        ("meltemi.endpoint", "10.0.0.3:20880"),
        ("meltemi.fault", "timeout"),
        ("meltemi.attempts", "2"),
        ("error.type", "timeout"),
        ("server.address", "127.0.0.1"),
        ("server.port", "20880"),
        ("network.peer.address", "192.0.2.7"),
        ("network.peer.port", "4711"),
        ("network.transport", "tcp"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(attributes(span), BTreeMap::from(expected));
    assert_eq!(bed.count("meltemi_spans_exported"), 1);
}

#[test]
fn a_protocol_without_metadata_has_traces_of_its_own() {
    let (server, got) = collector();
    let bed = Bed::new(server.address);
    let redis = Redis::new();
    assert_eq!(TraceKeys::of(redis.spec()).interest(), Interest::Route);
    let mut codec = codec(&redis);
    let mut message = decoded(&mut *codec, b"*2\r\n$3\r\nGET\r\n$11\r\ntraceparent\r\n");
    let mut active = bed.begin(&redis, &message, Share::ALL);
    active.propagate(&mut message);
    assert!(message.is_unedited());
    let trace = active.trace_id();
    active.finish(Finished {
        status: "redirect",
        attempts: 1,
        ..Finished::default()
    });
    bed.flush();
    let (_, spans) = got.recv_timeout(PATIENCE).unwrap();
    let span = &spans[0];
    assert_eq!((hex(&span.trace_id), span.parent_span_id.len()), (trace, 0));
    assert_eq!(
        (
            span.name.as_str(),
            span.status.as_ref().map_or(0, |one| one.code)
        ),
        ("get", 0)
    );
    let attributes = attributes(span);
    assert_eq!(attributes["db.system.name"], "redis");
    assert_eq!(attributes["db.operation.name"], "get");
    for absent in ["rpc.method", "error.type", "meltemi.route", "meltemi.fault"] {
        assert!(!attributes.contains_key(absent), "{absent}");
    }
}

#[test]
fn headers_carry_it_where_there_are_headers() {
    let (server, _got) = collector();
    let bed = Bed::new(server.address);
    let thrift = Thrift::new();
    let with = include_bytes!("../../../../../codecs/thrift/samples/ttheader_add.server.bin");
    let mut front = codec(&thrift);
    let mut message = decoded(&mut *front, with);
    bed.begin(&thrift, &message, Share::ALL)
        .propagate(&mut message);
    let sent = sent(&thrift, &message);
    assert!(sent["traceparent"].ends_with("-01"), "{sent:?}");

    let without = include_bytes!(
        "../../../../../codecs/thrift/samples/py_binary_strict_framed_add.server.bin"
    );
    let mut front = codec(&thrift);
    let mut message = decoded(&mut *front, without);
    bed.begin(&thrift, &message, Share::ALL)
        .propagate(&mut message);
    assert!(message.is_unedited(), "a framed call has no place for it");
}

#[test]
fn what_is_not_sampled_goes_on_and_is_not_told() {
    let (server, got) = collector();
    let bed = Bed::new(server.address);
    let dubbo = Dubbo::new();
    let bytes = call(&[]);
    let mut codec = codec(&dubbo);
    let mut message = decoded(&mut *codec, &bytes);
    let mut active = bed.begin(&dubbo, &message, Share::NONE);
    active.propagate(&mut message);
    assert!(sent(&dubbo, &message)["traceparent"].ends_with("-00"));
    active.finish(Finished::default());
    bed.flush();
    assert!(got.try_recv().is_err());
}

#[test]
fn sampling_follows_the_share() {
    let (server, _got) = collector();
    let bed = Bed::new(server.address);
    let dubbo = Dubbo::new();
    let bytes = call(&[]);
    let mut codec = codec(&dubbo);
    let message = decoded(&mut *codec, &bytes);
    let keys = TraceKeys::of(dubbo.spec());
    let listener = listener(Share::percent(25.0));
    let client = "192.0.2.7:4711".parse().unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let sampled = (0..10_000).filter(|_| {
        let random = || random.u64(..);
        let active = bed.tracer.begin(&message, &keys, &listener, client, random);
        active.recording.is_some()
    });
    // Four standard deviations.
    let sampled = sampled.count();
    assert!((2327..=2673).contains(&sampled), "{sampled}");
}

#[test]
fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let server = Server::start(|_, _| Reply::Silence);
    let bed = Bed::new(server.address);
    let redis = Redis::new();
    let mut codec = codec(&redis);
    let message = decoded(&mut *codec, b"*1\r\n$4\r\nPING\r\n");
    let started = Instant::now();
    for _ in 0..20_000 {
        let active = bed.begin(&redis, &message, Share::ALL);
        active.finish(Finished::default());
    }
    assert!(started.elapsed() < Duration::from_secs(3), "it blocked");
    let deadline = Instant::now() + PATIENCE;
    while bed.count("meltemi_spans_dropped") < 10_000 {
        assert!(Instant::now() < deadline, "nothing was dropped");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_collector_that_comes_late_is_found() {
    let (server, _got) = collector();
    let address = server.address;
    drop(server);
    let bed = Bed::new(address);
    let redis = Redis::new();
    let mut codec = codec(&redis);
    let message = decoded(&mut *codec, b"*1\r\n$4\r\nPING\r\n");
    let finish = || {
        bed.begin(&redis, &message, Share::ALL)
            .finish(Finished::default());
    };
    finish();
    bed.flush();
    assert_eq!(bed.count("meltemi_spans_failed"), 1);
    let _server = Server::start_at(address, |_, _| Reply::Message(Vec::new()));
    finish();
    bed.flush();
    assert_eq!(bed.count("meltemi_spans_exported"), 1);
}

#[test]
fn an_address_that_cannot_be_is_refused() {
    let runtime = runtime();
    for endpoint in [
        "127.0.0.1:4317",
        "https://collector:4317",
        "http://",
        "http://a b",
    ] {
        let tracing = Tracing {
            endpoint: endpoint.into(),
            service_name: "edge".into(),
        };
        let refused = Tracer::start(&tracing, runtime.handle(), &Stats::default());
        assert!(refused.is_err(), "{endpoint}");
    }
}
