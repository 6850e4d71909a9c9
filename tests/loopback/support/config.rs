//! A configuration of the daemon for a story: short deadlines, small segments,
//! everything on loopback, and what the story adds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Keys by section; later ones replace earlier ones.
#[derive(Clone, Debug)]
pub struct Config {
    listen: SocketAddr,
    keys: BTreeMap<(&'static str, &'static str), String>,
    tables: Vec<String>,
}

impl Config {
    /// What all stories build on. Mail goes by exchangers on loopback, found
    /// with a name server that is not there.
    pub fn new() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let nobody = free_port();
        let config = Self { listen, keys: BTreeMap::new(), tables: Vec::new() };
        config
            .set("", "hostname", "\"ringpost.example\"")
            .set("submission", "listen", &format!("[\"{listen}\"]"))
            .set("submission", "max_message", "\"1MiB\"")
            .set("queue", "segment", "\"4MiB\"")
            .set("queue", "min_free", "\"0B\"")
            .set("egress", "permit", "[\"127.0.0.0/8\"]")
            .set("egress", "family", "\"ipv4\"")
            .set("delivery", "retry", "[\"1s\"]")
            .set("delivery", "jitter", "\"0%\"")
            .set("dns", "servers", &format!("[\"127.0.0.1:{nobody}\"]"))
    }

    /// The same, with everything relayed to `host`, in plain text.
    pub fn relay(host: SocketAddr) -> Self {
        Self::new()
            .set("delivery", "mode", "\"relay\"")
            .set("delivery", "hosts", &format!("[\"{host}\"]"))
            .set("delivery", "tls", "\"none\"")
    }

    /// The same, with mail exchangers on `port`, looked up with `server`.
    pub fn by_mx(server: SocketAddr, port: u16) -> Self {
        Self::new()
            .set("dns", "servers", &format!("[\"{server}\"]"))
            .set("dns", "timeout", "\"500ms\"")
            .set("delivery", "port", &port.to_string())
            .set("delivery", "tls", "\"none\"")
    }

    /// Sets `key` of `[section]` to a TOML value.
    pub fn set(mut self, section: &'static str, key: &'static str, value: &str) -> Self {
        self.keys.insert((section, key), value.to_owned());
        self
    }

    /// Appends a `[[route]]` with these lines.
    pub fn route(self, lines: &str) -> Self {
        self.table("route", lines)
    }

    /// Appends a `[[name]]` with these lines.
    pub fn table(mut self, name: &str, lines: &str) -> Self {
        self.tables.push(format!("[[{name}]]\n{lines}"));
        self
    }

    /// The sizes an operator gets by default, instead of small ones.
    pub fn with_default_sizes(mut self) -> Self {
        for key in [("submission", "max_message"), ("queue", "segment")] {
            self.keys.remove(&key);
        }
        self
    }

    /// Listens in these places, written as TOML, instead of at its usual one;
    /// `{}` stands for that.
    pub fn listening(self, places: &str) -> Self {
        let usual = self.listen.to_string();
        self.set("submission", "listen", &places.replace("{}", &usual))
    }

    /// The same, where mail is taken at another place than it says.
    pub fn taken_at(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Where it takes mail.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut open = "";
        for ((section, key), value) in &self.keys {
            if *section != open {
                writeln!(text, "\n[{section}]").expect("a String takes everything");
                open = section;
            }
            writeln!(text, "{key} = {value}").expect("a String takes everything");
        }
        for table in &self.tables {
            writeln!(text, "\n{table}").expect("a String takes everything");
        }
        text
    }
}

/// A port of 127.0.0.1 that nobody listens on, below those the kernel hands
/// out by itself, so that it is still free when a program binds it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let start = std::process::id() as u16 % 2_000 * 10;
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free {
            return port;
        }
    }
}
