//! Servers on which rosey keeps the services itself: an ordinary user's, and a root's without systemd.
//!
//! The whole program runs on the host, with the demo of this repository, so nothing of this machine plays a part.

use std::time::Duration;

use crate::support::{Lab, Ran, checkout, copy_tree, wait_until};

const PATIENCE: Duration = Duration::from_secs(25);

/// Somebody on a lab host, with the demo and the program in the home directory.
struct Somebody<'a> {
    lab: &'a Lab,
    /// The words before a command that make it theirs.
    becoming: String,
    home: &'static str,
}

impl<'a> Somebody<'a> {
    fn new(lab: &'a Lab, becoming: String, home: &'static str) -> Self {
        let there = lab.file(1, home).expect("the host runs");
        for part in ["environments", "examples"] {
            copy_tree(&checkout().join(part), &there.join(part));
        }
        std::fs::copy(env!("CARGO_BIN_EXE_rosey"), there.join("rosey")).unwrap();
        lab.exec(1, &format!("chown -R $(stat --format %U:%G {home}) {home}"));
        let somebody = Self {
            lab,
            becoming,
            home,
        };
        somebody.declare("stable \"1s\"", "stable \"0.2s\"");
        somebody
    }

    /// Runs a line of the shell as them, in their home.
    fn shell(&self, words: &str) -> Ran {
        let Self { becoming, home, .. } = self;
        let line = format!("{becoming} env HOME={home} sh -c 'cd {home} || exit; {words}'");
        Ran::new(line.clone(), &self.lab.try_exec(1, &line))
    }

    fn rosey(&self, arguments: &str) -> Ran {
        self.shell(&format!("./rosey {arguments}"))
    }

    fn declare(&self, old: &str, new: &str) {
        let file = format!("{}/environments/demo.kdl", self.home);
        let path = self.lab.file(1, &file).expect("the host runs");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{text}");
        std::fs::write(path, text.replace(old, new)).unwrap();
    }

    fn version(&self, version: &str) {
        let file = format!("{}/examples/bot/VERSION", self.home);
        let path = self.lab.file(1, &file).expect("the host runs");
        std::fs::write(path, format!("{version}\n")).unwrap();
    }

    /// The version that is served; none while nobody answers.
    fn served(&self) -> Option<String> {
        let health = self.shell("curl --silent --max-time 5 http://127.0.0.1:8100/api/health");
        let health: serde_json::Value = serde_json::from_str(&health.stdout).ok()?;
        health["version"].as_str().map(str::to_owned)
    }

    #[track_caller]
    fn serves(&self, version: &str) {
        wait_until(version, PATIENCE, || {
            self.served().as_deref() == Some(version)
        });
    }

    /// All that a person does with an app, ending with a controller that is killed in the middle of an apply.
    fn deploys(&self) {
        self.rosey("apply demo --yes").exits(0);
        assert_eq!(self.served().as_deref(), Some("1.0.0"));
        let again = self.rosey("apply demo --yes").exits(0);
        assert!(again.stderr.contains("unchanged"), "{}", again.stderr);
        self.version("2.0.0");
        self.rosey("apply demo --yes").exits(0);
        assert_eq!(self.served().as_deref(), Some("2.0.0"));
        self.rosey("rollback demo --yes").exits(0);
        assert_eq!(self.served().as_deref(), Some("1.0.0"));

        // The service dies: nobody starts it again but the next command, which finds it.
        self.shell("pkill -9 -f [s]erver.py").exits(0);
        assert_eq!(self.served(), None);
        self.rosey("drift demo").exits(2);
        self.rosey("drift demo --heal --yes").exits(0);
        assert_eq!(self.served().as_deref(), Some("1.0.0"));

        self.version("3.0.0");
        self.declare("start_delay 0", "start_delay 0\n    fault \"unhealthy\"");
        self.declare("within \"20s\"", "within \"120s\"");
        self.shell("./rosey apply demo --yes </dev/null >log 2>&1 & echo $! >controller")
            .exits(0);
        self.serves("3.0.0");
        self.shell("kill -9 $(cat controller)").exits(0);
        self.serves("1.0.0");
        wait_until("the end of the helper", PATIENCE, || {
            self.rosey("drift demo").code == Some(0)
        });
        let status = self.rosey("status demo").exits(0);
        assert!(
            status.stdout.contains("the controller was lost"),
            "{}",
            status.stdout
        );

        self.rosey("remove demo --yes").exits(0);
        assert_eq!(self.served(), None);
    }
}

#[test]
fn an_ordinary_user_and_a_root_without_systemd_deploy_and_go_back() {
    let lab = Lab::up(1);
    let user = Somebody::new(&lab, "runuser --user plain --".to_owned(), "/home/plain");
    user.deploys();
    let units = lab.exec(
        1,
        "ls /etc/systemd/system; ls -d /var/lib/rosey 2>/dev/null || true",
    );
    assert!(!units.contains("rosey"), "{units}");

    // A container: processes of its own, a PID 1 that is no systemd, and none of systemd's files.
    lab.exec(
        1,
        "systemd-run --quiet --unit box --service-type exec unshare --pid --fork --kill-child --mount --mount-proc \
         sh -c 'mount -t tmpfs tmpfs /run && touch /run/box && exec sleep infinity'",
    );
    let first = "pgrep --parent $(systemctl show --property MainPID --value box)";
    wait_until("the container", PATIENCE, || {
        let there = format!("test -e /proc/$({first})/root/run/box");
        lab.try_exec(1, &there).status.success()
    });
    let process = lab.exec(1, first);
    let inside = format!("nsenter --target {process} --mount --pid --");
    let root = Somebody::new(&lab, inside, "/root");
    // What isn't said is found out: without systemd rosey keeps the service itself.
    root.declare("    manager \"process\"\n", "");
    let told = root.rosey("doctor demo").exits(0).stdout;
    assert!(told.contains("no systemd"), "{told}");
    root.deploys();
}
