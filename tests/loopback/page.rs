//! The web page, as a browser shows it: told by the real daemon to a real
//! Chromium.

use std::fmt::Write;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use harness::{Rule, SinkSettings, Sinks, Stage};

use crate::support::browser::Browser;
use crate::support::config::free_port;
use crate::support::process::run;
use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to, until};

const FROM: &str = "sender@from.example";

/// Words of a remote that would do harm if they were more than words.
const BAD_WORDS: &str =
    "451 4.7.1 <script>window.harm=1</script><img src=x onerror=\"window.harm=1\"> later";

fn with_page(config: Config) -> (Config, SocketAddr) {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    (config.set("page", "listen", &format!("\"{at}\"")), at)
}

/// The answer to a request over TCP, head and all.
fn asked(at: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{}", request.replace('\n', "\r\n"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn get(at: SocketAddr, target: &str, host: &str) -> std::io::Result<String> {
    asked(at, &format!("GET {target} HTTP/1.1\nHost: {host}\nConnection: close\n\n"))
}

/// The port answers what the page asks and nothing else, to a browser that was
/// sent to this machine; it moves while the daemon runs; the page is at the
/// socket for reading too.
///
/// Shows: A88
#[test]
fn the_port_of_the_page_only_shows() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (config, at) = with_page(Config::relay(nobody));
    let daemon = Daemon::start(config);
    let page = get(at, "/", "localhost:8025").expect("it listens");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>Ringpost"), "{page}");
    for word in ["default-src 'none'", "frame-ancestors 'none'", "nosniff", "no-referrer"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let status = get(at, "/v1/status", &at.to_string()).expect("it listens");
    assert!(status.contains("\"by_shard\""), "{status}");
    for (target, host) in [
        ("/v1/status", "bent.example"),
        ("/", "bent.example"),
        ("/v1/credentials", "localhost"),
        ("/v1/config/candidate", "localhost"),
    ] {
        let refused = get(at, target, host).expect("it listens");
        assert!(refused.starts_with("HTTP/1.1 403"), "{target} {host}: {refused}");
    }
    let remove = "POST /v1/queue/remove HTTP/1.1\nHost: localhost\nConnection: close\n\
                  Content-Length: 12\n\n{\"all\":true}";
    assert!(asked(at, remove).expect("it listens").starts_with("HTTP/1.1 403"));
    let socket = daemon.data().join("status.sock");
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--unix-socket"]).arg(socket).arg("http://localhost/");
    assert!(run(&mut curl, "curl").contains("/page/app.js"));
    // Another port, at once.
    let other = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let set =
        format!(r#"{{"edits": [{{"set": {{"path": "page.listen", "value": "\"{other}\""}}}}]}}"#);
    assert_eq!(daemon.ask("POST", "/v1/config/edit", &set).0, 200);
    let (status, said) = daemon.ask("POST", "/v1/config/commit", "{}");
    assert_eq!(status, 200, "{said}");
    until("the page at its new port", PATIENCE, || get(other, "/", "localhost").ok());
    assert!(get(at, "/", "localhost").is_err(), "and no longer at the old one");
}

/// Mail flows and the page follows; what remotes say stays words; a daemon that
/// is away is missed and found again; nothing is asked of anybody else.
///
/// Shows: A88
#[test]
fn the_page_lives_in_a_real_browser() {
    let rules = vec![Rule::reply(Stage::Rcpt, BAD_WORDS).for_domain("later.example")];
    let sinks = Sinks::start(SinkSettings { rules, ..SinkSettings::default() });
    let sinks = sinks.expect("a sink can be started");
    let config = Config::relay(sinks.first()).set("delivery", "retry", "[\"1h\"]");
    let (config, at) = with_page(config);
    let mut daemon = Daemon::start(config);
    let reply = Client::greet(daemon.address()).send(
        FROM,
        &["a@later.example", "b@other.example"],
        &text_to(FROM, &["a@later.example"]),
    );
    let id = reply.text.trim_end().rsplit(' ').next().expect("the id comes last").to_owned();
    daemon.until_settled("a@later.example", 1);
    let mut browser = Browser::start(1_280, 900);
    browser.open(&format!("http://{at}/"));
    browser.until(
        "a sentence on the state",
        "/^Healthy/.test(document.getElementById('sentence')?.textContent)",
    );
    let delivered = "+(document.querySelector('.up small')?.textContent.split(' ')[0])";
    browser.until("one delivery", &format!("{delivered} === 1"));
    // Mail flows while somebody looks.
    for _ in 0..20 {
        submit(daemon.address(), FROM, &["c@other.example"]);
    }
    browser.until("those that were delivered meanwhile", &format!("{delivered} === 21"));
    browser.until("plots with lines in them", LINES_DRAWN);
    browser.until("the remote's words", "document.querySelector('.failures q') !== null");
    assert_eq!(browser.text(".failures q"), BAD_WORDS);
    looked_at_in_other_ways(&mut browser);
    // One message's life, by its id.
    browser.open(&format!("http://{at}/#/mail/{id}"));
    browser.until("why it waits", "document.querySelector('.because') !== null");
    browser.until("its life", "document.querySelectorAll('.story li').length >= 4");
    let life = browser.text(".story");
    assert!(life.contains("accepted") && life.contains("delivered"), "{life}");
    assert!(life.contains(BAD_WORDS), "{life}");
    let marks = "document.querySelectorAll('main script, main img, main style').length";
    assert_eq!(browser.value(marks), 0, "words stay words");
    assert_eq!(browser.value("typeof window.harm"), "undefined");
    let edit = r#"{"edits": [{"set": {"path": "dns.attempts", "value": "9"}}]}"#;
    assert_eq!(daemon.ask("POST", "/v1/config/edit", edit).0, 200);
    assert_eq!(daemon.ask("POST", "/v1/config/commit", r#"{"comment": "<i>patience</i>"}"#).0, 200);
    for (part, shown) in [
        ("failures", "document.querySelector('.failures q') !== null"),
        ("config", "/attempts = 9/.test(document.querySelector('.diff .more')?.textContent)"),
        ("sites", "document.querySelector('.sites .name a') !== null"),
    ] {
        browser.open(&format!("http://{at}/#/{part}"));
        browser.until(part, shown);
    }
    nothing_is_asked_while_nobody_looks(&mut browser, &daemon);
    let complaints = browser.complaints().to_vec();
    assert!(complaints.is_empty(), "{complaints:#?}");
    // The daemon goes, and comes back.
    daemon.kill();
    browser.until("that the daemon is away", "!document.getElementById('away').hidden");
    daemon.launch();
    browser.until("that it is back", "document.getElementById('away').hidden");
    browser.forget_complaints();
    let ours = format!("http://{at}/");
    let mut strange = String::new();
    for url in browser.requests().iter().filter(|url| !url.starts_with(&ours)) {
        writeln!(strange, "{url}").expect("a String takes everything");
    }
    assert!(["", "about:blank\n"].contains(&&*strange), "asked of others: {strange}");
}

/// Over a tunnel to the socket for reading the page is as at its port; under a
/// name that was bent to point there, as a page of anybody's can do with its
/// own, a browser gets nothing, though it says neither `Origin` nor
/// `Sec-Fetch-Site` then.
///
/// Shows: A88
#[test]
fn a_tunnel_shows_the_page_and_no_bent_name_does() {
    let daemon = Daemon::start(Config::new());
    let tunnel = tunnel(daemon.data().join("status.sock"));
    let mut browser = Browser::start(800, 600);
    browser.open(&format!("http://127.0.0.1:{tunnel}/#/sites"));
    let name = "document.getElementById('host')?.textContent === 'ringpost.example'";
    browser.until("the page at the end of a tunnel", name);
    for target in ["/", "/v1/status", "/v1/queue"] {
        browser.open(&format!("http://bent.example:{tunnel}{target}"));
        let words = "document.body?.textContent.includes('ask for it as localhost')";
        browser.until("a refusal", words);
    }
}

/// Carries bytes between a port and a socket, as ssh does; the port.
fn tunnel(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = UnixStream::connect(&socket) else { return };
            let (Ok(back), Ok(forth)) = (near.try_clone(), far.try_clone()) else { return };
            std::thread::spawn(move || carry(back, forth));
            std::thread::spawn(move || carry(far, near));
        }
    });
    port
}

