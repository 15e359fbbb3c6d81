use super::*;
use crate::content::Manifest;
use crate::host::memory::Fault;
use crate::host::{Manager, MemoryHost, Owner, ReadHost, ServiceAct, Unit};
use crate::model::{Author, EnvironmentName, Gates, ResourceKind, State};
use crate::step::registry::registry;
use crate::step::testing::{Bench, id};

const ROOT: &str = "/opt/bot";
const SEAL: [u8; 32] = [7; 32];

fn release(name: &str) -> String {
    format!("{ROOT}/releases/{name}")
}

fn built(name: &str) -> String {
    format!("{ROOT}/built/{name}")
}

/// The state after a deploy of a release that leads to a built directory.
fn live(name: &str, made: &str) -> State {
    let tree = Manifest::default().digest();
    let link = Resource::new()
        .with("target", format!("releases/{name}"))
        .setting("uses", vec![built(made)]);
    let task = Resource::new()
        .with("stamp", tree)
        .setting("built", built(made))
        .setting("release", release(name))
        .setting("uses", vec![release(name)]);
    let resources = [
        (id(ResourceKind::LINK, &format!("{ROOT}/current")), link),
        (
            id(ResourceKind::RELEASE, &release(name)),
            Resource::new().with("tree", tree),
        ),
        (id(ResourceKind::TASK, &built(made)), task),
        (id(ResourceKind::TASK, "migrate"), Resource::new()),
        (id(ResourceKind::DIRECTORY, ROOT), Resource::new()),
    ];
    State {
        resources: resources.into(),
    }
}

fn generation(number: u64, name: Option<&str>, state: State) -> Generation {
    Generation {
        run: name.map(|_| RunId(format!("run-{number}"))),
        number,
        parent: number.checked_sub(1),
        release: name.map(str::to_owned),
        version: None,
        content: None,
        declared: None,
        variables: None,
        state,
        gates: Gates::default(),
        backup: None,
        author: Author::default(),
        at: String::new(),
        verified: true,
        left: false,
    }
}

/// A ledger of deploys, each of which keeps the trees that were there before it, after generation 0.
fn ledger(deploys: &[(&str, &str)]) -> Ledger {
    let environment = EnvironmentName::new("prod").unwrap();
    let app = id(ResourceKind::FILE, "").app;
    let mut ledger = Ledger::new(environment, app, ROOT.to_owned());
    let before = generation(0, None, State::default());
    ledger.generations.push(before);
    let mut trees = State::default();
    for (number, (name, made)) in (1..).zip(deploys) {
        let new = live(name, made);
        let mut state = trees.clone();
        state.extend(new.clone());
        ledger
            .generations
            .push(generation(number, Some(name), state));
        let is_tree =
            |id: &ResourceId| id.kind == ResourceKind::RELEASE || id.name.starts_with(&built(""));
        trees
            .resources
            .extend(new.resources.into_iter().filter(|(id, _)| is_tree(id)));
    }
    ledger
}

fn chosen(ledger: &mut Ledger, keep: u32, earlier: &[String]) -> Vec<String> {
    let bench = Bench::new();
    let choice = Choice {
        kinds: registry(),
        places: &bench.places,
        releases: keep,
    };
    let earlier = earlier.iter().map(PathBuf::from).collect();
    let going = choose(&choice, ledger, earlier);
    let again = choose(&choice, &mut ledger.clone(), going.clone());
    assert_eq!(again, going, "the same list is chosen again");
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    going.into_iter().map(text).collect()
}

fn numbers(ledger: &Ledger) -> Vec<u64> {
    ledger.generations.iter().map(|it| it.number).collect()
}

#[test]
fn the_last_distinct_releases_are_kept_with_what_they_lead_to() {
    let mut ledger = ledger(&[("1", "a"), ("2", "a"), ("3", "b"), ("4", "b")]);
    assert_eq!(
        chosen(&mut ledger, 2, &[]),
        [built("a"), release("1"), release("2")]
    );
    assert_eq!(numbers(&ledger), [0, 3, 4]);
}

#[test]
fn what_one_of_the_kept_ones_still_leads_to_stays() {
    let mut ledger = ledger(&[("1", "a"), ("2", "b"), ("3", "a")]);
    assert_eq!(
        chosen(&mut ledger, 1, &[]),
        [built("b"), release("1"), release("2")]
    );
    assert_eq!(numbers(&ledger), [0, 3]);
}

