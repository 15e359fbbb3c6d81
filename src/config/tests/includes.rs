//! Includes: the rule by which they merge, and what can be wrong with them.

use insta::assert_snapshot;

use super::Project;
use crate::config::{SecretSource, SourceOrigin, Value};

#[test]
fn the_including_file_replaces_adds_and_removes() {
    let project = Project::with(
        r#"
include "common/base.kdl"
vars {
    port 9000
    limits { burst 7; }
    colours "blue"
    was_map 1
    was_value { a 1; }
    remove "gone"
}
host "web" port=2222 { tags "b"; }
app "bot" {
    toy "two" size=22 { says "over"; }
    remove toy "three"
    toy "four" size=4
    source "../other"
    remove "version"
    version "2.0"
}
rollout { wave 1 bake="5s"; }
"#,
    );
    project.write(
        "environments/common/base.kdl",
        r#"
vars {
    port 8000
    limits { burst 5; rate 2; }
    colours "red" "green"
    was_map { a 1; }
    was_value 1
    gone #true
}
host "web" address="web.example.org" port=22 { tags "a" "c"; become "sudo"; }
app "bot" {
    root "/opt/bot"
    source "src" { exclude "x"; }
    version file="VERSION"
    keep releases=3
    toy "one" size=1
    toy "two" size=2 { says "under"; }
    toy "three" size=3
}
rollout { wave 1 bake="9s"; guard "90s"; }
"#,
    );
    std::fs::create_dir(project.path().join("other")).unwrap();
    let environment = project.load().unwrap();

    let variables: Vec<String> = environment
        .variables
        .iter()
        .map(|(name, value)| format!("{name}={}", value.for_command()))
        .collect();
    assert_eq!(
        variables,
        [
            "colours=blue",
            r#"limits={"burst":7,"rate":2}"#,
            "port=9000",
            "was_map=1",
            r#"was_value={"a":1}"#
        ]
    );
    let host = &environment.hosts[0];
    assert_eq!(host.address(), "web.example.org");
    assert_eq!(
        host.tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(),
        ["b"]
    );

    let app = &environment.apps[0];
    let toys: Vec<String> = app
        .declarations
        .iter()
        .map(|toy| {
            format!(
                "{} {} {}",
                toy.name.as_deref().unwrap(),
                toy.body["size"],
                toy.body["says"]
            )
        })
        .collect();
    assert_eq!(toys, ["one 1 null", "two 22 \"over\"", "four 4 null"]);
    assert_eq!(app.keep.releases, 3);
    let source = app.source.as_ref().unwrap();
    assert_eq!(
        source.origin,
        SourceOrigin::Directory(project.path().canonicalize().unwrap().join("other"))
    );
    assert_eq!(source.exclude, ["x"]);
    assert_eq!(environment.rollout.bake_of(1).as_secs(), 5);
    assert_eq!(environment.rollout.guard.as_secs(), 90);
}

#[test]
fn paths_are_meant_from_the_file_that_they_stand_in() {
    let project = Project::with("include \"a/b/one.kdl\"\nhost \"here\" local=#true\n");
    project.write(
        "environments/a/b/one.kdl",
        "include \"../two.kdl\"\nvars { one 1; }\n",
    );
    project.write(
        "environments/a/two.kdl",
        "app \"bot\" { root \"../run/bot\"; source \"src\"; }\nvars { two 2; }\n",
    );
    std::fs::create_dir(project.path().join("environments/a/src")).unwrap();
    let environment = project.load().unwrap();
    let directory = project.path().canonicalize().unwrap();
    assert_eq!(
        environment.apps[0].root.as_str(),
        directory.join("environments/run/bot").to_str().unwrap()
    );
    assert_eq!(
        environment.variables.values().cloned().collect::<Vec<_>>(),
        [Value::Integer(1), Value::Integer(2)]
    );
}

#[test]
fn another_source_of_a_secret_replaces_the_included_one() {
    let project = Project::with(
        "include \"common/base.kdl\"\nsecret \"token\" file=\"token.txt\"\nhost \"a\" address=\"a\"\n",
    );
    let base = "secret \"token\" env=\"TOKEN\"\nsecret \"other\" env=\"OTHER\"\n";
    project.write("environments/common/base.kdl", base);
    project.write("environments/token.txt", "");
    let environment = project.load().unwrap();
    let sources: Vec<_> = environment.secrets.iter().map(|it| &it.source).collect();
    let file = project.path().join("environments/token.txt");
    let variable = SecretSource::Variable("OTHER".to_owned());
    assert_eq!(sources, [&SecretSource::File(file), &variable]);
}

#[test]
fn a_later_include_goes_over_an_earlier_one() {
    let project = Project::with("include \"one.kdl\"\ninclude \"two.kdl\"\n");
    project.write("environments/one.kdl", "vars { a 1; b 1; }\n");
    project.write("environments/two.kdl", "vars { b 2; c 2; }\n");
    let environment = project.load().unwrap();
    let values: Vec<_> = environment
        .variables
        .values()
        .map(Value::for_command)
        .collect();
    assert_eq!(values, ["1", "2", "2"]);
}

