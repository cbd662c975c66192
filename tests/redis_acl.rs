//! What authorization decides on Redis commands is what Redis itself decides: `ACL DRYRUN` of a user with the same
//! keys and commands, for every command of a real server and generated arguments. Where we are stricter, the table
//! of exceptions says why; we are never laxer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "redis_acl/generate.rs"]
mod generate;
#[path = "redis_acl/server.rs"]
mod server;

use std::collections::BTreeMap;

use meltemi_config::{
    Authorization, Clause, Origin, Policy, PolicyRule, Subject, Undetermined, ValueMatch,
};
use meltemi_frame::{Decoded, Interest, Limits, Protocol, Session, Side};
use meltemi_redis::Redis;
use meltemi_router_core::{Access, Authorizer, Peer};

use generate::{Command, forms, inline, requests, wire};
use server::{Reply, Server};

/// Why we deny what Redis allows.
const STRICTER: &[(&[&str], &str)] = &[
    (
        &[
            "eval",
            "evalsha",
            "eval_ro",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
        ],
        "Redis checks the keys that a script does not declare when it touches them",
    ),
    (
        &["sort", "sort_ro"],
        "Redis refuses BY and GET when it executes the command, unless the user may touch every key",
    ),
    (
        &["spublish", "ssubscribe", "sunsubscribe"],
        "channels of shards are keys to us, because a cluster places them by their slot",
    ),
    (
        &["debug"],
        "Redis does not check the keys of DEBUG; it can read any",
    ),
    (
        &["pfmerge"],
        "Redis 7.0 checks no key if there is a destination alone, and writes it",
    ),
    (
        &["migrate"],
        "Redis 7.0 checks no key behind KEYS if there are several",
    ),
];

/// Requests that Redis refuses to execute, whatever the keys: the server of another version may read them otherwise.
const MALFORMED: &str =
    "a count of keys that is not a plain number, or options that the command does not have";

fn clause(name: &str, value: ValueMatch) -> Clause {
    Clause {
        subject: Subject::Attribute(name.to_owned()),
        values: vec![value],
        not: false,
    }
}

fn policy(clauses: Vec<Clause>, undetermined: Undetermined) -> Vec<Policy> {
    vec![Policy {
        name: "p".to_owned(),
        rules: vec![PolicyRule {
            to: vec![clauses],
            ..PolicyRule::default()
        }],
        undetermined,
        origin: Origin::default(),
    }]
}

struct Ours {
    redis: Redis,
    authorizer: Authorizer,
    interest: Interest,
    peer: Peer,
}

impl Ours {
    fn new(authorization: &Authorization) -> Self {
        let redis = Redis::new();
        let (authorizer, interest) = Authorizer::compile(authorization, redis.spec());
        let address = ([127, 0, 0, 1], 1).into();
        Self {
            redis,
            authorizer,
            interest,
            peer: Peer::new(address, [127, 0, 0, 1].into(), 6379, None),
        }
    }

    fn deny(clauses: Vec<Clause>, undetermined: Undetermined) -> Self {
        Self::new(&Authorization {
            deny: policy(clauses, undetermined),
            ..Authorization::default()
        })
    }

    fn allow(clauses: Vec<Clause>, undetermined: Undetermined) -> Self {
        Self::new(&Authorization {
            allow: policy(clauses, undetermined),
            ..Authorization::default()
        })
    }

    fn allows(&self, bytes: &[u8]) -> bool {
        let mut codec = self
            .redis
            .codec(Side::Server, &Limits::default(), &Session::default());
        match codec.decode(bytes, self.interest) {
            Ok(Decoded::Message(message, length)) => {
                assert_eq!(length, bytes.len());
                self.authorizer.decide(&message, &self.peer) == Access::Allowed
            }
            other => panic!("{other:?} of {}", String::from_utf8_lossy(bytes)),
        }
    }
}

/// What Redis says of a request of the user `tried`; `None`: it has the wrong number of arguments, or there is no such
/// command.
fn allowed_by_redis(reply: &Reply) -> Option<bool> {
    match reply {
        Reply::Text(text) if text == "OK" => Some(true),
        Reply::Text(text) if text.contains("permissions") => Some(false),
        Reply::Error(_) => None,
        other => panic!("{other:?}"),
    }
}

/// What Redis says of a request of the user `tried`; `None`: the request is no request.
fn dry_run(server: &mut Server, words: &[String]) -> Option<bool> {
    let asked = ["ACL", "DRYRUN", "tried"].into_iter();
    let asked: Vec<&str> = asked.chain(words.iter().map(String::as_str)).collect();
    allowed_by_redis(&server.ask(&asked))
}

fn exception(command: &Command) -> Option<&'static str> {
    let name = command.name.split('|').next().unwrap();
    let found = STRICTER.iter().find(|(names, _)| names.contains(&name));
    found.map(|(_, why)| *why)
}

