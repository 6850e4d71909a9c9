//! The client against servers that answer as written down.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;

/// Serves connections one after the other, each with these answers, one for
/// each request; gives the requests.
fn serve(connections: Vec<Vec<&'static str>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut request = String::new();
                while !request.ends_with("end") {
                    let mut piece = [0; 1_000];
                    let count = stream.read(&mut piece).unwrap();
                    assert!(count > 0, "a request was cut: {request}");
                    request.push_str(str::from_utf8(&piece[..count]).unwrap());
                }
                requests.push(request);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        requests
    });
    (address, thread)
}

fn client(address: SocketAddr) -> HttpClient {
    HttpClient::new(format!("http://{address}/x").parse().unwrap(), Trust::default())
}

fn post(client: &mut HttpClient) -> Result<String, String> {
    let deadline = Deadline::after(Duration::from_secs(20), &Arc::default());
    let answer = client.post("A: b\r\n", b"the end", &deadline);
    answer.map(|answer| answer.said).map_err(|error| error.to_string())
}

#[test]
fn a_connection_is_used_again_as_long_as_the_server_keeps_it() {
    let with_body = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let none = "HTTP/1.1 204 No Content\r\n\r\n";
    let last = "HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // The server closes behind `none`, and the client finds that out by itself.
    let (address, server) = serve(vec![vec![with_body, none], vec![last], vec![none]]);
    let mut client = client(address);
    let said: Vec<_> = (0..4).map(|_| post(&mut client)).collect();
    let words = ["200 OK", "204 No Content", "500 Oh no", "204 No Content"];
    assert_eq!(said, words.map(|word| Ok(word.to_owned())));
    drop(client);
    let requests = server.join().unwrap();
    let head = format!("POST /x HTTP/1.1\r\nHost: {address}\r\n");
    assert!(requests.iter().all(|request| request.starts_with(&head)), "{requests:?}");
    assert!(requests[0].ends_with("Content-Length: 7\r\nA: b\r\n\r\nthe end"), "{}", requests[0]);
}

#[test]
fn what_is_no_whole_answer_is_none() {
    for (answer, why) in [
        ("HTTP/1.1 200 OK\r\nContent-Len", "closed without a whole answer"),
        ("220 mail.example ESMTP\r\n", "is not HTTP"),
        ("", "closed without a whole answer"),
    ] {
        let (address, server) = serve(vec![vec![answer]]);
        let said = post(&mut client(address)).unwrap_err();
        assert!(said.contains(why), "{answer}: {said}");
        server.join().unwrap();
    }
    let endless = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(HEAD_BYTES_MAX);
    assert!(head(endless.as_bytes()).is_err());
    assert!(head(&endless.as_bytes()[..HEAD_BYTES_MAX - 1]).unwrap().is_none());
}

/// The server said yes; what it wanted to add does not matter.
#[test]
fn a_cut_body_leaves_the_answer_and_ends_the_connection() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let large = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    for answer in [cut, chunked, large] {
        let (address, server) = serve(vec![vec![answer], vec![answer]]);
        let mut client = client(address);
        assert_eq!(
            (post(&mut client), post(&mut client)),
            (Ok("200 OK".into()), Ok("200 OK".into()))
        );
        server.join().unwrap();
    }
}
