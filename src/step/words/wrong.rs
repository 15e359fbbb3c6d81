//! What is wrong with the kinds' words and shows in one place alone.

use insta::assert_snapshot;

use super::tests::loaded;

/// What is said of an app with that body, on this machine.
fn told(body: &str) -> Vec<String> {
    let text =
        format!("host \"here\" local=#true\napp \"bot\" {{\n root \"/opt/bot\"\n{body}\n}}\n");
    let report = loaded(&text).err().unwrap_or_default();
    let messages = report
        .lines()
        .filter_map(|line| line.trim().strip_prefix("× "));
    let messages = messages.filter(|line| !line.starts_with("environments/prod.kdl has"));
    messages.map(str::to_owned).collect()
}

#[test]
fn a_gate_names_a_port_that_there_is() {
    for url in [
        "http://127.0.0.1:99999/health",
        "http://127.0.0.1:0/",
        "https://[::1]:65536",
        "http://127.0.0.1:80a/",
        "http://ann@127.0.0.1/",
        "http:///health",
    ] {
        let body = format!("verify {{ http \"{url}\"; }}");
        assert_eq!(told(&body), ["`http` needs a web address"], "{url}");
    }
    for address in ["127.0.0.1:99999", "web:0", "web:", "::1:80", "web:http"] {
        let body = format!("verify {{ tcp \"{address}\"; }}");
        let message = "`tcp` needs an address and a port, such as \"127.0.0.1:4222\"";
        assert_eq!(told(&body), [message], "{address}");
    }
    let right = r#"verify {
        http "http://127.0.0.1:65535/health"; http "https://[::1]"; http "http://web/x?y=1"
        tcp "[::1]:1"; tcp "web:4222"; tcp "{{ app }}:80"; http "http://{{ app }}:8000"
    }"#;
    assert_eq!(told(right), [""; 0]);
}

#[test]
fn the_place_of_a_wrong_port_is_told() {
    let report = loaded(
        r#"host "here" local=#true
app "bot" {
    root "/opt/bot"
    verify { http "http://127.0.0.1:99999/health"; }
}
"#,
    );
    assert_snapshot!(report.unwrap_err(), @r#"
      × environments/prod.kdl has an error

    Error:
      × `http` needs a web address
       ╭─[environments/prod.kdl:4:19]
     3 │     root "/opt/bot"
     4 │     verify { http "http://127.0.0.1:99999/health"; }
       ·                   ───────────────┬───────────────
       ·                                  ╰── its port is not from 1 to 65535
     5 │ }
       ╰────
    "#);
}

#[test]
fn a_service_that_rosey_writes_the_unit_of_cannot_be_reloaded() {
    let report = loaded(
        r#"host "here" local=#true
app "bot" {
    root "/opt/bot"
    service "web" { exec "bin/web"; restart "reload"; }
    service "proxy" external=#true { restart "reload"; }
}
"#,
    );
    assert_snapshot!(report.unwrap_err(), @r#"
      × environments/prod.kdl has an error

    Error:
      × what rosey writes for `exec` can't be reloaded
       ╭─[environments/prod.kdl:4:37]
     3 │     root "/opt/bot"
     4 │     service "web" { exec "bin/web"; restart "reload"; }
       ·                                     ───┬───
       ·                                        ╰── nothing says how
     5 │     service "proxy" external=#true { restart "reload"; }
       ╰────
      help: use `unit` with a file that has an `ExecReload=`, or `restart "on-change"`
    "#);
}

#[test]
fn what_is_wrong_with_a_service_is_told_once() {
    let gate = "verify { process \"web\"; }";
    for (service, message) in [
        (
            "service \"web\" { }",
            "the service `web` needs `unit`, `exec` or `external=#true`",
        ),
        ("service \"web\" { exec \"\"; }", "`exec` needs a text"),
        (
            "service \"web.service\" { exec \"bin/web\"; }",
            "`service` needs the name of a service",
        ),
    ] {
        assert_eq!(told(&format!("{service}\n{gate}")), [message]);
    }
    let other = format!("service \"api\" {{ }}\n{gate}");
    assert_eq!(told(&other).len(), 2, "that one isn't declared anyhow");
}

#[test]
fn what_a_misspelled_word_has_inside_is_not_declared_twice() {
    let misspelled = r#"verfy { http "http://web/" { json "a" 1; json "b" 2; }; http "http://api/" { json "a" 1; }; }
    verfy { within "3s"; within "4s"; }"#;
    let unknown = "unknown word `verfy` in `app \"bot\"`";
    assert_eq!(told(misspelled), [unknown, unknown]);
    let twice = r#"verify { http "http://web/" { json "a" 1; json "a" 2; }; }"#;
    assert_eq!(told(twice), ["`json \"a\"` is declared twice"]);
}
