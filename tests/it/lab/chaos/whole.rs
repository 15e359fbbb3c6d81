//! What has to be on a host, path by path: type, bytes, mode, owner and target, all of it known from what was declared and
//! from what was there before. Whatever else is there is strange.

use std::collections::BTreeMap;

use super::world::{App, World};
use crate::support::{Look, Project, Snapshot};

/// What hosts have to have, from a declaration.
#[derive(Debug)]
pub struct Whole {
    apps: Vec<Parts>,
}

/// What the source of one app comes to; `*` in a line stands for what only the host knows.
#[derive(Debug)]
struct Parts {
    app: App,
    /// Below the release, with a leading slash; nothing for the release itself.
    release: BTreeMap<String, String>,
    unit: String,
    outside: Option<String>,
    seed: String,
    words: Option<String>,
}

/// Where what is declared meets what was there.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The host as it was before anything was deployed.
    pub base: &'a Snapshot,
    /// How it was seen before, the latest first: earlier releases and the app's data are as they were then.
    pub known: &'a [&'a Snapshot],
}

impl Whole {
    pub fn new(world: &World) -> Self {
        // A project of its own: that of the campaign says already, or still, something else.
        let scratch = Project::with_bot();
        let apps = world
            .apps
            .iter()
            .map(|app| Parts::of(app, &scratch))
            .collect();
        Self { apps }
    }

    /// The apps that a host has to have.
    pub fn apps_on(&self, number: usize) -> impl Iterator<Item = &App> {
        self.on(number).map(|parts| &parts.app)
    }

    fn on(&self, number: usize) -> impl Iterator<Item = &Parts> {
        let parts = self.apps.iter();
        parts.filter(move |it| it.app.hosts.contains(&number))
    }

    /// How a host differs from it.
    pub fn differences(&self, number: usize, now: &Snapshot, ground: Ground<'_>) -> Vec<String> {
        let mut expected = BTreeMap::new();
        let mut places = Vec::new();
        for parts in self.on(number) {
            expected.extend(parts.lines(now));
            places.push(Place::new(&parts.app.root(), now));
        }
        compare(&expected, &places, now, ground)
    }

    /// How a host differs from one on which its apps were, and were removed: what they wrote stays, and nothing else.
    pub fn remains(&self, number: usize, now: &Snapshot, ground: Ground<'_>) -> Vec<String> {
        let mut expected = BTreeMap::new();
        let mut places = Vec::new();
        for parts in self.on(number) {
            expected.extend(directories(&parts.app.root()));
            places.push(Place {
                data: format!("{}/shared/data/", parts.app.root()),
                ..Place::default()
            });
        }
        compare(&expected, &places, now, ground)
    }
}

/// Those in which an app's data is.
fn directories(root: &str) -> [(String, String); 3] {
    let directory = |inside: &str, owner: &str| {
        let line = format!("directory mode=0755 owner={owner}");
        (format!("{root}{inside}"), line)
    };
    [
        directory("", "root:rosey"),
        directory("/shared", "root:rosey"),
        directory("/shared/data", "rosey:rosey"),
    ]
}

impl Parts {
    fn of(app: &App, scratch: &Project) -> Self {
        app.write_source(scratch);
        let made = app.name.clone() + ".made";
        let made = |name: &str, text: &str| {
            let path = scratch.write(&format!("{made}/{name}"), text);
            path.to_str().expect("a scratch path is UTF-8").to_owned()
        };
        let (config, words) = (app.config_text(), app.words_text());
        let config = made("config.json", &config);
        let words = words.map(|text| made("words", &text));
        let outside = app.outside_text().map(|text| made("outside", &text));
        let unit = made("unit", &app.unit_text());
        let source = scratch.path(&app.name);
        let source = source.to_str().expect("a scratch path is UTF-8").to_owned();
        let roots = [&source, &config, &unit];
        let seen = Look::at(roots.into_iter().chain(&words).chain(&outside)).here();
        let as_made = |path: &str, mode: &str, owner: &str| {
            let line = seen.of(path).expect("it was looked at");
            let bytes = line.split(" mode=").next().unwrap_or_default();
            format!("{bytes} mode={mode} owner={owner}")
        };

        let mut release = BTreeMap::new();
        for (path, line) in seen.lines() {
            let inside = path.strip_prefix(&source);
            let Some(inside) = inside.filter(|it| it.is_empty() || it.starts_with('/')) else {
                continue;
            };
            let line = line.split(" owner=").next().unwrap_or_default();
            release.insert(inside.to_owned(), format!("{line} owner=root:rosey"));
        }
        // The declaration says that it isn't deployed.
        release.remove("/README.md").expect("the example has one");
        let link = |target: &str| format!("link target=../../{target} owner=root:rosey");
        let config = as_made(&config, "0640", "root:rosey");
        release.insert("/config.json".to_owned(), config);
        release.insert("/data".to_owned(), link("shared/data"));
        release.insert("/local.env".to_owned(), link("shared/local.env"));
        if app.words.is_some() {
            release.insert("/.words".to_owned(), link("built/words-*/.words"));
        }
        Self {
            release,
            unit: if app.unit_file {
                as_made(&unit, "0644", "root:root")
            } else {
                // rosey writes it; what counts of it is asked of systemd and of the process.
                "file sha256=* mode=0644 owner=root:root".to_owned()
            },
            outside: outside.map(|path| as_made(&path, "0640", "root:root")),
            seed: as_made(
                &format!("{source}/local.env.example"),
                "0640",
                "rosey:rosey",
            ),
            words: words.map(|path| as_made(&path, "0644", "rosey:rosey")),
            app: app.clone(),
        }
    }

