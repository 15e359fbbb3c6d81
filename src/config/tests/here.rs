//! What the machine tells that the declaration is read on.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::{Project, toy_words};
use crate::config::place::{SourceFile, Sources};
use crate::config::{Here, Rigour, load_with};

/// What is said of an app on this machine with that root and source, by who is at home in `home`.
fn told(rigour: Rigour, words: &str) -> Vec<String> {
    let text = format!("host \"here\" local=#true\nhost \"there\"\napp \"bot\" {{ {words}; }}\n");
    let project = Project::with(&text);
    for directory in ["src/inner", "home"] {
        std::fs::create_dir_all(project.path().join(directory)).unwrap();
    }
    std::os::unix::fs::symlink("src", project.path().join("link")).unwrap();
    let path = project.path().join("environments/prod.kdl");
    let homes = vec![PathBuf::from("/"), project.path().join("home")];
    let loaded = load_with(&path, &toy_words(), rigour, &Here { homes });
    let report = loaded.err().map(|errors| project.show(&errors));
    let report = report.unwrap_or_default();
    let labels = report.lines().filter_map(|line| line.split_once("╰── "));
    labels.map(|(_, label)| label.to_owned()).collect()
}

#[test]
fn an_app_takes_no_directory_that_is_something_else() {
    for (words, why) in [
        (
            "root \"../src\"; source \"../src\"",
            "it is the app's own source",
        ),
        (
            "root \"../src\"; source git=\"../src\"",
            "it is the app's own source",
        ),
        (
            "root \"../src\"; source \"../src/inner\"",
            "the app's own source is in it: src/inner",
        ),
        (
            "root \"../link\"; source \"../src\"",
            "it is the app's own source",
        ),
        ("root \"../home\"", "it is your home directory"),
        (
            "root \"../home/.local\"",
            "rosey's own is in it: home/.local/state/rosey",
        ),
    ] {
        let words = format!("on \"here\"; {words}");
        assert_eq!(told(Rigour::Whole, &words), [why], "{words}");
        // What stands there already can be taken away.
        assert_eq!(told(Rigour::Written, &words), [""; 0], "{words}");
    }
    for (words, why) in [
        (
            "on \"here\"; root \"../home/.local/state/rosey/bot\"",
            "home/.local/state/rosey is rosey's own",
        ),
        (
            "on \"there\"; root \"/srv/ann/.local/state/rosey\"",
            "/srv/ann/.local/state/rosey is rosey's own",
        ),
        (
            "on \"there\"; root \"/root\"",
            "/root belongs to the whole system",
        ),
        (
            "on \"here\"; root \"~ann/.local/state/rosey\"",
            "no home directory is looked up here",
        ),
        (
            "on \"there\"; root \"~/bot\"",
            "no home directory is looked up here",
        ),
    ] {
        assert_eq!(told(Rigour::Written, words), [why], "{words}");
    }
    for words in [
        "on \"here\"; root \"../home/bot\"",
        "on \"here\"; root \"../src/srv\"; source \"../src\"",
        "on \"here\"; root \"../srv\"; source \"../src\"",
        "on \"here\"; root \"../sr\"; source \"../src\"",
        "on \"there\"; root \"/srv/bot\"; source \"../src\"",
    ] {
        assert_eq!(told(Rigour::Whole, words), [""; 0], "{words}");
    }
}

#[test]
fn the_file_of_a_secret_is_there() {
    let project = Project::with(
        r#"
secret "a" file="nosuch"
secret "b" file="../there"
secret "c" env="NOT_SET_ANYWHERE"
secret "d" command="false"
secret "e" file="~/nosuch"
host "here" local=#true
app "bot" { root "../srv"; kep releases=1; }
"#,
    );
    project.write("there", "value");
    let path = project.path().join("environments/prod.kdl");
    let homes = vec![project.path().join("home")];
    let errors = load_with(&path, &toy_words(), Rigour::Whole, &Here { homes }).unwrap_err();
    assert_snapshot!(project.show(&errors), @r#"
      × environments/prod.kdl has 3 errors

    Error:
      × the secret `a` is missing: environments/nosuch does not exist
       ╭─[environments/prod.kdl:2:17]
     1 │
     2 │ secret "a" file="nosuch"
       ·                 ────┬───
       ·                     ╰── not there
     3 │ secret "b" file="../there"
       ╰────
      help: put its value into environments/nosuch

    Error:
      × the secret `e` is missing: home/nosuch does not exist
       ╭─[environments/prod.kdl:6:17]
     5 │ secret "d" command="false"
     6 │ secret "e" file="~/nosuch"
       ·                 ─────┬────
       ·                      ╰── not there
     7 │ host "here" local=#true
       ╰────
      help: put its value into home/nosuch

    Error:
      × unknown word `kep` in `app "bot"`
       ╭─[environments/prod.kdl:8:28]
     7 │ host "here" local=#true
     8 │ app "bot" { root "../srv"; kep releases=1; }
       ·                            ─┬─
       ·                             ╰── not known here
       ╰────
      help: did you mean `keep`?
    "#);
}

#[test]
fn a_host_key_that_is_cut_off_is_none() {
    let ed25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
    let ecdsa = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let key = |algorithm: &str, key: &str| {
        let text = format!("host \"web\" {{ host-key \"{algorithm} {key}\"; }}\n");
        Project::with(&text).load().map(|_| ())
    };
    key("ssh-ed25519", ed25519).unwrap();
    key("ecdsa-sha2-nistp256", ecdsa).unwrap();
    for (algorithm, text) in [
        ("ssh-ed25519", "AAAA"),
        ("ssh-ed25519", &ed25519[..ed25519.len() - 4]),
        ("ssh-ed25519", &ed25519[..27]),
        ("ssh-rsa", ed25519),
        ("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY="),
    ] {
        let errors = key(algorithm, text).unwrap_err();
        let messages: Vec<_> = errors.messages().collect();
        assert_eq!(
            messages,
            ["`host-key` needs a public host key, such as \"ssh-ed25519 AAAA…\""],
            "{algorithm} {text}"
        );
    }
}

#[test]
fn the_file_of_a_template_is_shown_from_where_the_declaration_is() {
    let sources = |shown: &str, path: &str| {
        let mut sources = Sources::default();
        sources.add(SourceFile {
            shown: shown.to_owned(),
            path: PathBuf::from(path),
            text: "".into(),
        });
        sources
    };
    let from_top = sources("environments/prod.kdl", "/p/environments/prod.kdl");
    assert_eq!(from_top.shown("/p/src/x.j2".as_ref()), "src/x.j2");
    assert_eq!(from_top.shown("/q/x.j2".as_ref()), "/q/x.j2");
    let inside = sources("prod.kdl", "/p/environments/prod.kdl");
    assert_eq!(inside.shown("/p/src/x.j2".as_ref()), "/p/src/x.j2");
    let elsewhere = sources("/p/environments/prod.kdl", "/p/environments/prod.kdl");
    assert_eq!(elsewhere.shown("/p/src/x.j2".as_ref()), "/p/src/x.j2");
}
