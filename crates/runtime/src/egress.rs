//! The check of the egress: what each address that mail may leave from is
//! called, and whether that fits what it calls itself. Runs on the thread of
//! whoever asks; no shard takes part.
//!
//! Decides nothing: what fits is `dns::egress`'s, how questions are put the
//! resolver's. Invariant: bounded in addresses and in time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use control::{Family, Policy};
use dns::{Asked, Config, Kind, Lookup, LookupToken, Name, Resolver, Transmit, egress};
use mail::Domain;
use serde_json::{Value, json};
use shard::command::Answer;

use crate::clock::Clock;
use crate::server::Running;
use crate::{entropy, machine};

/// Addresses looked at in one check; the first ones, in the order of the
/// configuration.
const ADDRESSES_MAX: usize = 256;
/// For the whole check; what is not known by then is not known.
const TIME_MAX: Duration = Duration::from_secs(40);
/// For one exchange over TCP.
const TCP_TIME_MAX: Duration = Duration::from_secs(2);
/// Between two looks at the sockets.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// An address, what it belongs to, and what it greets with.
struct Subject {
    source: Option<String>,
    address: IpAddr,
    name: Domain,
}

impl Running {
    /// Looks every address up that mail may leave from.
    pub fn check_egress(&self) -> Answer {
        let policy = self.in_force();
        let (mut subjects, notes) = subjects(&policy);
        let left_out = subjects.len().saturating_sub(ADDRESSES_MAX);
        subjects.truncate(ADDRESSES_MAX);
        let Ok(seed) = entropy::seed() else {
            return Answer::busy("the machine gives no random bits");
        };
        let set = &policy.dns;
        let machine = set.servers.is_empty();
        let mut asking = Asking {
            resolver: Resolver::new(Config {
                servers: if machine { machine::name_servers() } else { set.servers.clone() },
                timeout: set.timeout,
                attempts: set.attempts,
                cache_entries_max: 4 * ADDRESSES_MAX,
                seed,
            }),
            sockets: BTreeMap::new(),
            clock: self.clock(),
            until: Instant::now() + TIME_MAX,
        };
        let rows: Vec<Value> = asking.rows(&subjects);
        let good = left_out == 0
            && rows.iter().all(|row| row["problems"].as_array().is_some_and(Vec::is_empty));
        Answer::ok(json!({ "addresses": rows, "notes": notes, "left_out": left_out, "good": good }))
    }
}

/// What mail may leave from, and what is not known of that.
fn subjects(policy: &Policy) -> (Vec<Subject>, Vec<String>) {
    let (mut subjects, mut notes) = (Vec::new(), Vec::new());
    for source in &policy.exits.sources {
        let name = source.hostname.as_ref().unwrap_or(&policy.hostname);
        if source.addresses.is_empty() && source.proxy.is_some() {
            notes.push(format!("source {}: its address is its proxy's", source.name));
        }
        subjects.extend(source.addresses.iter().map(|address| Subject {
            source: Some(source.name.to_string()),
            address: *address,
            name: name.clone(),
        }));
    }
    let own = &policy.egress.source;
    let machine = if own.is_empty() { machine::own_addresses() } else { own.clone() };
    let of_family = |ip: &IpAddr| match policy.egress.family {
        Family::Ipv4Only => ip.is_ipv4(),
        Family::Ipv6Only => ip.is_ipv6(),
        Family::Ipv4First | Family::Ipv6First => true,
    };
    // What was named is looked at, whatever it is.
    let usable = |ip: &IpAddr| !own.is_empty() || !is_local(*ip);
    let usual = machine.into_iter().filter(|ip| of_family(ip) && usable(ip));
    let usual =
        usual.map(|address| Subject { source: None, address, name: policy.hostname.clone() });
    subjects.extend(usual);
    for subject in &subjects {
        if is_private(subject.address) {
            let note = "others see the address of a gateway, which is what must fit";
            notes.push(format!("{} is a private address: {note}", subject.address));
        }
    }
    if subjects.is_empty() {
        notes.push("the machine has no address that others could see".into());
    }
    (subjects, notes)
}

fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Questions under way, each on a socket of its own.
struct Asking {
    resolver: Resolver,
    sockets: BTreeMap<u64, UdpSocket>,
    clock: Clock,
    until: Instant,
}

