//! What only the whole environment shows, and the files that it names.

use insta::assert_snapshot;

use super::Project;
use crate::config::discover::find_project;

#[test]
fn two_local_hosts_are_one_machine() {
    let project = Project::with(
        r#"host "a" local=#true
host "b" local=#true
host "c"
app "one" { on "a" "b"; root "/opt/one"; }
app "two" { on "b" "c"; root "/opt/one"; }
app "three" { on "a" "c"; root "/opt/three"; }
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 2 errors

    Error:
      × the app `one` goes to this machine twice: as `a` and as `b`
       ╭─[environments/prod.kdl:1:6]
     1 │ host "a" local=#true
       ·      ─┬─
       ·       ╰── this machine
     2 │ host "b" local=#true
       ·      ─┬─
       ·       ╰── this machine too
     3 │ host "c"
       ╰────
      help: declare one of both, or say with `on` to which one the app goes

    Error:
      × the apps `one` and `two` have one root on a
       ╭─[environments/prod.kdl:4:25]
     3 │ host "c"
     4 │ app "one" { on "a" "b"; root "/opt/one"; }
       ·                         ──┬─
       ·                           ╰── by this one
     5 │ app "two" { on "b" "c"; root "/opt/one"; }
       ·                         ──┬─
       ·                           ╰── taken already
     6 │ app "three" { on "a" "c"; root "/opt/three"; }
       ╰────
      help: give each app a directory of its own
    "#);
}

#[test]
fn two_apps_on_one_root_or_one_inside_the_other() {
    let project = Project::with(
        r#"
host "a" local=#true
host "b"
app "one" { on "a"; root "/opt/bot"; }
app "two" { root "/opt//bot/"; }
app "three" { on "a"; root "/opt/bot/inner"; }
app "four" { on "b"; root "/opt/four"; }
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 3 errors

    Error:
      × the apps `one` and `two` have one root on a
       ╭─[environments/prod.kdl:4:21]
     3 │ host "b"
     4 │ app "one" { on "a"; root "/opt/bot"; }
       ·                     ──┬─
       ·                       ╰── by this one
     5 │ app "two" { root "/opt//bot/"; }
       ·             ──┬─
       ·               ╰── taken already
     6 │ app "three" { on "a"; root "/opt/bot/inner"; }
       ╰────
      help: give each app a directory of its own

    Error:
      × the root of one of `one` and `three` is inside the other's on a
       ╭─[environments/prod.kdl:4:21]
     3 │ host "b"
     4 │ app "one" { on "a"; root "/opt/bot"; }
       ·                     ──┬─
       ·                       ╰── by this one
     5 │ app "two" { root "/opt//bot/"; }
     6 │ app "three" { on "a"; root "/opt/bot/inner"; }
       ·                       ──┬─
       ·                         ╰── taken already
     7 │ app "four" { on "b"; root "/opt/four"; }
       ╰────
      help: give each app a directory of its own

    Error:
      × the root of one of `two` and `three` is inside the other's on a
       ╭─[environments/prod.kdl:5:13]
     4 │ app "one" { on "a"; root "/opt/bot"; }
     5 │ app "two" { root "/opt//bot/"; }
       ·             ──┬─
       ·               ╰── by this one
     6 │ app "three" { on "a"; root "/opt/bot/inner"; }
       ·                       ──┬─
       ·                         ╰── taken already
     7 │ app "four" { on "b"; root "/opt/four"; }
       ╰────
      help: give each app a directory of its own
    "#);
}

#[test]
fn roots_that_belong_to_the_system_or_are_relative() {
    let project = Project::with(
        r#"
host "far" address="example.org"
app "a" { root "/"; }
app "b" { root "/etc/bot"; }
app "c" { root "/usr"; }
app "d" { root "../bot"; }
app "e" { root "/opt/../etc"; }
app "f" { root "/var/lib/rosey/f"; }
app "g"
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 7 errors

    Error:
      × / can't be the root of an app
       ╭─[environments/prod.kdl:3:16]
     2 │ host "far" address="example.org"
     3 │ app "a" { root "/"; }
       ·                ─┬─
       ·                 ╰── / belongs to the whole system
     4 │ app "b" { root "/etc/bot"; }
       ╰────
      help: give the app a directory of its own, such as "/opt/NAME"

    Error:
      × /etc/bot can't be the root of an app
       ╭─[environments/prod.kdl:4:16]
     3 │ app "a" { root "/"; }
     4 │ app "b" { root "/etc/bot"; }
       ·                ─────┬────
       ·                     ╰── /etc and all below it belongs to the system
     5 │ app "c" { root "/usr"; }
       ╰────
      help: give the app a directory of its own, such as "/opt/NAME"

    Error:
      × /usr can't be the root of an app
       ╭─[environments/prod.kdl:5:16]
     4 │ app "b" { root "/etc/bot"; }
     5 │ app "c" { root "/usr"; }
       ·                ───┬──
       ·                   ╰── /usr and all below it belongs to the system
     6 │ app "d" { root "../bot"; }
       ╰────
      help: give the app a directory of its own, such as "/opt/NAME"

    Error:
      × `root` needs an absolute path on the server
       ╭─[environments/prod.kdl:6:16]
     5 │ app "c" { root "/usr"; }
     6 │ app "d" { root "../bot"; }
       ·                ────┬───
       ·                    ╰── it must start with '/'
     7 │ app "e" { root "/opt/../etc"; }
       ╰────
      help: a path relative to this file is possible when all hosts are `local=#true`

    Error:
      × `root` needs an absolute path on the server
       ╭─[environments/prod.kdl:7:16]
     6 │ app "d" { root "../bot"; }
     7 │ app "e" { root "/opt/../etc"; }
       ·                ──────┬──────
       ·                      ╰── ".." is not allowed in it
     8 │ app "f" { root "/var/lib/rosey/f"; }
       ╰────
      help: a path relative to this file is possible when all hosts are `local=#true`

    Error:
      × /var/lib/rosey/f can't be the root of an app
       ╭─[environments/prod.kdl:8:16]
     7 │ app "e" { root "/opt/../etc"; }
     8 │ app "f" { root "/var/lib/rosey/f"; }
       ·                ─────────┬────────
       ·                         ╰── /var/lib/rosey is rosey's own
     9 │ app "g"
       ╰────
      help: give the app a directory of its own, such as "/opt/NAME"

    Error:
      × `app "g"` needs `root` inside its braces
       ╭─[environments/prod.kdl:9:5]
     8 │ app "f" { root "/var/lib/rosey/f"; }
     9 │ app "g"
       ·     ─┬─
       ·      ╰── `root` is missing
       ╰────
    "#);
}

#[test]
fn asserts_are_checked_on_every_host() {
    let project = Project::with(
        r#"
vars { port 80; }
host "a" local=#true { vars { port 8000; }; }
host "b" local=#true
assert "port > 1023" message="the bot doesn't run as root"
assert "port < 70000"
assert "prot > 1"
assert "port >"
assert "environment == 'test'"
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 4 errors

    Error:
      × the bot doesn't run as root
       ╭─[environments/prod.kdl:5:8]
     4 │ host "b" local=#true
     5 │ assert "port > 1023" message="the bot doesn't run as root"
       ·        ──────┬──────
       ·              ╰── doesn't hold on b
     6 │ assert "port < 70000"
       ╰────

    Error:
      × `prot` is not known here
       ╭─[environments/prod.kdl:7:8]
     6 │ assert "port < 70000"
     7 │ assert "prot > 1"
       ·        ─────┬────
       ·             ╰── here
     8 │ assert "port >"
       ╰────
      help: did you mean `port`?

    Error:
      × this can't be read: unexpected end of input, expected expression
       ╭─[environments/prod.kdl:8:8]
     7 │ assert "prot > 1"
     8 │ assert "port >"
       ·        ────┬───
       ·            ╰── here
     9 │ assert "environment == 'test'"
       ╰────

    Error:
      × `environment == 'test'` doesn't hold
       ╭─[environments/prod.kdl:9:8]
     8 │ assert "port >"
     9 │ assert "environment == 'test'"
       ·        ───────────┬───────────
       ·                   ╰── doesn't hold
       ╰────
    "#);
}

#[test]
fn words_with_a_unit_and_words_with_a_choice() {
    let project = Project::with(
        r#"
host "a" local=#true user="root"
app "bot" {
    root "/opt/bot"
    manager "sytemd"
    keep releases=0
    owner "a b"
    version "1/2"
    source "src" git="." { exclude "../x" "[z"; }
    build "make" { output "../dist"; }
}
rollout {
    waves 2 1 "50"
    wave 7 bake="1w"
    bake 10
    max-failures "none"
    on-failure "rollback"
    guard "1s"
}
protect { reasons; }
notify { slack { on "applyed"; }; webhook "example.org"; mail "x"; }
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 22 errors

    Error:
      × `user` has no meaning for a local host
       ╭─[environments/prod.kdl:2:22]
     1 │
     2 │ host "a" local=#true user="root"
       ·                      ──┬─
       ·                        ╰── nothing is reached over SSH
     3 │ app "bot" {
       ╰────
      help: leave it out, or leave out `local=#true`

    Error:
      × `manager` needs one of "systemd", "process"
       ╭─[environments/prod.kdl:5:13]
     4 │     root "/opt/bot"
     5 │     manager "sytemd"
       ·             ────┬───
       ·                 ╰── found "sytemd"
     6 │     keep releases=0
       ╰────
      help: did you mean "systemd"?

    Error:
      × `releases` is at least 1
       ╭─[environments/prod.kdl:6:19]
     5 │     manager "sytemd"
     6 │     keep releases=0
       ·                   ┬
       ·                   ╰── the current one counts
     7 │     owner "a b"
       ╰────

    Error:
      × `owner` needs the name of a user or group
       ╭─[environments/prod.kdl:7:11]
     6 │     keep releases=0
     7 │     owner "a b"
       ·           ──┬──
       ·             ╰── letters, digits, '.', '_' and '-' are allowed, none of '.' and '-' first
     8 │     version "1/2"
       ╰────

    Error:
      × `version` needs a version
       ╭─[environments/prod.kdl:8:13]
     7 │     owner "a b"
     8 │     version "1/2"
       ·             ──┬──
       ·               ╰── letters, digits and any of '._+~-' are allowed, a letter or digit first, 64 at most
     9 │     source "src" git="." { exclude "../x" "[z"; }
       ╰────

    Error:
      × `source` needs a directory, or `git=` with `ref=`
        ╭─[environments/prod.kdl:9:5]
      8 │     version "1/2"
      9 │     source "src" git="." { exclude "../x" "[z"; }
        ·     ───┬──
        ·        ╰── one of the two
     10 │     build "make" { output "../dist"; }
        ╰────

    Error:
      × this pattern leaves the tree
        ╭─[environments/prod.kdl:9:36]
      8 │     version "1/2"
      9 │     source "src" git="." { exclude "../x" "[z"; }
        ·                                    ───┬──
        ·                                       ╰── ".." is not allowed in it
     10 │     build "make" { output "../dist"; }
        ╰────

    Error:
      × `output` needs a relative path that stays inside
        ╭─[environments/prod.kdl:10:27]
      9 │     source "src" git="." { exclude "../x" "[z"; }
     10 │     build "make" { output "../dist"; }
        ·                           ────┬────
        ·                               ╰── ".." is not allowed in it
     11 │ }
        ╰────

    Error:
      × `waves` are cumulative: each reaches further than the one before
        ╭─[environments/prod.kdl:13:13]
     12 │ rollout {
     13 │     waves 2 1 "50"
        ·             ┬
        ·             ╰── not more than the one before
     14 │     wave 7 bake="1w"
        ╰────

    Error:
      × the last of the `waves` must reach every host
        ╭─[environments/prod.kdl:13:13]
     12 │ rollout {
     13 │     waves 2 1 "50"
        ·             ┬
        ·             ╰── some hosts would stay without the change
     14 │     wave 7 bake="1w"
        ╰────
      help: end with "100%"

    Error:
      × `waves` needs a number of hosts or a share, such as 1 or "50%"
        ╭─[environments/prod.kdl:13:15]
     12 │ rollout {
     13 │     waves 2 1 "50"
        ·               ──┬─
        ·                 ╰── the `%` is missing
     14 │     wave 7 bake="1w"
        ╰────

    Error:
      × there is no wave 7
        ╭─[environments/prod.kdl:14:10]
     13 │     waves 2 1 "50"
     14 │     wave 7 bake="1w"
        ·          ┬
        ·          ╰── waves are counted from 1 to 2
     15 │     bake 10
        ╰────

    Error:
      × `bake` needs a duration with its unit, such as "30s" or "5m"
        ╭─[environments/prod.kdl:14:17]
     13 │     waves 2 1 "50"
     14 │     wave 7 bake="1w"
        ·                 ──┬─
        ·                   ╰── "w" is no unit: one of ms, s, m, h, d is
     15 │     bake 10
        ╰────

    Error:
      × `bake` needs a duration with its unit, such as "30s" or "5m"
        ╭─[environments/prod.kdl:15:10]
     14 │     wave 7 bake="1w"
     15 │     bake 10
        ·          ─┬
        ·           ╰── found 10 without a unit
     16 │     max-failures "none"
        ╰────
      help: `"10s"` for seconds, `"10m"` for minutes

    Error:
      × `max-failures` needs a whole number from 0 to 4294967295
        ╭─[environments/prod.kdl:16:18]
     15 │     bake 10
     16 │     max-failures "none"
        ·                  ───┬──
        ·                     ╰── found "none"
     17 │     on-failure "rollback"
        ╰────

    Error:
      × `on-failure` needs one of "rollback-all", "rollback-wave", "stop"
        ╭─[environments/prod.kdl:17:16]
     16 │     max-failures "none"
     17 │     on-failure "rollback"
        ·                ─────┬────
        ·                     ╰── found "rollback"
     18 │     guard "1s"
        ╰────

    Error:
      × `guard` needs at least 2 seconds
        ╭─[environments/prod.kdl:18:5]
     17 │     on-failure "rollback"
     18 │     guard "1s"
        ·     ──┬──
        ·       ╰── too short
     19 │ }
        ╰────
      help: a shorter loss of the connection is no reason to go back

    Error:
      × unknown word `reasons` in `protect`
        ╭─[environments/prod.kdl:20:11]
     19 │ }
     20 │ protect { reasons; }
        ·           ───┬───
        ·              ╰── not known here
     21 │ notify { slack { on "applyed"; }; webhook "example.org"; mail "x"; }
        ╰────
      help: did you mean `reason`?

    Error:
      × `slack` needs `env` inside its braces
        ╭─[environments/prod.kdl:21:10]
     20 │ protect { reasons; }
     21 │ notify { slack { on "applyed"; }; webhook "example.org"; mail "x"; }
        ·          ──┬──
        ·            ╰── `env` is missing
        ╰────

    Error:
      × `on` needs one of "applied", "unchanged", "unhealthy", "rolled-back", "going-back", "degraded", "stuck",
      │ "refused", "cancelled", "drifted"
        ╭─[environments/prod.kdl:21:21]
     20 │ protect { reasons; }
     21 │ notify { slack { on "applyed"; }; webhook "example.org"; mail "x"; }
        ·                     ────┬────
        ·                         ╰── found "applyed"
        ╰────
      help: did you mean "applied"?

    Error:
      × `webhook` needs a web address
        ╭─[environments/prod.kdl:21:43]
     20 │ protect { reasons; }
     21 │ notify { slack { on "applyed"; }; webhook "example.org"; mail "x"; }
        ·                                           ──────┬──────
        ·                                                 ╰── begins with https:// or http://
        ╰────

    Error:
      × unknown word `mail` in `notify`
        ╭─[environments/prod.kdl:21:58]
     20 │ protect { reasons; }
     21 │ notify { slack { on "applyed"; }; webhook "example.org"; mail "x"; }
        ·                                                          ──┬─
        ·                                                            ╰── not known here
        ╰────
      help: known here: slack, webhook
    "#);
}

#[test]
fn files_of_the_source_that_are_missing() {
    let project = Project::with(
        "host \"a\" local=#true\napp \"one\" { root \"/opt/one\"; source \"../src\"; version file=\"VERSON\"; }\napp \"two\" { root \"/opt/two\"; source \"../nowhere\"; }\n",
    );
    project.write("src/VERSION", "1.0\n");
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 2 errors

    Error:
      × VERSON is not in the source src
       ╭─[environments/prod.kdl:2:60]
     1 │ host "a" local=#true
     2 │ app "one" { root "/opt/one"; source "../src"; version file="VERSON"; }
       ·                                                            ────┬───
       ·                                                                ╰── not there
     3 │ app "two" { root "/opt/two"; source "../nowhere"; }
       ╰────
      help: did you mean `VERSION`?

    Error:
      × the source nowhere is no directory
       ╭─[environments/prod.kdl:3:37]
     2 │ app "one" { root "/opt/one"; source "../src"; version file="VERSON"; }
     3 │ app "two" { root "/opt/two"; source "../nowhere"; }
       ·                                     ──────┬─────
       ·                                           ╰── not there
       ╰────
    "#);
}

#[test]
fn a_name_that_is_a_tag_too() {
    let project = Project::with("host \"a\" local=#true\nhost \"b\" local=#true { tags \"a\"; }\n");
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has an error

    Error:
      × `a` is the name of a host and a tag of another
       ╭─[environments/prod.kdl:1:6]
     1 │ host "a" local=#true
       ·      ─┬─
       ·       ╰── the name
     2 │ host "b" local=#true { tags "a"; }
       ·      ─┬─
       ·       ╰── has it as a tag
       ╰────
      help: `on` couldn't tell which one is meant
    "#);
}

#[test]
fn environments_are_found_from_below() {
    let project = Project::with("");
    project.write("environments/test.kdl", "");
    project.write("environments/common/base.kdl", "");
    let below = project.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let found = find_project(&below).unwrap();
    assert_eq!(found.directory, project.path());
    let names: Vec<_> = found
        .environments
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["prod", "test"]);
    assert!(
        found
            .environment("prod")
            .unwrap()
            .ends_with("environments/prod.kdl")
    );

    let told = |error: crate::config::discover::DiscoverError| {
        error
            .to_string()
            .replace(&project.path().display().to_string(), "DIR")
    };
    assert_snapshot!(told(found.environment("prd").unwrap_err()), @r"no environment `prd` in DIR/environments; did you mean `prod`?");
    assert_snapshot!(told(found.environment("staging").unwrap_err()), @r"no environment `staging` in DIR/environments; there is prod, test");
    assert_snapshot!(told(found.only_environment().unwrap_err()), @r"DIR/environments has 2 environments, so name one: prod, test");
}
