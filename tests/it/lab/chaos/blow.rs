//! What is done to a run, to a host, or to the network between; and how the harness takes away again what it did.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::world::World;

use crate::support::{Dice, Lab, Ran, Rosey};

/// A fault, with all that was chosen about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blow {
    KillController,
    KillHelper(usize),
    /// The login of a host ends, and its processes are killed with it.
    KillLogin(usize),
    Interrupt,
    Terminate,
    HangUp,
    /// As a CI system cancels a job: INT, then TERM, then KILL. In tenths of its times.
    CancelledJob,
    Hang(usize, u64),
    SecondController(&'static [&'static str]),
    Hand(usize, Hand, usize),
    ServiceDies(usize, usize),
    DiskFull(usize, u64),
    ReadOnly(usize, &'static str, u64),
    Cut(usize, u64),
    PowerCut(usize),
    Reboot(usize),
    /// The controller is killed as soon as one host is ready, while others are not.
    ReadyWindow,
}

/// A change by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    EditsOutside,
    EditsUnit,
    EditsRelease,
    AddsToRelease,
    Relinks,
    StopsService,
}

impl Blow {
    /// One of all, on a host that has something of the world.
    pub fn by_chance(dice: &mut Dice, world: &World) -> Self {
        let place = dice.below(world.apps.len());
        let host = dice.one(&world.apps[place].hosts);
        let milliseconds = 200 + 100 * u64::try_from(dice.below(25)).unwrap();
        match dice.below(24) {
            0..=2 => Self::KillController,
            3..=5 => Self::KillHelper(host),
            6 => Self::KillLogin(host),
            7 => Self::Interrupt,
            8 => Self::Terminate,
            9 => Self::HangUp,
            10 => Self::CancelledJob,
            11 => Self::Hang(host, milliseconds),
            12 => Self::SecondController(dice.one(&SECOND)),
            13 | 14 => Self::Hand(host, dice.one(&HANDS), place),
            15 => Self::ServiceDies(host, place),
            16 => Self::DiskFull(host, milliseconds),
            17 => Self::ReadOnly(
                host,
                dice.one(&["/opt", "/var/lib/rosey", "/etc/systemd/system"]),
                milliseconds,
            ),
            18 | 19 => Self::Cut(host, milliseconds * 3),
            20 | 21 => Self::PowerCut(host),
            22 => Self::Reboot(host),
            _ => Self::ReadyWindow,
        }
    }

    /// Its name without what was chosen about it.
    pub fn kind(&self) -> String {
        let name = format!("{self:?}");
        name.split('(').next().unwrap_or_default().to_owned()
    }
}

const SECOND: [&[&str]; 5] = [
    &["apply", "lab", "--yes"],
    &["apply", "lab", "--yes", "--wait"],
    &["drift", "lab"],
    &["drift", "lab", "--heal", "--yes"],
    &["status", "lab"],
];

const HANDS: [Hand; 6] = [
    Hand::EditsOutside,
    Hand::EditsUnit,
    Hand::EditsRelease,
    Hand::AddsToRelease,
    Hand::Relinks,
    Hand::StopsService,
];

/// What of a fault lasts, and has to be taken away.
#[derive(Debug, Default)]
pub struct Lasting {
    /// A shell script for a host.
    undo: Option<(usize, String)>,
    join: Option<usize>,
    go_on: Vec<u32>,
    second: Option<Child>,
}

/// Whether systemd is at a helper of its own on a host, or has yet to start one.
pub fn is_to_come(lab: &Lab, host: usize) -> bool {
    let units = "systemctl list-units --no-legend --plain --state=active,activating,deactivating 'rosey-run-*' rosey-recover.service";
    let jobs = "systemctl list-jobs --no-legend | grep rosey-recover";
    let seen = lab.exec(host, &format!("{units}; {jobs}; true"));
    !seen.trim().is_empty()
}

/// The helpers on a host, as this machine numbers them.
pub fn helpers(lab: &Lab, host: usize) -> Vec<u32> {
    let is_helper = |words: &[&str]| {
        let program = words
            .first()
            .and_then(|it| it.rsplit('/').next())
            .unwrap_or_default();
        (program.starts_with("helper-") || program == "rosey-recover")
            && words.get(1) == Some(&"helper")
    };
    lab.processes(host, is_helper)
}

pub fn all_helpers(lab: &Lab) -> BTreeMap<usize, Vec<u32>> {
    lab.hosts().map(|host| (host, helpers(lab, host))).collect()
}

