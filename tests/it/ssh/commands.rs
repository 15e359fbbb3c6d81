//! What a command says, and how its end is known.

use std::time::Duration;

use rosey::remote::{
    Become, BecomeError, ExitStatus, HelperEnd, Machine, RemoteHelper, RunError, Session,
    SudoRefusal, connect, explain_end, start_helper,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{Bench, Server, is_root, text};
use crate::support::wait_until;

async fn session(bench: &Bench) -> (Server, Session) {
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let session = connect(&bench.target(&server, &key), &bench.around())
        .await
        .unwrap();
    (server, session)
}

#[tokio::test]
async fn output_errors_and_status_are_told_apart() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    let output = session
        .run("cat; echo wrong >&2; exit 7", b"text")
        .await
        .unwrap();
    assert_eq!(output.status, ExitStatus::Code(7));
    assert_eq!(output.stdout, b"text");
    assert_eq!(output.stderr, "wrong\n");
    let output = session.run("kill -TERM $$", &[]).await.unwrap();
    assert!(
        matches!(&output.status, ExitStatus::Signal { name, .. } if name == "TERM"),
        "{:?}",
        output.status
    );
    assert!(!output.status.is_success());
}

#[tokio::test]
async fn much_in_both_directions_at_once() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    let payload: Vec<u8> = (0..12_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let (one, two) = tokio::join!(session.run("cat", &payload), session.run("cat", &payload));
    assert!(one.unwrap().stdout == payload);
    assert!(two.unwrap().stdout == payload);
    // A command that doesn't read its input is no obstacle.
    let output = session.run("exit 3", &payload).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(3));
}

#[tokio::test]
async fn an_unread_channel_stops_no_other() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    let mut unread = session.exec("head -c 30000000 /dev/zero").await.unwrap();
    let output = session.run("echo here", &[]).await.unwrap();
    assert_eq!(output.stdout, b"here\n");
    let mut bytes = Vec::new();
    unread.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len(), 30_000_000);
    assert!(unread.wait().await.unwrap().status.is_success());
}

#[tokio::test]
async fn more_than_a_command_may_print_is_an_error() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    let error = session
        .run("head -c 20000000 /dev/zero", &[])
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::TooMuchOutput { .. }), "{error}");
    assert!(session.run("true", &[]).await.unwrap().status.is_success());
}

#[tokio::test]
async fn a_stream_both_ways_and_its_end() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    let mut channel = session
        .exec("while read line; do echo got $line; done; echo over >&2; exit 5")
        .await
        .unwrap();
    channel.write_all(b"one\n").await.unwrap();
    let mut answer = [0; 8];
    channel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"got one\n");
    let exit = channel.finish().await.unwrap();
    assert_eq!(exit.status, ExitStatus::Code(5));
    assert_eq!(exit.stderr, "over\n");
}

#[tokio::test]
async fn a_dropped_channel_ends_the_commands_input() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    let done = bench.path("done");
    let command = format!("echo ready; cat; touch {}", text(&done));
    let mut channel = session.exec(&command).await.unwrap();
    let mut ready = [0; 6];
    channel.read_exact(&mut ready).await.unwrap();
    assert!(!done.exists());
    drop(channel);
    tokio::task::spawn_blocking(move || {
        wait_until("the command to notice", Duration::from_secs(20), || {
            done.exists()
        });
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_is_never_a_proper_end() {
    let bench = Bench::new();
    let (_server, session) = session(&bench).await;
    // $PPID of the command is the server's own process for this connection.
    let mut channel = session
        .exec("echo begun; read line; kill -9 $PPID; read line")
        .await
        .unwrap();
    let mut begun = [0; 6];
    channel.read_exact(&mut begun).await.unwrap();
    let mut other = session.exec("cat").await.unwrap();
    channel.write_all(b"go\n").await.unwrap();
    let mut rest = Vec::new();
    assert!(channel.read_to_end(&mut rest).await.is_err());
    let lost = channel.finish().await.unwrap_err();
    assert!(
        lost.to_string().contains("what it did is unknown"),
        "{lost}"
    );
    assert!(other.read_to_end(&mut rest).await.is_err());
    assert!(other.write_all(&vec![0; 64 << 20]).await.is_err());
    let error = session.run("true", &[]).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(
        error.to_string().contains("run a command on bot"),
        "{error}"
    );
}

#[tokio::test]
async fn a_user_who_may_run_nothing() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], "MaxSessions 0");
    let session = connect(&bench.target(&server, &key), &bench.around())
        .await
        .unwrap();
    let error = session.run("true", &[]).await.unwrap_err();
    assert!(matches!(error, RunError::NoChannel { .. }), "{error}");
}

