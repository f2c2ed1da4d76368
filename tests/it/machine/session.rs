//! Connections that must end by themselves.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use poolkeeper::live::machine::session::{NoSession, Peer, Session};

/// What a look at a server says that does this with a connection.
fn why(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    let private_key = "no key is needed so far".to_owned().into();
    let peer = Peer { host: "127.0.0.1", port, username: "jenkins", private_key: &private_key, pinned: None };
    match Session::open(peer, Duration::from_millis(300)) {
        Err(NoSession::NoSsh(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_says_nothing_has_no_ssh() {
    // Kept open: a closed one would be another fault.
    assert_eq!(why(std::mem::forget), "handshake not done within 300ms");
}

#[test]
fn a_server_that_never_ends_to_speak_has_no_ssh() {
    let said = why(|mut stream| while stream.write_all(b"welcome\r\n").is_ok() {});
    assert_eq!(said, "handshake not done within 300ms");
}

#[test]
fn a_server_that_speaks_another_protocol_has_no_ssh() {
    let said = why(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    assert!(said.starts_with("handshake: "), "{said}");
}
