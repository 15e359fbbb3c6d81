//! The local host on real directories, under attack too.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::port::{Command, EntryType, HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::host::proc;

use super::LocalHost;

/// A directory of its own for each test, by its real path.
struct Place {
    host: LocalHost,
    path: PathBuf,
    owner: Owner,
    _directory: tempfile::TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let host = LocalHost::new();
    let path = directory.path().canonicalize().unwrap();
    let owner = host.entry(&path).unwrap().unwrap().owner;
    Place {
        host,
        path,
        owner,
        _directory: directory,
    }
}

impl Place {
    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.at(name);
        self.host
            .write_file(&path, &mut content.as_bytes(), 0o644, &self.owner)
            .unwrap();
        path
    }

    fn run(&self, shell: &str) -> Command {
        Command {
            shell: shell.into(),
            directory: self.path.clone(),
            user: None,
            env: std::collections::BTreeMap::new(),
            timeout: Duration::from_secs(20),
        }
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, HostError>) -> HostErrorKind {
    result.unwrap_err().kind
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn what_is_made_has_exactly_its_content_mode_and_owner() {
    let place = place();
    let file = place.at("file");
    for (name, mode) in [("open", 0o666), ("shut", 0o600), ("suid", 0o4755)] {
        let path = place.at(name);
        let mut content = &b"content"[..];
        place
            .host
            .write_file(&path, &mut content, mode, &place.owner)
            .unwrap();
        let entry = place.host.entry(&path).unwrap().unwrap();
        assert_eq!(
            (entry.kind, entry.mode, entry.size),
            (EntryType::File, mode, 7)
        );
        assert_eq!(entry.owner, place.owner);
        assert_eq!(place.host.read(&path).unwrap(), b"content");
    }
    place.write("file", "first");
    let again = place
        .host
        .write_file(&file, &mut &b"second"[..], 0o644, &place.owner);
    assert_eq!(kind(again), HostErrorKind::Exists);
    assert_eq!(place.host.read(&file).unwrap(), b"first");
    let directory = place.at("directory");
    place
        .host
        .make_directory(&directory, 0o2775, &place.owner)
        .unwrap();
    assert_eq!(place.host.entry(&directory).unwrap().unwrap().mode, 0o2775);
    place
        .host
        .make_link(&place.at("link"), Path::new("to/nowhere"), &place.owner)
        .unwrap();
    assert_eq!(
        place.host.link_target(&place.at("link")).unwrap(),
        Path::new("to/nowhere")
    );
    assert_eq!(place.host.entry(&place.at("none")).unwrap(), None);
    assert_eq!(place.host.entry(&place.at("file/below")).unwrap(), None);
}

/// A reader that breaks in the middle.
struct Broken(bool);

impl std::io::Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if std::mem::replace(&mut self.0, true) {
            return Err(std::io::Error::other("the wire was cut"));
        }
        buffer[0] = b'x';
        Ok(1)
    }
}

#[test]
fn a_file_whose_content_breaks_off_is_not_left_behind() {
    let place = place();
    let path = place.at("file");
    let error = place
        .host
        .write_file(&path, &mut Broken(false), 0o644, &place.owner)
        .unwrap_err();
    assert!(error.to_string().ends_with("the wire was cut"), "{error}");
    assert_eq!(place.host.entry(&path).unwrap(), None);
}