#[test]
fn a_release_that_was_gone_back_to_is_live_again() {
    let mut ledger = ledger(&[("1", "a"), ("2", "b"), ("3", "b"), ("1", "a")]);
    assert_eq!(chosen(&mut ledger, 2, &[]), [release("2")]);
    assert_eq!(numbers(&ledger), [0, 1, 3, 4]);
}

#[test]
fn the_standing_release_is_kept_whatever_is_asked() {
    let mut ledger = ledger(&[("1", "a"), ("2", "b")]);
    assert_eq!(chosen(&mut ledger, 0, &[]), [built("a"), release("1")]);
    assert_eq!(numbers(&ledger), [0, 2]);
}

#[test]
fn what_goes_is_in_no_state_any_more() {
    let mut ledger = ledger(&[("1", "a"), ("2", "b"), ("3", "c")]);
    let gone = id(ResourceKind::RELEASE, &release("1"));
    let kept = id(ResourceKind::RELEASE, &release("2"));
    let moment = MemoryHost::new().moment();
    for id in [&gone, &kept] {
        ledger.changes.insert(id.clone(), moment.clone());
    }
    assert!(ledger.current().unwrap().state.get(&gone).is_some());
    chosen(&mut ledger, 2, &[]);
    for generation in &ledger.generations {
        assert_eq!(generation.state.get(&gone), None, "{}", generation.number);
    }
    assert!(ledger.current().unwrap().state.get(&kept).is_some());
    assert_eq!(ledger.changes.keys().collect::<Vec<_>>(), [&kept]);
    // What isn't a tree stays.
    let task = id(ResourceKind::TASK, "migrate");
    assert!(ledger.current().unwrap().state.get(&task).is_some());
}

#[test]
fn what_was_there_before_rosey_is_kept_whole() {
    let mut ledger = ledger(&[("1", "a"), ("2", "b")]);
    let there = id(ResourceKind::RELEASE, &release("20250101"));
    ledger.generations[0]
        .state
        .resources
        .insert(there, Resource::new());
    assert_eq!(chosen(&mut ledger, 1, &[]), [built("a"), release("1")]);
    assert_eq!(numbers(&ledger), [0, 2]);
}

#[test]
fn an_earlier_list_is_ended_but_for_what_came_back_and_for_what_is_not_ours() {
    let mut ledger = ledger(&[("1", "a")]);
    let earlier = [
        release("0"),
        release("1"),
        built("a"),
        "/etc".to_owned(),
        ROOT.to_owned(),
    ];
    assert_eq!(chosen(&mut ledger, 5, &earlier), [release("0")]);
}

/// A host with three releases, two built directories and a link to the last release.
fn host() -> MemoryHost {
    let host = MemoryHost::new();
    for name in ["1", "2", "3"] {
        host.put_file(format!("{}/lib/server.py", release(name)), name);
    }
    for name in ["a", "b"] {
        host.put_file(format!("{}/.venv/python", built(name)), name);
    }
    host.put_link(format!("{ROOT}/current"), "releases/3");
    host
}