pub fn signal(process: u32, signal: Signal) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| kill_process(process, signal).is_ok())
}

/// Strikes while the command is under way; says whether there was something to strike, and what lasts.
pub fn strike(
    blow: &Blow,
    lab: &Lab,
    world: &World,
    other: &Rosey<'_>,
    controller: u32,
) -> (bool, Lasting) {
    let mut lasting = Lasting::default();
    let pause = |milliseconds: &u64| std::thread::sleep(Duration::from_millis(*milliseconds));
    let mut last = |host: usize, script: &str, undo: String| {
        lasting.undo = Some((host, undo));
        lab.try_exec(host, script).status.success()
    };
    let fired = match blow {
        Blow::KillController => signal(controller, Signal::KILL),
        Blow::Interrupt => signal(controller, Signal::INT),
        Blow::Terminate => signal(controller, Signal::TERM),
        Blow::HangUp => signal(controller, Signal::HUP),
        Blow::CancelledJob => {
            let fired = signal(controller, Signal::INT);
            pause(&750);
            signal(controller, Signal::TERM);
            pause(&250);
            signal(controller, Signal::KILL);
            fired
        }
        Blow::KillHelper(host) => {
            let helpers = helpers(lab, *host);
            // One is killed, another told to end, which is no reason either to leave a run in the middle.
            let how = if host % 2 == 0 {
                Signal::TERM
            } else {
                Signal::KILL
            };
            // The one that was started last does the work, where there is more than one.
            helpers.last().is_some_and(|process| signal(*process, how))
        }
        Blow::KillLogin(host) => {
            let is_login = |words: &[&str]| {
                words
                    .first()
                    .is_some_and(|it| it.starts_with("sshd: deploy"))
            };
            let logins = lab.processes(*host, is_login);
            logins
                .into_iter()
                .filter(|process| signal(*process, Signal::KILL))
                .count()
                > 0
        }
        Blow::Hang(host, milliseconds) => {
            let helpers = helpers(lab, *host);
            lasting.go_on.clone_from(&helpers);
            let fired = helpers
                .iter()
                .filter(|process| signal(**process, Signal::STOP))
                .count()
                > 0;
            pause(milliseconds);
            fired
        }
        Blow::SecondController(arguments) => {
            lasting.second = Some(other.command(arguments).spawn().expect("rosey starts"));
            true
        }
        Blow::Hand(host, hand, place) => {
            let (script, undo) = by_hand(*hand, world, *place);
            last(*host, &script, undo)
        }
        Blow::ServiceDies(host, place) => {
            let prefix = format!("{}-v", world.apps[*place].name);
            let script = format!(
                "process=$(for unit in $(systemctl list-units --plain --no-legend '{prefix}*' | cut -d' ' -f1); do systemctl show --property MainPID --value $unit; done | grep -v '^0$' | head -n1); [ -n \"$process\" ] && kill -9 $process"
            );
            lab.try_exec(*host, &script).status.success()
        }
        Blow::DiskFull(host, milliseconds) => {
            let script = "fallocate -l $(($(df --output=avail -k /opt | tail -n1) - 64))K /opt/full; cat /dev/zero >/opt/full-too 2>/dev/null; test -s /opt/full-too";
            let fired = last(*host, script, "rm -f /opt/full /opt/full-too".to_owned());
            pause(milliseconds);
            fired
        }
        Blow::ReadOnly(host, path, milliseconds) => {
            // A mount of its own over the old one: whoever has a file open goes on writing, every new open is refused.
            let script = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}");
            let undo =
                format!("mount -o remount,bind,rw {path}; umount {path} 2>/dev/null || true");
            let fired = last(*host, &script, undo);
            pause(milliseconds);
            fired
        }
        Blow::Cut(host, milliseconds) => {
            lab.cut(*host);
            lasting.join = Some(*host);
            pause(milliseconds);
            true
        }
        Blow::PowerCut(host) => {
            lab.power_cut(*host);
            lab.boot(*host);
            true
        }
        Blow::Reboot(host) => {
            lab.kill(*host);
            lab.boot(*host);
            true
        }
        Blow::ReadyWindow => unreachable!("it waits for its moment by itself"),
    };
    (fired, lasting)
}

