//! A real sshd on the loopback, for one test: own host key, own configuration, current user.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rosey::remote::{HostKey, Surroundings, Target};

/// The program, which must be called by its absolute path.
const SSHD: &str = "/usr/sbin/sshd";

/// A directory with keys, and the servers that accept them.
pub struct Bench {
    pub directory: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("home")).unwrap();
        std::fs::create_dir(directory.path().join(".ssh")).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes a key pair; its path is that of the private half.
    pub fn key(&self, name: &str, kind: &str, passphrase: &str) -> PathBuf {
        let path = self.path(name);
        keygen(&["-t", kind, "-N", passphrase, "-C", name, "-f", text(&path)]);
        path
    }

    /// What surrounds a controller whose home is this directory.
    pub fn around(&self) -> Surroundings {
        let mut around = Surroundings::new(self.directory.path(), user());
        around.ssh_config = Some(self.path(".ssh/config"));
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(".ssh/config"))
            .unwrap();
        around.ssh_program = Some(PathBuf::from("ssh"));
        around
    }

    /// Starts a server that lets in who holds one of the keys; further lines go into its configuration.
    pub fn server(&self, name: &str, keys: &[&Path], configuration: &str) -> Server {
        Server::start(self, name, keys, configuration)
    }

    /// A target that knows the server, and logs in with a key.
    pub fn target(&self, server: &Server, key: &Path) -> Target {
        let mut target = server.target();
        target.identities = vec![key.to_owned()];
        target.known_hosts = vec![self.write("known_hosts", &server.known_line())];
        target
    }
}

pub fn public(key: &Path) -> String {
    std::fs::read_to_string(format!("{}.pub", text(key))).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen")
        .arg("-q")
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ssh-keygen {arguments:?}: {said}");
}

pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub struct Server {
    pub port: u16,
    pub host_key: PathBuf,
    name: String,
    _process: Running,
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Server {
    fn start(bench: &Bench, name: &str, keys: &[&Path], configuration: &str) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: apt-get install openssh-server"
        );
        if is_root() {
            // Where sshd puts its unprivileged half; the package's service makes it at boot.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create("/run/sshd")
                .unwrap();
        }
        let host_key = bench.path(&format!("{name}-host-key"));
        if !host_key.exists() {
            bench.key(&format!("{name}-host-key"), "ed25519", "");
        }
        let authorized: String = keys.iter().map(|key| public(key)).collect();
        let authorized = bench.write(&format!("{name}-authorized"), &authorized);
        std::fs::set_permissions(&authorized, std::fs::Permissions::from_mode(0o600)).unwrap();
        let home = bench.path("home");
        // Only the loopback is listened on, and a port that is taken meanwhile means another try.
        for _ in 0..20 {
            let port = free_port();
            // The first value of a word counts in sshd_config, so a test's own lines stand first.
            let config = format!(
                "{configuration}\nListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 MaxStartups 100\nSetEnv HOME={home}\n",
                host_key = text(&host_key),
                authorized = text(&authorized),
                home = text(&home),
            );
            let config = bench.write(&format!("{name}-config"), &config);
            if let Some(process) = Self::listen(&config) {
                let name = name.to_owned();
                return Self {
                    port,
                    host_key,
                    name,
                    _process: process,
                };
            }
        }
        panic!("sshd found no free port in twenty tries");
    }

    /// Starts sshd and waits until it listens; `None` when the port was taken.
    fn listen(config: &Path) -> Option<Running> {
        let mut process = Running(
            Command::new(SSHD)
                .args(["-D", "-e", "-f", text(config)])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut log = BufReader::new(process.0.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let before = said.len();
            let read = log.read_line(&mut said).unwrap();
            let line = &said[before..];
            if line.contains("Server listening on") {
                // Its log must be read to the end, or it blocks.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Some(process);
            }
            if read == 0 {
                assert!(said.contains("Cannot bind"), "sshd didn't start: {said}");
                return None;
            }
        }
    }

    pub fn target(&self) -> Target {
        let mut target = Target::new(&self.name, "127.0.0.1");
        target.port = Some(self.port);
        target
    }

    pub fn key(&self) -> HostKey {
        HostKey::parse(&public(&self.host_key)).unwrap()
    }

    /// The line of known_hosts under which the server is known.
    pub fn known_line(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, self.key().line())
    }
}

/// A port on which nothing listens at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