fn pruning<T>(host: &MemoryHost, act: impl FnOnce(&Pruning<'_>) -> T) -> T {
    let bench = Bench::new();
    act(&Pruning {
        host,
        places: &bench.places,
        run: &bench.run,
    })
}

fn removed(host: &MemoryHost, trees: &[String]) -> Result<(u64, Vec<String>), HostError> {
    let trees = trees.iter().map(PathBuf::from).collect();
    let (removed, stay) = pruning(host, |pruning| pruning.remove(trees))?;
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    Ok((removed.count, stay.into_iter().map(text).collect()))
}

fn names(host: &MemoryHost, directory: &str) -> Vec<String> {
    let path = Path::new(ROOT).join(directory);
    let names = host.list(&path).unwrap_or_default();
    let text = |name: std::ffi::OsString| name.into_string().unwrap();
    names.into_iter().map(text).collect()
}

#[test]
fn trees_are_removed_whole_and_counted() {
    let host = host();
    let trees = [release("1"), built("a"), release("never")];
    assert_eq!(removed(&host, &trees), Ok((6, Vec::new())));
    assert_eq!(names(&host, "releases"), ["2", "3"]);
    assert_eq!(names(&host, "built"), ["b"]);
    assert_eq!(names(&host, ".rosey/staging"), [""; 0]);
}

#[test]
fn what_a_link_leads_to_stays_with_all_that_it_may_need() {
    let host = host();
    let (_, stay) = removed(&host, &[release("1"), release("3"), built("a")]).unwrap();
    assert_eq!(stay, [built("a"), release("3")]);
    assert_eq!(names(&host, "releases"), ["2", "3"]);
}

#[test]
fn what_a_process_runs_in_stays() {
    let host = host();
    let unit = Unit {
        manager: Manager::Systemd,
        name: "old.service".to_owned(),
    };
    let definition = format!(
        "[Service]\nWorkingDirectory={}\nExecStart=x\n",
        release("1")
    );
    host.put_file("/etc/systemd/system/old.service", definition);
    let second = std::time::Duration::from_secs(1);
    for act in [ServiceAct::DaemonReload, ServiceAct::Start] {
        host.manage(&unit, &act, second).unwrap();
    }
    let trees = [release("1"), release("2"), built("a")];
    let (_, stay) = removed(&host, &trees).unwrap();
    assert_eq!(stay, [built("a"), release("1")]);
    host.manage(&unit, &ServiceAct::Stop, second).unwrap();
    let (_, stay) = removed(&host, &stay).unwrap();
    assert!(stay.is_empty());
    assert_eq!(names(&host, "releases"), ["3"]);
}

#[test]
fn a_prune_that_dies_anywhere_is_ended_by_the_next_and_leaves_no_half_release() {
    let prepared = host();
    let trees = [release("1"), release("2"), built("a")];
    let whole = |host: &MemoryHost| {
        for name in names(host, "releases") {
            let file = format!("{}/lib/server.py", release(&name));
            assert!(host.entry(Path::new(&file)).unwrap().is_some(), "{name}");
        }
    };
    crate::step::testing::dying_everywhere(
        &prepared,
        |host| drop(removed(host, &trees)),
        |host, told| {
            whole(host);
            let (_, stay) = removed(host, &trees).unwrap();
            assert!(stay.is_empty(), "{told}");
            assert_eq!(names(host, "releases"), ["3"], "{told}");
            assert_eq!(names(host, "built"), ["b"], "{told}");
            assert_eq!(names(host, ".rosey/staging"), [""; 0], "{told}");
        },
    );
}

#[test]
fn a_failure_is_told() {
    let host = host();
    host.fault_at(4, Fault::Error(HostErrorKind::ReadOnly));
    assert!(removed(&host, &[release("1")]).is_err());
}

#[test]
fn the_last_whole_backups_are_kept() {
    let host = MemoryHost::new();
    for run in ["20260101-a", "20260102-b", "20260103-c"] {
        let backup = format!("{ROOT}/.rosey/backups/{run}");
        host.put_file(format!("{backup}/manifest.json"), "{}");
        host.put_file(format!("{backup}/0"), "data");
    }
    host.put_file(format!("{ROOT}/.rosey/backups/20260104-d/0"), "half");
    let gone = pruning(&host, |pruning| pruning.remove_backups(2)).unwrap();
    assert_eq!((gone.count, gone.bytes), (5, 10));
    assert_eq!(names(&host, ".rosey/backups"), ["20260102-b", "20260103-c"]);
    pruning(&host, |pruning| pruning.remove_backups(0)).unwrap();
    assert_eq!(names(&host, ".rosey/backups"), [""; 0]);
    let nothing = pruning(&MemoryHost::new(), |pruning| pruning.remove_backups(2));
    assert_eq!(nothing, Ok(Removed::default()));
}

#[test]
fn manifests_of_kept_trees_stay_and_what_was_built_for_nothing_goes() {
    let host = MemoryHost::new();
    let owner = Owner {
        user: "root".to_owned(),
        group: "root".to_owned(),
    };
    let own = format!("{ROOT}/.rosey");
    host.put_directory(&own);
    host.set_mode(Path::new(&own), 0o700).unwrap();
    host.set_owner(Path::new(&own), &owner).unwrap();
    let [kept, old] = [Manifest::default().digest(), Digest::of(b"old")];
    let manifest = serde_json::to_vec(&Manifest::default()).unwrap();
    host.put_file(format!("{own}/manifests/{kept}.json"), manifest);
    host.put_file(format!("{own}/manifests/{old}.json"), "{}");
    host.put_file(format!("{own}/objects/built-deps-0123/python"), "x");
    let ledger = ledger(&[("1", "a")]);
    let bench = Bench::new();
    let store = Store::new(&host, &bench.places, &SEAL);
    let gone = pruning(&host, |pruning| pruning.remove_content(&store, &ledger)).unwrap();
    assert_eq!(gone.count, 3);
    assert_eq!(names(&host, ".rosey/manifests"), [format!("{kept}.json")]);
    assert_eq!(names(&host, ".rosey/objects"), [""; 0]);
}