fn carry(mut from: impl Read, mut to: impl std::io::Write) {
    // An end that has gone ends it.
    let _ = std::io::copy(&mut from, &mut to);
}

/// Ten thousand sites are searched, sorted and gone through to their end, and
/// no more of them are drawn than are seen.
///
/// Shows: A88
#[test]
fn ten_thousand_sites_are_at_hand() {
    let (config, at) = with_page(Config::new());
    let daemon = Daemon::start(config);
    let stop = r#"{"all": true, "reason": "a look at the queue"}"#;
    assert_eq!(daemon.ask("POST", "/v1/suspend", stop).0, 200);
    let mut client = Client::greet(daemon.address());
    for first in (0..10_000).step_by(100) {
        let to: Vec<String> = (first..first + 100).map(|n| format!("u@d{n:05}.example")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        assert_eq!(client.send(FROM, &to, &text_to(FROM, &to[..1])).code, 250);
    }
    until("ten thousand sites", PATIENCE, || {
        (daemon.show("/v1/sites")["total"] == 10_000).then_some(())
    });
    let mut browser = Browser::start(1_280, 900);
    browser.open(&format!("http://{at}/#/sites"));
    let told = "document.getElementById('told')?.textContent ?? ''";
    browser.until("how many there are", &format!("({told}).startsWith('10,000 sites')"));
    let rows = "document.querySelectorAll('.sites tbody tr[aria-rowindex]').length";
    let drawn = browser.value(rows).as_u64().expect("a number");
    assert!((10..100).contains(&drawn), "{drawn} rows are drawn");
    // Sorted by name, and gone through to the end.
    browser.value("document.querySelector('thead button').click()");
    let first = "document.querySelector('.sites .name a')?.textContent";
    browser.until("the order of names", &format!("{first} === 'd00000.example'"));
    browser.value("document.querySelector('.scroll').scrollTop = 1e9");
    let names = "[...document.querySelectorAll('.sites .name a')].map((it) => it.textContent)";
    browser.until("the last site", &format!("{names}.includes('d09999.example')"));
    assert!(browser.value(rows).as_u64().expect("a number") < 100);
    // Searched by keyboard.
    browser.value("document.getElementById('search').focus()");
    browser.type_text("d04711");
    browser.until("the one that is looked for", &format!("({told}).startsWith('one site found')"));
    assert_eq!(browser.text(".sites .name a"), "d04711.example");
    let complaints = browser.complaints().to_vec();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// In the dark, on a telephone, by keyboard.
fn looked_at_in_other_ways(browser: &mut Browser) {
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(ground);
    browser.prefer("dark");
    browser.until("the dark", &format!("{ground} !== {light}"));
    browser.until("plots in the dark", LINES_DRAWN);
    browser.resize(390, 800);
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    browser.until("nothing beyond the edge", fits);
    browser.resize(1_280, 900);
    browser.prefer("light");
    let focused = "document.activeElement.textContent";
    for wanted in ["To the contents", "ringpost.example", "Overview", "Sites"] {
        browser.press("Tab", 9);
        assert_eq!(browser.value(focused), wanted);
    }
    browser.press("Enter", 13);
    browser.until("the sites", "document.querySelector('.sites') !== null");
    browser.value("history.back()");
    browser.until("the overview again", "document.querySelector('.figures') !== null");
}

/// Whether each plot has pixels in the colour of its main line.
const LINES_DRAWN: &str = "(() => {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi)
    .map((part) => parseInt(part, 16));
  const has = (canvas, [r, g, b]) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      if (Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b) < 40
        && data[at + 3] > 200) return true;
    }
    return false;
  };
  const canvases = [...document.querySelectorAll('canvas')];
  return canvases.length === 3 && has(canvases[0], rgb('--delivered'))
    && has(canvases[1], rgb('--taken'));
})()";

fn nothing_is_asked_while_nobody_looks(browser: &mut Browser, daemon: &Daemon) {
    hide(browser, true);
    let uptime = || daemon.show("/v1/status")["uptime_ms"].as_u64().unwrap_or(0);
    let before = (uptime(), browser.requests().len());
    until("some time to pass", PATIENCE, || (uptime() > before.0 + 6_000).then_some(()));
    let after = browser.requests().len();
    assert!(after - before.1 <= 2, "{} requests though nobody looks", after - before.1);
    hide(browser, false);
    until("questions again", PATIENCE, || (browser.requests().len() > after).then_some(()));
}

/// As if the page were behind another one, or in front again.
fn hide(browser: &mut Browser, hidden: bool) {
    browser.value(&format!(
        "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {hidden} }});
         document.dispatchEvent(new Event('visibilitychange'))"
    ));
}
