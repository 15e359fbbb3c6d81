//! What `shared`, `render`, `file` and the app itself want of files and directories.

use crate::config::Declaration;
use crate::content::ManifestEntry;
use crate::model::names::Mode;
use crate::model::{Digest, Resource, ResourceKind};
use crate::step::desired::Desired;

use super::declare::{FileDeclaration, RenderDeclaration, SharedDeclaration};

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: &str = "0755";

/// The setting of a directory that names the owner and group that were declared for it, whether or not it was found
/// with others and taken so: only by it can another declaration be told from the same one.
pub(super) const ASKED: &str = "asked";

/// `shared`: links in the release's tree.
pub fn shape_shared(declaration: &Declaration, desired: &mut Desired<'_>) {
    let shared: SharedDeclaration = Desired::typed(declaration);
    let directories = shared.directories.iter().map(|directory| &directory.path);
    for path in directories.chain(shared.files.iter().map(|file| &file.path)) {
        desired.put_link(path, &format!("shared/{path}"));
    }
}

/// `render`: a file in the release's tree.
pub fn shape_render(declaration: &Declaration, desired: &mut Desired<'_>) {
    let render: RenderDeclaration = Desired::typed(declaration);
    let Some(rendered) = desired.render_file(declaration, &render.from) else {
        return;
    };
    let secret = rendered.is_secret();
    let bytes = rendered.text.as_bytes().to_vec();
    let size = bytes.len() as u64;
    let digest = desired.content(&format!("render {}", render.target), bytes, secret);
    let mode = render
        .mode
        .map_or(if secret { 0o640 } else { FILE_MODE }, Mode::bits);
    desired.put(&render.target, ManifestEntry::File { mode, size, digest });
}

/// `shared`: the directories and seeded files themselves.
pub fn shared(declaration: &Declaration, desired: &mut Desired<'_>) {
    let shared: SharedDeclaration = Desired::typed(declaration);
    let top = desired.below_root("shared");
    let owner = desired.site.owner.clone();
    desired.want(ResourceKind::DIRECTORY, top, directory(None, &owner));
    let app_owner = desired.site.app_owner.clone();
    for wanted in &shared.directories {
        let path = desired.below_root(&format!("shared/{}", wanted.path));
        want_parents(desired, wanted.path.as_str());
        desired.want(
            ResourceKind::DIRECTORY,
            path,
            directory(wanted.mode, &app_owner),
        );
    }
    for wanted in &shared.files {
        let path = desired.below_root(&format!("shared/{}", wanted.path));
        want_parents(desired, wanted.path.as_str());
        let Some(seed) = &wanted.seed else {
            // Without attributes it never differs; that it is missing is a finding.
            let expected =
                Resource::new().setting("expected", format!("shared file {}", wanted.path));
            desired.want(ResourceKind::FILE, path, expected);
            continue;
        };
        let Some(bytes) = desired.source_bytes(declaration, seed) else {
            continue;
        };
        let digest = desired.content(&format!("seed {}", wanted.path), bytes, false);
        let mode = wanted
            .mode
            .map_or_else(|| "0640".to_owned(), |mode| mode.to_string());
        let file = file(digest, &mode, &app_owner.user, &app_owner.group).setting("seed", true);
        desired.want(ResourceKind::FILE, path, file);
    }
}

/// `file`: a file outside of the release.
pub fn file_outside(declaration: &Declaration, desired: &mut Desired<'_>) {
    let wanted: FileDeclaration = Desired::typed(declaration);
    let Some(rendered) = desired.render_file(declaration, &wanted.from) else {
        return;
    };
    let secret = rendered.is_secret();
    let bytes = rendered.text.as_bytes().to_vec();
    let digest = desired.content(&format!("file {}", wanted.path), bytes, secret);
    let owner = desired.site.owner;
    let user = wanted
        .owner
        .map_or_else(|| owner.user.clone(), |user| user.to_string());
    // The app's group has no business in the rest of the system unless it is asked for.
    let group = wanted
        .group
        .map_or_else(|| user.clone(), |group| group.to_string());
    let default = if secret { "0600" } else { "0644" };
    let mode = wanted
        .mode
        .map_or_else(|| default.to_owned(), |mode| mode.to_string());
    let file = file(digest, &mode, &user, &group)
        .setting("secret", secret)
        .setting("adopt", wanted.adopt || desired.site.app.adopt);
    desired.want(ResourceKind::FILE, wanted.path.as_str(), file);
}

/// The release, and the directories that every app has.
pub fn release(desired: &mut Desired<'_>) {
    let owner = desired.site.owner.clone();
    for path in ["", "releases"] {
        let path = desired.below_root(path).trim_end_matches('/').to_owned();
        desired.want(ResourceKind::DIRECTORY, path, directory(None, &owner));
    }
    if desired
        .referred
        .iter()
        .any(|path| path.starts_with(&desired.below_root("built/")))
    {
        let path = desired.below_root("built");
        desired.want(ResourceKind::DIRECTORY, path, directory(None, &owner));
    }
    let release = desired.release().clone();
    let resource = Resource::new()
        .with("tree", release.tree)
        .with("owner", owner.user)
        .with("group", owner.group)
        .setting("version", desired.site.version);
    let path = release.path.to_string_lossy().into_owned();
    desired.want(ResourceKind::RELEASE, path, resource);
}

/// A directory of rosey's own beside its registry, that only who runs the helper can read.
pub fn own_directory(desired: &mut Desired<'_>, path: &std::path::Path) {
    let owner = desired.site.owner.clone();
    let group = if desired.site.root {
        owner.user.clone()
    } else {
        owner.group
    };
    let directory = Resource::new()
        .with("mode", "0700")
        .with("owner", owner.user)
        .with("group", group)
        .setting("declared", vec!["mode"]);
    desired.want(ResourceKind::DIRECTORY, path.to_string_lossy(), directory);
}

/// A file as it should be.
#[must_use]
pub fn file(content: Digest, mode: &str, user: &str, group: &str) -> Resource {
    Resource::new()
        .with("content", content)
        .with("mode", mode)
        .with("owner", user)
        .with("group", group)
}

/// A directory as it should be. Whatever isn't declared of one that is there already is taken as it
/// is, when it is first met; `declared` says what is.
pub(super) fn directory(mode: Option<Mode>, owner: &crate::host::Owner) -> Resource {
    let declared: Vec<&str> = if mode.is_some() {
        vec!["mode"]
    } else {
        Vec::new()
    };
    let mode = mode.map_or_else(|| DIRECTORY_MODE.to_owned(), |mode| mode.to_string());
    Resource::new()
        .with("mode", mode)
        .with("owner", owner.user.as_str())
        .with("group", owner.group.as_str())
        .setting("declared", declared)
        .setting(ASKED, vec![owner.user.as_str(), owner.group.as_str()])
}

/// The directories between `shared/` and what is shared.
fn want_parents(desired: &mut Desired<'_>, path: &str) {
    let owner = desired.site.app_owner.clone();
    for (end, _) in path.match_indices('/') {
        let parent = desired.below_root(&format!("shared/{}", &path[..end]));
        let id = desired.id(ResourceKind::DIRECTORY, parent);
        desired
            .state
            .resources
            .entry(id)
            .or_insert_with(|| directory(None, &owner));
    }
}
