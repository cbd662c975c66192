//! Reloads that are refused change nothing. Two processes cannot share an address.

use std::net::TcpListener;

use meltemi_config::{Address, Cluster, Endpoint, Listener, Outlier, Served};
use meltemi_dubbo::Dubbo;

use super::*;

fn config(address: SocketAddr, other: Option<SocketAddr>, outlier: Option<Outlier>) -> Config {
    let listener = |name: &str, address| {
        let served = Served::new(Arc::new(Dubbo::new()), Vec::new());
        Listener::new(name, address, vec![served])
    };
    let mut listeners = vec![listener("one", address)];
    listeners.extend(other.map(|address| listener("other", address)));
    let endpoint = Endpoint::new(Address::Socket(([127, 0, 0, 1], 1).into()));
    let mut cluster = Cluster::new("one", vec![endpoint]);
    cluster.outlier = outlier;
    Config::new(listeners, vec![cluster]).unwrap()
}

fn start(config: &Config) -> Proxy {
    let options = Options {
        workers: 1,
        ..Options::default()
    };
    Proxy::start(config, &options).unwrap()
}

#[test]
fn a_refused_reload_changes_nothing() {
    let address = ([127, 0, 0, 1], 0).into();
    let proxy = start(&config(address, None, Some(Outlier::default())));
    let known = || {
        let fleet = proxy.lasting.shared.fleet("one").unwrap();
        (proxy.lasting.shared.probed().0, Arc::as_ptr(&fleet))
    };
    let (before, listening) = (known(), proxy.addresses());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    // The refused configuration would also remove all health checks and move the listener.
    let refused = config(address, Some(taken.1), None);
    let error = proxy.reload(&refused).unwrap_err();
    assert!(error.to_string().contains(&taken.1.to_string()), "{error}");
    assert_eq!(known(), before);
    assert_eq!(proxy.addresses(), listening);
    // The same configuration is accepted once the address is free.
    drop(taken.0);
    proxy.reload(&refused).unwrap();
    assert!(proxy.lasting.shared.fleet("one").is_none());
    assert_eq!(proxy.addresses().len(), 2);
}

#[test]
fn rate_limits_of_two_processes_use_different_seeds() {
    let address = ([127, 0, 0, 1], 0).into();
    let config = config(address, None, None);
    let seeds = [start(&config), start(&config)].map(|proxy| proxy.lasting.limits.seed());
    assert_ne!(seeds[0], seeds[1]);
    assert_ne!(seeds[0], 0);
}