#[test]
fn no_call_follows_a_link_on_the_way() {
    let place = place();
    let host = &place.host;
    fs::create_dir(place.at("victim")).unwrap();
    fs::write(place.at("victim/file"), "safe").unwrap();
    fs::write(place.at("mine"), "evil").unwrap();
    symlink(place.at("victim"), place.at("way")).unwrap();
    let (file, new, mine) = (place.at("way/file"), place.at("way/new"), place.at("mine"));
    let owner = &place.owner;
    let all: Vec<(&str, HostErrorKind)> = vec![
        ("entry", kind(host.entry(&file))),
        ("read", kind(host.read(&file))),
        ("open", kind(host.open(&file).map(drop))),
        ("link_target", kind(host.link_target(&file))),
        (
            "list",
            kind(
                host.list(&place.at("way/."))
                    .and(host.list(&place.at("way/sub"))),
            ),
        ),
        (
            "make_directory",
            kind(host.make_directory(&new, 0o755, owner)),
        ),
        (
            "write_file",
            kind(host.write_file(&new, &mut &b"x"[..], 0o644, owner)),
        ),
        (
            "clone_file from",
            kind(host.clone_file(&file, &place.at("copy"), 0o644, owner)),
        ),
        (
            "clone_file to",
            kind(host.clone_file(&mine, &new, 0o644, owner)),
        ),
        (
            "make_link",
            kind(host.make_link(&new, Path::new("x"), owner)),
        ),
        ("rename from", kind(host.rename(&file, &place.at("taken")))),
        ("rename to", kind(host.rename(&mine, &new))),
        ("replace", kind(host.replace(&mine, &file))),
        ("exchange", kind(host.exchange(&mine, &file))),
        ("remove_file", kind(host.remove_file(&file))),
        ("remove_directory", kind(host.remove_directory(&file))),
        ("set_mode", kind(host.set_mode(&file, 0o777))),
        ("set_owner", kind(host.set_owner(&file, owner))),
        ("append", kind(host.append(&file, b"x"))),
        ("write_at", kind(host.write_at(&file, 0, b"x"))),
        ("allocate", kind(host.allocate(&file, 100))),
        ("sync", kind(host.sync(&file))),
        ("sync_tree", kind(host.sync_tree(&file))),
    ];
    for (name, kind) in all {
        let list = HostErrorKind::other("a part of the path is no directory");
        assert!(
            kind == HostErrorKind::LinkOnTheWay || name == "list" && kind == list,
            "{name}: {kind:?}"
        );
    }
    assert_eq!(fs::read(place.at("victim/file")).unwrap(), b"safe");
    assert_eq!(fs::read_dir(place.at("victim")).unwrap().count(), 1);
    assert_eq!(fs::read(&mine).unwrap(), b"evil");
}

#[test]
fn a_link_in_the_last_place_is_itself_and_never_its_target() {
    let place = place();
    let host = &place.host;
    let target = place.write("target", "safe");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    let link = place.at("link");
    symlink("target", &link).unwrap();
    symlink("missing", place.at("dangling")).unwrap();
    assert_eq!(host.entry(&link).unwrap().unwrap().kind, EntryType::Link);
    let not_followed = HostErrorKind::other("it is a symbolic link, which rosey doesn't follow");
    assert_eq!(kind(host.read(&link)), not_followed);
    assert_eq!(kind(host.append(&link, b"x")), not_followed);
    assert_eq!(kind(host.append(&place.at("dangling"), b"x")), not_followed);
    assert_eq!(kind(host.write_at(&link, 0, b"x")), not_followed);
    assert_eq!(kind(host.allocate(&place.at("dangling"), 9)), not_followed);
    assert_eq!(
        kind(host.set_mode(&link, 0o777)),
        HostErrorKind::other("a symbolic link has no mode")
    );
    let through = host.write_file(&place.at("dangling"), &mut &b"x"[..], 0o644, &place.owner);
    assert_eq!(kind(through), HostErrorKind::Exists);
    host.set_owner(&link, &place.owner).unwrap();
    place.write("new", "new");
    host.replace(&place.at("new"), &link).unwrap();
    assert_eq!(host.entry(&link).unwrap().unwrap().kind, EntryType::File);
    host.remove_file(&place.at("dangling")).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"safe");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o600);
    assert!(!place.at("missing").exists());
}

#[test]
fn names_may_be_any_bytes() {
    let place = place();
    let names: [&[u8]; 4] = [b" two words", b"a\nline", b"\xc3\xa4", b"\xff\xfe"];
    for name in names {
        let path = place.at(OsStr::from_bytes(name));
        place
            .host
            .write_file(&path, &mut &name[..], 0o644, &place.owner)
            .unwrap();
        assert_eq!(place.host.read(&path).unwrap(), name);
    }
    let listed = place.host.list(&place.path).unwrap();
    let listed: Vec<&[u8]> = listed.iter().map(|name| name.as_bytes()).collect();
    assert_eq!(listed, names, "sorted by their bytes");
}

