//! `docs/first-server.md`, walked word by word: what it says to type is taken out of it, and typed.

use crate::support::{Lab, Project, Rosey, checkout, copy_tree};

/// A service that is as small as the document's declaration expects it.
const SERVER: &str = r#"
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(open("VERSION", "rb").read())

HTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"#;

/// The first indented block below a heading of the document.
fn block(heading: &str) -> String {
    let path = checkout().join("docs/first-server.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once(heading).expect("the heading is there");
    let lines = text.lines().map(|line| line.strip_prefix("    "));
    let lines = lines.skip_while(Option::is_none);
    // A block ends with the first line of text; an empty line may be part of it.
    let mut block = String::new();
    for (line, whole) in lines.zip(text.lines().skip_while(|line| !line.starts_with("    "))) {
        match line {
            Some(line) => block += &format!("{line}\n"),
            None if whole.is_empty() => block += "\n",
            None => break,
        }
    }
    block
}

/// A server as its provider hands it over: root, and nobody else.
fn fresh() -> Lab {
    let lab = Lab::up(1);
    lab.exec(
        1,
        "userdel --remove deploy 2>/dev/null; rm /etc/sudoers.d/* /etc/ssh/lab_keys",
    );
    lab
}

/// Somebody with a key of their own, to whom the server is unknown.
fn newcomer<'a>(project: &'a Project, lab: &'a Lab) -> Rosey<'a> {
    let state = project.path(".rosey");
    let state = state.to_str().expect("a temporary path is UTF-8");
    let rosey = Rosey::in_lab(project, lab).env("ROSEY_STATE", state);
    std::fs::remove_file(rosey.home().join(".ssh/known_hosts")).unwrap();
    rosey
}

#[test]
fn a_first_server_from_its_first_user_to_the_bot_of_this_repository() {
    let lab = fresh();
    let project = Project::new();
    project.write("server.py", SERVER);
    project.write("VERSION", "1.0.0\n");
    project.environment("prod", &block("## 2."));
    project.replace(
        "environments/prod.kdl",
        "web-1.example.org",
        &lab.address(1),
    );
    let rosey = newcomer(&project, &lab);

    // 1. On the server, as root.
    let key = std::fs::read_to_string(lab.key().with_extension("pub")).unwrap();
    for line in block("## 1.").lines().filter(|line| !line.starts_with('#')) {
        lab.exec(1, &format!("{line} <<'END'\n{key}END"));
    }

    // 3. What the server says of its key is what is shown.
    let heading = std::fs::read_to_string(checkout().join("docs/first-server.md")).unwrap();
    let command = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";
    assert!(heading.contains(command) && heading.contains("`rosey trust web-1`"));
    let said = lab.exec(1, command);
    let fingerprint = said.split(' ').nth(1).expect("its second word");
    let trust = rosey.on_terminal(&["trust", "web-1"], &[("Is it the same?", "y")]);
    assert!(trust.exits(0).stdout.contains(fingerprint));

    // 4. Each line up to its explanation.
    for line in block("## 4.").lines().filter(|line| !line.is_empty()) {
        let (words, _) = line.split_once("   ").expect("a command and what it does");
        let arguments: Vec<_> = words.split(' ').skip(1).collect();
        let asks = [("Apply this?", "y")];
        let answers = if arguments[0] == "apply" {
            &asks[..]
        } else {
            &[]
        };
        rosey.on_terminal(&arguments, answers).exits(0);
    }
    let health = "curl --silent --fail http://127.0.0.1:8000/health";
    assert_eq!(lab.exec(1, health), "1.0.0");
    let again = rosey.run(&["apply", "prod", "--yes"]).exits(0);
    assert!(again.stderr.contains("unchanged"), "{}", again.stderr);

    // The larger one: this repository's own, on the same server, with the key's fingerprint as CI gives it.
    let repository = Project::new();
    for part in ["environments", "examples"] {
        copy_tree(&checkout().join(part), &repository.path(part));
    }
    let address = lab.address(1);
    repository.replace("environments/test.kdl", "bot-test.example.org", &address);
    let rosey = newcomer(&repository, &lab);
    let told = rosey.run(&["doctor", "test"]).exits(4).stdout;
    assert!(told.contains("rosey trust bot-test"), "{told}");
    rosey
        .run(&["trust", "bot-test", "--fingerprint", fingerprint])
        .exits(0);
    rosey.run(&["doctor", "test"]).exits(0);
    rosey.run(&["plan", "test"]).exits(0);
    rosey.run(&["apply", "test", "--yes"]).exits(0);
    let health = lab.exec(1, "curl --silent --fail http://127.0.0.1:8001/api/health");
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["channel"], "rosey-test");
    assert_eq!(health["status"], "running");
    let again = rosey.run(&["apply", "test", "--yes"]).exits(0);
    assert!(again.stderr.contains("unchanged"), "{}", again.stderr);
    rosey.run(&["drift", "test"]).exits(0);
}
