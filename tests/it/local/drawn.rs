//! Declarations that a number draws, one after the other on real directories: each comes to be as it is declared and is
//! done once; one that fails, or is cut off anywhere, leaves what was there; what people change is found and healed; and
//! each has a way back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::here::{Here, signal};
use crate::support::{Dice, Look, Project, Snapshot};

/// Acts after the first apply of a number.
const ACTS: u64 = 6;

/// Names that files may have.
const NAMES: [&[u8]; 10] = [
    b"plain.txt",
    b"with space",
    b"new\nline",
    b"\xff\xfe.bin",
    b"sub/deep/file",
    b"sub/other",
    b"-dash",
    b"quote'\"",
    ".h\u{ef}dden".as_bytes(),
    b"other/file",
];

/// Takes the number's one line out of the file again, or puts it there, however far an earlier try came.
const COUNT: &str = r#"set -e
line=$(cat count.in)
touch data/count
grep -vxF "$line" data/count > data/count.new || true
[ "$1" = down ] || echo "$line" >> data/count.new
mv data/count.new data/count
"#;

/// Something in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Its content, and whether it can be run.
    File(Vec<u8>, bool),
    Link(PathBuf),
}

/// What is declared.
#[derive(Debug, Clone)]
struct Drawn {
    number: usize,
    files: BTreeMap<OsString, Entry>,
    rendered: bool,
    /// The number in what a task makes its output of.
    words: Option<usize>,
    /// The numbers of the migrations that were run, the newest last.
    migrations: Vec<usize>,
    outside: Option<usize>,
    directories: BTreeSet<usize>,
    /// The number in the command of each service.
    services: BTreeMap<usize, usize>,
    backup: bool,
    fails: bool,
}

impl Drawn {
    fn first(dice: &mut Dice) -> Self {
        let mut first = Self {
            number: 1,
            files: BTreeMap::new(),
            rendered: dice.percent(50),
            words: dice.percent(50).then_some(1),
            migrations: Vec::new(),
            outside: dice.percent(50).then_some(1),
            directories: BTreeSet::new(),
            services: BTreeMap::from([(1, 1)]),
            backup: dice.percent(50),
            fails: false,
        };
        for _ in 0..dice.below(12) {
            first.change_file(dice);
        }
        first
    }

    fn change_file(&mut self, dice: &mut Dice) {
        let name = OsString::from_vec(dice.one(&NAMES).to_vec());
        let entry = match dice.below(6) {
            0 => return drop(self.files.remove(&name)),
            1 => Entry::Link(PathBuf::from("count.sh")),
            2 => Entry::File(Vec::new(), false),
            3 => Entry::File(vec![0; 300_000], false),
            _ => {
                let content = format!("{} {}\n", self.number, dice.below(1000));
                Entry::File(content.into_bytes(), dice.percent(30))
            }
        };
        // A link leads to where it lies, whatever directories are above.
        let top = name.as_bytes().contains(&b'/');
        if !(top && matches!(entry, Entry::Link(_))) {
            self.files.insert(name, entry);
        }
    }

    /// Another that follows it.
    fn changed(&self, dice: &mut Dice, number: usize) -> Self {
        let mut next = self.clone();
        next.number = number;
        next.fails = false;
        for _ in 0..=dice.below(4) {
            match dice.below(10) {
                0..=2 => next.change_file(dice),
                3 => next.rendered = !next.rendered,
                4 => next.words = dice.percent(70).then_some(number),
                5 if next.migrations.last() != Some(&number) => next.migrations.push(number),
                6 => next.outside = dice.percent(70).then_some(number),
                7 => {
                    let directory = dice.below(3);
                    if !next.directories.remove(&directory) {
                        next.directories.insert(directory);
                    }
                }
                8 => {
                    let service = 1 + dice.below(3);
                    if next.services.len() == 1 || next.services.remove(&service).is_none() {
                        next.services.insert(service, number);
                    }
                }
                _ => next.backup = !next.backup,
            }
        }
        next
    }

