//! The words of a first environment, and of the example app.

use super::detect::{Content, Found};

/// The declaration: this machine, the built-in process manager, everything below one directory.
pub fn declaration(found: &Found, port: u16) -> String {
    let Found { app, root, .. } = found;
    let source = if found.source.is_empty() {
        format!(
            "source \"..\" {{\n        \
             exclude \".git\" \".gitignore\" \"/.rosey/\" \"/environments/\" \"/plans/\" \"/{root}/\" \\\n            \
             \".venv/\" \"venv/\" \"__pycache__/\" \"*.pyc\" \".pytest_cache/\" \"node_modules/\" \"/target/\" \\\n            \
             \".env\" \".env.*\" \".idea/\" \".vscode/\" \".DS_Store\"\n    }}"
        )
    } else {
        format!("source \"../{}\"", found.source)
    };
    let version = if found.version {
        "version file=\"VERSION\""
    } else {
        "// version file=\"VERSION\"                 // a file in the source that says the version"
    };
    let (tasks, service, gate) = parts(found);
    format!(
        r#"// A first environment: {app} on this machine, as the user that you are.
// For a server: copy this file, and say there
//     host "web-1" address="web-1.example.org" user="deploy" {{ become "sudo"; }}
// with a root such as /opt/{app}, an owner, and without the line `manager`.

vars {{
    port {port}
}}

host "here" local=#true

app "{app}" {{
    root "../{root}"
    manager "process"                           // rosey's own, for trying out; servers have systemd
    {source}
    {version}
{tasks}    service "{app}" {{
{service}        env PORT="{{{{ port }}}}"
    }}
    verify {{
        within "20s"
        stable "1s"
        process "{app}"
{gate}    }}
}}
"#
    )
}

/// What makes dependencies, what starts the app, and what shows that it is well.
fn parts(found: &Found) -> (String, String, String) {
    let page = "        http \"http://127.0.0.1:{{ port }}/\" { status 200; }\n".to_owned();
    let unknown = "        // http \"http://127.0.0.1:{{ port }}/health\" { status 200; }    // if it listens on $PORT\n";
    let exec = |command: &str| format!("        exec \"{command}\"\n");
    let (tasks, start, gate) = match &found.content {
        Content::Python { start, inputs } if inputs.is_empty() => (
            String::new(),
            exec(&format!("python3 {start}")),
            unknown.to_owned(),
        ),
        Content::Python { start, inputs } => (
            task(
                "python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt",
                inputs,
                ".venv",
            ),
            exec(&format!(".venv/bin/python {start}")),
            unknown.to_owned(),
        ),
        Content::Node { start, inputs } if inputs.is_empty() => {
            (String::new(), exec(start), unknown.to_owned())
        }
        Content::Node { start, inputs } => {
            let locked = |input: &String| input == "package-lock.json";
            let install = if inputs.iter().any(locked) {
                "npm ci"
            } else {
                "npm install"
            };
            (
                task(install, inputs, "node_modules"),
                exec(start),
                unknown.to_owned(),
            )
        }
        Content::Program { start } => (
            String::new(),
            // With a slash it is meant from where the service stands, not looked for on the server.
            exec(&format!("./{start}")),
            unknown.to_owned(),
        ),
        Content::Static => (
            String::new(),
            exec("python3 -m http.server {{ port }} --bind 127.0.0.1"),
            page,
        ),
        Content::Example => {
            let gate = "        http \"http://127.0.0.1:{{ port }}/health\" {\n            status 200\n            \
                        json \"version\" \"{{ version }}\"\n        }\n";
            (String::new(), exec("python3 server.py"), gate.to_owned())
        }
    };
    let unit = found.unit.as_ref().map_or_else(String::new, |unit| {
        format!("        // unit \"{unit}\"    // on a server, instead of exec: your own unit, rendered as a template\n")
    });
    (tasks, start + &unit, gate)
}

fn task(run: &str, inputs: &[String], output: &str) -> String {
    let inputs: Vec<_> = inputs.iter().map(|input| format!("\"{input}\"")).collect();
    let inputs = inputs.join(" ");
    format!(
        r#"    task "dependencies" {{                       // once for these inputs, linked into each release
        run "{run}"
        inputs {inputs}
        output "{output}"
        timeout "10m"
    }}
"#
    )
}

/// The files of the example app.
pub fn example(found: &Found) -> Vec<(String, String)> {
    vec![
        (format!("{}/server.py", found.source), SERVER.to_owned()),
        (format!("{}/VERSION", found.source), "1.0.0\n".to_owned()),
    ]
}

const SERVER: &str = r#""""Says hello, and at /health how it is. Change it, and `rosey apply demo` again."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path(__file__).with_name("VERSION").read_text().strip()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            kind, text = "application/json", json.dumps({"status": "running", "version": VERSION})
        else:
            kind, text = "text/plain", "Hello from version " + VERSION + "\n"
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass  # health checks would fill the log


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"#;
