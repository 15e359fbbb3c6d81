//! What `init` writes for a project of each kind is right, and deploys on this machine as it is.

use std::path::Path;
use std::process::{Command, Stdio};

use super::here::{Here, PATIENCE, get_text};
use crate::support::{Project, wait_until};

const GREET: &str = "1.0";

/// Has `init` write a first environment, which is checked, applied, found unchanged and taken away.
/// `serves` is in what is served at `/`; none where the project serves nothing. Gives the declaration.
fn deployed(files: &[(&str, &str)], make: impl FnOnce(&Path), serves: Option<&str>) -> String {
    let project = Project::new();
    let here = Here::at(&project);
    std::fs::remove_file(project.path("environments/test.kdl")).unwrap();
    for (name, text) in files {
        project.write(name, text);
    }
    make(project.root());
    let before: Vec<_> = files.iter().map(|(name, _)| project.path(name)).collect();
    let run = |arguments: &[&str]| here.rosey.run(arguments).exits(0);
    run(&["init"]);
    // It takes a port that is free, and so do the tests beside this one.
    let path = project.path("environments/demo.kdl");
    let declared = std::fs::read_to_string(&path).unwrap();
    let port = declared
        .lines()
        .find(|line| line.trim().starts_with("port "));
    project.replace(
        "environments/demo.kdl",
        port.expect("it has a port"),
        &format!("    port {}", here.port),
    );
    run(&["check"]);
    let applied = run(&["apply", "demo", "--yes"]);
    assert!(
        applied.stderr.contains("applied on 1 host"),
        "{}",
        applied.stderr
    );
    if let Some(text) = serves {
        // Nothing says when an app of which only the process is known will answer.
        let answers = || get_text(here.port, "/").is_some_and(|answer| answer.contains(text));
        wait_until("the app to answer", PATIENCE, answers);
    }
    let again = run(&["apply", "demo", "--yes"]);
    assert!(again.stderr.contains("unchanged"), "{}", again.stderr);
    run(&["drift", "demo"]);
    run(&["remove", "demo", "--yes"]);
    here.rests();
    assert!(
        before.iter().all(|path| path.exists()),
        "the project's own files stay"
    );
    declared
}

/// Runs a command in a project; says what it said where it fails.
fn does(directory: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

#[test]
fn an_empty_directory() {
    deployed(&[], |_| {}, Some("Hello from version 1.0.0"));
}

#[test]
fn a_static_site() {
    deployed(&[("index.html", "<p>a page")], |_| {}, Some("<p>a page"));
}

#[test]
fn a_python_program() {
    let server = "import http.server, os\n\
        http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ['PORT']), bind='127.0.0.1')\n";
    let files = [("main.py", server), ("hello.txt", ""), ("VERSION", "3.1\n")];
    deployed(&files, |_| {}, Some("hello.txt"));
}

/// A wheel that needs no index: pip takes it from beside the requirements.
const WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("greet-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("greet.py", "WORD = 'greetings'\n")
    info = "greet-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "greet.py,,\n" + "".join(f"{info}{name},,\n" for name in ["METADATA", "WHEEL", "RECORD"]))
"#;

#[test]
fn a_python_program_with_requirements() {
    let server = "import greet, http.server, os\n\
        class Answer(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_GET(self):\n\
        \x20       self.send_response(200)\n\
        \x20       self.end_headers()\n\
        \x20       self.wfile.write(greet.WORD.encode())\n\
        http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Answer).serve_forever()\n";
    let wheel = format!("./greet-{GREET}-py3-none-any.whl\n");
    let files = [("server.py", server), ("requirements.txt", wheel.as_str())];
    let make = |root: &Path| does(root, "python3", &["-c", WHEEL]);
    deployed(&files, make, Some("greetings"));
}

const NODE: &str = "const greet = require('greet');\n\
    require('http').createServer((_, answer) => answer.end(greet)).listen(process.env.PORT, '127.0.0.1');\n";

/// Whether there is a program, where rosey would look for it too.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .env("PATH", "/usr/bin:/bin")
        .output();
    found.is_ok_and(|output| output.status.success())
}

#[test]
fn a_node_program_without_dependencies() {
    if !has("node") {
        return;
    }
    let server = NODE.replace("require('greet')", "'no greetings'");
    let files = [
        ("package.json", "{\"main\": \"server.js\"}"),
        ("server.js", server.as_str()),
    ];
    deployed(&files, |_| {}, Some("no greetings"));
}

#[test]
fn a_node_program_with_dependencies() {
    if !has("node") || !has("npm") {
        return;
    }
    let package = format!(
        "{{\"scripts\": {{\"start\": \"node server.js\"}}, \"dependencies\": {{\"greet\": \"file:greet-{GREET}.0.tgz\"}}}}"
    );
    let greet =
        format!("{{\"name\": \"greet\", \"version\": \"{GREET}.0\", \"main\": \"index.js\"}}");
    let files = [
        ("package.json", package.as_str()),
        ("server.js", NODE),
        // Everything is here: nobody has to be asked over the network.
        (
            ".npmrc",
            "audit=false\nfund=false\nupdate-notifier=false\noffline=true\n",
        ),
        ("package/package.json", greet.as_str()),
        ("package/index.js", "module.exports = 'greetings';\n"),
    ];
    let archive = format!("greet-{GREET}.0.tgz");
    let make = |root: &Path| does(root, "tar", &["-czf", &archive, "package"]);
    deployed(&files, make, Some("greetings"));
}

#[test]
fn a_program_that_was_built() {
    // What built the tests links C too.
    let make = |root: &Path| {
        std::fs::write(
            root.join("wait.c"),
            "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n",
        )
        .unwrap();
        does(root, "cc", &["-o", "waiter", "wait.c"]);
    };
    let declared = deployed(&[], make, None);
    assert!(declared.contains("exec \"./waiter\""), "{declared}");
}
