//! Input that can't be deployed is refused before anything is touched, and what merely looks odd is deployed as it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::here::Here;
use crate::support::Project;

/// Spoils a project on which version 1 stands, and has the apply refused.
#[track_caller]
fn refused(code: i32, says: &[&str], spoil: impl FnOnce(&Here<'_>)) {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    spoil(&here);
    let ran = here.apply().exits(code);
    for word in says {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let lines = here.apply_json(&[], code);
    assert_eq!(lines.last().unwrap()["outcome"], "refused");
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_source_that_is_not_there() {
    refused(3, &["bot", "not there"], |here| {
        std::fs::rename(here.project.path("bot"), here.project.path("gone")).unwrap();
    });
}

#[test]
fn a_socket_and_a_link_out_of_the_source_are_both_named() {
    refused(3, &["door is a socket", "out is a link", "hosts"], |here| {
        drop(UnixListener::bind(here.project.path("bot/door")).unwrap());
        symlink("/etc/hosts", here.project.path("bot/out")).unwrap();
    });
}

#[test]
fn an_unknown_word_with_the_nearest_one() {
    refused(3, &["verfy", "verify", "test.kdl"], |here| {
        here.declare("    verify {", "    verfy {");
    });
}

#[test]
fn a_template_with_an_unknown_name() {
    refused(3, &["nosuchname", "config.json.j2"], |here| {
        here.project
            .replace("bot/config.json.j2", "{{ port }}", "{{ nosuchname }}");
    });
}

#[test]
fn a_template_that_hands_an_unknown_name_to_a_filter() {
    for unknown in ["nosuchname", "[nosuchname]", "limits.nosuchname"] {
        let says = ["nosuchname` is not known here", "[bot/config.json.j2:3:"];
        refused(3, &says, |here| {
            let (from, to) = ("{{ port }}", format!("{{{{ {unknown} | tojson }}}}"));
            here.project.replace("bot/config.json.j2", from, &to);
            let ran = here.rosey.run(&["check", "test"]).exits(3);
            assert!(ran.stderr.contains(says[0]), "{}", ran.stderr);
            assert!(ran.stderr.contains(says[1]), "{}", ran.stderr);
        });
    }
}

#[test]
fn a_gate_whose_port_is_none_once_it_is_rendered() {
    let says = ["`http` needs a web address", "65535", "test.kdl:"];
    refused(3, &says, |here| {
        here.declare("{{ port }}/api", "{{ port }}9/api");
        let ran = here.rosey.run(&["check", "test"]).exits(3);
        assert!(ran.stderr.contains(says[0]), "{}", ran.stderr);
    });
}

#[test]
fn a_failed_assertion() {
    refused(3, &["too low"], |here| {
        here.declare("// last", "assert \"port > 65000\" message=\"too low\"");
    });
}

#[test]
fn a_version_that_is_not_the_one_asked_for() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let ran = here
        .rosey
        .run(&["apply", "test", "--yes", "--version", "7.0.0"])
        .exits(9);
    assert!(
        ran.stderr.contains("7.0.0") && ran.stderr.contains("1.0.0"),
        "{}",
        ran.stderr
    );
    here.rosey
        .run(&["apply", "test", "--yes", "--version", "v1.0.0"])
        .exits(0);
}

#[test]
fn names_of_any_bytes_are_deployed_as_they_are() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let names: [&[u8]; 6] = [
        b"with space",
        b"new\nline",
        b"not \xff utf-8",
        b"-dash",
        b"quote'\"$x;",
        "ö\u{301}".as_bytes(),
    ];
    let inside =
        |directory: std::path::PathBuf, name: &[u8]| directory.join(OsStr::from_bytes(name));
    for name in names {
        std::fs::write(inside(project.path("bot"), name), name).unwrap();
    }
    std::fs::create_dir(project.path("bot/empty directory")).unwrap();
    symlink("with space", project.path("bot/a link")).unwrap();
    here.apply().exits(0);
    let current = || here.root().join("current");
    for name in names {
        assert_eq!(std::fs::read(inside(current(), name)).unwrap(), name);
    }
    assert!(current().join("empty directory").is_dir());
    assert_eq!(
        std::fs::read_link(current().join("a link"))
            .unwrap()
            .to_str(),
        Some("with space")
    );
    here.rosey.run(&["drift", "test"]).exits(0);
    assert!(here.planned().is_empty());
    for name in names {
        std::fs::write(inside(current(), name), "by hand").unwrap();
    }
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(2).json();
    assert_eq!(drift["findings"].as_array().unwrap().len(), names.len());
    here.rosey
        .run(&["drift", "test", "--heal", "--yes"])
        .exits(0);
    for name in names {
        assert_eq!(std::fs::read(inside(current(), name)).unwrap(), name);
    }
}

#[test]
fn a_directory_where_current_should_be_is_nobodys_to_remove() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let mine = here.root().join("current/mine");
    std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
    std::fs::write(&mine, "precious").unwrap();
    let before = here.look();
    let ran = here.apply().exits(10);
    assert!(ran.stderr.contains("current"), "{}", ran.stderr);
    here.apply_json(&[], 10);
    before.must_equal(&here.look());
    here.rests();
}
