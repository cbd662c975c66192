//! Decides which `Host` headers the admin server accepts. A page in a browser can send requests to
//! a name of its own that resolves to this machine (DNS rebinding). Such a request carries that
//! name.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// Returns `true` if the request names this server by an address, by `localhost`, by one of
/// `names`, or has no host (HTTP/1.0). The comparison ignores case.
pub(super) fn is_ours<B>(request: &Request<B>, names: &[String]) -> bool {
    let mut given = request.headers().get_all(HOST).iter();
    let header = match (given.next(), given.next()) {
        (Some(header), None) => header.to_str().ok(),
        (None, _) => Some(""),
        // Two different values for one field: RFC 9112, section 3.2.
        (Some(_), Some(_)) => None,
    };
    let Some(header) = header else { return false };
    // A request in proxy form also has the host in its target.
    let target = request.uri().authority().map(Authority::as_str);
    let all = [header, target.unwrap_or_default()];
    all.into_iter()
        .filter(|host| !host.is_empty())
        .all(|host| is_allowed(host, names))
}

fn is_allowed(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(hosts: &[&str], target: &str) -> bool {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let names = ["admin.example".to_owned()];
        is_ours(&request.body(()).unwrap(), &names)
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        for host in [
            "127.0.0.1:15000",
            "10.1.2.3",
            "[::1]:15000",
            "localhost",
            "LOCALHOST:15000",
            "admin.example:80",
            "Admin.Example",
        ] {
            assert!(answers(&[host], "/ready"), "{host}");
        }
        assert!(answers(&[], "/ready"));
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "admin.example.evil",
            "a b",
            "evil.example:15000",
        ] {
            assert!(!answers(&[host], "/ready"), "{host}");
        }
        assert!(!answers(&["127.0.0.1", "evil.example"], "/ready"));
        assert!(!answers(&["127.0.0.1"], "http://evil.example/ready"));
    }
}
