//! The page's port: where a browser on this machine, or at the end of a tunnel,
//! finds the web page. Blocking threads, bounded in number.
//!
//! Listens where the policy in force says, and follows it when that changes.
//! Invariants: never on an address that others reach; nothing asked here
//! changes anything.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::control_socket::{Door, Handler, Peer, converse};
use crate::error::StartError;
use crate::port::{Port, Service, Wanted};

/// Connections served at once; more are answered 503. A browser holds up to six
/// for one page.
pub const CONNECTIONS_MAX: usize = 48;

/// Where the policy in force wants the page, if anywhere.
pub type WantedPage = Box<dyn Fn() -> Option<SocketAddr> + Send>;
/// Who hears of a place where nothing can listen, in a sentence.
pub type Complain = Box<dyn Fn(&str) + Send>;

/// The port. Dropping it ends it.
#[derive(Debug)]
pub struct PagePort {
    _port: Port,
}

impl PagePort {
    /// Listens where `wanted` says, now and whenever it says otherwise.
    ///
    /// # Errors
    /// Nothing can listen there now, with the address in the text.
    pub fn start(wanted: WantedPage, handler: Handler, complain: Complain) -> io::Result<Self> {
        // Nobody is known by a port; nothing here is done in anybody's name.
        let peer = Peer::Local { pid: 0, uid: u32::MAX };
        let service = Service {
            name: "page",
            connections_max: CONNECTIONS_MAX,
            busy: "too many connections to the page",
            is_private: true,
            waits: false,
            serving: Arc::new(move |mut stream| {
                let _ = stream.set_nodelay(true);
                converse(&mut stream, Door::Page, &peer, &handler);
            }),
        };
        let complain = move |error| complain(&format!("the page: {}; tried again", told(error)));
        let wanted: Wanted = Box::new(move || wanted().into_iter().collect());
        let port = Port::start(service, wanted, Box::new(complain));
        Ok(Self { _port: port.map_err(|error| io::Error::other(told(error)))? })
    }
}

/// The address and what is wrong with it.
fn told(error: StartError) -> String {
    match error {
        StartError::LocalListen { address, reason } => format!("{address}: {reason}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::http::HttpResponse;

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn ask(address: SocketAddr, target: &str, host: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Shows: A88
    #[test]
    fn the_port_follows_the_policy_and_answers_the_page_alone() {
        let (one, other) = (free(), free());
        let wanted = Arc::new(Mutex::new(Some(one)));
        let asked = wanted.clone();
        let handler: Handler =
            Arc::new(|_, _| HttpResponse::json(200, &serde_json::json!({ "fine": true })));
        let wish = Box::new(move || *asked.lock().unwrap());
        let port = PagePort::start(wish, handler, Box::new(|_| {})).unwrap();
        let page = ask(one, "/", "localhost").unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains("default-src 'none'") && page.contains("nosniff"), "{page}");
        assert!(ask(one, "/v1/status", "localhost").unwrap().contains("fine"));
        assert!(ask(one, "/v1/status", "bent.example").unwrap().starts_with("HTTP/1.1 403"));
        *wanted.lock().unwrap() = Some(other);
        let begun = std::time::Instant::now();
        while ask(other, "/", "localhost").is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never moved");
            std::thread::yield_now();
        }
        assert!(ask(one, "/", "localhost").is_err());
        drop(port);
        assert!(ask(other, "/", "localhost").is_err());
    }

    #[test]
    fn what_others_reach_is_refused() {
        let handler: Handler = Arc::new(|_, _| HttpResponse::error(500, ""));
        let wanted = Box::new(|| Some("192.0.2.1:8025".parse().unwrap()));
        let error = PagePort::start(wanted, handler, Box::new(|_| {})).unwrap_err();
        assert!(error.to_string().contains("others reach"), "{error}");
    }
}
