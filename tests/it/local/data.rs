//! Data: what a backup holds comes back when that is asked for, and only then.

use std::process::Command;

use super::here::Here;
use crate::support::Project;

/// What SQLite says in the bot's database.
fn ask(here: &Here<'_>, sql: &str) -> String {
    let program = "import sqlite3, sys\n\
        connection = sqlite3.connect(sys.argv[1], timeout=10)\n\
        print(connection.execute(sys.argv[2]).fetchall())\n\
        connection.commit()";
    let database = here.root().join("shared/data/rosey.db");
    let output = Command::new("python3")
        .args(["-c", program, database.to_str().unwrap(), sql])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Somebody says something, which the bot keeps in its database and in a text file.
fn say(here: &Here<'_>, text: &str) {
    let body = format!("{{\"who\": \"ann\", \"text\": \"{text}\"}}");
    let said = here.post("/api/quotes", &body).expect("the bot answers");
    assert!(said["id"].is_number(), "{said}");
}

fn remembers(here: &Here<'_>, text: &str) -> (bool, bool) {
    let sql = format!("SELECT count(*) FROM quotes WHERE text = '{text}'");
    let kept = std::fs::read_to_string(here.root().join("shared/data/quotes/test.txt")).unwrap();
    (ask(here, &sql) == "[(1,)]", kept.contains(text))
}

/// The second version stands; what was said before and after it came is remembered.
fn second<'a>(project: &'a Project) -> Here<'a> {
    let here = Here::applied(project);
    say(&here, "before");
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    say(&here, "after");
    here
}

#[test]
fn a_rollback_leaves_data_as_it_is() {
    let project = Project::with_bot();
    let here = second(&project);
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    for said in ["before", "after"] {
        assert_eq!(remembers(&here, said), (true, true), "{said}");
    }
}

#[test]
fn a_rollback_with_data_puts_back_what_was_there_when_that_version_was_left() {
    let project = Project::with_bot();
    let here = second(&project);
    let with_data = ["rollback", "test", "--with-data", "--yes"];
    here.rosey.run(&with_data).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert_eq!(remembers(&here, "before"), (true, true));
    assert_eq!(remembers(&here, "after"), (false, false));
    assert_eq!(ask(&here, "PRAGMA integrity_check"), "[('ok',)]");
    here.rosey.run(&["drift", "test"]).exits(0);
    // It is the bot's to write to as before.
    say(&here, "again");
    assert_eq!(remembers(&here, "again"), (true, true));
}

#[test]
fn data_of_which_there_is_no_backup_is_not_put_back() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "    backup {\n        sqlite \"data/rosey.db\"\n        path \"data/quotes\"\n    }\n",
        "",
    );
    here.apply().exits(0);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    let ran = here
        .rosey
        .run(&["rollback", "test", "--with-data", "--yes"])
        .exits(10);
    assert!(ran.stderr.contains("--with-data"), "{}", ran.stderr);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

/// A release that isn't healthy, with a migration that has changed the database. Whether the change is
/// still there afterwards.
fn migrated_and_failed(restore: &str) -> bool {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    say(&here, "before");
    here.declare(
        "path \"data/quotes\"",
        &format!("path \"data/quotes\"{restore}"),
    );
    here.declare("within \"5s\"", "within \"1s\"");
    here.declare("fault \"\"", "fault \"unhealthy\"");
    project.write(
        "bot/bin/change",
        "import sqlite3\n\
         connection = sqlite3.connect('data/rosey.db', timeout=10)\n\
         connection.execute('CREATE TABLE changed (it INTEGER)')\n\
         connection.commit()\n",
    );
    here.add(r#"task "change" once=#true { run "python3 bin/change"; undo "true"; }"#);
    let before = here.look();
    let lines = here.apply_json(&[], 7);
    assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert_eq!(remembers(&here, "before"), (true, true));
    here.rosey.run(&["drift", "test"]).exits(0);
    say(&here, "again");
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'changed'";
    ask(&here, tables) == "[(1,)]"
}

#[test]
fn a_failed_run_puts_the_data_back_where_that_is_declared() {
    assert!(!migrated_and_failed("\n        restore \"undo\""));
}

#[test]
fn a_failed_run_leaves_the_data_where_nothing_is_declared() {
    assert!(migrated_and_failed(""));
}
