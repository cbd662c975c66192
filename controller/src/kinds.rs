//! Turns documents into typed resources, one file per kind. The documents have been checked against
//! their tables, so readers take the fields that are present and ignore the rest. Checks that need
//! one document are here; checks that need several are in `translate`.

mod authorization;
mod credentials;
mod destination;
mod fault;
mod fitness;
mod gateway;
mod limit;
mod locality;
mod mirror;
mod policy;
mod protocol;
mod redis;
mod retry;
mod route_match;
mod router;
mod rule;
mod secret;
mod service;
mod timeout;
mod virtual_service;

use meltemi_config::Problem;

pub(crate) use authorization::{AccessPolicy, AccessRule, Action, Flavour, Target, Term, What};
pub(crate) use credentials::Auth;
pub(crate) use destination::Destination;
pub(crate) use fault::{Failure, Injection};
pub(crate) use gateway::{Gateway, Server};
pub(crate) use limit::{GlobalRate, LocalRate, Names};
pub(crate) use locality::{Distribution, Localities, TOPOLOGY};
pub(crate) use mirror::Copies;
pub(crate) use policy::{DestinationPolicy, Fallback, ListenerPolicy};
pub(crate) use protocol::{ApplicationProtocol, Codec};
pub(crate) use redis::RedisDestination;
pub(crate) use retry::Retries;
pub(crate) use route_match::{Name, Test};
pub(crate) use router::{Change, Router, RouterKey, Rule, Written};
pub(crate) use rule::{Balancer, DestinationRule, Policy, Subset, TcpPool};
pub(crate) use secret::Secret;
pub(crate) use service::{Labels, ServiceEntry, Workload, WorkloadEntry};
pub(crate) use timeout::DEFAULT_TIMEOUT;

use crate::reference;
use crate::schema::Reader;
use crate::yaml::Document;

/// All resources that were read.
#[derive(Debug, Default)]
pub(crate) struct Resources<'a> {
    pub(crate) gateways: Vec<Gateway<'a>>,
    pub(crate) services: Vec<ServiceEntry<'a>>,
    pub(crate) workloads: Vec<WorkloadEntry<'a>>,
    pub(crate) rules: Vec<DestinationRule<'a>>,
    pub(crate) routers: Vec<Router<'a>>,
    pub(crate) redis_destinations: Vec<RedisDestination<'a>>,
    pub(crate) destination_policies: Vec<DestinationPolicy<'a>>,
    pub(crate) listener_policies: Vec<ListenerPolicy<'a>>,
    pub(crate) protocols: Vec<ApplicationProtocol<'a>>,
    pub(crate) secrets: Vec<Secret<'a>>,
    pub(crate) access: Vec<AccessPolicy<'a>>,
}

/// Returns the reader for documents of this kind.
pub(crate) fn reader(document: &Document) -> Reader {
    reference::kind(&document.group, &document.kind).map_or(Reader::None, |kind| kind.reader)
}

impl<'a> Resources<'a> {
    /// Reads documents of enforced kinds.
    pub(crate) fn read(documents: &[&'a Document], problems: &mut Vec<Problem>) -> Self {
        let mut all = Self::default();
        for &document in documents {
            match reader(document) {
                Reader::Gateway => all.gateways.push(Gateway::read(document, problems)),
                Reader::ServiceEntry => all.services.push(ServiceEntry::read(document, problems)),
                Reader::WorkloadEntry => {
                    all.workloads.push(WorkloadEntry::read(document, problems));
                }
                Reader::DestinationRule => {
                    all.rules.push(DestinationRule::read(document, problems));
                }
                Reader::VirtualService => {
                    all.routers.push(virtual_service::read(document, problems));
                }
                Reader::MetaRouter => all.routers.push(router::read(document, problems)),
                Reader::RedisService => all.routers.push(redis::read_service(document, problems)),
                Reader::RedisDestination => all
                    .redis_destinations
                    .push(RedisDestination::read(document, problems)),
                Reader::DestinationPolicy => all
                    .destination_policies
                    .push(DestinationPolicy::read(document, problems)),
                Reader::ListenerPolicy => all
                    .listener_policies
                    .push(ListenerPolicy::read(document, problems)),
                Reader::ApplicationProtocol => all
                    .protocols
                    .push(ApplicationProtocol::read(document, problems)),
                Reader::Secret => all.secrets.push(Secret::read(document, problems)),
                Reader::IstioAuthorization => {
                    let flavour = Flavour::istio(document);
                    all.access
                        .push(AccessPolicy::read(document, flavour, problems));
                }
                Reader::OwnAuthorization => {
                    all.access
                        .push(AccessPolicy::read(document, Flavour::Own, problems));
                }
                Reader::DubboAuthorization => {
                    all.access
                        .push(AccessPolicy::read(document, Flavour::Dubbo, problems));
                }
                Reader::None => {}
            }
        }
        // The order of files must not matter: routers are sorted by namespace and name.
        all.routers.sort_by(|a, b| {
            let key = |router: &Router<'a>| {
                let document = router.document;
                (document.namespace.clone(), document.name.clone())
            };
            key(a).cmp(&key(b))
        });
        all
    }
}
