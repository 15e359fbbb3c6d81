//! From a declaration and a source to the desired state of one app on one host.
//!
//! Pure: the same inputs give the same state. Each word of the app's body belongs to a kind, which
//! first says what it puts into the release's tree ([`Kind::shape`]), and then, with the release
//! known by its name, which resources, gates and attendants it wants ([`Kind::desire`]).
//!
//! [`Kind::shape`]: super::kind::Kind::shape
//! [`Kind::desire`]: super::kind::Kind::desire

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::config::{App, ConfigErrors, Declaration, Environment, Problem, Rendered, Scope};
use crate::content::manifest::LinkTarget;
use crate::content::{EntryPath, Manifest, ManifestEntry, SourceTree};
use crate::host::{Manager, Owner};
use crate::model::names::TreePath;
use crate::model::{Digest, Gates, HostName, Places, Resource, ResourceId, ResourceKind, State};

use super::attendant::Attendant;
use super::kind::Kind;

/// An app on a host, as far as it is known before anything is desired there.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// The app.
    pub app: &'a App,
    /// The host.
    pub host: &'a HostName,
    /// Where the app's things lie.
    pub places: &'a Places,
    /// Who runs its services.
    pub manager: &'a Manager,
    /// Who owns what rosey makes.
    pub owner: &'a Owner,
    /// Who owns what the app writes, and runs it.
    pub app_owner: &'a Owner,
    /// Whether the helper is root, so that services and tasks can run as somebody else.
    pub root: bool,
    /// The platform of the host, for tasks with output.
    pub platform: &'a str,
    /// What templates see: variables, version, secrets.
    pub scope: &'a Scope,
    /// The version.
    pub version: &'a str,
    /// The source, build outputs included.
    pub source: &'a SourceTree,
    /// Releases that are kept on the host: name and tree.
    pub releases: &'a BTreeMap<String, String>,
    /// Digests of bytes that hold a secret, which only the host can make; by their labels.
    pub sealed: &'a BTreeMap<String, Digest>,
}

/// The release as it is named and made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `1.4.2-3fa9c1d2e0b7`, or with `-2` behind it where one of that name has other rendered bytes.
    pub name: String,
    /// Its absolute path.
    pub path: PathBuf,
    /// The digest of its manifest.
    pub tree: Digest,
}

/// What is desired of one app on one host, as far as it is put together.
pub struct Desired<'a> {
    /// Where.
    pub site: Site<'a>,
    /// The resources.
    pub state: State,
    /// The tree of the release.
    pub tree: Manifest,
    /// Absolute paths that the release's tree refers to.
    pub referred: BTreeSet<String>,
    /// Things that must be there before the release is shown (stamps of tasks).
    pub before_shown: BTreeSet<String>,
    /// The release; none while its tree is put together.
    pub release: Option<Release>,
    /// Content that isn't in the source as it is: rendered files, units.
    pub made: BTreeMap<Digest, Vec<u8>>,
    /// Content that holds a secret and has no sealed digest yet, by label.
    pub unsealed: BTreeMap<String, Vec<u8>>,
    /// The gates.
    pub gates: Gates,
    /// Attendants.
    pub attendants: Vec<Attendant>,
    /// What is wrong in the declaration.
    pub problems: Vec<Problem>,
    /// What is wrong in templates of the source.
    pub template_errors: Vec<ConfigErrors>,
}

/// Puts together what an app should be on a host.
#[must_use]
pub fn desired<'a>(site: Site<'a>, kinds: &[&dyn Kind]) -> Desired<'a> {
    let mut desired = Desired {
        site,
        state: State::default(),
        tree: site.source.manifest.clone(),
        referred: BTreeSet::new(),
        before_shown: BTreeSet::new(),
        release: None,
        made: BTreeMap::new(),
        unsealed: BTreeMap::new(),
        gates: Gates::default(),
        attendants: Vec::new(),
        problems: Vec::new(),
        template_errors: Vec::new(),
    };
    let declared = |kind: &dyn Kind| -> Vec<&'a Declaration> {
        let words: Vec<_> = kind.words().iter().map(|word| word.word).collect();
        let of_kind = |declaration: &&Declaration| words.contains(&declaration.word.as_str());
        site.app.declarations.iter().filter(of_kind).collect()
    };
    for kind in kinds {
        declared(*kind)
            .into_iter()
            .for_each(|declaration| kind.shape(declaration, &mut desired));
    }
    desired.name_release();
    for kind in kinds {
        declared(*kind)
            .into_iter()
            .for_each(|declaration| kind.desire(declaration, &mut desired));
    }
    // What every app has: its release, shown by `current`, and the directories of both.
    kinds.iter().for_each(|kind| kind.complete(&mut desired));
    desired
}

