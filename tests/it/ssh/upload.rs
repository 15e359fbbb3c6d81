//! The helper on the server: sent once, found afterwards, put elsewhere where it must.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rosey::remote::{
    Elf, Fault, HelperEnd, HelperSources, Helpers, RemoteHelper, Session, UploadError, connect,
    ensure_helper, explain_end, start_helper,
};
use tokio::io::AsyncReadExt;

use super::server::{Bench, Server, is_root, text};

const ROSEY: &str = env!("CARGO_BIN_EXE_rosey");

fn helpers(bench: &Bench, program: &Path) -> Helpers {
    Helpers::new(HelperSources {
        own: program.to_owned(),
        other: None,
        cache: Some(bench.path("cache")),
    })
}

async fn session(bench: &Bench, configuration: &str) -> (Server, Session) {
    let key = bench.key("key", "ed25519", "");
    let server = bench.server("bot", &[&key], configuration);
    let session = connect(&bench.target(&server, &key), &bench.around())
        .await
        .unwrap();
    (server, session)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn our_own_program_is_static() {
    let elf = Elf::read(&std::fs::read(ROSEY).unwrap()).unwrap();
    assert!(elf.is_static);
}

#[tokio::test]
async fn it_is_sent_once_and_found_afterwards() {
    let bench = Bench::new();
    let (_server, session) = session(&bench, "").await;
    let helpers = helpers(&bench, Path::new(ROSEY));
    let first = ensure_helper(&session, &helpers).await.unwrap();
    assert!(first.sent && first.passed_over.is_empty());
    let place = bench.path("home/.cache/rosey");
    assert_eq!(
        Path::new(&first.path),
        place.join(format!("helper-{}", first.digest.short()))
    );
    assert!(std::fs::read(&first.path).unwrap() == std::fs::read(ROSEY).unwrap());
    assert_eq!((mode(&first.path), mode(&place)), (0o755, 0o700));
    assert_eq!(names(&place).len(), 1);
    let again = ensure_helper(&session, &helpers).await.unwrap();
    assert_eq!(
        again,
        RemoteHelper {
            sent: false,
            ..first.clone()
        }
    );
    // A cache may be cut short or deleted at any moment.
    std::fs::write(&first.path, "cut").unwrap();
    assert!(ensure_helper(&session, &helpers).await.unwrap().sent);
    std::fs::remove_dir_all(bench.path("home/.cache")).unwrap();
    std::fs::remove_dir_all(bench.path("cache")).unwrap();
    assert!(ensure_helper(&session, &helpers).await.unwrap().sent);
    assert!(!ensure_helper(&session, &helpers).await.unwrap().sent);
}

#[tokio::test]
async fn many_at_once_leave_one_whole_helper() {
    let bench = Bench::new();
    let (_server, session) = session(&bench, "").await;
    let helpers = helpers(&bench, Path::new(ROSEY));
    let (a, b, c) = tokio::join!(
        ensure_helper(&session, &helpers),
        ensure_helper(&session, &helpers),
        ensure_helper(&session, &helpers),
    );
    let paths: Vec<String> = [a, b, c].map(|helper| helper.unwrap().path).to_vec();
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert!(std::fs::read(&paths[0]).unwrap() == std::fs::read(ROSEY).unwrap());
    assert_eq!(names(&bench.path("home/.cache/rosey")).len(), 1);
}

/// A home whose cache can't be made, so that the second place is taken; ends by removing what is there.
struct Elsewhere(Option<String>);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            std::fs::remove_file(path).ok();
        }
    }
}

