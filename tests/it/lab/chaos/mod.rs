//! Real faults on real hosts, at moments that nobody chose: each host ends exactly old or exactly new, and nobody is needed.
//!
//! Everything but the timing follows from a seed. `tests/chaos` runs many; what it says of a fault that was not survived
//! repeats the same choices.

mod blow;
mod campaign;
mod eyes;
mod judge;
mod underway;
mod whole;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use blow::signal;
use campaign::Tally;

#[allow(
    clippy::print_stderr,
    reason = "a long run shows that it goes on, and its seeds are what repeats it"
)]
fn tell(line: &str) {
    eprintln!("{line}");
}

#[track_caller]
fn survives(seed: u64) {
    let tally = campaign::run(seed, 6, Some(3), &tell);
    assert!(tally.lost.is_empty(), "{}", tally.lost.join("\n"));
    assert_eq!(tally.faults(), 6);
}

// Thirty faults. The names say what the seeds chose first.

#[test]
fn read_only_hang_up_power_cut() {
    survives(3);
}

#[test]
fn reboot_terminate_full_disk() {
    survives(13);
}

#[test]
fn helper_killed_job_cancelled_change_by_hand() {
    survives(24);
}

#[test]
fn power_cut_second_controller_two_apps() {
    survives(50);
}

#[test]
fn ready_window_reboot_changes_by_hand() {
    survives(18);
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}: a number is expected")),
    )
}

mod all {
    use super::*;

    /// What `tests/chaos` runs: seed after seed, each with a lab of its own, until there are enough faults or the time is over.
    /// Told nothing, it strikes a dozen times from a seed that nobody chose.
    #[test]
    fn campaign_of_the_command_line() {
        let first = number("CHAOS_SEED").unwrap_or_else(|| {
            std::time::UNIX_EPOCH
                .elapsed()
                .expect("it is later")
                .as_secs()
        });
        let open_end = std::env::var_os("CHAOS_MINUTES").is_some();
        let faults = number("CHAOS_FAULTS").map_or(if open_end { usize::MAX } else { 12 }, |it| {
            usize::try_from(it).unwrap()
        });
        let hosts = number("CHAOS_HOSTS").map(|it| usize::try_from(it).unwrap());
        let until = number("CHAOS_MINUTES").map(|it| Instant::now() + Duration::from_secs(60 * it));
        let labs = number("CHAOS_LABS").unwrap_or(1);
        let each = number("CHAOS_EACH").map_or(12, |it| usize::try_from(it).unwrap());
        let next = AtomicU64::new(first);
        let total = Mutex::new(Tally::default());
        let goes_on = || {
            total.lock().unwrap().faults() < faults
                && until.is_none_or(|until| Instant::now() < until)
        };
        let lab = || {
            while goes_on() {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let left = faults - total.lock().unwrap().faults();
                let tally = campaign::run(seed, each.min(left), hosts, &tell);
                tell(&format!(
                    "seed {seed}: {} faults, {} came too late, {} lost",
                    tally.faults(),
                    tally.late,
                    tally.lost.len()
                ));
                total.lock().unwrap().add(tally);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..labs {
                scope.spawn(lab);
            }
        });
        let total = total.into_inner().unwrap();
        let last = next.load(Ordering::Relaxed) - 1;
        for (kind, count) in &total.fired {
            tell(&format!("{count:6} {kind}"));
        }
        tell(&format!(
            "seeds {first} to {last}: {} faults, {} not survived; {} fleets were mixed for a while; {} faults came too late and don't count",
            total.faults(),
            total.lost.len(),
            total.mixed,
            total.late
        ));
        assert!(total.lost.is_empty(), "{}", total.lost.join("\n\n"));
    }
}