/// The digest that releases are named by: of the source, its templates and all that is declared of
/// the release's content. The same for all hosts; no secret is in it.
#[must_use]
pub fn content_digest(source: &Manifest, app: &App) -> Digest {
    let words = ["shared", "render", "task"];
    let declared: Vec<_> = app
        .declarations
        .iter()
        .filter(|declaration| words.contains(&declaration.word.as_str()))
        .map(|declaration| (&declaration.word, &declaration.name, &declaration.body))
        .collect();
    Digest::of(format!("{}\n{}", source.digest(), serde_json::json!(declared)).as_bytes())
}

impl<'a> Desired<'a> {
    /// Names a resource of this app on this host.
    #[must_use]
    pub fn id(&self, kind: ResourceKind, name: impl Into<String>) -> ResourceId {
        let (host, app) = (self.site.host.clone(), self.site.app.name.clone());
        ResourceId {
            host,
            app,
            kind,
            name: name.into(),
        }
    }

    /// Wants a resource.
    pub fn want(&mut self, kind: ResourceKind, name: impl Into<String>, resource: Resource) {
        let id = self.id(kind, name);
        self.state.resources.insert(id, resource);
    }

    /// An absolute path below the app's root, as text.
    #[must_use]
    pub fn below_root(&self, relative: &str) -> String {
        self.site
            .places
            .root
            .join(relative)
            .to_string_lossy()
            .into_owned()
    }

    /// The release, once its tree is complete.
    ///
    /// # Panics
    /// When asked while kinds still shape the tree.
    #[must_use]
    pub fn release(&self) -> &Release {
        self.release
            .as_ref()
            .expect("BUG: the release is named before resources are desired")
    }

    /// What a decoder made of a node, typed again; the decoder is of the same kind.
    ///
    /// # Panics
    /// When the kind doesn't read what it wrote.
    #[must_use]
    pub fn typed<T: DeserializeOwned>(declaration: &Declaration) -> T {
        serde_json::from_value(declaration.body.clone())
            .expect("BUG: a kind reads what its own decoder wrote")
    }

    /// A templated string of the declaration, rendered; none when it can't be, which is noted.
    pub fn render(&mut self, declaration: &Declaration, template: &str) -> Option<Rendered> {
        match self.site.scope.render(template) {
            Ok(rendered) => Some(rendered),
            Err(error) => {
                self.problems
                    .push(error.into_problem(declaration.place_of(template)));
                None
            }
        }
    }

    /// A template of the source, rendered; none when it can't be, which is noted.
    pub fn render_file(&mut self, declaration: &Declaration, from: &TreePath) -> Option<Rendered> {
        let bytes = self.source_bytes(declaration, from)?;
        let Ok(text) = String::from_utf8(bytes) else {
            let message = format!("the template {from} is not UTF-8");
            self.problems
                .push(Problem::new(message).at(declaration.place, "named here"));
            return None;
        };
        match self.site.scope.render(&text) {
            Ok(rendered) => Some(rendered),
            Err(error) => {
                let shown = self.site.environment.shown_source(self.site.app, from);
                self.template_errors.push(error.in_file(&shown, &text));
                None
            }
        }
    }

