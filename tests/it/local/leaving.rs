//! What is no longer declared goes, in the right order, and what people wrote stays.

use super::here::Here;
use crate::support::{Look, Project};

#[test]
fn a_renamed_service_gives_its_port_to_the_new_one() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let old = here.process();
    here.declare("service \"bot\"", "service \"robot\"");
    here.declare("process \"bot\"", "process \"robot\"");
    let planned = here.planned();
    let place = |step: &str| {
        planned
            .iter()
            .position(|it| it == step)
            .unwrap_or_else(|| panic!("{step}: {planned:#?}"))
    };
    assert!(
        place("restart remove service bot.service") < place("restart start service robot.service")
    );
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert_ne!(
        here.process(),
        old,
        "there is one process, and it is another"
    );
    assert!(!here.unit().exists(), "the old unit is gone");
    assert!(here.planned().is_empty());
    here.rosey.run(&["drift", "test"]).exits(0);
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert!(here.unit().exists());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_file_outside_comes_changes_and_goes() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let outside = project.path("outside/site.conf");
    std::fs::create_dir(project.path("outside")).unwrap();
    project.write("bot/site.conf.j2", "port {{ port }}\n");
    let word = format!(
        "file \"{}\" from=\"site.conf.j2\" mode=\"0600\"",
        outside.display()
    );
    here.add(&word);
    here.apply().exits(0);
    assert_eq!(
        std::fs::read_to_string(&outside).unwrap(),
        format!("port {}\n", here.port)
    );
    let before = Look::at([project.path("outside")]).here();
    assert!(
        before
            .of(outside.to_str().unwrap())
            .unwrap()
            .contains("mode=0600")
    );
    here.declare(&word, "");
    here.apply().exits(0);
    assert!(!outside.exists());
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    before.must_equal(&Look::at([project.path("outside")]).here());
}

#[test]
fn data_that_a_remove_left_can_be_taken_away_later() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert!(here.root().join("shared/data").exists());
    let all = ["remove", "test", "--yes", "--with-data", "--json"];
    for outcome in ["applied", "unchanged"] {
        let lines = here.rosey.run(&all).exits(0).json_lines();
        assert_eq!(lines.last().unwrap()["outcome"], outcome);
        assert!(!here.root().exists());
    }
}

// Each app's is declared once; who had it before leaves it.
#[test]
fn what_goes_over_to_something_else_goes_first() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let file = |words: &str| format!("file \"local.env\" seed=\"local.env.example\"{words}");
    here.declare(&file(""), &file("; dir \"more\""));
    here.apply().exits(0);
    here.declare("dir \"more\"", "file \"more\" seed=\"VERSION\"");
    let refused = here.rosey.run(&["plan", "test"]).exits(3);
    let said = &refused.stderr;
    assert!(said.contains("apply a declaration without"), "{said}");
    here.declare("; file \"more\" seed=\"VERSION\"", "");
    here.apply().exits(0);
    here.declare(&file(""), &file("; file \"more\" seed=\"VERSION\""));
    here.apply().exits(0);
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn what_is_removed_leaves_data_and_nothing_that_runs() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    std::fs::write(here.root().join("shared/local.env"), "MINE=1\n").unwrap();
    here.rosey.run(&["remove", "test"]).exits(9);
    let freeze = ["freeze", "test", "--reason", "the fair"];
    here.rosey.run(&freeze).exits(0);
    here.rosey.run(&["remove", "test", "--yes"]).exits(5);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.rosey.run(&["unfreeze", "test"]).exits(0);
    let ran = here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert!(
        ran.stderr.contains("srv/shared") && !ran.stderr.contains("stands"),
        "{}",
        ran.stderr
    );
    assert_eq!(here.serving(), None);
    here.rests();
    let root = here.root().display().to_string();
    let left = Look::at([here.root()]).here();
    for name in left.names() {
        let inside = name.strip_prefix(&root).unwrap();
        assert!(
            inside.is_empty() || inside.starts_with("/shared"),
            "{left:?}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(here.root().join("shared/local.env")).unwrap(),
        "MINE=1\n"
    );
    assert!(here.root().join("shared/data/rosey.db").exists());
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    here.apply().exits(0);
    assert_eq!(
        std::fs::read_to_string(here.root().join("current/local.env")).unwrap(),
        "MINE=1\n"
    );
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.rosey
        .run(&["remove", "test", "--yes", "--with-data"])
        .exits(0);
    assert!(!here.root().join("shared").exists());
}

#[test]
fn what_tasks_have_made_goes_with_the_app() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    // The root is older than rosey: an earlier first deploy has left it with the app's data, say.
    project.write("srv/shared/mine", "before rosey\n");
    here.apply().exits(0);
    let task = r#"task "words" { run "mkdir -p .words && cp words.in .words/out"; inputs "words.in"; output ".words"; }"#;
    here.add(task);
    here.add(r#"task "migrate" once=#true { run "bin/migrate up"; undo "bin/migrate down"; inputs "migrations/"; }"#);
    for words in ["one\n", "two\n"] {
        project.write("bot/words.in", words);
        here.apply().exits(0);
    }
    // One that is declared no more is kept for the generations that need it.
    here.declare(task, "");
    here.apply().exits(0);
    assert!(here.root().join("built").exists());
    let removed = here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    let told = "the task migrate of bot is undone by `bin/migrate down`";
    assert!(removed.stderr.contains(told), "{}", removed.stderr);
    let left = Look::at([here.root()]).here();
    let root = here.root().display().to_string();
    let strange = left.names().find(|name| {
        let inside = name.strip_prefix(&root).unwrap();
        !inside.is_empty() && !inside.starts_with("/shared")
    });
    assert_eq!(strange, None, "{left:?}");
}

#[test]
fn data_that_a_remove_left_can_be_taken_away_later_and_nobody_elses() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let with_data = || {
        let arguments = ["remove", "test", "--yes", "--with-data"];
        here.rosey.run(&arguments).exits(0)
    };
    let mine = project.write("srv/shared/mine", "before rosey\n");
    with_data();
    assert!(mine.exists(), "rosey was never here");
    std::fs::remove_dir_all(here.root()).unwrap();
    here.apply().exits(0);
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert!(here.root().join("shared/data/rosey.db").exists());
    let ran = with_data();
    assert!(ran.stderr.contains("nothing is left"), "{}", ran.stderr);
    assert!(!here.root().exists());
    let apps = std::fs::read_dir(here.rosey.home().join("registry/apps"));
    assert_eq!(apps.unwrap().count(), 0);
    with_data();
}
