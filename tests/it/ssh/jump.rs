//! Through a jump host, and what is said when that doesn't work.

use rosey::remote::{ConnectError, HostKeyError, connect, scan_host_key};

use super::server::{Bench, free_port, text};

#[tokio::test]
async fn through_a_second_server() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let gate_key = bench.key("gate-key", "ed25519", "");
    let gate = bench.server("gate", &[&gate_key], "");
    let bot = bench.server("bot", &[&key], "");
    let config = format!(
        "Host bot\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  ProxyJump gate\nHost gate\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n",
        bot.port,
        text(&key),
        gate.port,
        text(&gate_key),
    );
    let around = bench.around();
    bench.write(".ssh/config", &config);
    let known = format!("{}{}", gate.known_line(), bot.known_line());
    let mut target = rosey::remote::Target::new("bot", "bot");
    target.known_hosts = vec![bench.write("known_hosts", &known)];
    let session = connect(&target, &around).await.unwrap();
    let output = session.run("echo $SSH_CONNECTION", &[]).await.unwrap();
    let connection = String::from_utf8(output.stdout).unwrap();
    assert!(
        connection.trim().ends_with(&bot.port.to_string()),
        "{connection}"
    );
    // Much data through both encryptions, and the connection of the jump host outlives `connect`.
    let payload = vec![b'x'; 3 << 20];
    let output = session.run("cat", &payload).await.unwrap();
    assert!(output.stdout == payload && output.status.is_success());
    assert_eq!(scan_host_key(&target, &around).await.unwrap(), bot.key());

    // Nobody is let through a gate that isn't known.
    target.known_hosts = vec![bench.write("known_hosts", &bot.known_line())];
    let error = connect(&target, &around).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::HostKey(HostKeyError::Unknown { host, .. }) if host == "gate"),
        "{error}"
    );
}

#[tokio::test]
async fn a_gate_that_forwards_nothing_and_a_server_that_is_down_behind_one() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    for (configuration, temporary, expected) in [
        ("AllowTcpForwarding no", false, "AllowTcpForwarding yes"),
        ("", true, "can't connect to it"),
    ] {
        let gate = bench.server("gate", &[&key], configuration);
        let mut target = bench.target(&gate, &key);
        target.identities = Vec::new();
        target.port = Some(free_port());
        target.name = "bot".to_owned();
        let config = format!(
            "Host 127.0.0.1\n  IdentityFile {}\nMatch host 127.0.0.1 exec \"test %p != {}\"\n  ProxyJump 127.0.0.1:{}\n",
            text(&key),
            gate.port,
            gate.port,
        );
        let around = bench.around();
        bench.write(".ssh/config", &config);
        let error = connect(&target, &around).await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{error}");
        let message = error.to_string();
        assert!(message.starts_with("reach bot at"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
