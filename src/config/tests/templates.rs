//! Templates and secrets: what may be named where, and what never shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use insta::assert_snapshot;
use zeroize::Zeroizing;

use super::Project;
use crate::config::{Scope, SecretPort, SecretValue, Secrets, Value, Variables};
use crate::model::names::VariableName;

fn name(name: &str) -> VariableName {
    VariableName::new(name).unwrap()
}

fn scope() -> Scope {
    let variables: Variables = [
        (name("port"), Value::Integer(8000)),
        (
            name("admins"),
            Value::List(vec![
                Value::String("ann".into()),
                Value::String("<bob>".into()),
            ]),
        ),
        (
            name("limits"),
            Value::Map([("burst".to_owned(), Value::Integer(5))].into()),
        ),
    ]
    .into();
    let secrets: Secrets = [(name("token"), SecretValue::new("hunter2".into()))]
        .into_iter()
        .collect();
    Scope::new("prod".parse().unwrap(), variables)
        .for_app("bot".parse().unwrap())
        .on_host(
            "web".parse().unwrap(),
            "web.example.org".into(),
            &[(name("shard"), Value::Integer(1))].into(),
        )
        .with_version("1.4.2")
        .with_secrets(Arc::new(secrets))
}

fn render(template: &str) -> String {
    match scope().render(template) {
        Ok(rendered) => rendered.text.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn everything_that_is_known_can_be_named() {
    let text = "{{ port }} {{ shard }} {{ version }} {{ app }} {{ environment }} {{ host.name }} {{ host.address }}";
    assert_eq!(render(text), "8000 1 1.4.2 bot prod web web.example.org");
    assert_eq!(
        render("{{ limits.burst }} {{ admins[0] }} {{ admins | join(',') }}"),
        "5 ann ann,<bob>"
    );
}

#[test]
fn nothing_is_escaped_and_the_last_line_feed_is_kept() {
    // The engine's own filter, whose JSON is safe in a web page too.
    assert_eq!(
        render(
            "{{ admins | tojson }}
"
        ),
        r#"["ann", "\u003cbob\u003e"]"#.to_owned() + "\n"
    );
    assert_eq!(
        render(
            "<a href='x'>&
"
        ),
        "<a href='x'>&
"
    );
    assert_eq!(
        render("{% for admin in admins %}{{ admin }}\n{% endfor %}"),
        "ann\n<bob>\n"
    );
}

#[test]
fn what_is_no_text_is_written_as_configuration_files_write_it() {
    assert_eq!(
        render("{{ true }} {{ 1 == 2 }} {{ 1.5 }} {{ admins }} {{ limits }} {{ [false, 'ü'] }}"),
        r#"true false 1.5 ["ann","<bob>"] {"burst":5} [false,"ü"]"#
    );
}

#[test]
fn what_is_not_known_is_an_error_unless_the_template_says_otherwise() {
    assert_eq!(render("{{ prot }}"), "error: `prot` is not known here");
    assert_eq!(
        render("{{ secret.tokn }}"),
        "error: `secret.tokn` is not known here"
    );
    assert_eq!(
        render("{{ host.nam }}"),
        "error: `host.nam` is not known here"
    );
    assert_eq!(
        render("{{ limits.rate }}"),
        "error: `limits.rate` is not known here"
    );
    assert_eq!(render("{{ prot | default('none') }}"), "none");
    assert_eq!(render("{% if prot is defined %}x{% endif %}"), "");
}

#[test]
fn what_is_not_known_becomes_no_null_in_a_filter_or_a_collection() {
    for (template, unknown) in [
        ("{{ prot | tojson }}", "prot"),
        ("{{ secret.tokn | tojson }}", "secret.tokn"),
        ("{{ host.nam | tojson }}", "host.nam"),
        ("{{ limits.rate | tojson }}", "limits.rate"),
        ("{{ admins[5] | tojson }}", "admins[5]"),
        ("{{ [prot] | tojson }}", "prot"),
        ("{{ [prot] }}", "prot"),
        ("{{ {'a': prot} }}", "prot"),
        ("{{ {'a': {'b': [limits.rate]}} }}", "limits.rate"),
        ("{{ [[prot]][0:1] }}", "prot"),
        ("{{ admins | join(prot) }}", "prot"),
        ("{{ admins | tojson(indent=prot) }}", "prot"),
        ("{{ admins | tojson(prot) }}", "prot"),
        ("{{ prot | length }}", "prot"),
        ("{{ prot | pprint }}", "prot"),
        ("{{ [prot] | map('upper') | join }}", "prot"),
        (
            "{{ [limits] | map(attribute='burst') | join(prot) }}",
            "prot",
        ),
        ("{{ dict(a=prot) }}", "prot"),
        ("{% if prot is none %}{% endif %}", "prot"),
        ("{% if prot is true %}{% endif %}", "prot"),
        (
            "{{ secret.token }}{{ limits.rate | tojson }}",
            "limits.rate",
        ),
        ("{{ [secret.tokn] }}", "secret.tokn"),
    ] {
        assert_eq!(
            render(template),
            format!("error: `{unknown}` is not known here"),
            "{template}"
        );
    }
    assert_eq!(
        render("{{ [limits] | map(attribute='rate') | tojson }}"),
        "error: a value that is not there is used"
    );
    assert!(scope().holds("(prot | tojson) == 'null'").is_err());
}

#[test]
fn a_template_can_say_what_to_do_without_it() {
    for (template, text) in [
        ("{{ prot | default(1) | tojson }}", "1"),
        ("{{ prot | d | tojson }}", "\"\""),
        ("{{ limits.rate | default(5) }}", "5"),
        ("{{ [prot | default('a')] }}", r#"["a"]"#),
        ("{{ [prot if prot is defined else 0] }}", "[0]"),
        ("{% if prot is not defined %}x{% endif %}", "x"),
        ("{% if prot is undefined %}x{% endif %}", "x"),
        ("{% if prot is defined and prot is none %}x{% endif %}", ""),
        ("{{ 'x' if false }}", ""),
        (
            "{{ [limits, {}] | map(attribute='burst') | map('default', 1) | list }}",
            "[5,1]",
        ),
        (
            "{{ [limits, {}] | map(attribute='burst', default=1) | list }}",
            "[5,1]",
        ),
        (
            "{{ [limits, {}] | map(attribute='burst') | select('defined') | list }}",
            "[5]",
        ),
        (
            "{{ [limits, {}] | selectattr('burst', 'defined') | list }}",
            r#"[{"burst":5}]"#,
        ),
        ("{{ [] | first | default('none') }}", "none"),
        (
            "{% for a in admins %}{{ loop.previtem | default('-') }}{% endfor %}",
            "-ann",
        ),
        ("{{ none | tojson }}", "null"),
        ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
    ] {
        assert_eq!(render(template), text, "{template}");
    }
}

#[test]
fn what_is_searched_for_unknown_names_ends_too() {
    assert_eq!(
        render("{% set all = namespace() %}{% set all.all = all %}{{ all | length }}"),
        "error: invalid operation: it is nested too deeply"
    );
    assert_eq!(
        render("{% for a in range(99999) %}{% set b = range(99999) | length %}{% endfor %}"),
        "error: this takes too long to render"
    );
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let text = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    assert_eq!(render(text), "error: this takes too long to render");
}

#[test]
fn which_secrets_went_in_is_known() {
    let rendered = scope().render("{{ secret.token }}").unwrap();
    assert_eq!(*rendered.text, "hunter2");
    assert_eq!(rendered.secrets, [name("token")].into());
    assert!(
        scope()
            .render("{{ secret['tok' ~ 'en'] | upper }}")
            .unwrap()
            .is_secret()
    );
    assert!(
        scope()
            .render("{% set s = secret %}{% if s.token %}yes{% endif %}")
            .unwrap()
            .is_secret()
    );
    assert!(!scope().render("{{ port }}").unwrap().is_secret());
}

#[test]
fn secrets_show_neither_in_debug_output_nor_in_errors() {
    let rendered = scope().render("{{ secret.token }}").unwrap();
    assert!(!format!("{rendered:?} {:?}", scope()).contains("hunter2"));
    for template in [
        "{{ secret.token | int }}",
        "{{ secret.token + 1 }}",
        "{{ secret.token.nothing.more }}",
        "{{ 1 | round(method=secret.token) }}",
        "{{ secret.token }}{{ unknown }}",
        "{% include secret.token %}",
        "{{ port | attr(secret.token) }}{{ port[secret.token].x }}",
        "{{ secret.token() }}",
    ] {
        if let Err(error) = scope().render(template) {
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{template}: {error:?}"
            );
        }
    }
    for template in [
        "{{ secret }}",
        "{{ debug() }}",
        "{{ secret | tojson }}",
        "{{ secret | items }}",
        "{{ secret | list }}",
    ] {
        let text = scope()
            .render(template)
            .map(|rendered| rendered.text.to_string())
            .unwrap_or_default();
        assert!(!text.contains("hunter2"), "{template}: {text}");
    }
}

#[test]
fn commands_get_variables_and_no_secrets() {
    let environment = scope().command_environment();
    let expected: BTreeMap<String, String> = [
        ("ROSEY_APP", "bot"),
        ("ROSEY_ENVIRONMENT", "prod"),
        ("ROSEY_HOST", "web"),
        ("ROSEY_HOST_ADDRESS", "web.example.org"),
        ("ROSEY_VERSION", "1.4.2"),
        ("ROSEY_VAR_ADMINS", "[\"ann\",\"<bob>\"]"),
        ("ROSEY_VAR_LIMITS", "{\"burst\":5}"),
        ("ROSEY_VAR_PORT", "8000"),
        ("ROSEY_VAR_SHARD", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!(environment, expected);
}

#[test]
fn the_place_in_a_template_file_is_told() {
    let text = "first line\nport = {{ prot }}\n";
    let errors = scope().render(text).unwrap_err().in_file("config.j2", text);
    assert_snapshot!(Project::new().show(&errors), @r"
      × config.j2 has an error

    Error:
      × `prot` is not known here
       ╭─[config.j2:2:11]
     1 │ first line
     2 │ port = {{ prot }}
       ·           ──┬─
       ·             ╰── here
       ╰────
      help: did you mean `port`?
    ");
    let text = "{% if port %}\n{{ port\n";
    let errors = scope().render(text).unwrap_err().in_file("config.j2", text);
    assert_snapshot!(Project::new().show(&errors), @r"
      × config.j2 has an error

    Error:
      × this can't be read: unexpected end of input, expected end of variable block
       ╭─[config.j2:2:4]
     1 │ {% if port %}
     2 │ {{ port
       ·    ──┬─
       ·      ╰── here
       ╰────
    ");
}

#[test]
fn strings_of_the_declaration_are_checked_for_every_host() {
    let project = Project::with(
        r#"
vars { port 8000; }
secret "token" env="TOKEN"
host "a" local=#true { vars { shard 1; }; }
host "b"
app "bot" {
    root "/opt/{{ app }}-{{ environment }}"
    toy "right" { says "{{ port }} {{ version }} {{ host.name }}"; }
    toy "unknown" { says "{{ prot }}"; }
    toy "on one host only" { says "{{ shard }}"; }
    toy "secret" { says "{{ secret.token }}"; }
    toy "syntax" { says "{{ port"; }
}
app "other" { root "/opt/{{ host.name }}"; }
app "third" { root "/opt/{{ secret.token }}"; }
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 6 errors

    Error:
      × `prot` is not known here
        ╭─[environments/prod.kdl:9:26]
      8 │     toy "right" { says "{{ port }} {{ version }} {{ host.name }}"; }
      9 │     toy "unknown" { says "{{ prot }}"; }
        ·                          ──────┬─────
        ·                                ╰── here
     10 │     toy "on one host only" { says "{{ shard }}"; }
        ╰────
      help: did you mean `port`?

    Error:
      × `shard` is not known here
        ╭─[environments/prod.kdl:10:35]
      9 │     toy "unknown" { says "{{ prot }}"; }
     10 │     toy "on one host only" { says "{{ shard }}"; }
        ·                                   ──────┬──────
        ·                                         ╰── here
     11 │     toy "secret" { says "{{ secret.token }}"; }
        ╰────
      help: known here: port, environment, app, version, host.name, host.address, secret.token

    Error:
      × a secret can't stand here: its value would be seen
        ╭─[environments/prod.kdl:11:25]
     10 │     toy "on one host only" { says "{{ shard }}"; }
     11 │     toy "secret" { says "{{ secret.token }}"; }
        ·                         ──────────┬─────────
        ·                                   ╰── here
     12 │     toy "syntax" { says "{{ port"; }
        ╰────
      help: secrets belong into a rendered file or into `env`

    Error:
      × this can't be read: unexpected end of input, expected end of variable block
        ╭─[environments/prod.kdl:12:25]
     11 │     toy "secret" { says "{{ secret.token }}"; }
     12 │     toy "syntax" { says "{{ port"; }
        ·                         ────┬────
        ·                             ╰── here
     13 │ }
        ╰────

    Error:
      × `host.name` is not known here
        ╭─[environments/prod.kdl:14:20]
     13 │ }
     14 │ app "other" { root "/opt/{{ host.name }}"; }
        ·                    ───────────┬──────────
        ·                               ╰── here
     15 │ app "third" { root "/opt/{{ secret.token }}"; }
        ╰────
      help: known here: port, environment, app; hosts and the version are not known yet where this stands

    Error:
      × a secret can't stand here: its value would be seen
        ╭─[environments/prod.kdl:15:20]
     14 │ app "other" { root "/opt/{{ host.name }}"; }
     15 │ app "third" { root "/opt/{{ secret.token }}"; }
        ·                    ────────────┬────────────
        ·                                ╰── here
        ╰────
      help: secrets belong into a rendered file or into `env`
    "#);
}

struct World;

impl SecretPort for World {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        match name {
            "SET" => Some(b"value\n".to_vec().into()),
            "EMPTY" => Some(Vec::new().into()),
            "BINARY" => Some(vec![0xff].into()),
            _ => None,
        }
    }

    fn read(&self, path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
        if path.ends_with("there") {
            Ok(b"from file\n".to_vec().into())
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    fn run(&self, command: &str, _: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        if command == "pass" {
            Ok(b"from command\n".to_vec().into())
        } else {
            Err("exit status: 1".into())
        }
    }
}

#[test]
fn secrets_come_from_variables_files_and_commands() {
    let project = Project::new();
    project.write("environments/there", "");
    project.write(
        "environments/prod.kdl",
        "secret \"a\" env=\"SET\"\nsecret \"b\" file=\"there\"\nsecret \"c\" command=\"pass\"\n",
    );
    let secrets = project.load().unwrap().resolve_secrets(&World).unwrap();
    let value = |secret: &str| secrets.get(&name(secret)).unwrap().expose().to_owned();
    assert_eq!(
        (value("a"), value("b"), value("c")),
        ("value\n".into(), "from file".into(), "from command".into())
    );
    assert!(!format!("{secrets:?}").contains("from"));
}

#[test]
fn every_missing_secret_is_told_with_what_to_set() {
    let project = Project::with(
        "secret \"a\" env=\"UNSET\"\nsecret \"b\" file=\"../nowhere\"\nsecret \"c\" command=\"false\"\nsecret \"d\" env=\"EMPTY\"\nsecret \"e\" env=\"BINARY\"\n",
    );
    // It may go after it was looked for.
    let nowhere = project.write("nowhere", "");
    let environment = project.load().unwrap();
    std::fs::remove_file(nowhere).unwrap();
    let errors = environment.resolve_secrets(&World).unwrap_err();
    assert_snapshot!(project.show(&errors), @r#"
      × environments/prod.kdl has 5 errors

    Error:
      × the secret `a` is missing: $UNSET is not set
       ╭─[environments/prod.kdl:1:8]
     1 │ secret "a" env="UNSET"
       ·        ─┬─
       ·         ╰── declared here
     2 │ secret "b" file="../nowhere"
       ╰────
      help: set it first: `export UNSET=…`

    Error:
      × the secret `b` is missing: nowhere can't be read: entity not found
       ╭─[environments/prod.kdl:2:8]
     1 │ secret "a" env="UNSET"
     2 │ secret "b" file="../nowhere"
       ·        ─┬─
       ·         ╰── declared here
     3 │ secret "c" command="false"
       ╰────
      help: put its value into nowhere

    Error:
      × the secret `c` is missing: its command failed: exit status: 1
       ╭─[environments/prod.kdl:3:8]
     2 │ secret "b" file="../nowhere"
     3 │ secret "c" command="false"
       ·        ─┬─
       ·         ╰── declared here
     4 │ secret "d" env="EMPTY"
       ╰────
      help: try it: `cd environments && false`

    Error:
      × the secret `d` is missing: $EMPTY is empty
       ╭─[environments/prod.kdl:4:8]
     3 │ secret "c" command="false"
     4 │ secret "d" env="EMPTY"
       ·        ─┬─
       ·         ╰── declared here
     5 │ secret "e" env="BINARY"
       ╰────
      help: give $EMPTY its value

    Error:
      × the secret `e` is missing: $BINARY gives something that is not UTF-8
       ╭─[environments/prod.kdl:5:8]
     4 │ secret "d" env="EMPTY"
     5 │ secret "e" env="BINARY"
       ·        ─┬─
       ·         ╰── declared here
       ╰────
      help: secrets are text
    "#);
}

#[test]
fn a_secret_comes_from_one_place() {
    let project =
        Project::with("secret \"a\"\nsecret \"b\" env=\"B\" file=\"b\"\nsecret \"C\" env=\"C\"\n");
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 3 errors

    Error:
      × a secret comes from one place: `env=`, `file=` or `command=`
       ╭─[environments/prod.kdl:1:8]
     1 │ secret "a"
       ·        ─┬─
       ·         ╰── one of them is needed
     2 │ secret "b" env="B" file="b"
       ╰────
      help: such as `secret "token" env="TOKEN"`

    Error:
      × a secret comes from one place: `env=`, `file=` or `command=`
       ╭─[environments/prod.kdl:2:8]
     1 │ secret "a"
     2 │ secret "b" env="B" file="b"
       ·        ─┬─
       ·         ╰── one of them is needed
     3 │ secret "C" env="C"
       ╰────
      help: such as `secret "token" env="TOKEN"`

    Error:
      × `secret` needs the name of a variable
       ╭─[environments/prod.kdl:3:8]
     2 │ secret "b" env="B" file="b"
     3 │ secret "C" env="C"
       ·        ─┬─
       ·         ╰── lower case letters, digits and '_' are allowed, no digit first
       ╰────
    "#);
}
