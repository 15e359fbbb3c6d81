use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// Serves one connection: reads a request's head, writes some bytes, and closes.
fn serve(answer: impl Into<Vec<u8>>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        // Who asked may have had enough and gone.
        let _ = stream.write_all(&answer);
        String::from_utf8(head).unwrap()
    });
    (port, serving)
}

fn ask_within(url: &str, milliseconds: u64) -> Result<HttpAnswer, ProbeError> {
    get(&HttpRequest {
        url: url.to_owned(),
        timeout: Duration::from_millis(milliseconds),
    })
}

fn ask_at(port: u16) -> Result<HttpAnswer, ProbeError> {
    ask_within(&format!("http://127.0.0.1:{port}/"), 20_000)
}

#[test]
fn an_answer_is_read_whole() {
    let (port, serving) = serve("HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhello");
    let answer = ask_within(
        &format!("http://localhost:{port}/api/health?deep=1"),
        20_000,
    )
    .unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (503, &b"hello"[..])
    );
    let head = serving.join().unwrap().to_lowercase();
    assert!(
        head.starts_with("get /api/health?deep=1 http/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("host: localhost:{port}\r\n")),
        "{head}"
    );
}

#[test]
fn a_chunked_answer_and_one_without_a_length_are_read() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n3\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n";
    for (answer, body) in [
        (chunked, "{\"a\":1}"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end"),
    ] {
        let (port, serving) = serve(answer);
        let answer = ask_at(port).unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), body);
        serving.join().unwrap();
    }
}

#[test]
fn a_redirect_is_an_answer() {
    let (port, serving) =
        serve("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask_at(port).unwrap().status, 302);
    serving.join().unwrap();
}

#[test]
fn an_answer_without_end_is_left() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(answer.len() + BODY_LIMIT + 1, b'x');
    let (port, serving) = serve(answer);
    assert_eq!(
        ask_at(port),
        Err(ProbeError::Answer(format!(
            "127.0.0.1:{port} answers with more than 1 MiB"
        )))
    );
    serving.join().unwrap();
}

#[test]
fn what_went_wrong_is_told_apart() {
    let (port, serving) = serve("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let cut = ask_at(port).unwrap_err();
    assert_eq!(
        cut.to_string(),
        format!("127.0.0.1:{port} closed the connection before the answer was complete")
    );
    serving.join().unwrap();

    let (port, serving) = serve("220 mail.example.org ESMTP\r\n");
    let strange = ask_at(port).unwrap_err();
    assert_eq!(
        strange.to_string(),
        format!("127.0.0.1:{port} doesn't speak HTTP")
    );
    serving.join().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = ask_within(&format!("http://127.0.0.1:{port}/"), 20).unwrap_err();
    assert_eq!(
        silent,
        ProbeError::Answer(format!(
            "127.0.0.1:{port} took the connection and didn't answer in time"
        ))
    );
    drop(listener);
    let refused = ask_at(port).unwrap_err();
    assert_eq!(
        refused,
        ProbeError::Connection(format!(
            "no connection to 127.0.0.1:{port}: nothing listens there"
        ))
    );
}

#[test]
fn what_is_no_address_is_not_asked() {
    for url in ["ftp://web/", "web", "http://ann:secret@web/", "http://", ""] {
        let said = ask_within(url, 1000);
        assert!(
            matches!(said, Err(ProbeError::Unable(_))),
            "{url}: {said:?}"
        );
    }
}

/// Serves one encrypted connection as `localhost`, with a key that guards nothing else; gives what went wrong on its side.
fn serve_encrypted(answer: &'static str) -> (u16, JoinHandle<std::io::Result<()>>) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("testing/localhost.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testing/localhost.key"));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.unwrap()], key.unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    });
    (port, serving)
}

fn authority() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(include_bytes!("testing/authority.pem"));
    roots.add(authority.unwrap()).unwrap();
    roots
}

fn ask_encrypted(host: &str, port: u16, roots: RootCertStore) -> Result<HttpAnswer, ProbeError> {
    let request = HttpRequest {
        url: format!("https://{host}:{port}/"),
        timeout: Duration::from_secs(20),
    };
    get_trusting(&request, || Ok(roots))
}

#[test]
fn an_encrypted_answer_is_read_from_who_is_trusted() {
    let (port, serving) = serve_encrypted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = ask_encrypted("localhost", port, authority()).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    serving.join().unwrap().unwrap();
}

#[test]
fn who_is_not_trusted_is_not_asked() {
    // Another name than the one that is certified; and nobody who certifies.
    for (host, roots) in [
        ("127.0.0.1", authority()),
        ("localhost", RootCertStore::empty()),
    ] {
        let (port, serving) = serve_encrypted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let refused = ask_encrypted(host, port, roots).unwrap_err();
        let words = format!("no encrypted connection to {host}:{port}: invalid peer certificate");
        assert!(matches!(refused, ProbeError::Connection(_)), "{refused:?}");
        assert!(refused.to_string().starts_with(&words), "{refused}");
        assert!(serving.join().unwrap().is_err());
    }
}