    /// A file of the source; none when there is none, which is noted.
    pub fn source_bytes(&mut self, declaration: &Declaration, from: &TreePath) -> Option<Vec<u8>> {
        let problem = match self.site.source.read(&entry_path(from)) {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => Problem::new(format!("the source has no file {from}")),
            Err(error) => Problem::new(error.to_string()),
        };
        let problem = problem
            .at(declaration.place, "named here")
            .help("paths here are inside the source; is it excluded?");
        self.problems.push(problem);
        None
    }

    /// Notes content that isn't in the source, and says its digest: a sealed one where it holds a
    /// secret. `label` tells contents of one host apart and never changes with the content.
    pub fn content(&mut self, label: &str, bytes: Vec<u8>, secret: bool) -> Digest {
        let digest = if !secret {
            Digest::of(&bytes)
        } else if let Some(digest) = self.site.sealed.get(label) {
            *digest
        } else {
            self.unsealed.insert(label.to_owned(), bytes);
            return Digest::Sealed([0; 32]);
        };
        self.made.insert(digest, bytes);
        digest
    }

    /// Puts an entry into the release's tree, in the place of whatever the source has there, with
    /// the directories above it.
    pub fn put(&mut self, path: &TreePath, entry: ManifestEntry) {
        let path = entry_path(path);
        let mut below = path.as_bytes().to_vec();
        below.push(b'/');
        self.tree
            .entries
            .retain(|other, _| !other.as_bytes().starts_with(&below));
        let mut parent = path.parent();
        while let Some(directory) = parent {
            parent = directory.parent();
            if !matches!(
                self.tree.entries.get(&directory),
                Some(ManifestEntry::Directory { .. })
            ) {
                self.tree
                    .entries
                    .insert(directory, ManifestEntry::Directory { mode: 0o755 });
            }
        }
        self.tree.entries.insert(path, entry);
    }

    /// Puts a link into the release's tree that points to something below the app's root, and
    /// makes the release refer to it.
    pub fn put_link(&mut self, path: &TreePath, below_root: &str) {
        // `releases/<name>/` and as many directories as the entry itself is deep.
        let depth = 2 + path.as_str().matches('/').count();
        let target = format!("{}{below_root}", "../".repeat(depth));
        self.put(
            path,
            ManifestEntry::Link {
                target: LinkTarget(target.into_bytes()),
            },
        );
        self.referred.insert(self.below_root(below_root));
    }

    /// Where a path that people write as `data/…` really is: below `shared/` where that is shared,
    /// else in the release.
    #[must_use]
    pub fn real_path(&self, path: &TreePath) -> String {
        let shared = self.site.places.root.join("shared");
        let mut part = Path::new(path.as_str());
        loop {
            let candidate = shared.join(part).to_string_lossy().into_owned();
            if self.referred.contains(&candidate) {
                return shared.join(path.as_str()).to_string_lossy().into_owned();
            }
            match part.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => part = parent,
                _ => {
                    return self
                        .release()
                        .path
                        .join(path.as_str())
                        .to_string_lossy()
                        .into_owned();
                }
            }
        }
    }

    /// Environment variables for commands of the user's; never a secret.
    #[must_use]
    pub fn command_environment(&self) -> BTreeMap<String, String> {
        let mut env = self.site.scope.command_environment();
        env.insert("ROSEY_ROOT".to_owned(), self.below_root(""));
        env
    }

    fn name_release(&mut self) {
        let tree = self.tree.digest();
        let content = content_digest(&self.site.source.manifest, self.site.app);
        let base = format!("{}-{}", self.site.version, content.short());
        let named = |number: u32| {
            if number == 1 {
                base.clone()
            } else {
                format!("{base}-{number}")
            }
        };
        let known = |name: &String| self.site.releases.get(name);
        let name = (1..)
            .map(named)
            .find(|name| known(name).is_none_or(|other| *other == tree.to_string()))
            .unwrap_or(base.clone());
        let path = self.site.places.releases().join(&name);
        self.release = Some(Release { name, path, tree });
    }
}

/// A declared path as the path of an entry.
///
/// # Panics
/// Never: both have the same rules.
#[must_use]
pub fn entry_path(path: &TreePath) -> EntryPath {
    EntryPath::new(path.as_str().as_bytes()).expect("BUG: a declared path is a path inside a tree")
}
