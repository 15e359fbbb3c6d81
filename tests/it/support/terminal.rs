//! A person at a terminal: sees what a command says, and types.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait_until;

/// A command on a terminal of its own (script(1) makes it). It is killed when a test drops it early.
pub struct Terminal {
    child: Child,
    seen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    /// How much of it was waited for.
    read: usize,
}

impl Terminal {
    /// Starts a command there, with the environment and the directory that it has.
    pub fn start(command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = words.map(|word| {
            let word = word.to_str().expect("a test's words are UTF-8");
            format!("'{}'", word.replace('\'', r"'\''"))
        });
        let words: Vec<_> = words.collect();
        let mut script = Command::new("script");
        script.args(["-qefc", &words.join(" "), "/dev/null"]);
        script
            .env_clear()
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            value.map(|value| script.env(name, value));
        }
        if let Some(directory) = command.get_current_dir() {
            script.current_dir(directory);
        }
        let script = script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("script(1) starts");
        let mut out = child.stdout.take().expect("it was piped");
        let seen = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(number @ 1..) = out.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..number]);
                written.lock().expect("nobody panics here").push_str(&text);
            }
        });
        Self {
            child,
            seen,
            reader: Some(reader),
            read: 0,
        }
    }

    /// Everything that was said so far.
    pub fn seen(&self) -> String {
        self.seen.lock().expect("nobody panics here").clone()
    }

    /// Waits until `what` is said, after all that was waited for before.
    pub fn sees(&mut self, what: &str, limit: Duration) {
        let found = || Some(self.read + self.seen().get(self.read..)?.find(what)? + what.len());
        wait_until(what, limit, || found().is_some());
        self.read = found().expect("what was said stays");
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        let keys = self.child.stdin.as_mut().expect("it was piped");
        keys.write_all(text.as_bytes()).expect("somebody reads it");
        keys.flush().expect("somebody reads it");
    }

    /// Waits for the end; gives the exit status and all that was said.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it was started here");
        self.reader.take().map(JoinHandle::join);
        (status.code(), self.seen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            writeln!(std::io::stderr(), "on the terminal:\n{}", self.seen()).ok();
        }
        // It has ended already where all went well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