/// By key: a user that may touch everything but `secret:*`, beside policies that deny those and that allow `ok:*`.
#[test]
fn keys_are_those_that_redis_checks() {
    let mut server = Server::start();
    // Every key but those that start with `secret:`, which ACL cannot say. MIGRATE has an empty key beside those that
    // it names, and Redis checks it.
    let keys = "~[^s]* ~ ~store ~storedist ~streams ~s";
    let words = "ACL SETUSER tried reset on +@all allchannels";
    let words: Vec<&str> = words.split(' ').chain(keys.split(' ')).collect();
    server.ask(&words);
    let deny_secret = || vec![clause("keys", ValueMatch::Prefix("secret:".to_owned()))];
    let allow_ok = || vec![clause("keys", ValueMatch::Prefix("ok:".to_owned()))];
    let deny = Ours::deny(deny_secret(), Undetermined::Deny);
    let allow = Ours::allow(allow_ok(), Undetermined::Deny);
    let guess = Ours::deny(deny_secret(), Undetermined::BestGuess);
    let commands = server.commands();
    assert!(commands.len() > 350, "{}", commands.len());
    let (mut asked, mut stricter) = (0, BTreeMap::<&str, usize>::new());
    for command in &commands {
        for request in requests(command) {
            let Some(redis) = dry_run(&mut server, &request.words) else {
                continue;
            };
            asked += 1;
            for bytes in forms(&request.words) {
                let ours = deny.allows(&bytes);
                let shown = request.words.join(" ");
                assert!(redis || !ours, "Redis denies, and we allow: {shown}");
                assert!(
                    redis || !allow.allows(&bytes),
                    "Redis denies, and ALLOW lets pass: {shown}"
                );
                if redis && !ours {
                    let why = exception(command).or(request.malformed.then_some(MALFORMED));
                    let why = why.unwrap_or_else(|| panic!("Redis allows, and we deny: {shown}"));
                    *stricter.entry(why).or_default() += 1;
                } else if redis && request.keyed {
                    assert!(
                        allow.allows(&bytes),
                        "Redis allows, and ALLOW denies: {shown}"
                    );
                }
                // With the best guess, what scripts declare is all that is checked, as in Redis.
                if command.name.contains("eval") || command.name.contains("fcall") {
                    assert!(
                        request.malformed || guess.allows(&bytes) == redis,
                        "{shown}"
                    );
                }
            }
        }
    }
    println!("{asked} requests; stricter: {stricter:#?}");
    assert!(asked > 3000, "{asked}");
    assert_eq!(stricter.len(), STRICTER.len() + 1, "{stricter:#?}");
}

/// By command: a user that may do everything but one command or subcommand, beside a policy that denies it.
#[test]
fn commands_are_those_that_redis_checks() {
    let mut server = Server::start();
    let exact = |name: &str| ValueMatch::Exact(name.to_owned());
    let mut asked = 0;
    let commands = server.commands();
    for denied in &commands {
        // Written as people write it.
        let shouted = denied.name.to_uppercase();
        let clauses = match shouted.split_once('|') {
            Some((command, sub)) => vec![
                clause("command", exact(command)),
                clause("subcommand", exact(sub)),
            ],
            None => vec![clause("command", exact(&shouted))],
        };
        let deny = Ours::deny(clauses, Undetermined::Deny);
        let minus = format!("-{}", denied.name);
        server.ask(&[
            "ACL",
            "SETUSER",
            "tried",
            "reset",
            "on",
            "+@all",
            "allchannels",
            "allkeys",
            &minus,
        ]);
        let container = denied.name.split('|').next().unwrap();
        let neighbours = commands.iter().filter(|other| {
            other.name.split('|').next().unwrap() == container || other.name == "get"
        });
        for other in neighbours {
            for request in requests(other).into_iter().take(2) {
                let Some(redis) = dry_run(&mut server, &request.words) else {
                    continue;
                };
                for bytes in forms(&request.words) {
                    let ours = deny.allows(&bytes);
                    // Redis lets everybody use these, whatever the user may do.
                    let always = ["auth", "hello", "quit", "reset"].contains(&container);
                    let agree = if always {
                        redis || !ours
                    } else {
                        redis == ours
                    };
                    assert!(agree, "{minus}: {ours} {redis} {:?}", request.words);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 2000, "{asked}");
}

/// An inline command is the same request.
#[test]
fn inline_commands_have_the_same_keys() {
    let words = ["SeT".to_owned(), "secret:\"a".to_owned(), "v w".to_owned()];
    let deny = Ours::deny(
        vec![clause("keys", ValueMatch::Prefix("secret:".to_owned()))],
        Undetermined::Deny,
    );
    assert!(!deny.allows(&inline(&words)) && !deny.allows(&wire(&words)));
}