    /// The source, whole.
    fn source(&self) -> BTreeMap<OsString, Entry> {
        let mut source = self.files.clone();
        let mut put = |name: &str, text: String| {
            source.insert(name.into(), Entry::File(text.into_bytes(), false));
        };
        put("count.sh", COUNT.to_owned());
        if self.rendered {
            put("config.txt.j2", "number {{ number }}\n".to_owned());
        }
        if let Some(words) = self.words {
            put("words.in", format!("{words}\n"));
        }
        if let Some(migration) = self.migrations.last() {
            put("count.in", format!("{migration}\n"));
        }
        if let Some(outside) = self.outside {
            put("outside.j2", format!("outside {outside}\n"));
        }
        source
    }

    fn declare(&self, project: &Project) {
        let source = project.path("app");
        if source.exists() {
            std::fs::remove_dir_all(&source).unwrap();
        }
        for (name, entry) in self.source() {
            let path = source.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match entry {
                Entry::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                Entry::File(content, runs) => {
                    std::fs::write(&path, content).unwrap();
                    let mode = if runs { 0o755 } else { 0o644 };
                    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        }
        project.environment("test", &self.kdl(project));
    }

    fn kdl(&self, project: &Project) -> String {
        let number = self.number;
        let mut text = format!(
            "vars {{ number {number}; }}\nhost \"here\" local=#true\napp \"drawn\" {{\n    root \"../srv\"\n    manager \"process\"\n    source \"../app\"\n    version \"{number}\"\n    keep releases=3 backups=2\n    shared {{\n        dir \"data\"\n"
        );
        for directory in &self.directories {
            writeln!(text, "        dir \"d{directory}\" mode=\"0750\"").unwrap();
        }
        text += "    }\n";
        if self.rendered {
            text += "    render \"config.txt\" from=\"config.txt.j2\"\n";
        }
        if self.words.is_some() {
            text += "    task \"words\" { run \"mkdir o && cp words.in o/out\"; inputs \"words.in\"; output \"o\"; }\n";
        }
        if !self.migrations.is_empty() {
            text += "    task \"count\" once=#true { run \"sh count.sh up\"; undo \"sh count.sh down\"; inputs \"count.in\"; }\n";
        }
        let outside = outside(project);
        if self.outside.is_some() {
            writeln!(
                text,
                "    file \"{}\" from=\"outside.j2\"",
                outside.display()
            )
            .unwrap();
        }
        if self.backup {
            text += "    backup { path \"data\"; }\n";
        }
        let mut gates = String::new();
        for (service, command) in &self.services {
            writeln!(
                text,
                "    service \"s{service}\" {{ exec \"{}\"; }}",
                command_of(*service, *command)
            )
            .unwrap();
            write!(gates, "process \"s{service}\"; ").unwrap();
        }
        if self.fails {
            gates += "command \"look\" run=\"false\"; ";
        }
        writeln!(
            text,
            "    verify {{ within \"1s\"; stable \"0s\"; {gates}}}\n}}\nrollout {{ guard \"10s\"; }}"
        )
        .unwrap();
        text
    }

    /// Whether all is as it is declared, by what lies there and runs.
    #[track_caller]
    fn stands(&self, here: &Here<'_>) {
        let mut release = self.source();
        if self.rendered {
            let text = format!("number {}\n", self.number);
            release.insert("config.txt".into(), Entry::File(text.into(), false));
        }
        let mut found = collect(&here.root().join("current/"));
        let made = found.remove(&OsString::from("o"));
        assert_eq!(made.is_some(), self.words.is_some(), "{made:?}");
        if let Some(words) = self.words {
            let read = std::fs::read_to_string(here.root().join("current/o/out"));
            assert_eq!(read.unwrap(), format!("{words}\n"));
        }
        let linked = self.directories.iter().map(|it| format!("d{it}"));
        for name in linked.chain(["data".to_owned()]) {
            let link = found.remove(&OsString::from(&name));
            assert!(matches!(link, Some(Entry::Link(_))), "{name}: {link:?}");
            assert!(here.root().join("current").join(&name).is_dir(), "{name}");
        }
        assert_eq!(found, release);
        let outside = std::fs::read_to_string(outside(here.project)).ok();
        let wanted = self.outside.map(|number| format!("outside {number}\n"));
        assert_eq!(outside, wanted);
        let count = std::fs::read_to_string(here.root().join("shared/data/count"));
        let wanted = self.migrations.iter().map(|number| format!("{number}\n"));
        assert_eq!(count.unwrap_or_default(), wanted.collect::<String>());
        self.runs(here);
    }

    /// Whether its services run, and no others.
    #[track_caller]
    fn runs(&self, here: &Here<'_>) {
        for (service, command) in &self.services {
            let found = here.processes(&command_of(*service, *command));
            assert_eq!(found.len(), 1, "s{service}: {found:?}");
        }
        assert_eq!(here.processes("sleep").len(), self.services.len());
    }
}

fn command_of(service: usize, number: usize) -> String {
    format!("sleep {}", 100_000 * service + number)
}

fn outside(project: &Project) -> PathBuf {
    project.path("etc/outside.conf")
}

/// What is in a directory, as names below it.
fn collect(directory: &Path) -> BTreeMap<OsString, Entry> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let about = std::fs::symlink_metadata(&path).unwrap();
            let entry = if about.is_dir() {
                open.push(path);
                continue;
            } else if about.is_symlink() {
                Entry::Link(std::fs::read_link(&path).unwrap())
            } else {
                let runs = about.permissions().mode() & 0o111 != 0;
                Entry::File(std::fs::read(&path).unwrap(), runs)
            };
            let name = path.strip_prefix(directory).unwrap();
            found.insert(name.as_os_str().to_owned(), entry);
        }
    }
    found
}

