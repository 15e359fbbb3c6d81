//! Every way to log in, and what is said when none works.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rosey::remote::{PassphrasePrompt, Session, Surroundings, Target, connect};
use zeroize::Zeroizing;

use super::server::{Bench, keygen, public, text, user};

async fn says_hello(session: &Session) {
    let output = session.run("echo hello", &[]).await.unwrap();
    assert!(output.status.is_success());
    assert_eq!(output.stdout, b"hello\n");
}

async fn gets_in(target: &Target, around: &Surroundings) {
    says_hello(&connect(target, around).await.unwrap()).await;
}

async fn refusal(bench: &Bench, target: &Target, around: &Surroundings) -> String {
    let error = connect(target, around).await.unwrap_err();
    assert!(!error.is_temporary());
    error
        .to_string()
        .replace(text(bench.directory.path()), "DIR")
}

struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(bench: &Bench) -> Self {
        let socket = bench.path("agent");
        let mut process = Command::new("ssh-agent")
            .args(["-D", "-a", text(&socket)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens once it does.
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Self { process, socket }
    }

    fn add(&self, key: &Path) {
        self.tell(&["-q", text(key)]);
    }

    fn forget(&self, certificate: &Path) {
        self.tell(&["-q", "-d", text(certificate)]);
    }

    fn tell(&self, words: &[&str]) {
        let status = Command::new("ssh-add")
            .args(words)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

struct Person {
    answers: Vec<Option<&'static str>>,
    asked: AtomicU32,
}

impl Person {
    fn who_says(answers: &[Option<&'static str>]) -> Arc<Self> {
        Arc::new(Self {
            answers: answers.to_vec(),
            asked: AtomicU32::new(0),
        })
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl PassphrasePrompt for Person {
    fn passphrase(&self, _: &Path, attempt: u32) -> Option<Zeroizing<String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let index = usize::try_from(attempt - 1).unwrap();
        let answer = self.answers.get(index).copied().flatten();
        answer.map(|answer| Zeroizing::new(answer.to_owned()))
    }
}

#[tokio::test]
async fn by_a_key_file_of_each_kind() {
    let bench = Bench::new();
    let keys = ["ed25519", "ecdsa", "rsa"].map(|kind| bench.key(kind, kind, ""));
    let server = bench.server("bot", &[&keys[0], &keys[1], &keys[2]], "");
    for key in &keys {
        gets_in(&bench.target(&server, key), &bench.around()).await;
    }
}

#[tokio::test]
async fn by_a_default_key() {
    let bench = Bench::new();
    let key = bench.key(".ssh/id_ed25519", "ed25519", "");
    let server = bench.server("bot", &[&key], "");
    let mut target = bench.target(&server, &key);
    target.identities = Vec::new();
    let mut around = bench.around();
    // The ssh program takes the home directory from the user database, not from us.
    around.ssh_program = None;
    gets_in(&target, &around).await;
}

#[tokio::test]
async fn by_the_agent_whose_keys_are_of_each_kind() {
    let bench = Bench::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = bench.key(kind, kind, "");
        let server = bench.server("bot", &[&key], "");
        let agent = Agent::start(&bench);
        agent.add(&key);
        std::fs::remove_file(&key).unwrap();
        let mut around = bench.around();
        around.agent_socket = Some(agent.socket.clone());
        let mut target = bench.target(&server, &key);
        // Named by its public half, which is all that is left beside the agent…
        gets_in(&target, &around).await;
        // …and not named at all.
        target.identities = Vec::new();
        gets_in(&target, &around).await;
        drop(agent);
        std::fs::remove_file(around.agent_socket.unwrap()).ok();
    }
}

#[tokio::test]
async fn by_a_certificate_beside_the_key_and_in_the_agent() {
    let bench = Bench::new();
    let authority = bench.key("authority", "ed25519", "");
    let key = bench.key("key", "ed25519", "");
    let trusted = format!("TrustedUserCAKeys {}.pub", text(&authority));
    let server = bench.server("bot", &[], &trusted);
    let target = bench.target(&server, &key);
    let message = refusal(&bench, &target, &bench.around()).await;
    assert!(message.contains("key DIR/key"), "{message}");
    let who = user();
    keygen(&["-s", text(&authority), "-I", "ann", "-n", &who, text(&key)]);
    gets_in(&target, &bench.around()).await;
    let agent = Agent::start(&bench);
    agent.add(&key);
    std::fs::remove_file(&key).unwrap();
    let mut around = bench.around();
    around.agent_socket = Some(agent.socket.clone());
    gets_in(&target, &around).await;
    // The agent may hold the plain key only, while the certificate lies in a file.
    let certificate = bench.path("key-cert.pub");
    agent.forget(&certificate);
    gets_in(&target, &around).await;
    std::fs::rename(&certificate, bench.path("elsewhere.pub")).unwrap();
    let config = format!("CertificateFile {}\n", text(&bench.path("elsewhere.pub")));
    bench.write(".ssh/config", &config);
    gets_in(&target, &around).await;
}

#[tokio::test]
async fn by_an_encrypted_key_whose_passphrase_is_asked_for_once() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "open sesame");
    let server = bench.server("bot", &[&key], "");
    let target = bench.target(&server, &key);
    let person = Person::who_says(&[Some("wrong"), Some("open sesame")]);
    let mut around = bench.around();
    around.prompt = Some(person.clone());
    let (one, two) = tokio::join!(connect(&target, &around), connect(&target, &around));
    says_hello(&one.unwrap()).await;
    says_hello(&two.unwrap()).await;
    assert_eq!(person.asked(), 2);
}

#[tokio::test]
async fn an_encrypted_key_that_stays_closed_is_told_with_what_to_type() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "open sesame");
    let server = bench.server("bot", &[&key], "");
    let target = bench.target(&server, &key);
    let message = refusal(&bench, &target, &bench.around()).await;
    assert!(message.contains("ssh-add DIR/key"), "{message}");
    let mut around = bench.around();
    around.prompt = Some(Person::who_says(&[Some("a"), Some("b"), Some("c")]));
    let message = refusal(&bench, &target, &around).await;
    assert!(message.contains("wrong 3 times"), "{message}");
    let mut around = bench.around();
    around.prompt = Some(Person::who_says(&[]));
    let message = refusal(&bench, &target, &around).await;
    assert!(message.contains("wasn't given"), "{message}");
}

