//! What a daemon may answer, whole, cut off or without an end.

use super::*;
use std::os::unix::net::UnixListener;

/// A one-shot daemon that answers `reply` to anything.
fn answered_with(reply: &'static str) -> Result<Value, Failure> {
    asked(reply, |at| request(at, "GET", "/v1/status", None))
}

fn asked<T>(reply: &'static str, ask: impl FnOnce(&At) -> T) -> T {
    asked_of(reply, usize::MAX, ask)
}

/// The same of one that reads so many octets at most before it answers.
fn asked_of<T>(reply: &'static str, bytes_max: usize, ask: impl FnOnce(&At) -> T) -> T {
    let folder = std::env::temp_dir().join(format!(
        "ringpost-client-{}-{:p}",
        std::process::id(),
        reply.as_ptr()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("s");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = [0; 1024];
        let n = stream.read(&mut seen[..bytes_max.min(1024)]).unwrap();
        let begin = b"GET /v1/status HTTP/1.1\r\n";
        assert!(seen[..n].starts_with(&begin[..begin.len().min(bytes_max)]));
        // Who has heard enough may have gone.
        let _ = stream.write_all(reply.as_bytes());
    });
    let answer = ask(&At::Socket(socket));
    daemon.join().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    answer
}

#[test]
fn a_good_answer_is_its_json() {
    let answer = answered_with("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}");
    assert_eq!(answer.unwrap()["a"], 1);
}

#[test]
fn a_refusal_carries_the_daemons_reason() {
    let answer = answered_with("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no such message\"}");
    assert!(matches!(answer, Err(Failure::Refused(404, reason)) if reason == "no such message"));
}

/// A daemon with as many clients as it takes was once told to be no daemon: it
/// says that it is busy and closes, without having read what was asked.
#[test]
fn a_refusal_is_heard_of_a_daemon_that_does_not_listen_any_more() {
    const BUSY: &str =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 16\r\n\r\n{\"error\":\"busy\"}";
    let is_told = |answer| matches!(answer, Failure::Refused(503, reason) if reason == "busy");
    let path = "/v1/status";
    let asked = asked_of(BUSY, 1, |at| request(at, "GET", path, None));
    assert!(is_told(asked.unwrap_err()));
    let followed = asked_of(BUSY, 1, |at| follow(at, path, |_| ControlFlow::Continue(())));
    assert!(is_told(followed.unwrap_err()));
    let sent = asked_of(BUSY, 1, |at| send(at, "GET", path, &mut io::empty(), 0));
    assert!(is_told(sent.unwrap_err()));
    // It has closed before anything was asked.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(BUSY.as_bytes()).unwrap();
    drop(theirs);
    let answer = exchange(&mut Stream::Socket(ours), "GET", path, "", b"").unwrap();
    assert_eq!(parse(&answer).unwrap(), (503, &b"{\"error\":\"busy\"}"[..]));
    // Part of an answer is none.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&BUSY.as_bytes()[..BUSY.len() - 1]).unwrap();
    drop(theirs);
    assert!(exchange(&mut Stream::Socket(ours), "GET", path, "", b"").is_err());
}

#[test]
fn garbage_is_not_taken_for_an_answer() {
    assert!(matches!(answered_with("hello\r\n\r\n"), Err(Failure::Garbled(_))));
    assert!(matches!(answered_with("HTTP/1.1 200 OK\r\n"), Err(Failure::Garbled(_))));
}

/// An export once took what had come of a message for all of it, and had the
/// daemon remove the message: whoever stopped `queue export --remove` for
/// longer than the daemon waits on a reader lost mail.
#[test]
fn a_part_of_an_answer_is_not_taken_for_the_whole() {
    let carried = |reply| asked(reply, |at| carry(at, "GET", "/v1/status", &[]));
    let whole = carried("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nSubject: ");
    assert_eq!(whole.unwrap(), b"Subject: ");
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nSubject: ",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nSubject: ",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
    ] {
        assert!(matches!(carried(cut), Err(Failure::Garbled(_))), "{cut}");
    }
}

/// Shows: A43
#[test]
fn lines_are_put_together_from_chunks_until_enough_is_seen() {
    let seen = |text: &str, most: usize| {
        let mut reader = io::Cursor::new(text.as_bytes().to_vec());
        let mut all = Vec::new();
        while all.len() < most {
            match chunk(&mut reader) {
                Ok(Some(chunk)) => all.push(String::from_utf8(chunk).unwrap()),
                Ok(None) => break,
                Err(error) => panic!("{error}"),
            }
        }
        all
    };
    let text = "4\r\n{}\n\n\r\n1\r\n\n\r\n0\r\n\r\n";
    assert_eq!(seen(text, 9), ["{}\n\n", "\n"]);
    assert_eq!(seen(text, 1), ["{}\n\n"]);
    for bad in ["", "x\r\n", "ffffffffff\r\n", "5\r\nab"] {
        assert!(chunk(&mut io::Cursor::new(bad.as_bytes().to_vec())).is_err(), "{bad:?}");
    }
}

/// A head without an end, in one line or in many, was once read for ever.
#[test]
fn heads_and_lines_of_an_answer_that_goes_on_end_at_their_bounds() {
    let followed = |reply: String| {
        let reply: &'static str = Box::leak(reply.into());
        let mut seen = Vec::new();
        let each = |line: &[u8]| {
            seen.push(line.to_vec());
            ControlFlow::Continue(())
        };
        (asked(reply, |at| follow(at, "/v1/status", each)), seen)
    };
    let (start, body) = ("HTTP/1.1 200 OK\r\n", "\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n");
    let room = HEAD_BYTES_MAX - start.len() - "\r\n\r\n".len();
    let head_of = |bytes: usize| format!("{start}X: {}{body}", "x".repeat(bytes - 3));
    let (ended, seen) = followed(head_of(room));
    assert!(ended.is_ok() && seen == [b"{}"], "{ended:?}");
    let (ended, seen) = followed(head_of(room + 1));
    assert!(matches!(ended, Err(Failure::Garbled(_))) && seen.is_empty(), "{ended:?}");
    let endless = head(&mut BufReader::new(io::repeat(b'x'))).unwrap();
    assert_eq!(endless.len(), HEAD_BYTES_MAX);
    let in_many_lines = head(&mut BufReader::new(io::repeat(b'\n'))).unwrap();
    assert_eq!(in_many_lines.len(), HEAD_BYTES_MAX);
    let most = |text: &str| {
        let mut seen = Vec::new();
        let mut reader = io::Cursor::new(text.as_bytes().to_vec());
        let read = lines(&mut reader, 4, |line| {
            seen.push(line.len());
            ControlFlow::Continue(())
        });
        (read.is_ok(), seen)
    };
    assert_eq!(most("2\r\nab\r\n5\r\ncd\nef\r\n3\r\ngh\n\r\n0\r\n\r\n"), (true, vec![4, 4]));
    assert_eq!(most("2\r\nab\r\n4\r\ncde\n\r\n0\r\n\r\n"), (false, vec![]));
    assert_eq!(most("3\r\na\nb\r\n4\r\ncdef\r\n0\r\n\r\n"), (false, vec![1]));
}

#[test]
fn no_socket_means_not_there() {
    let answer =
        request(&At::Socket("/nonexistent/control.sock".into()), "GET", "/v1/status", None);
    assert!(matches!(answer, Err(Failure::NotThere(_))));
}
