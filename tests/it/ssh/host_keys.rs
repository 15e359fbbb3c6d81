//! Which servers are believed.

use rosey::remote::{
    ConnectError, HostKeyError, TrustError, Trusted, connect, known_hosts_file, scan_host_key,
    trust,
};

use super::server::{Bench, keygen, public, text};

fn refused(error: ConnectError) -> HostKeyError {
    assert!(!error.is_temporary());
    match error {
        ConnectError::HostKey(error) => error,
        other => panic!("expected a refused host key: {other}"),
    }
}

#[tokio::test]
async fn an_unknown_server_is_believed_after_trust() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let around = bench.around();
    let mut target = server.target();
    target.identities = vec![key];
    target.known_hosts = vec![bench.path("new/known_hosts")];
    let error = refused(connect(&target, &around).await.unwrap_err());
    let HostKeyError::Unknown { key: shown, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*shown, server.key());
    assert!(error.to_string().contains(&server.key().fingerprint()));
    assert!(error.to_string().ends_with("type: rosey trust bot"));

    let scanned = scan_host_key(&target, &around).await.unwrap();
    assert_eq!(scanned, server.key());
    let file = known_hosts_file(&target, &around).await.unwrap();
    assert_eq!(
        trust(&target, &around, &scanned, &file).await.unwrap(),
        Trusted::Added
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), server.known_line());
    connect(&target, &around).await.unwrap();
    assert_eq!(
        trust(&target, &around, &scanned, &file).await.unwrap(),
        Trusted::AlreadyKnown
    );
}

#[tokio::test]
async fn a_changed_key_is_refused_and_never_learnt() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let other = bench.key("other", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let around = bench.around();
    let mut target = bench.target(&server, &key);
    let line = format!("[127.0.0.1]:{} {}", server.port, public(&other));
    target.known_hosts = vec![bench.write("changed", &format!("# one\n{line}"))];
    let error = refused(connect(&target, &around).await.unwrap_err());
    let HostKeyError::Changed { known, shown, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(known.at.line, 2);
    assert_eq!(*shown, server.key());
    // What the message says to type does what it says.
    keygen(&["-R", &known.name, "-f", text(&target.known_hosts[0])]);
    let file = &target.known_hosts[0];
    let refused = trust(&target, &around, &server.key(), file).await;
    assert_eq!(refused.unwrap(), Trusted::Added);
    connect(&target, &around).await.unwrap();
}

#[tokio::test]
async fn a_key_of_another_kind_is_no_way_around_a_known_one() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let rsa = bench.key("rsa-host-key", "rsa", "");
    // The server has both kinds; only the RSA key is known, so that is what it must show.
    let server = bench.server("bot", &[&key], &format!("HostKey {}", text(&rsa)));
    let mut target = bench.target(&server, &key);
    let line = format!("[127.0.0.1]:{} {}", server.port, public(&rsa));
    target.known_hosts = vec![bench.write("rsa-only", &line)];
    connect(&target, &bench.around()).await.unwrap();
    let stranger = bench.key("stranger", "rsa", "");
    let line = format!("[127.0.0.1]:{} {}", server.port, public(&stranger));
    target.known_hosts = vec![bench.write("rsa-other", &line)];
    let error = refused(connect(&target, &bench.around()).await.unwrap_err());
    assert!(matches!(error, HostKeyError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn revoked_hashed_and_pinned_keys() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let around = bench.around();
    let mut target = bench.target(&server, &key);
    // Hashed by OpenSSH's own program.
    keygen(&["-H", "-f", text(&target.known_hosts[0])]);
    assert!(
        std::fs::read_to_string(&target.known_hosts[0])
            .unwrap()
            .starts_with("|1|")
    );
    connect(&target, &around).await.unwrap();
    // Known, and revoked in a second file.
    target
        .known_hosts
        .push(bench.write("revoked", &format!("@revoked * {}\n", server.key().line())));
    let error = refused(connect(&target, &around).await.unwrap_err());
    assert!(matches!(error, HostKeyError::Revoked { .. }), "{error}");
    let learnt = trust(&target, &around, &server.key(), &bench.path("known_hosts")).await;
    assert!(matches!(
        learnt,
        Err(TrustError::Refused(HostKeyError::Revoked { .. }))
    ));
    // Pinned: no file is needed, and no other key will do.
    target.known_hosts = vec![bench.path("nothing")];
    target.pinned_keys = vec![public(&server.host_key)];
    connect(&target, &around).await.unwrap();
    target.pinned_keys = vec![public(&key)];
    let error = refused(connect(&target, &around).await.unwrap_err());
    assert!(matches!(error, HostKeyError::NotPinned { .. }), "{error}");
}

#[tokio::test]
async fn an_unreadable_file_stops_everything() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let mut target = bench.target(&server, &key);
    // A directory can't be read as a file by anybody, root included.
    target.known_hosts.push(bench.path("home"));
    let error = refused(connect(&target, &bench.around()).await.unwrap_err());
    assert!(matches!(error, HostKeyError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_host_certificate_of_a_known_authority() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let authority = bench.key("authority", "ed25519", "");
    let host_key = bench.key("bot-host-key", "ed25519", "");
    let sign = |principal: &str, validity: &str| {
        keygen(&[
            "-s",
            text(&authority),
            "-I",
            "bot",
            "-h",
            "-n",
            principal,
            "-V",
            validity,
            text(&host_key),
        ]);
    };
    let configuration = format!("HostCertificate {}-cert.pub", text(&host_key));
    let line = format!("@cert-authority 127.0.0.* {}", public(&authority));
    let known = bench.write("authorities", &line);
    let attempt = async |principal: &str, validity: &str| {
        sign(principal, validity);
        let server = bench.server("bot", &[&key], &configuration);
        let mut target = bench.target(&server, &key);
        target.known_hosts = vec![known.clone()];
        connect(&target, &bench.around()).await.map(drop)
    };
    attempt("127.0.0.1", "always:forever").await.unwrap();
    let error = refused(
        attempt("other.example.org", "always:forever")
            .await
            .unwrap_err(),
    );
    assert!(
        error.to_string().contains("but for other.example.org"),
        "{error}"
    );
    let error = refused(attempt("127.0.0.1", "20200101:20200102").await.unwrap_err());
    assert!(
        error.to_string().contains("not valid at this time"),
        "{error}"
    );
}