#[tokio::test]
async fn the_agent_spares_the_passphrase() {
    let bench = Bench::new();
    let open = bench.key("open", "ed25519", "");
    let server = bench.server("bot", &[&open], "");
    let agent = Agent::start(&bench);
    agent.add(&open);
    // The same key, encrypted on the disk and open in the agent.
    keygen(&["-p", "-P", "", "-N", "secret", "-f", text(&open)]);
    let person = Person::who_says(&[]);
    let mut around = bench.around();
    around.agent_socket = Some(agent.socket.clone());
    around.prompt = Some(person.clone());
    gets_in(&bench.target(&server, &open), &around).await;
    assert_eq!(person.asked(), 0);
}

/// The public half of a key without its comment.
fn public_line(key: &Path) -> String {
    let line = public(key);
    let words: Vec<_> = line.split_whitespace().take(2).collect();
    words.join(" ")
}

#[tokio::test]
async fn all_that_was_tried_is_told() {
    let bench = Bench::new();
    let right = bench.key("right", "ed25519", "");
    let wrong = bench.key("wrong", "ed25519", "");
    let other = bench.key("other", "ed25519", "");
    let server = bench.server("bot", &[&right], "");
    let agent = Agent::start(&bench);
    agent.add(&other);
    let mut around = bench.around();
    around.agent_socket = Some(agent.socket.clone());
    let config = format!("IdentityFile {}\nIdentityFile DIR/missing\n", text(&wrong));
    let config = config.replace("DIR", text(bench.directory.path()));
    bench.write(".ssh/config", &config);
    let mut target = bench.target(&server, &wrong);
    target.identities = Vec::new();
    let message = refusal(&bench, &target, &around).await;
    let port = server.port.to_string();
    let prints = [&wrong, &other].map(|key| {
        let key = rosey::remote::HostKey::parse(&public(key)).unwrap();
        key.fingerprint()
    });
    let message = message
        .replace(&port, "PORT")
        .replace("as root, type", "as ROOT, type")
        .replace(&user(), "USER")
        .replace(&public_line(&wrong), "PUBLIC")
        .replace(&prints[0], "PRINT-1")
        .replace(&prints[1], "PRINT-2");
    insta::assert_snapshot!(message, @r#"
log in to bot at 127.0.0.1:PORT as USER: nothing was accepted:
  - key DIR/missing: there is no such file
  - key DIR/wrong (PRINT-1): the server refused it
  - agent key "other" (PRINT-2): the server refused it
On the server, as ROOT, type: install -d -m 700 -o USER ~USER/.ssh && echo 'PUBLIC' >> ~USER/.ssh/authorized_keys
Or name another key (identity) or user in the declaration
"#);
}

#[tokio::test]
async fn a_server_without_key_login_and_one_that_hangs_up_are_told_apart() {
    let bench = Bench::new();
    let key = bench.key("key", "ed25519", "");
    let closed = bench.server(
        "bot",
        &[&key],
        "PubkeyAuthentication no\nKbdInteractiveAuthentication yes",
    );
    let message = refusal(&bench, &bench.target(&closed, &key), &bench.around()).await;
    assert!(
        message.contains("it takes keyboard-interactive only"),
        "{message}"
    );
    let right = bench.key("right", "ed25519", "");
    let strict = bench.server("strict", &[&right], "MaxAuthTries 2");
    let agent = Agent::start(&bench);
    for name in ["a", "b", "c", "d"] {
        agent.add(&bench.key(name, "ed25519", ""));
    }
    agent.add(&right);
    let mut around = bench.around();
    around.agent_socket = Some(agent.socket.clone());
    let mut target = bench.target(&strict, &right);
    target.identities = Vec::new();
    let message = refusal(&bench, &target, &around).await;
    assert!(
        message.contains("Too many authentication failures"),
        "{message}"
    );
    assert!(
        message.contains("name the right one with identity"),
        "{message}"
    );
    // Which is the cure.
    gets_in(&bench.target(&strict, &right), &around).await;
}