/// The window between the first *ready* and the last: one host's helper hears nothing any more, and as soon as another is
/// ready, the controller is killed, and then that helper.
pub fn in_ready_window(
    lab: &Lab,
    helpers: &BTreeMap<usize, Vec<u32>>,
    deaf: usize,
    controller: u32,
) -> bool {
    let stopped = helpers.get(&deaf).cloned().unwrap_or_default();
    for process in &stopped {
        signal(*process, Signal::STOP);
    }
    let others = lab.hosts().filter(|host| *host != deaf);
    let places: Vec<_> = others
        .map(|host| lab.file(host, "/var/lib/rosey/apps"))
        .collect();
    let until = Instant::now() + Duration::from_secs(30);
    let mut hit = false;
    while !hit && Instant::now() < until && is_running(controller) {
        hit = places.iter().any(any_ready);
        std::thread::sleep(Duration::from_micros(500));
    }
    let hit = hit && signal(controller, Signal::KILL);
    for process in &stopped {
        signal(*process, if hit { Signal::KILL } else { Signal::CONT });
    }
    hit
}

fn is_running(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Whether a journal of a host's registry says that its run is ready.
fn any_ready(apps: &Option<std::path::PathBuf>) -> bool {
    let apps = apps.as_ref().and_then(|apps| std::fs::read_dir(apps).ok());
    let mut journals = apps
        .into_iter()
        .flatten()
        .filter_map(|it| std::fs::read(it.ok()?.path().join("journal")).ok());
    journals.any(|text| says_ready(&text))
}

/// Whether the last run in a journal is ready and not settled. A journal is made anew for each run.
fn says_ready(journal: &[u8]) -> bool {
    let has = |what: &[u8]| journal.windows(what.len()).any(|window| window == what);
    has(b"\"ready\"") && !has(b"{\"settled\"")
}

/// What somebody types on a host, and what puts it back: only what is still as typed.
pub fn by_hand(hand: Hand, world: &World, place: usize) -> (String, String) {
    let app = &world.apps[place];
    let (root, outside) = (app.root(), app.outside_path());
    let edit = |path: String| {
        let script = format!(
            "path=$(realpath -e {path}) && cp -a $path /root/hand && echo '# by hand' >>$path && cp -a $path /root/typed && echo $path >/root/path"
        );
        let undo = "path=$(cat /root/path) && cmp -s $path /root/typed && cp -a /root/hand $path.undo && mv $path.undo $path; rm -f /root/hand /root/typed /root/path".to_owned();
        (script, undo)
    };
    let unit = format!(
        "$(ls -d /etc/systemd/system/{}-v*.service | head -n1)",
        app.name
    );
    match hand {
        Hand::EditsOutside if app.outside.is_some() => edit(outside),
        Hand::EditsOutside | Hand::EditsUnit => {
            let (script, undo) = edit(unit);
            (
                script + " && systemctl daemon-reload",
                undo + "; systemctl daemon-reload",
            )
        }
        Hand::EditsRelease => edit(format!("{root}/current/notes.txt")),
        Hand::AddsToRelease => {
            let script = format!(
                "path=$(realpath -e {root}/current) && echo mine >$path/mine && echo $path/mine >/root/path"
            );
            (script, "rm -f \"$(cat /root/path)\" /root/path".to_owned())
        }
        Hand::Relinks => {
            let script = format!(
                "cp -a {root}/current /root/hand && cp -a $(realpath -e {root}/current) /opt/elsewhere && ln -sfn /opt/elsewhere {root}/current"
            );
            let undo = format!(
                "[ \"$(readlink {root}/current)\" = /opt/elsewhere ] && cp -a /root/hand {root}/undo && mv -T {root}/undo {root}/current; rm -rf /root/hand /opt/elsewhere"
            );
            (script, undo)
        }
        Hand::StopsService => {
            let script = format!("basename {unit} >/root/unit && systemctl stop $(cat /root/unit)");
            let undo = "systemctl is-enabled --quiet $(cat /root/unit) && systemctl start $(cat /root/unit); rm -f /root/unit".to_owned();
            (script, undo)
        }
    }
}

impl Lasting {
    /// Takes away what lasts; a second controller is waited for, and what came of it is given back.
    pub fn take_away(self, lab: &Lab) -> Option<Ran> {
        for process in self.go_on {
            signal(process, Signal::CONT);
        }
        if let Some(host) = self.join {
            lab.join(host);
        }
        if let Some((host, undo)) = self.undo {
            // What there is to undo depends on how far the run came.
            drop(lab.try_exec(host, &format!("{undo}; sync -f /opt")));
        }
        let output = self.second?.wait_with_output().expect("it was started");
        Some(Ran::new("the second controller".to_owned(), &output))
    }
}