    /// Its lines on a host, the names of the release and of what was built there taken from the host's own links.
    fn lines(&self, now: &Snapshot) -> BTreeMap<String, String> {
        let root = self.app.root();
        let directory = |owner: &str| format!("directory mode=0755 owner={owner}");
        let mut lines = BTreeMap::from(directories(&root));
        let mut put = |path: String, line: String| {
            lines.insert(path, line);
        };
        put(format!("{root}/releases"), directory("root:rosey"));
        put(format!("{root}/shared/local.env"), self.seed.clone());
        put(
            format!("{root}/current"),
            format!(
                "link target=releases/{}-* owner=root:rosey",
                self.app.version_text()
            ),
        );
        let place = Place::new(&root, now);
        for (inside, line) in &self.release {
            put(format!("{}{inside}", place.release), line.clone());
        }
        if let Some(words) = &self.words {
            let built = &place.built;
            put(format!("{root}/built"), directory("root:rosey"));
            put(built.clone(), directory("rosey:rosey"));
            put(format!("{built}/.words"), directory("rosey:rosey"));
            put(format!("{built}/.words/out"), words.clone());
            put(
                format!("{built}/.rosey-stamp"),
                "file sha256=* mode=0644 owner=root:root".to_owned(),
            );
        }
        let unit = self.app.unit_name();
        let path = format!("/etc/systemd/system/{unit}");
        put(
            format!("/etc/systemd/system/multi-user.target.wants/{unit}"),
            format!("link target={path} owner=root:root"),
        );
        put(path, self.unit.clone());
        if let Some(outside) = &self.outside {
            put(self.app.outside_path(), outside.clone());
        }
        lines
    }
}

/// Where on a host an app keeps what isn't in its declaration.
#[derive(Debug, Default)]
struct Place {
    root: String,
    release: String,
    built: String,
    data: String,
}

impl Place {
    fn new(root: &str, now: &Snapshot) -> Self {
        let target = |path: &str| {
            let line = now.of(path)?.strip_prefix("link target=")?;
            line.split(" owner=").next().map(str::to_owned)
        };
        let current = target(&format!("{root}/current")).unwrap_or_default();
        let release = format!("{root}/{current}");
        let words = target(&format!("{release}/.words")).unwrap_or_default();
        let built = words
            .trim_start_matches("../../")
            .trim_end_matches("/.words");
        Self {
            built: format!("{root}/{built}"),
            release,
            data: format!("{root}/shared/data/"),
            root: root.to_owned(),
        }
    }

    /// Whether a path is of a release or a build that isn't in use.
    fn is_earlier(&self, path: &str) -> bool {
        let of = |what: &str, own: &str| {
            path.starts_with(&format!("{}/{what}", self.root))
                && path != own
                && !path.starts_with(&format!("{own}/"))
        };
        !self.root.is_empty() && (of("releases/", &self.release) || of("built", &self.built))
    }

    fn is_data(&self, path: &str) -> bool {
        path.starts_with(&self.data)
    }
}

/// What was put aside for a run; that nothing of it stays after the next is looked at elsewhere.
pub fn is_aside(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with('.') && name.contains(".rosey-")
}

fn compare(
    expected: &BTreeMap<String, String>,
    places: &[Place],
    now: &Snapshot,
    ground: Ground<'_>,
) -> Vec<String> {
    let mut found = Vec::new();
    let paths = |(name, _): &(&str, &str)| name.starts_with('/') && !is_aside(name);
    for (path, line) in now.lines().filter(paths) {
        let was = || ground.known.iter().find_map(|it| it.of(path));
        let right = if let Some(pattern) = expected.get(path) {
            matches(pattern, line)
        } else if places.iter().any(|it| it.is_earlier(path)) {
            ground.known.iter().any(|it| it.of(path) == Some(line))
        } else if places.iter().any(|it| it.is_data(path)) {
            was().is_none_or(|was| was == line)
        } else {
            ground.base.of(path) == Some(line)
        };
        if !right {
            let should = expected.get(path).map(String::as_str).or_else(was);
            found.push(match should {
                Some(should) => format!("{path}: is {line}, should be {should}"),
                None => format!("strange: {path}: {line}"),
            });
        }
    }
    let missing = |path: &str| now.of(path).is_none();
    for (path, line) in expected.iter().filter(|(path, _)| missing(path)) {
        found.push(format!("missing: {path}: {line}"));
    }
    for (path, line) in ground.base.lines().filter(paths) {
        if missing(path) {
            found.push(format!("missing: {path}: {line}"));
        }
    }
    let data = ground.known.first().into_iter().flat_map(|it| it.lines());
    for (path, line) in data.filter(|(path, _)| places.iter().any(|it| it.is_data(path))) {
        if missing(path) {
            found.push(format!("missing: {path}: {line}"));
        }
    }
    found
}

/// Whether a line is as a pattern says, in which one `*` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            line.len() >= start.len() + end.len() && line.starts_with(start) && line.ends_with(end)
        }
        None => pattern == line,
    }
}