#[test]
fn renames_replace_only_what_they_may() {
    let place = place();
    let host = &place.host;
    let (a, b) = (place.write("a", "a"), place.write("b", "b"));
    fs::create_dir(place.at("empty")).unwrap();
    fs::create_dir(place.at("full")).unwrap();
    fs::write(place.at("full/f"), "").unwrap();
    assert_eq!(kind(host.rename(&a, &b)), HostErrorKind::Exists);
    host.exchange(&a, &b).unwrap();
    assert_eq!(host.read(&a).unwrap(), b"b");
    host.replace(&a, &b).unwrap();
    assert_eq!(host.read(&b).unwrap(), b"b");
    assert_eq!(host.entry(&a).unwrap(), None);
    let directory = HostErrorKind::other("it is a directory");
    assert_eq!(
        kind(host.replace(&place.at("full"), &place.at("empty"))),
        directory
    );
    assert_eq!(kind(host.replace(&b, &place.at("empty"))), directory);
    assert_eq!(kind(host.remove_file(&place.at("empty"))), directory);
    assert_eq!(
        kind(host.remove_directory(&place.at("full"))),
        HostErrorKind::Exists
    );
    assert_eq!(
        kind(host.remove_directory(&b)),
        HostErrorKind::other("it is no directory")
    );
    host.exchange(&place.at("full"), &b).unwrap();
    assert_eq!(host.list(&b).unwrap(), ["f"]);
    let inside = host.rename(&b, &b.join("below"));
    assert_eq!(
        kind(inside),
        HostErrorKind::other("a directory can't go into itself")
    );
    assert_eq!(
        kind(host.rename(&place.at("gone"), &place.at("x"))),
        HostErrorKind::NotFound
    );
}

#[test]
fn a_clone_has_the_content_and_a_mode_of_its_own() {
    let place = place();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(place.at("from"), &content).unwrap();
    fs::write(place.at("empty"), "").unwrap();
    for (from, expected) in [("from", &content[..]), ("empty", &[])] {
        let to = place.at(format!("{from}.copy"));
        place
            .host
            .clone_file(&place.at(from), &to, 0o640, &place.owner)
            .unwrap();
        assert_eq!(place.host.read(&to).unwrap(), expected);
        assert_eq!(place.host.entry(&to).unwrap().unwrap().mode, 0o640);
        let again = place
            .host
            .clone_file(&place.at(from), &to, 0o640, &place.owner);
        assert_eq!(kind(again), HostErrorKind::Exists);
    }
}

#[test]
fn a_journal_can_be_allocated_appended_to_and_overwritten() {
    let place = place();
    let path = place.at("journal");
    place.host.append(&path, b"one").unwrap();
    assert_eq!(place.host.entry(&path).unwrap().unwrap().mode, 0o600);
    place.host.append(&path, b"two").unwrap();
    place.host.write_at(&path, 2, b"E").unwrap();
    place.host.allocate(&path, 10).unwrap();
    place.host.allocate(&path, 4).unwrap();
    assert_eq!(place.host.read(&path).unwrap(), b"onEtwo\0\0\0\0");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    super::write::fill(&file, 12).unwrap();
    assert_eq!(place.host.read(&path).unwrap(), b"onEtwo\0\0\0\0\0\0");
    place.host.sync(&path).unwrap();
    place.host.sync(&place.path).unwrap();
    place.host.sync_tree(&place.path).unwrap();
    assert_eq!(
        kind(place.host.write_at(&place.at("none"), 0, b"x")),
        HostErrorKind::NotFound
    );
}