#[test]
fn includes_that_run_in_a_circle() {
    let project = Project::with("include \"one.kdl\"\n");
    project.write("environments/one.kdl", "include \"sub/two.kdl\"\n");
    project.write("environments/sub/two.kdl", "\ninclude \"../one.kdl\"\n");
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has an error

    Error:
      × the includes run in a circle: environments/one.kdl -> environments/sub/two.kdl
      │ -> environments/one.kdl
       ╭─[environments/sub/two.kdl:2:9]
     1 │
     2 │ include "../one.kdl"
       ·         ──────┬─────
       ·               ╰── closes the circle
       ╰────
      help: take one of these includes out
    "#);
    let project = Project::with("include \"prod.kdl\"\n");
    assert!(
        project
            .errors()
            .contains("environments/prod.kdl -> environments/prod.kdl")
    );
}

#[test]
fn errors_of_all_files_are_told_together() {
    let project =
        Project::with("include \"one.kdl\"\ninclude \"missing.kdl\"\ninclude\nvars { A 1; }\n");
    project.write(
        "environments/one.kdl",
        "vrs { b 1; }\nvars { version 2; }\n",
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 5 errors

    Error:
      × environments/missing.kdl does not exist
       ╭─[environments/prod.kdl:2:9]
     1 │ include "one.kdl"
     2 │ include "missing.kdl"
       ·         ──────┬──────
       ·               ╰── included here
     3 │ include
       ╰────

    Error:
      × `include` needs a path
       ╭─[environments/prod.kdl:3:1]
     2 │ include "missing.kdl"
     3 │ include
       · ───┬───
       ·    ╰── of which file?
     4 │ vars { A 1; }
       ╰────

    Error:
      × "A" can't be the name of a variable
       ╭─[environments/prod.kdl:4:8]
     3 │ include
     4 │ vars { A 1; }
       ·        ┬
       ·        ╰── lower case letters, digits and '_' are allowed, no digit first
       ╰────

    Error:
      × unknown word `vrs`
       ╭─[environments/one.kdl:1:1]
     1 │ vrs { b 1; }
       · ─┬─
       ·  ╰── not known here
     2 │ vars { version 2; }
       ╰────
      help: did you mean `vars`?

    Error:
      × a variable can't be called `version`
       ╭─[environments/one.kdl:2:8]
     1 │ vrs { b 1; }
     2 │ vars { version 2; }
       ·        ───┬───
       ·           ╰── this name is taken
       ╰────
      help: in templates `version` is what rosey itself knows
    "#);
}

#[test]
fn what_is_not_there_cannot_be_removed() {
    let project = Project::with(
        "include \"one.kdl\"\nhost \"here\" local=#true { remove \"tags\"; }\napp \"bot\" { remove toy \"tow\"; remove; }\n",
    );
    project.write(
        "environments/one.kdl",
        "app \"bot\" { root \"/opt/bot\"; toy \"two\"; }\n",
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 3 errors

    Error:
      × nothing to remove: no included file declares it
       ╭─[environments/prod.kdl:2:27]
     1 │ include "one.kdl"
     2 │ host "here" local=#true { remove "tags"; }
       ·                           ───┬──
       ·                              ╰── here
     3 │ app "bot" { remove toy "tow"; remove; }
       ╰────
      help: `remove` drops what an include declared at the same place

    Error:
      × nothing to remove: no included file declares it
       ╭─[environments/prod.kdl:3:13]
     2 │ host "here" local=#true { remove "tags"; }
     3 │ app "bot" { remove toy "tow"; remove; }
       ·             ───┬──
       ·                ╰── here
       ╰────
      help: declared by the includes: root "/opt/bot", toy "two"

    Error:
      × `remove` needs the word of what it removes
       ╭─[environments/prod.kdl:3:31]
     2 │ host "here" local=#true { remove "tags"; }
     3 │ app "bot" { remove toy "tow"; remove; }
       ·                               ───┬──
       ·                                  ╰── of what?
       ╰────
      help: such as `remove http "http://127.0.0.1:8000/"`
    "#);
}

#[test]
fn the_same_node_twice_in_one_file() {
    let project = Project::with(
        "host \"a\" local=#true\nhost \"a\" local=#true\napp \"bot\" {\n    root \"/opt/bot\"\n    root \"/opt/bot2\"\n    toy \"x\"\n    toy \"x\"\n}\nvars { a 1; }\nvars { b 1; }\n",
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 4 errors

    Error:
      × `host "a"` is declared twice
       ╭─[environments/prod.kdl:1:1]
     1 │ host "a" local=#true
       · ──┬─
       ·   ╰── first here
     2 │ host "a" local=#true
       · ──┬─
       ·   ╰── again here
     3 │ app "bot" {
       ╰────
      help: keep one of them

    Error:
      × `root "/opt/bot2"` is declared twice
       ╭─[environments/prod.kdl:4:5]
     3 │ app "bot" {
     4 │     root "/opt/bot"
       ·     ──┬─
       ·       ╰── first here
     5 │     root "/opt/bot2"
       ·     ──┬─
       ·       ╰── again here
     6 │     toy "x"
       ╰────
      help: keep one of them

    Error:
      × `toy "x"` is declared twice
       ╭─[environments/prod.kdl:6:5]
     5 │     root "/opt/bot2"
     6 │     toy "x"
       ·     ─┬─
       ·      ╰── first here
     7 │     toy "x"
       ·     ─┬─
       ·      ╰── again here
     8 │ }
       ╰────
      help: keep one of them

    Error:
      × `vars` is declared twice
        ╭─[environments/prod.kdl:9:1]
      8 │ }
      9 │ vars { a 1; }
        · ──┬─
        ·   ╰── first here
     10 │ vars { b 1; }
        · ──┬─
        ·   ╰── again here
        ╰────
      help: keep one of them
    "#);
}
