//! Law 10: where a secret's value is on a server, and where it is not.

use std::time::Duration;

use super::fleet::{Commands as _, Fleet};
use super::guard::{in_the_middle, one, serves};
use crate::support::wait_until;

const VALUE: &str = "k9-correct-horse-battery";

/// All that a host's file systems and processes hold, but for the kernel's own and the processes that were given it.
const SEARCH: &str = r#"
find / -xdev -type f -not -path '/proc/*' -not -path '/sys/*' -print0 | xargs -0 grep --files-with-matches --fixed-strings VALUE 2>/dev/null | sort
find /run /tmp /dev/shm -type f -print0 2>/dev/null | xargs -0 grep --files-with-matches --fixed-strings VALUE 2>/dev/null | sort
for arguments in /proc/[0-9]*/cmdline; do
    tr '\0' ' ' <"$arguments" 2>/dev/null | grep --fixed-strings VALUE | grep --invert-match --fixed-strings 'grep --'
done
journalctl --no-pager | grep --fixed-strings VALUE
true
"#;

#[test]
fn a_secret_is_only_where_it_is_declared() {
    let fleet = Fleet::up(1);
    fleet.declare("vars {\n", "secret \"token\" env=\"BOT_TOKEN\"\nvars {\n");
    fleet.declare(
        "start-timeout \"20s\"",
        "start-timeout \"20s\"\n        env TOKEN=\"{{ secret.token }}\"",
    );
    fleet
        .project
        .write("bot/token.txt.j2", "{{ secret.token }}\n");
    fleet.declare(
        "    shared {",
        "    render \"token.txt\" from=\"token.txt.j2\" mode=\"0600\"\n    shared {",
    );
    let rosey = fleet.rosey().env("BOT_TOKEN", VALUE);
    let said = rosey
        .run(&["apply", "lab", "--yes", "--json", "-v"])
        .exits(0);
    assert!(!said.stdout.contains(VALUE) && !said.stderr.contains(VALUE));
    let main = "tr '\\0' '\\n' </proc/$(systemctl show --property MainPID --value rosey-bot)/environ | grep ^TOKEN=";
    assert_eq!(fleet.lab.exec(1, main), format!("TOKEN={VALUE}"));

    // A later release that fails: what is kept for going back is gone with it.
    fleet.version("2.0.0");
    fleet.declare("fault \"\"", "fault \"exit\"");
    rosey.apply().exits(7);
    let found = fleet.lab.exec(1, &SEARCH.replace("VALUE", VALUE));
    let elsewhere: Vec<_> = found
        .lines()
        .filter(|path| {
            !path.ends_with("/token.txt") && !path.starts_with("/opt/rosey-bot/.rosey/objects/")
        })
        .collect();
    assert_eq!(elsewhere.len(), 1, "{found}");
    let [environment] = elsewhere[..] else {
        panic!("{found}")
    };
    assert_eq!(
        fleet
            .lab
            .exec(1, &format!("stat --format '%a %U' {environment}")),
        "600 root"
    );
    let looks = "runuser -u rosey -- ls /opt/rosey-bot/.rosey/objects 2>&1 || true";
    let refused = fleet.lab.exec(1, looks);
    assert!(refused.contains("Permission denied"), "{refused}");
    let state = format!(
        "grep -r {VALUE} {} || true",
        rosey.home().join("state").display()
    );
    let state = std::process::Command::new("sh")
        .args(["-c", &state])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&state.stdout), "");
}

/// The run is a unit of its own, to which the values that it must not say are handed.
#[test]
fn what_the_unit_of_a_run_hears_of_a_secret_is_masked() {
    let (fleet, _) = one();
    fleet.declare("vars {\n", "secret \"token\" env=\"BOT_TOKEN\"\nvars {\n");
    let task = |run: &str, undo: &str| {
        format!(
            "    task \"says\" {{ run \"{run}\"; undo \"{undo}\"; env TOKEN=\"{{{{ secret.token }}}}\"; }}\n"
        )
    };
    let says = "echo tok=$TOKEN; exit 3";
    let failing = task(says, "true");
    fleet.declare("    verify {\n", &format!("{failing}    verify {{\n"));
    let rosey = fleet.rosey().env("BOT_TOKEN", VALUE);
    let told = |said: &str, words: &str| {
        assert!(said.contains(words), "{said}");
        assert!(!said.contains(VALUE), "{said}");
        let found = fleet.lab.exec(1, &SEARCH.replace("VALUE", VALUE));
        // The environment of an undo that failed is left to whoever tries it again.
        let elsewhere = found.lines().find(|path| {
            !path.starts_with("/opt/rosey-bot/.rosey/objects/")
                && !path.ends_with("/env/task-says.env")
        });
        assert_eq!(elsewhere, None, "{found}");
    };
    let ran = rosey.run(&["apply", "lab", "--yes", "--json"]).exits(7);
    told(&(ran.stdout + &ran.stderr), "tok=***");

    // With nobody there it tells who comes next.
    fleet.declare(&failing, &task("true", says));
    let mut run = in_the_middle(&fleet, &rosey);
    run.kill().expect("it runs");
    run.wait().expect("it was started");
    serves(&fleet, 1, "1.0.0");
    let mut said = String::new();
    wait_until("the end of the way back", Duration::from_secs(20), || {
        said = rosey.run(&["status", "lab", "--json"]).exits(0).stdout;
        said.contains("went back")
    });
    told(&said, "undo of task \\\"says\\\" exited with 3");
}