/// Everything that rosey manages there.
fn look(here: &Here<'_>) -> Snapshot {
    let data = format!("{}/shared/data/*", here.root().display());
    let units = here.rosey.home().join("registry/apps/*/process/*.service");
    Look::at([here.root(), here.project.path("etc"), units])
        .except(&data)
        .here()
}

/// What stands, and what was done before it.
struct Walk<'a> {
    here: &'a Here<'a>,
    dice: Dice,
    number: usize,
    /// The generations that stood, the present one last.
    stood: Vec<Drawn>,
}

impl Walk<'_> {
    fn standing(&self) -> &Drawn {
        self.stood.last().expect("something was applied")
    }

    /// Declares what comes next.
    fn next(&mut self) -> Drawn {
        self.number += 1;
        let standing = self.standing().clone();
        standing.changed(&mut self.dice, self.number)
    }

    /// Nothing is left to do, and nothing is done again.
    #[track_caller]
    fn is_done(&self) {
        self.standing().stands(self.here);
        assert!(self.here.planned().is_empty());
        self.is_no_drift();
        let before = look(self.here);
        let lines = self.here.apply_json(&[], 0);
        assert_eq!(lines.last().unwrap()["outcome"], "unchanged");
        before.must_equal(&look(self.here));
        self.standing().runs(self.here);
    }

    #[track_caller]
    fn is_no_drift(&self) {
        self.here.rosey.run(&["drift", "test"]).exits(0);
    }

    fn change(&mut self) {
        let next = self.next();
        next.declare(self.here.project);
        self.here.apply().exits(0);
        self.stood.push(next);
        self.is_done();
    }

    fn fail(&mut self) {
        let before = look(self.here);
        let next = Drawn {
            fails: true,
            ..self.next()
        };
        next.declare(self.here.project);
        let lines = self.here.apply_json(&[], 7);
        assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
        before.must_equal(&look(self.here));
        self.standing().stands(self.here);
        self.is_no_drift();
    }

    /// Kills the controller, or the helper, when the run has said so many lines.
    fn cut_off(&mut self) {
        let before = look(self.here);
        let next = self.next();
        next.declare(self.here.project);
        let apply = ["apply", "test", "--yes", "--json", "--verbose"];
        let mut child = self.here.rosey.command(&apply).spawn().unwrap();
        let lines = 2 + self.dice.below(40);
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(output.take(lines).all(|line| line.is_ok()));
        let by_itself = self.dice.percent(50);
        if by_itself {
            signal(child.id(), Signal::KILL);
        } else {
            let helpers = self.here.processes("rosey helper");
            helpers.into_iter().for_each(|it| signal(it, Signal::KILL));
        }
        child.wait().unwrap();
        self.here.is_left_alone();
        let stands = |now: Snapshot| {
            let stands = now != before;
            if stands {
                next.stands(self.here);
            }
            stands
        };
        // What was done once is undone when a command knows that all hosts are back.
        let by_itself = by_itself && next.migrations == self.standing().migrations;
        let stood = by_itself.then(|| stands(look(self.here)));
        // Here nothing starts a helper again, so the next command settles what one has left, and then there is nothing to
        // heal.
        let heal = ["drift", "test", "--heal", "--yes", "--json"];
        let healed = self.here.rosey.run(&heal).exits(0);
        assert_eq!(healed.json_lines()[0]["drifted"], false, "{healed:?}");
        let stands = stands(look(self.here));
        assert!(stood.is_none_or(|stood| stood == stands));
        if stands {
            self.stood.push(next);
        }
        self.standing().stands(self.here);
        self.is_no_drift();
    }

    fn change_by_hand(&mut self) {
        let before = look(self.here);
        let root = self.here.root();
        let file = |name: &str| root.join("current").join(name);
        match self.dice.below(5) {
            0 => std::fs::write(file("count.sh"), "by hand").unwrap(),
            1 => std::fs::remove_file(file("count.sh")).unwrap(),
            2 => std::fs::write(file("more"), "by hand").unwrap(),
            3 => std::fs::remove_file(root.join("current")).unwrap(),
            _ => {
                let (service, command) = self.standing().services.first_key_value().unwrap();
                for it in self.here.processes(&command_of(*service, *command)) {
                    self.here.kill(it);
                }
            }
        }
        self.here.rosey.run(&["drift", "test"]).exits(2);
        self.here
            .rosey
            .run(&["drift", "test", "--heal", "--yes"])
            .exits(0);
        before.must_equal(&look(self.here));
        self.standing().stands(self.here);
        self.is_no_drift();
    }

    fn roll_back(&mut self) {
        if self.stood.len() < 2 {
            return;
        }
        self.stood.pop();
        self.here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
        self.standing().stands(self.here);
        self.is_no_drift();
    }
}

