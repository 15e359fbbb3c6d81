//! The clock of a host is set while rosey is at work on it.
//!
//! A container has the clock of the machine below it. It takes a virtual machine, where all is slow: only
//! `tests/run --all` has the time.

mod all {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::time::Duration;

    use crate::lab::fleet::{Commands as _, Fleet};
    use crate::support::{Wanted, wait_until};

    const DAY: i64 = 86_400;
    /// How often a clock is set.
    const JUMPS: usize = 12;
    /// How many lines of a run pass before the first jump, and between the moments of one jump and the next.
    const LINES: usize = 2;
    /// For what takes a fraction of a second where the processor need not be simulated.
    const PATIENCE: Duration = Duration::from_secs(240);

    /// No unit of a run is left.
    fn rests(fleet: &Fleet) {
        wait_until("the end of the run's unit", PATIENCE, || {
            let units = "systemctl --no-legend --all list-units 'rosey-run-*'";
            fleet.lab.exec(1, units).is_empty()
        });
    }

    fn serves(fleet: &Fleet, version: &str) -> bool {
        let health = "curl --silent --max-time 10 http://127.0.0.1:8000/api/health";
        let asked = fleet
            .lab
            .try_exec(1, &format!("{health} | grep '\"{version}\"'"));
        asked.status.success()
    }

    /// Begins an apply, sets the clock after so many lines, and may kill the controller then. Its exit code, if it had one.
    fn struck(fleet: &Fleet, lines: usize, seconds: i64, kill: bool) -> (Option<i32>, String) {
        let rosey = fleet.rosey();
        let mut run = rosey.start(&["apply", "lab", "--yes", "-v"]);
        let mut said = String::new();
        let mut progress = BufReader::new(run.stderr.take().expect("it is piped"));
        for _ in 0..lines {
            progress.read_line(&mut said).expect("it is UTF-8");
        }
        fleet.lab.set_clock(1, seconds);
        if kill {
            run.kill().expect("it can be killed");
        }
        progress.read_to_string(&mut said).expect("it is UTF-8");
        (run.wait().expect("it was started").code(), said)
    }

    #[test]
    fn a_clock_that_is_set_by_a_day_at_any_moment() {
        let fleet = Fleet::with(Wanted {
            hosts: 1,
            machines: vec![1],
            ..Wanted::default()
        });
        fleet.declare("rollout { waves", "rollout { guard \"10s\"; waves");
        fleet.declare("within \"10s\"", "within \"120s\"");
        fleet.declare("start-timeout \"20s\"", "start-timeout \"120s\"");
        fleet.rosey().apply().exits(0);
        let mut old = "1.0.0".to_owned();
        for jump in 0..JUMPS {
            let new = format!("1.1.{jump}");
            fleet.version(&new);
            let seconds = if jump % 2 == 0 { DAY } else { -DAY };
            let is_killed = jump % 3 == 2;
            let (code, said) = struck(&fleet, LINES * (jump + 1), seconds, is_killed);
            rests(&fleet);
            let served = fleet.served().remove(0);
            if is_killed {
                assert!(served == old || served == new, "{served}\n{said}");
                fleet.rosey().apply().exits(0);
            } else {
                assert_eq!((code, &served), (Some(0), &new), "{said}");
            }
            fleet.rosey().drift().exits(0);
            assert_eq!(fleet.served(), [new.as_str()]);
            old = new;
        }
        // The power fails in the middle, and the clock is another after the boot.
        fleet.lab.set_clock(1, DAY);
        fleet.version("1.2.0");
        fleet.declare("fault \"\"", "fault \"unhealthy\"");
        let rosey = fleet.rosey();
        let mut run = rosey.start(&["apply", "lab", "--yes"]);
        wait_until("version 1.2.0", PATIENCE, || serves(&fleet, "1.2.0"));
        fleet.lab.power_cut(1);
        fleet.lab.boot(1);
        assert_ne!(run.wait().expect("it was started").code(), Some(0));
        wait_until("the old version", PATIENCE, || serves(&fleet, &old));
        rests(&fleet);
        fleet.rosey().drift().exits(0);
    }
}