/// A static program that is unlike every other, so that the common directory can't hold it already.
fn unique_program(bench: &Bench) -> PathBuf {
    let mut bytes = std::fs::read(ROSEY).unwrap();
    bytes.extend_from_slice(text(bench.directory.path()).as_bytes());
    let path = bench.path("rosey");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn a_home_that_cannot_hold_it_is_passed_over() {
    let bench = Bench::new();
    let (_server, session) = session(&bench, "").await;
    bench.write("home/.cache", "a file where a directory belongs");
    let helpers = helpers(&bench, &unique_program(&bench));
    let helper = ensure_helper(&session, &helpers).await.unwrap();
    let _cleanup = Elsewhere(Some(helper.path.clone()));
    assert!(
        helper
            .path
            .starts_with(&format!("/var/tmp/rosey-{}/helper-", helper.uid)),
        "{}",
        helper.path
    );
    assert_eq!(helper.passed_over[0].fault, Fault::Directory);
    assert_eq!(mode(Path::new(&helper.path).parent().unwrap()), 0o700);
    assert!(!ensure_helper(&session, &helpers).await.unwrap().sent);
}

#[tokio::test]
async fn a_full_or_noexec_home_is_passed_over() {
    if !is_root() {
        println!("left out: only root can mount a small file system");
        return;
    }
    for (options, expected) in [("size=64k", Fault::Write), ("noexec", Fault::NotExecutable)] {
        let bench = Bench::new();
        let home = bench.path("home");
        let mounted = Mounted::new(&home, options);
        let (_server, session) = session(&bench, "").await;
        let helpers = helpers(&bench, &unique_program(&bench));
        let helper = ensure_helper(&session, &helpers).await.unwrap();
        let _cleanup = Elsewhere(Some(helper.path.clone()));
        assert_eq!(
            helper.passed_over[0].fault, expected,
            "{}",
            helper.passed_over[0]
        );
        assert!(helper.path.starts_with("/var/tmp/"));
        // Nothing is left of the attempt.
        assert_eq!(names(&home.join(".cache/rosey")), Vec::<String>::new());
        drop(mounted);
    }
}

struct Mounted(PathBuf);

impl Mounted {
    fn new(place: &Path, options: &str) -> Self {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs", text(place)])
            .status()
            .unwrap();
        assert!(status.success());
        Self(place.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn a_login_that_runs_no_commands_is_told() {
    let bench = Bench::new();
    let (_server, session) = session(
        &bench,
        "ForceCommand echo This account is for files only; exit 1",
    )
    .await;
    let error = ensure_helper(&session, &helpers(&bench, Path::new(ROSEY)))
        .await
        .unwrap_err();
    assert!(matches!(error, UploadError::NoShell { .. }), "{error}");
    assert!(
        error.to_string().contains("This account is for files only"),
        "{error}"
    );
}

#[tokio::test]
async fn it_is_started_and_its_end_is_explained() {
    let bench = Bench::new();
    let (_server, session) = session(&bench, "").await;
    let helpers = helpers(&bench, Path::new(ROSEY));
    let helper = ensure_helper(&session, &helpers).await.unwrap();
    // A shell in the helper's place shows what is said of each kind of end.
    let stand_in = bench.write(
        "stand-in",
        "#!/bin/sh\necho \"$2\"; echo dying >&2; exit $1\n",
    );
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
    let stand_in = RemoteHelper {
        path: text(&stand_in).to_owned(),
        ..helper.clone()
    };
    let mut channel = start_helper(&session, &stand_in, &["0", "it's $HOME"])
        .await
        .unwrap();
    let mut said = String::new();
    channel.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "it's $HOME\n");
    explain_end(&session, &stand_in, channel).await.unwrap();
    let channel = start_helper(&session, &stand_in, &["9"]).await.unwrap();
    let end = explain_end(&session, &stand_in, channel).await.unwrap_err();
    assert_eq!(
        end.to_string(),
        "run the helper on bot: it ended with exit status 9: dying"
    );
    std::fs::remove_file(&helper.path).unwrap();
    let channel = start_helper(&session, &helper, &["helper"]).await.unwrap();
    let end = explain_end(&session, &helper, channel).await.unwrap_err();
    assert!(
        matches!(end, HelperEnd::Vanished { .. }) && end.is_temporary(),
        "{end}"
    );
}