fn walk(seed: u64) {
    let project = Project::new();
    std::fs::create_dir(project.path("etc")).unwrap();
    let here = Here::at(&project);
    let mut dice = Dice::new(seed, 0);
    let first = Drawn::first(&mut dice);
    first.declare(&project);
    here.apply().exits(0);
    let mut walk = Walk {
        here: &here,
        dice,
        number: 1,
        stood: vec![first],
    };
    walk.is_done();
    for act in 1..=ACTS {
        walk.dice = Dice::new(seed, act);
        match walk.dice.below(10) {
            0..=2 => walk.change(),
            3 | 4 => walk.fail(),
            5..=7 => walk.cut_off(),
            8 => walk.change_by_hand(),
            _ => walk.roll_back(),
        }
    }
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert_eq!(here.processes("sleep"), [0; 0]);
    assert!(!outside(&project).exists());
    // Where nothing was written the root has gone too.
    let root = project.path("srv");
    let left = if root.exists() {
        collect(&root)
    } else {
        BTreeMap::new()
    };
    // What the app has written, and its backups.
    let kept = |name: &&OsString| {
        let kept = [&b"shared/data/"[..], b".rosey/backups/"];
        kept.iter().any(|it| name.as_bytes().starts_with(it))
    };
    assert_eq!(left.keys().find(|it| !kept(it)), None);
}

#[test]
fn seed_1() {
    walk(1);
}

#[test]
fn seed_2() {
    walk(2);
}

mod all {
    use super::walk;

    #[test]
    fn forty_further_seeds() {
        for seed in 3..43 {
            let walked = std::panic::catch_unwind(|| walk(seed));
            assert!(walked.is_ok(), "seed {seed}");
        }
    }
}
