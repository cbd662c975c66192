//! Compiled changes to attributes. Constant text is prepared once; values with placeholders are
//! built for each message.

use std::net::SocketAddr;

use meltemi_config::{Change, Part, Template, Variable};
use meltemi_frame::{Edit, Interest, Lookup, Message, Spec};

/// The changes of one direction, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes(Box<[Compiled]>);

/// The facts besides the message that a value can contain.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The client.
    pub downstream: SocketAddr,
    /// The client's identity. `None` if it has none.
    pub principal: Option<&'a str>,
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The cluster's name.
    pub cluster: &'a str,
}

#[derive(Clone, Debug)]
enum Compiled {
    Fixed(Edit),
    Made {
        name: Box<str>,
        adds: bool,
        value: Box<[Placeholder]>,
    },
}

#[derive(Clone, Debug)]
enum Placeholder {
    Text(Box<[u8]>),
    Attribute(Lookup),
    Fact(Variable),
}

impl Changes {
    /// Compiles changes. Also returns the decode depth that `encode` needs to make them.
    pub(crate) fn compile(changes: &[Change], spec: &Spec) -> (Self, Interest) {
        let mut interest = Interest::Route;
        let compiled = changes.iter().map(|change| {
            interest = interest.max(depth(change.name(), spec));
            let name: Box<str> = change.name().into();
            let Some(value) = change.value() else {
                return Compiled::Fixed(Edit::Remove(name));
            };
            let adds = matches!(change, Change::Add(..));
            if let Some(text) = value.as_text() {
                return Compiled::Fixed(edit(name, text.as_bytes().into(), adds));
            }
            let value = holes(value, spec, &mut interest);
            Compiled::Made { name, adds, value }
        });
        let compiled = compiled.collect();
        (Self(compiled), interest)
    }

    /// Returns `true` if there are no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records the changes on a message. All values are built from the message before any change.
    pub fn apply(&self, message: &mut Message<'_>, facts: &Facts<'_>) {
        for change in &self.0 {
            let edit = match change {
                Compiled::Fixed(edit) => edit.clone(),
                Compiled::Made { name, adds, value } => {
                    edit(name.clone(), fill(value, message, facts), *adds)
                }
            };
            message.edit(edit);
        }
    }
}

fn edit(name: Box<str>, value: Box<[u8]>, adds: bool) -> Edit {
    if adds {
        Edit::Add(name, value)
    } else {
        Edit::Set(name, value)
    }
}

/// Returns the decode depth that `encode` needs for a change. A change of open metadata always
/// needs the position of the metadata.
fn depth(name: &str, spec: &Spec) -> Interest {
    match spec.lookup(name) {
        Some((Lookup::Open(_), depth)) => depth.max(Interest::Headers),
        Some((Lookup::Slot(_), depth)) => depth,
        None => Interest::Route,
    }
}

fn holes(value: &Template, spec: &Spec, interest: &mut Interest) -> Box<[Placeholder]> {
    let hole = |part: &Part| match part {
        Part::Text(text) => Some(Placeholder::Text(text.as_bytes().into())),
        Part::Variable(variable) => Some(Placeholder::Fact(*variable)),
        // A checked configuration names only attributes that the protocol has.
        Part::Attribute(name) => spec.lookup(name).map(|(lookup, depth)| {
            *interest = (*interest).max(depth);
            Placeholder::Attribute(lookup)
        }),
    };
    value.parts().iter().filter_map(hole).collect()
}

fn fill(value: &[Placeholder], message: &Message<'_>, facts: &Facts<'_>) -> Box<[u8]> {
    let mut made = Vec::new();
    for hole in value {
        match hole {
            Placeholder::Text(text) => made.extend_from_slice(text),
            Placeholder::Attribute(lookup) => {
                if let Some(value) = message.attribute(lookup) {
                    made.extend_from_slice(&value);
                }
            }
            Placeholder::Fact(variable) => made.extend_from_slice(facts.told(*variable).as_bytes()),
        }
    }
    made.into()
}

impl Facts<'_> {
    fn told(&self, variable: Variable) -> String {
        match variable {
            Variable::DownstreamAddress => self.downstream.to_string(),
            Variable::DownstreamIp => self.downstream.ip().to_string(),
            Variable::DownstreamPrincipal => self.principal.unwrap_or("").to_owned(),
            Variable::Listener => self.listener.to_owned(),
            Variable::Route => self.route.to_owned(),
            Variable::Cluster => self.cluster.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{message, spec};

    const FACTS: Facts<'_> = Facts {
        downstream: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
        principal: Some("spiffe://a/ns/b/sa/c"),
        listener: "l",
        route: "r",
        cluster: "c",
    };

    fn applied(changes: &[Change]) -> (Vec<Edit>, Interest) {
        let (compiled, interest) = Changes::compile(changes, &spec());
        let mut message = message(&[("service", "shop"), ("header.user", "ada")]);
        compiled.apply(&mut message, &FACTS);
        (message.edits().to_vec(), interest)
    }

    #[test]
    fn values_are_made_of_attributes_and_facts() {
        let template = |text: &str| Template::parse(text).unwrap();
        let (edits, interest) = applied(&[
            Change::Set(
                "header.a".to_owned(),
                template("%service%/%header.user%/%header.none%@%DOWNSTREAM_REMOTE_ADDRESS%"),
            ),
            Change::Add(
                "header.b".to_owned(),
                template("%ROUTE_NAME%>%UPSTREAM_CLUSTER%"),
            ),
            Change::Remove("header.c".to_owned()),
        ]);
        assert_eq!(
            edits,
            [
                Edit::Set("header.a".into(), (*b"shop/ada/@127.0.0.1:9").into()),
                Edit::Add("header.b".into(), (*b"r>c").into()),
                Edit::Remove("header.c".into()),
            ]
        );
        assert_eq!(interest, Interest::Headers);
    }

    #[test]
    fn a_value_needs_what_it_is_made_of() {
        let value = Template::parse("%note%").unwrap();
        let (_, interest) = applied(&[Change::Set("header.a".to_owned(), value)]);
        assert_eq!(interest, Interest::Body);
    }
}
