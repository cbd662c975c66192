//! The router's decision: which of so many routes takes a request.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use meltemi_config::{
    AttributeMatch, Cluster, Config, Listener, Matcher, Route, Served, WeightedCluster,
};
use meltemi_frame::{Decoded, Interest, Limits, Protocol as _, Session, Side};
use meltemi_router_core::{LimitStore, Table};

use crate::cases::{ROUNDS, WARM, measured};

pub(crate) const NAMES: [&str; 3] = ["route/10-exact", "route/10000-exact", "route/10-prefixes"];

/// A request of Dubbo for `demo.Shop.buy` with the version 1.0.0.
fn request() -> Vec<u8> {
    let mut body = Vec::new();
    for text in [
        "2.0.2",
        "demo.Shop",
        "1.0.0",
        "buy",
        "Ljava/lang/String;",
        "seven",
    ] {
        body.push(text.len() as u8);
        body.extend_from_slice(text.as_bytes());
    }
    body.extend_from_slice(b"HZ");
    let mut request = vec![
        0xda,
        0xbb,
        0xc2,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        7,
        0,
        0,
        0,
        body.len() as u8,
    ];
    request.extend_from_slice(&body);
    request
}

pub(crate) fn run(name: &str) -> Result<()> {
    let (count, prefixes) = match name {
        "route/10-exact" => (10, false),
        "route/10000-exact" => (10_000, false),
        "route/10-prefixes" => (10, true),
        _ => bail!("no such case"),
    };
    let protocol = Arc::new(meltemi_dubbo::Dubbo::new());
    let mut codec = protocol.codec(Side::Server, &Limits::default(), &Session::default());
    let bytes = request();
    let Decoded::Message(message, _) = codec.decode(&bytes, Interest::Route)? else {
        bail!("the request is not a whole message");
    };
    // The one that matches is the last.
    let test = |name: &str, value: String| AttributeMatch {
        name: name.to_owned(),
        matcher: if prefixes {
            Matcher::Prefix(value)
        } else {
            Matcher::Exact(value)
        },
        negate: false,
    };
    let route = |number: usize| {
        let method = if number + 1 == count {
            "buy".to_owned()
        } else {
            format!("no-{number}")
        };
        let target = WeightedCluster {
            cluster: "shop".to_owned(),
            weight: 1,
        };
        Route {
            matches: vec![
                test("interface", "demo.Shop".to_owned()),
                test("method", method),
            ],
            ..Route::new(format!("route-{number}"), vec![target])
        }
    };
    let served = Served::new(protocol, (0..count).map(route).collect());
    let listener = Listener::new("here", ([127, 0, 0, 1], 0).into(), vec![served]);
    let config = Config::new(vec![listener], vec![Cluster::new("shop", Vec::new())])
        .map_err(|problems| anyhow!("{problems:?}"))?;
    let listener = config.listeners().first().context("no listener")?;
    let served = listener.served.first().context("no protocol")?;
    let table = Table::compile(served, &config, &LimitStore::new(0));
    for round in 0..WARM + ROUNDS {
        let find = || table.find(std::hint::black_box(&message));
        let found = if round < WARM { find() } else { measured(find) };
        if found != Some(count - 1) {
            bail!("the wrong route: {found:?}");
        }
    }
    Ok(())
}
