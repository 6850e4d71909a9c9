//! A whole server with the real shard, on a folder of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use control::Config;
use mail::Domain;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(folder: &Path) -> ServerSettings {
    let text = "shards = 2\n\
        [submission]\nlisten = [\"127.0.0.1:0\"]\nmax_message = \"1MiB\"\n\
        [queue]\nsegment = \"4MiB\"\nmin_free = \"1MiB\"\n";
    let config = Config::parse(text, &Domain::parse("mx.example").unwrap()).unwrap();
    ServerSettings { folder: folder.to_path_buf(), policy: Arc::new(config.policy) }
}

fn greeting(to: SocketAddr) -> String {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    (&stream).write_all(b"QUIT\r\n").unwrap();
    line
}

/// Covers: B28, B33
#[test]
fn a_server_serves_keeps_its_folder_to_itself_and_frees_all_when_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(settings(folder.path())).unwrap();
    let address = running.listening()[0];
    // Each shard gets one of two.
    for _ in 0..2 {
        assert!(greeting(address).starts_with("220 mx.example "), "{}", greeting(address));
    }
    assert_eq!(running.command(Request::Status, PATIENCE).status, 200);
    let second = Running::start(settings(folder.path())).err().unwrap().to_string();
    assert!(second.contains("in use"), "{second}");

    running.stop(PATIENCE);
    running.stop(PATIENCE);
    assert!(TcpStream::connect(address).is_err(), "the port is still taken");
    drop(running);
    let again = Running::start(settings(folder.path())).unwrap();
    again.stop(Duration::ZERO);
    let log = std::fs::read_to_string(folder.path().join("log/ringpost.log")).unwrap();
    assert_eq!(log.matches("\"event\":\"recovered\"").count(), 2, "{log}");
    for line in log.lines() {
        assert!(line.starts_with("{\"time\":\""), "{line}");
    }
}

/// Covers: B35
#[test]
fn a_new_policy_takes_effect_unless_it_needs_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(settings(folder.path())).unwrap();
    let mut renamed = Policy::clone(&settings(folder.path()).policy);
    renamed.hostname = Domain::parse("renamed.example").unwrap();
    running.set_policy(Arc::new(renamed.clone())).unwrap();
    assert_eq!(running.command(Request::Status, PATIENCE).status, 200);
    assert!(greeting(running.listening()[0]).starts_with("220 renamed.example "));

    renamed.submission.listen.clear();
    let refused = running.set_policy(Arc::new(renamed)).unwrap_err();
    assert!(refused.contains("submission.listen"), "{refused}");
    running.stop(Duration::ZERO);
}

#[test]
fn a_taken_port_is_refused_before_the_folder_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut settings = settings(&folder.path().join("data"));
    let mut policy = Policy::clone(&settings.policy);
    policy.submission.listen = vec![control::Listener::plain(address)];
    settings.policy = Arc::new(policy);
    let error = Running::start(settings).err().unwrap().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(!folder.path().join("data").exists());
}

/// Who may do everything once could have it done without the log's readers: a line
/// about a name of a mebibyte is passed over as none of ours.
#[test]
fn a_request_of_any_length_makes_a_line_that_readers_take() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(settings(folder.path())).unwrap();
    let site = "\u{1}\u{fc}".repeat(300_000);
    let peer = crate::control_socket::Peer::Local { pid: 7, uid: 0 };
    running.log_command(&format!("queue remove site={site}"), &peer);
    running.stop(Duration::ZERO);
    let log = std::fs::read_to_string(folder.path().join("log/ringpost.log")).unwrap();
    let about = |line: &&str| line.contains("\"request\":\"queue remove site=");
    let line = log.lines().find(about).expect("it is told");
    assert!(
        (8_000..64 << 10).contains(&line.len()) && line.contains("\"uid\":0"),
        "{}",
        line.len()
    );
}
