//! The same on a real file system.

use super::*;

/// Everything at and below a directory of this machine but what is rosey's own.
fn listed(directory: &std::path::Path, all: &mut BTreeMap<String, String>) {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with(".rosey") || path.to_string_lossy().contains(".rosey-") {
            continue;
        }
        let found = path.symlink_metadata().unwrap();
        let words = if found.is_dir() {
            listed(&path, all);
            String::new()
        } else if found.is_symlink() {
            path.read_link().unwrap().display().to_string()
        } else {
            std::fs::read_to_string(&path).unwrap()
        };
        let words = format!("{:o} {} {words}", found.mode(), found.uid());
        all.insert(path.display().to_string(), words);
    }
}

#[test]
fn all_of_it_holds_on_a_real_file_system() {
    use crate::content::own_owner;
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    let at = |below: &str| real.join(below).display().to_string();
    let host = LocalHost::new();
    let own = own_owner(&host).unwrap();
    let mut bench = Bench::new();
    bench.places.root = real.join("app");
    bench.owner = own.clone();
    for below in ["app/releases", "app/shared", "etc", "app/gone"] {
        std::fs::create_dir_all(at(below)).unwrap();
    }
    std::fs::write(at("etc/there.conf"), "old").unwrap();
    std::fs::write(at("app/shared/seed"), "by the app").unwrap();
    std::os::unix::fs::symlink("/nowhere", at("app/current")).unwrap();
    with_content(&bench, &host, &[b"new"]);
    let owned = |resource: Resource| {
        resource
            .with("owner", own.user.as_str())
            .with("group", own.group.as_str())
    };
    let new = |mode| owned(file(b"new", mode, ""));
    let tree = owned(release(&bench, &host, b"one"));
    let shown = link("releases/1").setting("tree", tree.text("tree").unwrap());
    let (files, directories) = (ResourceKind::FILE, ResourceKind::DIRECTORY);
    let wanted_directory = owned(Resource::new().with("mode", "0700"));
    let changes: [(&dyn Kind, ResourceKind, &str, Option<Resource>); 8] = [
        (&File, files.clone(), "etc/new.conf", Some(new("0640"))),
        (&File, files.clone(), "etc/there.conf", Some(new("0600"))),
        (
            &File,
            files,
            "app/shared/seed",
            Some(new("0604").setting("seed", true)),
        ),
        (
            &Directory,
            directories.clone(),
            "app/made",
            Some(wanted_directory.clone()),
        ),
        (
            &Directory,
            directories.clone(),
            "app/shared",
            Some(wanted_directory),
        ),
        (&Directory, directories, "app/gone", None),
        (
            &Release,
            ResourceKind::RELEASE,
            "app/releases/1",
            Some(tree),
        ),
        (&Link, ResourceKind::LINK, "app/current", Some(shown)),
    ];
    let seen = || {
        let mut all = BTreeMap::new();
        listed(&real, &mut all);
        all
    };
    let original = seen();
    let mut taken = Vec::new();
    for (kind, word, below, to) in changes {
        let id = id(word, &at(below));
        let from = bench.observe(&host, kind, &id, to.as_ref());
        let forward = step(kind, &id, from.clone(), to.clone()).expect("a test changes something");
        let before = seen();
        for _ in 0..2 {
            bench.apply(&host, kind, &forward).unwrap();
        }
        assert_ne!(seen(), before, "{id}");
        let found = bench.observe(&host, kind, &id, to.as_ref());
        assert!(step(kind, &id, found, to).is_none(), "{id}");
        taken.push((kind, id, from, forward));
    }
    for (kind, id, from, _) in taken.iter().rev() {
        let now = bench.observe(&host, *kind, id, from.as_ref());
        let back = step(*kind, id, now, from.clone()).unwrap();
        bench.apply(&host, *kind, &back).unwrap();
    }
    assert_eq!(seen(), original);
    for (kind, _, _, forward) in &taken {
        bench.acting(&host, |context| kind.sweep(context, forward).unwrap());
    }
    assert_eq!(seen(), original);
    assert_eq!(std::fs::read_dir(at("etc")).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_dir(at("app/.rosey/staging/run"))
            .unwrap()
            .count(),
        0
    );
}
