//! What no word of a command, a log or an answer may hold when it leaves the host: values of secrets.
//!
//! The controller tells the values that it knows. A helper that recovers without one, and a controller that has no
//! secrets, know what the host's own files hold: environment files as rosey wrote them, and files that are
//! declared to hold a secret, of which nobody knows where in them.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::app::App;
use super::protocol::{Reply, SecretBytes};
use super::session::{Answer, Session, manifest};
use crate::apply::Journal;
use crate::content::Manifest;
use crate::host::ReadHost;
use crate::model::{
    Digest, GateResult, Ledger, Masks, Places, Resource, ResourceId, ResourceKind, Value,
};
use crate::step::run::environment;

/// The fewest characters of a word that is masked because it is in a file that holds a secret.
const WORD: usize = 8;

/// Values that the controller told, and some that were found here.
#[derive(Clone, Default)]
pub(super) struct Hidden {
    /// The values.
    pub told: Masks,
    /// Files in which nothing else has to be hidden, by the digests of what they hold.
    pub files: BTreeSet<Digest>,
    /// What environment files held before a run.
    remembered: Masks,
}

impl Session<'_> {
    pub(super) fn conceal(&mut self, values: &[SecretBytes], files: BTreeSet<Digest>) -> Answer {
        for value in values {
            self.hidden.told.add(&String::from_utf8_lossy(&value.0));
        }
        self.hidden.files.extend(files);
        Ok(Reply::Done)
    }

    /// Remembers what an app's environment files hold now: a run may replace them while what was started with them
    /// still has something to say.
    pub(super) fn remember_environment(&mut self, app: &App) {
        let ledger = self.ledger(app).ok().flatten();
        let held = self.whereabouts(app, ledger.as_ref()).of_environments();
        self.hidden.remembered.extend(&held);
    }

    /// What gates of an app said, without its secrets.
    pub(super) fn masked(&self, app: &App, results: Vec<GateResult>) -> Vec<GateResult> {
        let masks = LazyCell::new(|| {
            let ledger = self.ledger(app).ok().flatten();
            self.whereabouts(app, ledger.as_ref()).masks()
        });
        let results = results.into_iter();
        let masked = results.map(|result| result.masked(|words| masks.mask(words)));
        masked.collect()
    }

    pub(super) fn whereabouts<'a>(
        &'a self,
        app: &'a App,
        ledger: Option<&'a Ledger>,
    ) -> Whereabouts<'a> {
        Whereabouts {
            host: self.host.as_read(),
            places: &app.places,
            seal: self.registry.seal(),
            hidden: &self.hidden,
            manifests: &self.manifests,
            ledger,
            journal: self.runs.get(&app.address.app).map(|open| &open.journal),
        }
    }
}

/// Where the secrets of an app are.
pub(super) struct Whereabouts<'a> {
    host: &'a dyn ReadHost,
    places: &'a Places,
    seal: &'a [u8; 32],
    hidden: &'a Hidden,
    manifests: &'a BTreeMap<String, Manifest>,
    ledger: Option<&'a Ledger>,
    journal: Option<&'a Journal<'a>>,
}

impl Whereabouts<'_> {
    /// The values, as the host's files hold them now: only who has something to say needs them. What can't be read
    /// masks nothing, and isn't printed by anybody either.
    pub fn masks(&self) -> Masks {
        let mut masks = self.hidden.told.clone();
        masks.extend(&self.hidden.remembered);
        masks.extend(&self.of_environments());
        for path in self.files() {
            let Ok(bytes) = self.host.read(&path) else {
                continue;
            };
            let digest = Digest::sealed(self.seal, &bytes);
            // What the controller has made holds what it has told. Anything else, as from before a secret was
            // changed, may hold anything.
            if self.hidden.files.contains(&digest) {
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            masks.add(&text);
            let apart = |character: char| {
                character.is_whitespace() || "\"'`=:;,@()[]{}<>".contains(character)
            };
            let words = text.split(apart);
            let words = words.filter(|word| word.chars().count() >= WORD);
            words.for_each(|word| masks.add(word));
        }
        masks
    }

    /// The values in environment files, but for those files of which it is known that nothing else has to be hidden, or
    /// nothing at all: an address or a word such as `running` hides what a gate has to say.
    fn of_environments(&self) -> Masks {
        let directory = environments(&self.places.state);
        let mut plain = BTreeSet::new();
        self.each_known(|id, resource| {
            let secret = resource.settings.get("secret").and_then(Value::as_bool);
            if Path::new(&id.name).starts_with(&directory) && secret == Some(false) {
                plain.extend(resource.text("content").map(ToOwned::to_owned));
            }
        });
        let mut masks = Masks::default();
        for name in self.host.list(&directory).unwrap_or_default() {
            let path = directory.join(name);
            let Ok(bytes) = self.host.read(&path) else {
                continue;
            };
            let told = self
                .hidden
                .files
                .contains(&Digest::sealed(self.seal, &bytes));
            if told || plain.contains(&Digest::of(&bytes).to_string()) {
                continue;
            }
            for value in environment(&bytes, &path).unwrap_or_default().values() {
                masks.add(value);
            }
        }
        masks
    }

    /// Every resource of every kept generation, and of the run that is open.
    fn each_known(&self, mut see: impl FnMut(&ResourceId, &Resource)) {
        let generations = self.ledger.iter().flat_map(|ledger| &ledger.generations);
        let resources = generations.flat_map(|it| &it.state.resources);
        resources.for_each(|(id, resource)| see(id, resource));
        let known = self
            .journal
            .map(|journal| journal.ask(crate::apply::Told::known));
        let known = known.iter().flatten();
        known.for_each(|(id, resource)| see(id, resource));
    }

    /// Files that are declared to hold a secret, but for environment files.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        // Most generations have most things in common, and a manifest is read once.
        let mut trees = BTreeSet::new();
        self.each_known(|id, resource| {
            let path = PathBuf::from(&id.name);
            let secret = resource.settings.get("secret").and_then(Value::as_bool);
            let environment = path.starts_with(environments(&self.places.state));
            if id.kind == ResourceKind::RELEASE {
                trees.extend(resource.text("tree").map(|tree| (path, tree.to_owned())));
            } else if id.kind == ResourceKind::FILE && secret == Some(true) && !environment {
                files.insert(path);
            }
        });
        for (path, tree) in trees {
            if let Some(manifest) = manifest(self.host, self.places, self.manifests, &tree) {
                files.extend(manifest.sealed().iter().map(|inside| inside.below(&path)));
            }
        }
        files
    }
}

/// Where environment files are.
fn environments(state: &Path) -> PathBuf {
    state.join("env")
}
