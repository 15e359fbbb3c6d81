//! A tree that nobody here wrote: Django and Flask from PyPI, installed on the host by a task.

use std::path::PathBuf;
use std::process::Command;

use super::fleet::{Commands as _, Fleet};

const REQUIREMENTS: &str = "Django>=5.2,<5.3\nFlask>=3.1,<3.2\n";

const APP: &str = r#"
import os
import django
import flask

web = flask.Flask(__name__)
here = os.path.dirname(os.path.realpath(__file__))


@web.get("/api/health")
def health():
    version = open(os.path.join(here, "VERSION")).read().strip()
    return {"status": "running", "connected": True, "version": version, "django": django.get_version()}


web.run(port=8000)
"#;

const DECLARED: &str = r#"
vars { port 8000; }
app "web" {
    root "/opt/web"
    owner "web" group="web" create=#true
    source "../web"
    version file="VERSION"
    keep releases=2
    task "dependencies" {
        run "echo $ROSEY_VERSION >>/tmp/built && python3 -m venv .venv && .venv/bin/pip install --quiet --no-index --find-links wheels --requirement requirements.txt"
        inputs "requirements.txt" "wheels/"
        output ".venv"
        timeout "4m"
    }
    service "web" { exec ".venv/bin/python app.py"; }
    verify {
        within "20s"
        stable "0.3s"
        process "web"
        http "http://127.0.0.1:{{ port }}/api/health" { status 200; json "version" "{{ version }}"; }
    }
}
"#;

/// The wheels for the Python of the lab's hosts, which reach no index themselves. Fetched once, kept beside the lab's bases.
fn wheels() -> PathBuf {
    let cache = std::env::var_os("ROSEY_LAB").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/rosey-lab"),
        PathBuf::from,
    );
    let kept = cache.join("wheels-cp311");
    if kept.exists() {
        return kept;
    }
    let fresh = cache.join(format!("wheels-cp311.{}", std::process::id()));
    std::fs::create_dir_all(&fresh).unwrap();
    std::fs::write(fresh.join("requirements.txt"), REQUIREMENTS).unwrap();
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--only-binary=:all:"])
        .args(["--python-version", "3.11", "--implementation", "cp"])
        .args(["--abi", "cp311", "--abi", "abi3", "--abi", "none"])
        .args(["--platform", "manylinux2014_x86_64", "--platform", "any"])
        .args(["--requirement", "requirements.txt", "--dest", "."])
        .current_dir(&fresh)
        .output()
        .expect("pip starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Whoever was first is right; the other's wheels are the same.
    if std::fs::rename(&fresh, &kept).is_err() {
        std::fs::remove_dir_all(&fresh).unwrap();
    }
    kept
}

mod all {
    use super::*;

    #[test]
    fn dependencies_are_built_once_and_outlive_the_release_that_built_them() {
        let fleet = Fleet::up(1);
        let lab = &fleet.lab;
        let project = &fleet.project;
        project.environment("lab", &(lab.hosts_kdl() + DECLARED));
        project.write("web/app.py", APP);
        project.write("web/requirements.txt", REQUIREMENTS);
        crate::support::copy_tree(&wheels(), &project.path("web/wheels"));
        let deploy = |version: &str| {
            project.write("web/VERSION", version);
            let rosey = fleet.rosey();
            rosey.apply().exits(0);
            assert_eq!(fleet.served(), [version]);
            assert_eq!(rosey.steps(), [""; 0]);
        };
        let built = || lab.exec(1, "cat /tmp/built");
        deploy("1.0.0");
        let files = lab.exec(1, "find /opt/web/built -type f | wc -l");
        assert!(files.parse::<usize>().unwrap() > 3000, "{files}");
        for version in ["1.1.0", "1.2.0", "1.3.0"] {
            deploy(version);
        }
        assert_eq!(built(), "1.0.0");
        let releases = lab.exec(1, "ls /opt/web/releases | cut -d- -f1");
        assert_eq!(releases, "1.2.0\n1.3.0");
        // A fresh start needs what the first release built.
        lab.exec(1, "systemctl restart web");
        fleet.rosey().drift().exits(0);
        fleet.rosey().run(&["rollback", "lab", "--yes"]).exits(0);
        assert_eq!(fleet.served(), ["1.2.0"]);
        project.write(
            "web/requirements.txt",
            &format!("{REQUIREMENTS}# another\n"),
        );
        deploy("2.0.0");
        assert_eq!(built(), "1.0.0\n2.0.0");
    }
}
