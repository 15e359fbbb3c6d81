//! Servers that are down, deaf, mute, or something else.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rosey::remote::{ConnectError, Target, connect};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

use super::server::{Bench, free_port};

async fn error_at(port: u16) -> ConnectError {
    let bench = Bench::new();
    let mut target = Target::new("bot", "127.0.0.1");
    target.port = Some(port);
    target.connect_timeout = Duration::from_millis(400);
    let error = connect(&target, &bench.around()).await.unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with(&format!("reach bot at 127.0.0.1:{port}: ")),
        "{message}"
    );
    assert!(error.is_temporary(), "{message}");
    error
}

#[tokio::test]
async fn nothing_listens() {
    let error = error_at(free_port()).await;
    assert!(
        matches!(error, ConnectError::NotListening { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_answers_nothing() {
    // A listener whose queue is full drops what comes, as a host that is down does.
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listen(&socket, 0).unwrap();
    let address: SocketAddr = getsockname(&socket).unwrap().try_into().unwrap();
    let mut fillers = Vec::new();
    while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        fillers.push(filler);
    }
    let error = error_at(address.port()).await;
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let error = error_at(listener.local_addr().unwrap().port()).await;
    assert!(matches!(error, ConnectError::Silent { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_something_else() {
    for greeting in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
        });
        let error = error_at(port).await;
        assert!(matches!(error, ConnectError::HungUp { .. }), "{error}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let bench = Bench::new();
    // A name under .invalid never exists: RFC 2606.
    let target = Target::new("bot", "nowhere.invalid");
    let error = connect(&target, &bench.around()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Lookup { .. }), "{error}");
    assert!(
        error.to_string().contains("getent ahosts nowhere.invalid"),
        "{error}"
    );
}
