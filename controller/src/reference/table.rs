//! All kinds, in one list.

use super::{aeraki, common, destination_rule, istio, own, security, virtual_service};
use crate::schema::{Field, Kind, Shape};

/// The kinds, in the order of the reference.
pub(crate) static KINDS: &[&Kind] = &[
    &istio::GATEWAY,
    &istio::SERVICE_ENTRY,
    &istio::WORKLOAD_ENTRY,
    &destination_rule::DESTINATION_RULE,
    &virtual_service::VIRTUAL_SERVICE,
    &aeraki::META_ROUTER,
    &aeraki::APPLICATION_PROTOCOL,
    &aeraki::REDIS_SERVICE,
    &aeraki::REDIS_DESTINATION,
    &own::META_ROUTER,
    &own::APPLICATION_PROTOCOL,
    &own::DESTINATION_POLICY,
    &own::LISTENER_POLICY,
    &own::SECRET,
    &security::AUTHORIZATION_POLICY,
    &security::OWN_AUTHORIZATION_POLICY,
    &security::DUBBO_AUTHORIZATION_POLICY,
    &istio::PEER_AUTHENTICATION,
];

/// Returns the kind with this group and name.
pub(crate) fn kind(group: &str, name: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .copied()
        .find(|kind| kind.group == group && kind.name == name)
}

/// Returns all fields of a document of a kind.
pub(crate) fn fields(kind: &Kind) -> Vec<Field> {
    static METADATA: Shape = Shape::Object(common::METADATA);
    static HEAD: [Field; 4] = [
        Field::new("apiVersion", &common::TEXT, "The version."),
        Field::new("kind", &common::TEXT, "The kind."),
        Field::new("metadata", &METADATA, "Names, labels and annotations."),
        Field::new("status", &common::ANY, "Kubernetes' own."),
    ];
    HEAD.iter().chain(kind.fields).copied().collect()
}