#[tokio::test]
async fn what_sudo_says_is_understood() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let programs = bench.path("programs");
    std::fs::create_dir(&programs).unwrap();
    for name in ["env", "true", "sh"] {
        let real = format!("/usr/bin/{name}");
        std::os::unix::fs::symlink(real, programs.join(name)).unwrap();
    }
    let configuration = format!("SetEnv HOME={0} PATH={0}", text(&programs));
    let server = bench.server("bot", &[&key], &configuration);
    let mut target = bench.target(&server, &key);
    target.r#become = Become::Sudo;
    let session = connect(&target, &bench.around()).await.unwrap();
    let refusal = session.check_become().await.unwrap_err();
    assert!(
        matches!(refusal, BecomeError::Refused(SudoRefusal::Missing { .. })),
        "{refusal}"
    );
    // A program that speaks as sudo does when it wants a password; the real one is in the lab.
    let sudo = programs.join("sudo");
    std::fs::write(
        &sudo,
        "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refusal = session.check_become().await.unwrap_err();
    assert!(
        matches!(
            refusal,
            BecomeError::Refused(SudoRefusal::PasswordRequired { .. })
        ),
        "{refusal}"
    );
}

#[tokio::test]
async fn the_real_sudo_passes_bytes_and_ends_unchanged() {
    if !is_root() || !std::path::Path::new("/usr/bin/sudo").exists() {
        println!("left out: it takes root and sudo (apt-get install sudo)");
        return;
    }
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let mut target = bench.target(&server, &key);
    target.r#become = Become::Sudo;
    let session = connect(&target, &bench.around()).await.unwrap();
    session.check_become().await.unwrap();
    let stand_in = |path: &str| RemoteHelper {
        path: path.to_owned(),
        digest: "0".repeat(64).parse().unwrap(),
        machine: Machine::X86_64,
        uid: 0,
        sent: false,
        passed_over: Vec::new(),
    };
    // Every byte value, many times: a terminal in between would change some of them.
    let payload: Vec<u8> = (0..=255).cycle().take(4 << 20).collect();
    let cat = stand_in("/bin/cat");
    let channel = start_helper(&session, &cat, &[]).await.unwrap();
    let (mut read, mut write) = tokio::io::split(channel);
    let mut back = vec![0; payload.len()];
    let (sent, got) = tokio::join!(write.write_all(&payload), read.read_exact(&mut back));
    sent.unwrap();
    got.unwrap();
    assert!(back == payload);
    // The end of the input ends it properly, and its status comes through.
    explain_end(&session, &cat, read.unsplit(write))
        .await
        .unwrap();
    let end = ended(
        &session,
        &stand_in("/bin/sh"),
        &["-c", "id -u; echo dying >&2; exit 9"],
    )
    .await;
    assert_eq!(
        end.to_string(),
        "run the helper on bot: it ended with exit status 9: dying"
    );
    let end = ended(&session, &stand_in("/nowhere/helper"), &[]).await;
    assert!(matches!(end, HelperEnd::Vanished { .. }), "{end}");
    // Dropping the channel ends the input of what sudo runs.
    let done = bench.path("done");
    let command = format!("echo ready; cat; touch {}", text(&done));
    let mut channel = start_helper(&session, &stand_in("/bin/sh"), &["-c", &command])
        .await
        .unwrap();
    let mut ready = [0; 6];
    channel.read_exact(&mut ready).await.unwrap();
    drop(channel);
    tokio::task::spawn_blocking(move || {
        wait_until("the command to notice", Duration::from_secs(20), || {
            done.exists()
        });
    })
    .await
    .unwrap();
}

async fn ended(session: &Session, helper: &RemoteHelper, arguments: &[&str]) -> HelperEnd {
    let channel = start_helper(session, helper, arguments).await.unwrap();
    explain_end(session, helper, channel).await.unwrap_err()
}
