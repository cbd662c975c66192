//! Every kind and every field that is read, in one table: documents are checked against it, and
//! the reference page is generated from it.

mod aeraki;
mod common;
mod destination_rule;
mod fitness;
mod istio;
mod own;
mod page;
mod rules;
mod security;
mod virtual_service;

use crate::schema::Kind;

pub use page::reference_markdown;

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

pub(crate) use common::METADATA;
pub(crate) use own::GROUP as OWN_GROUP;
