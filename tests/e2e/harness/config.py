"""Istio, Aeraki and Meltemi resources as Python values: one small function for each kind."""

import itertools

NETWORKING = "networking.istio.io/v1"
META_ROUTER = "meltemi.io/v1alpha1"
AERAKI_META_ROUTER = "metaprotocol.aeraki.io/v1alpha1"
REDIS = "redis.aeraki.io/v1alpha1"

# The port that clients of a service would name; where its endpoints listen is another matter.
SERVICE_PORT = 9000
_serial = itertools.count(1)


def resource(api, kind, name, spec, **metadata):
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": spec,
    }


def gateway(name, protocol, port, **metadata):
    """A listener on loopback."""
    server = {
        "port": {"number": port, "name": f"tcp-{protocol}-{name}", "protocol": "TCP"},
        "bind": "127.0.0.1",
        "hosts": ["*"],
    }
    return resource(NETWORKING, "Gateway", name, {"servers": [server]}, **metadata)


def service(host, protocol, versions, port=SERVICE_PORT):
    """A service with endpoints on loopback: {label: port or [port, ...]}."""
    places = [
        {"port": target, "version": version}
        for version, ports in versions.items()
        for target in (ports if isinstance(ports, (list, tuple)) else [ports])
    ]
    return endpoints(host, protocol, places, port)


def endpoints(host, protocol, places, port=SERVICE_PORT):
    """A service with endpoints on loopback: each with `port`, `version`, and further fields of its own
    such as `weight` and `locality`."""
    name = f"tcp-metaprotocol-{protocol}"
    entries = [
        {
            "address": "127.0.0.1",
            "ports": {name: place["port"]},
            "labels": {"version": place["version"], **place.get("labels", {})},
            **{key: place[key] for key in place if key not in ("port", "version", "labels")},
        }
        for place in places
    ]
    spec = {
        "hosts": [host],
        "ports": [{"number": port, "name": name, "protocol": "TCP"}],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "endpoints": entries,
    }
    return resource(NETWORKING, "ServiceEntry", host.split(".")[0], spec)


def destination_rule(host, subsets=("v1", "v2"), policy=None):
    """Subsets by the label `version`, and a traffic policy."""
    spec = {
        "host": host,
        "subsets": [{"name": name, "labels": {"version": name}} for name in subsets],
    }
    if policy:
        spec["trafficPolicy"] = policy
    return resource(NETWORKING, "DestinationRule", host.split(".")[0], spec)


def destination_policy(host, **spec):
    """What a DestinationRule cannot say of a host."""
    spec = {"host": host, **spec}
    return resource(META_ROUTER, "DestinationPolicy", host.split(".")[0], spec)


def authorization(name, action=None, rules=(), **spec):
    """Istio's policy: who may ask for what."""
    spec = {"rules": list(rules), **spec}
    if action:
        spec["action"] = action
    return resource("security.istio.io/v1", "AuthorizationPolicy", name, spec)


def policy(name, action, operation, **fields):
    """Our own policy, of one rule about operations."""
    spec = {"action": action, "rules": [{"to": [{"operation": operation}]}], **fields}
    return resource(META_ROUTER, "AuthorizationPolicy", name, spec)


def dubbo_authorization(name, action=None, rules=(), **spec):
    """Aeraki's policy for Dubbo."""
    spec = {"rules": list(rules), **spec}
    if action:
        spec["action"] = action
    return resource("dubbo.aeraki.io/v1alpha1", "DubboAuthorizationPolicy", name, spec)


def to(host, subset=None, weight=None, port=SERVICE_PORT):
    """One destination of a route."""
    destination = {"host": host, "port": {"number": port}}
    if subset:
        destination["subset"] = subset
    route = {"destination": destination}
    if weight is not None:
        route["weight"] = weight
    return route


def route(*destinations, when=None, name=None, **fields):
    """A route: `when` is {attribute: "exact value" or {"prefix": …}}."""
    entry = {"name": name or f"route-{next(_serial)}", "route": list(destinations), **fields}
    if when:
        entry["match"] = {
            "attributes": {
                key: {"exact": test} if isinstance(test, str) else test
                for key, test in when.items()
            }
        }
    return entry


def meta_router(gateway_name, host, routes, api=META_ROUTER, **fields):
    """The routes of a listener."""
    spec = {
        "hosts": [host],
        "gateways": [f"default/{gateway_name}"],
        "routes": list(routes),
        **fields,
    }
    return resource(api, "MetaRouter", f"{gateway_name}-routes", spec)


def redis_service(host, rules, **fields):
    """Aeraki's routes for Redis, on any Redis listener: [(key prefix or None, host), …]."""
    redis = []
    for prefix, target in rules:
        rule = {"route": {"host": target, "port": SERVICE_PORT}}
        if prefix is not None:
            rule["match"] = {"key": {"prefix": prefix}}
        redis.append(rule)
    spec = {"host": [host], "redis": redis, **fields}
    return resource(REDIS, "RedisService", f"{host.split('.')[0]}-routes", spec)


def redis_password(host, password):
    """What every connection to a Redis host presents."""
    pool = {"redis": {"auth": {"plain": {"password": password}}}}
    spec = {"host": host, "trafficPolicy": {"connectionPool": pool}}
    return resource(REDIS, "RedisDestination", f"{host.split('.')[0]}-password", spec)


def listener_policy(gateway_name, **limits):
    """Limits of a listener."""
    spec = {"gateway": f"default/{gateway_name}", "limits": limits}
    return resource(META_ROUTER, "ListenerPolicy", f"{gateway_name}-limits", spec)


def protocol(description):
    """A protocol in words."""
    spec = {"protocol": description["name"], "declarative": description}
    return resource(META_ROUTER, "ApplicationProtocol", description["name"], spec)