impl Asking {
    fn rows(&mut self, subjects: &[Subject]) -> Vec<Value> {
        let asked: Vec<_> =
            subjects.iter().map(|it| egress::questions(it.address, &it.name)).collect();
        let first = self.ask(asked.into_iter().flatten().flatten().collect());
        let mut rows = Vec::new();
        let mut first = first.into_iter();
        let mut pairs = Vec::new();
        for subject in subjects {
            // A name too long to exist was not asked for.
            let known = egress::questions(subject.address, &subject.name).is_some();
            let pair = if known { first.next().zip(first.next()) } else { None };
            pairs.push((subject, pair));
        }
        let back: Vec<_> = pairs
            .iter()
            .flat_map(|(it, pair)| {
                pair.iter().flat_map(|(_, pointers)| egress::back(it.address, pointers))
            })
            .collect();
        let mut back = self.ask(back).into_iter();
        for (Subject { source, address, name }, pair) in pairs {
            let Some((ours, pointers)) = pair else {
                let problems = ["name and address: no such name can exist"];
                rows.push(json!({
                    "source": source, "address": address.to_string(), "name": name.as_str(),
                    "name_addresses": [], "pointers": [], "problems": problems,
                }));
                continue;
            };
            let count = egress::back(*address, &pointers).len();
            let led: Vec<Lookup> = back.by_ref().take(count).collect();
            let list = egress::addresses(&ours);
            let names = egress::names(&pointers);
            rows.push(json!({
                "source": source,
                "address": address.to_string(),
                "name": name.as_str(),
                "name_addresses": list.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "pointers": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "problems": egress::disagreements(*address, name, &ours, &pointers, &led),
            }));
        }
        rows
    }

    /// Asks everything at once, and gives the answers in the order of the
    /// questions.
    fn ask(&mut self, questions: Vec<(Name, Kind)>) -> Vec<Lookup> {
        let now = self.clock.now().mono;
        let mut open: BTreeMap<LookupToken, Vec<usize>> = BTreeMap::new();
        let mut answers: Vec<Option<Lookup>> = Vec::new();
        for (place, (name, kind)) in questions.iter().enumerate() {
            answers.push(match self.resolver.lookup(now, name, *kind) {
                Asked::Cached(lookup) => Some(lookup),
                Asked::Pending(token) => {
                    open.entry(token).or_default().push(place);
                    None
                }
            });
        }
        while !open.is_empty() && Instant::now() < self.until {
            self.turn();
            while let Some((token, lookup)) = self.resolver.poll_answer() {
                for place in open.remove(&token).unwrap_or_default() {
                    answers[place] = Some(lookup.clone());
                }
            }
        }
        let until = self.clock.now().mono;
        let unknown = || Lookup::Unknown { reason: dns::Reason::PeerTimeout, until };
        answers.into_iter().map(|answer| answer.unwrap_or_else(unknown)).collect()
    }

    /// Sends what is to be sent, takes in what came, and waits a moment where
    /// nothing did.
    fn turn(&mut self) {
        while let Some(transmit) = self.resolver.poll_transmit() {
            let query = transmit.query;
            let sent = if transmit.tcp { over_tcp(&transmit) } else { self.send(transmit) };
            let now = self.clock.now().mono;
            match sent {
                Ok(Some(answer)) => self.resolver.answer(now, query, &answer),
                Ok(None) => {}
                Err(_) => self.resolver.failed(now, query),
            }
        }
        while let Some(query) = self.resolver.poll_done() {
            self.sockets.remove(&query);
        }
        let mut heard = Vec::new();
        let mut buffer = [0; 4_096];
        for (query, socket) in &self.sockets {
            match socket.recv(&mut buffer) {
                Ok(length) => heard.push((*query, Some(buffer[..length].to_vec()))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => heard.push((*query, None)),
            }
        }
        if heard.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
        let now = self.clock.now().mono;
        for (query, answer) in heard {
            match answer {
                Some(bytes) => self.resolver.answer(now, query, &bytes),
                None => self.resolver.failed(now, query),
            }
        }
        if self.resolver.next_deadline().is_some_and(|at| at <= now) {
            self.resolver.timeout(now);
        }
    }

    fn send(&mut self, transmit: Transmit) -> std::io::Result<Option<Vec<u8>>> {
        let any: IpAddr = match transmit.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(transmit.server)?;
        socket.send(&transmit.bytes)?;
        self.sockets.insert(transmit.query, socket);
        Ok(None)
    }
}

/// One exchange with a length prefix (RFC 7766 §8).
fn over_tcp(transmit: &Transmit) -> std::io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect_timeout(&transmit.server, TCP_TIME_MAX)?;
    stream.set_read_timeout(Some(TCP_TIME_MAX))?;
    stream.set_write_timeout(Some(TCP_TIME_MAX))?;
    let length = u16::try_from(transmit.bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &transmit.bytes].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(Some(answer))
}