#[test]
fn mode_and_owner_can_be_set_as_far_as_the_user_may() {
    let place = place();
    let path = place.write("file", "x");
    place.host.set_mode(&path, 0).unwrap();
    assert_eq!(place.host.entry(&path).unwrap().unwrap().mode, 0);
    place.host.set_mode(&path, 0o640).unwrap();
    place.host.set_owner(&path, &place.owner).unwrap();
    let stranger = Owner {
        user: "no-such-user".into(),
        group: "root".into(),
    };
    let unknown = HostErrorKind::other(r#"this host has no user "no-such-user""#);
    assert_eq!(kind(place.host.set_owner(&path, &stranger)), unknown);
    let other = Owner {
        user: "4242".into(),
        group: "4243".into(),
    };
    let given = place.host.set_owner(&path, &other);
    if is_root() {
        given.unwrap();
        assert_eq!(place.host.entry(&path).unwrap().unwrap().owner, other);
    } else {
        let error = given.unwrap_err();
        assert_eq!(error.kind, HostErrorKind::Denied);
        assert!(
            error
                .to_string()
                .contains("give to 4242:4243, which only root may"),
            "{error}"
        );
    }
}

#[test]
fn a_path_is_resolved_as_far_as_it_is_there() {
    let place = place();
    let host = &place.host;
    fs::create_dir_all(place.at("releases/1")).unwrap();
    symlink("releases/1", place.at("current")).unwrap();
    symlink("../../current", place.at("releases/1/self")).unwrap();
    symlink("nowhere/else", place.at("dangling")).unwrap();
    symlink("round", place.at("round")).unwrap();
    let real = place.at("releases/1");
    assert_eq!(host.real_path(&place.at("current")).unwrap(), real);
    assert_eq!(
        host.real_path(&place.at("current/self/self/new/x"))
            .unwrap(),
        real.join("new/x")
    );
    assert_eq!(
        host.real_path(&place.at("dangling")).unwrap(),
        place.at("nowhere/else")
    );
    assert_eq!(
        host.real_path(&place.at("current/../y")).unwrap(),
        place.at("releases/y")
    );
    let circle = HostErrorKind::other("its links lead round in a circle");
    assert_eq!(kind(host.real_path(&place.at("round"))), circle);
    assert_eq!(
        kind(host.real_path(Path::new("a"))),
        HostErrorKind::other("the path is not absolute")
    );
}

#[test]
fn a_pipe_is_seen_and_never_waited_for() {
    let place = place();
    let path = place.at("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let made = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, made, mode, 0).unwrap();
    assert_eq!(
        place.host.entry(&path).unwrap().unwrap().kind,
        EntryType::Other
    );
    assert_eq!(
        kind(place.host.read(&path)),
        HostErrorKind::other("it is no regular file")
    );
}

#[test]
fn this_machine_knows_its_users_time_and_space() {
    let place = place();
    let host = &place.host;
    let root = host.account("root").unwrap().unwrap();
    assert_eq!((root.user, root.group_name.as_str()), (0, "root"));
    assert_eq!(host.account("0").unwrap().unwrap(), root);
    assert_eq!(host.account("no-such-user").unwrap(), None);
    assert_eq!(host.account("-x").unwrap(), None);
    assert!(host.has_group("root").unwrap() && !host.has_group("no-such-group").unwrap());
    let (before, after) = (host.moment(), host.moment());
    assert!(after.monotonic >= before.monotonic && after.boot.len() == 36);
    assert!(host.time().ends_with('Z'));
    assert!(host.facts().platform.starts_with("linux-"));
    let space = host.space(&place.at("not/there/yet")).unwrap();
    assert!(space.bytes > 0 && space.inodes > 0);
    assert!(!host.is_read_only(&place.at("not/there/yet")).unwrap());
}

#[test]
fn a_process_that_works_in_a_tree_is_found() {
    let place = place();
    let tree = place.at("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    let mut child = std::process::Command::new("cat")
        .current_dir(tree.join("sub"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(place.host.processes_in(&tree).unwrap(), [child.id()]);
    assert_eq!(place.host.processes_in(&place.at("tre")).unwrap(), [0; 0]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.host.processes_in(&tree).unwrap(), [0; 0]);
}

#[test]
fn a_command_gets_its_own_environment_no_input_and_both_streams_are_kept() {
    let place = place();
    let mut command = place.run(
        "cat; echo out; echo err >&2; pwd; echo \"$A,$LANG,${CARGO_HOME-none}\"; umask; exit 3",
    );
    command.env.insert("A".into(), "a b".into());
    let output = place.host.run(&command).unwrap();
    let expected = format!(
        "out\nerr\n{}\na b,C.UTF-8,none\n0022\n",
        place.path.display()
    );
    assert_eq!((output.status, output.output), (Some(3), expected));
    let killed = place.host.run(&place.run("kill -9 $$")).unwrap();
    assert_eq!((killed.status, killed.timed_out), (None, false));
    command.directory = place.at("none");
    let error = place.host.run(&command).unwrap_err();
    assert!(
        error.to_string().contains("there is no directory"),
        "{error}"
    );
}

#[test]
fn of_much_output_the_end_is_kept() {
    let place = place();
    let shell = "i=0; while [ $i -lt 3000 ]; do echo \"$i äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü\"; i=$((i+1)); done";
    let output = place.host.run(&place.run(shell)).unwrap().output;
    assert!(output.len() <= 64 * 1024 && output.len() > 60 * 1024);
    assert!(output.ends_with("2999 äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü\n"));
    assert!(
        !output.contains('\u{fffd}'),
        "begins with a whole character"
    );
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let place = place();
    let shell = "setsid sh -c 'echo $$ > far; exec cat /dev/zero >/dev/null' & \
                 sh -c 'echo $$ > near; exec cat /dev/zero >/dev/null' & \
                 while [ ! -s far ] || [ ! -s near ]; do :; done; echo waiting; wait";
    let mut command = place.run(shell);
    command.timeout = Duration::from_secs(2);
    let output = place.host.run(&command).unwrap();
    assert_eq!((output.status, output.timed_out), (None, true));
    assert_eq!(output.output, "waiting\n");
    for name in ["far", "near"] {
        let id = fs::read_to_string(place.at(name)).unwrap();
        assert_eq!(proc::alive(id.trim().parse().unwrap()), None, "{name}");
    }
}

#[test]
fn a_command_ends_when_its_shell_ends_whatever_it_left_running() {
    let place = place();
    let shell = "cat /dev/zero >/dev/null & echo $!";
    let output = place.host.run(&place.run(shell)).unwrap();
    assert_eq!(output.status, Some(0));
    let left = proc::alive(output.output.trim().parse().unwrap()).unwrap();
    crate::host::ending::signal(&left, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_command_that_nobody_wants_any_more_ends_with_all_that_it_started() {
    let place = place();
    let command = place.run("sleep 1000 & echo begun > begun; wait");
    let begun = place.at("begun");
    let output = place.host.run_while(&command, &|| !begun.exists()).unwrap();
    assert_eq!((output.status, output.timed_out), (None, false));
    assert!(place.host.processes_in(&place.path).unwrap().is_empty());
}

#[test]
fn a_command_runs_as_the_user_that_it_names() {
    let place = place();
    let mut command = place.run("id -un; id -gn; id -G; echo $HOME $USER; umask");
    command.directory = "/".into();
    let other = if is_root() { "nobody" } else { "root" };
    command.user = Some(other.into());
    let run = place.host.run(&command);
    if is_root() {
        let nobody = place.host.account("nobody").unwrap().unwrap();
        let expected = format!(
            "nobody\n{}\n{}\n{} nobody\n0022\n",
            nobody.group_name,
            nobody.group,
            nobody.home.display()
        );
        assert_eq!(run.unwrap().output, expected);
    } else {
        let words = run.unwrap_err().to_string();
        assert!(
            words.ends_with("only root may run something as root"),
            "{words}"
        );
    }
    command.user = Some("no-such-user".into());
    let words = place.host.run(&command).unwrap_err().to_string();
    assert!(
        words.ends_with(r#"this host has no user "no-such-user""#),
        "{words}"
    );
}
