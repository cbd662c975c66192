//! Resolves the port of a destination.

use meltemi_config::Problem;
use meltemi_frame::Protocol;

use super::directory::Service;
use crate::kinds::Destination;

/// Returns the port of a destination.
pub(super) fn port(
    destination: &Destination<'_>,
    service: Option<&Service<'_>>,
    protocol: &dyn Protocol,
    listener_port: u16,
    problems: &mut Vec<Problem>,
) -> u16 {
    let name = &protocol.spec().name;
    let at = destination.at.at("port");
    let Some(service) = service else {
        return destination.port.unwrap_or(listener_port);
    };
    let all = || {
        let numbers: Vec<String> = service
            .ports
            .iter()
            .map(|port| port.number.to_string())
            .collect();
        numbers.join(", ")
    };
    if let Some(number) = destination.port {
        match service.ports.iter().find(|port| port.number == number) {
            None => problems.push(
                at.warning(format!(
                    "{} has no port {number}, so requests to it fail",
                    service.host
                ))
                .remedy(format!("it has {}", all())),
            ),
            Some(port) => {
                if let Some(other) = &port.protocol
                    && other.spec().name != *name
                {
                    problems.push(
                        at.error(format!(
                            "port {number} of {} speaks {}, and the request is {name}",
                            service.host,
                            other.spec().name
                        ))
                        .remedy("one protocol is not translated to another"),
                    );
                }
            }
        }
        return number;
    }
    let own = service.ports_of(name);
    match (own.as_slice(), service.ports.as_slice()) {
        ([one], _) => *one,
        (many, _) if many.contains(&listener_port) => listener_port,
        ([], [one]) => {
            problems.push(
                destination
                    .at
                    .at("host")
                    .warning(format!(
                        "its port {} is not said to speak {name}",
                        one.number
                    ))
                    .remedy(format!("name the port tcp-{name}-x in the ServiceEntry")),
            );
            one.number
        }
        _ => {
            problems.push(
                at.error(format!(
                    "{} has several ports, and none is named",
                    service.host
                ))
                .remedy(format!(
                    "add port: {{number: …}} to the destination; it has {}",
                    all()
                )),
            );
            0
        }
    }
}
