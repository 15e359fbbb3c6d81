//! A command under way, and what it said when it has ended.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::world::World;
use crate::support::Rosey;

/// How long a command may take, with its fault.
const PATIENCE: Duration = Duration::from_secs(90);

/// A command under way: how many lines it has said, and all of them.
pub struct Underway {
    child: Child,
    lines: Arc<AtomicUsize>,
    gates: Arc<Mutex<BTreeSet<String>>>,
    readers: Vec<std::thread::JoinHandle<String>>,
}

impl Underway {
    pub fn begin(rosey: &Rosey<'_>, arguments: &[&str]) -> Self {
        let mut child = rosey.command(arguments).spawn().expect("rosey starts");
        let lines = Arc::new(AtomicUsize::new(0));
        let gates = Arc::new(Mutex::new(BTreeSet::new()));
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        let read = |pipe: Box<dyn Read + Send>| {
            let (lines, gates) = (lines.clone(), gates.clone());
            std::thread::spawn(move || {
                let mut text = String::new();
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if let Some(passed) = passed_gates(&line) {
                        gates.lock().unwrap().insert(passed);
                    }
                    text += &line;
                    text.push('\n');
                    lines.fetch_add(1, Ordering::Relaxed);
                }
                text
            })
        };
        let readers = pipes.into_iter().map(read).collect();
        Self {
            child,
            lines,
            gates,
            readers,
        }
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has said so many lines, or has ended.
    pub fn until(&mut self, lines: usize) -> bool {
        while self.lines.load(Ordering::Relaxed) < lines {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        true
    }

    /// Waits until all hosts but one have nothing more to do before they are asked to be ready, and names one of them.
    pub fn until_one_is_left(&mut self, world: &World) -> Option<usize> {
        let all: Vec<(usize, String)> = world
            .apps
            .iter()
            .flat_map(|app| {
                app.hosts
                    .iter()
                    .map(|host| (*host, format!("h{host}/{}", app.name)))
            })
            .collect();
        let hosts: BTreeSet<usize> = all.iter().map(|(host, _)| *host).collect();
        while self.child.try_wait().unwrap().is_none() {
            let gates = self.gates.lock().unwrap().clone();
            let done = |host: &&usize| {
                all.iter()
                    .filter(|(of, _)| of == *host)
                    .all(|(_, name)| gates.contains(name))
            };
            let waits: Vec<&usize> = hosts.iter().filter(done).collect();
            if waits.len() == hosts.len() {
                return None;
            }
            if waits.len() + 1 == hosts.len() {
                return waits.first().map(|first| **first);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        None
    }

    /// Waits until it has ended by itself.
    pub fn end(mut self) -> Result<Ended, String> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.elapsed() > PATIENCE {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if status.is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        let mut texts = self
            .readers
            .into_iter()
            .map(|reader| reader.join().unwrap());
        let (stdout, stderr) = (
            texts.next().unwrap_or_default(),
            texts.next().unwrap_or_default(),
        );
        match status {
            Some(status) => Ok(Ended {
                status,
                stdout,
                stderr,
            }),
            None => Err(format!(
                "the command did not end within {PATIENCE:?}\n{stdout}{stderr}"
            )),
        }
    }
}

/// Whose gates have passed, as `HOST/APP`, if a line says so.
fn passed_gates(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let step = line["step"].as_str()?;
    let (member, resource) = step.rsplit_once('/')?;
    (line["type"] == "step-done" && resource.starts_with("gates")).then(|| member.to_owned())
}

/// What a command came to.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    stderr: String,
}

impl Ended {
    pub fn lines(&self) -> usize {
        self.stdout.lines().count() + self.stderr.lines().count()
    }

    /// The words for people of its last lines.
    pub fn words(&self) -> String {
        let message = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).ok()?["message"]
                .as_str()
                .map(|it| format!("{it}\n"))
        };
        let lines: Vec<&str> = self.stdout.lines().collect();
        let lines = &lines[lines.len().saturating_sub(60)..];
        let words: String = lines
            .iter()
            .map(|line| message(line).unwrap_or_else(|| format!("{line}\n")))
            .collect();
        format!("--- what it said\n{words}{}", self.stderr)
    }
}
