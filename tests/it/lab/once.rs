//! Tasks that run once a run, on one host.

use super::back::break_one;
use super::fleet::{Commands as _, Fleet};

/// Notes on each host what was run there. A migration belongs to all hosts, so its database would too.
const MIGRATE: &str = r#"    task "migrate" once=#true {
        run "echo up $ROSEY_VERSION >>/tmp/migrations"
        undo "echo down $ROSEY_VERSION >>/tmp/migrations"
        inputs "migrations/"
    }
    service "rosey-bot" {"#;

fn ran(fleet: &Fleet) -> Vec<String> {
    let read = |host| {
        fleet
            .lab
            .exec(host, "cat /tmp/migrations 2>/dev/null || true")
    };
    fleet.lab.hosts().map(read).collect()
}

#[test]
fn a_migration_runs_on_one_host_and_is_undone_last() {
    let fleet = Fleet::up(3);
    fleet.declare("    service \"rosey-bot\" {", MIGRATE);
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    assert_eq!(ran(&fleet), ["up 1.0.0", "", ""]);
    // Another release with the same migrations has nothing to migrate.
    fleet.version("1.1.0");
    rosey.apply().exits(0);
    assert_eq!(ran(&fleet), ["up 1.0.0", "", ""]);
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    fleet
        .project
        .write("bot/migrations/0002-more.up.sql", "SELECT 1;\n");
    fleet.declare("fault \"\"", "fault \"unhealthy\"");
    fleet.declare("within \"10s\"", "within \"2s\"");
    rosey.apply().exits(7);
    assert_eq!(ran(&fleet), ["up 1.0.0\nup 2.0.0\ndown 2.0.0", "", ""]);
    assert_eq!(fleet.served(), ["1.1.0"; 3]);
    fleet.must_be(&before);
}

#[test]
fn a_host_that_joins_later_only_notes_what_was_run() {
    let fleet = Fleet::up(2);
    fleet.declare("    service \"rosey-bot\" {", MIGRATE);
    let rosey = fleet.rosey();
    fleet.declare("    owner \"rosey\"", "    on \"h2\"\n    owner \"rosey\"");
    rosey.apply().exits(0);
    assert_eq!(ran(&fleet), ["", "up 1.0.0"]);
    fleet.declare("    on \"h2\"\n", "");
    let plan = rosey
        .run(&["plan", super::fleet::ENVIRONMENT, "--only", "h1"])
        .exits(0)
        .stdout;
    assert!(plan.contains("run once for all on another host"), "{plan}");
    // Who has run it isn't chosen, and is asked all the same.
    rosey
        .run(&["apply", super::fleet::ENVIRONMENT, "--yes", "--only", "h1"])
        .exits(0);
    assert_eq!(ran(&fleet), ["", "up 1.0.0"]);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    assert_eq!(rosey.steps(), Vec::<String>::new());
}

#[test]
fn what_one_host_would_undo_for_all_it_undoes_with_all() {
    let fleet = Fleet::up(2);
    fleet.declare("    service \"rosey-bot\" {", MIGRATE);
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    fleet.version("2.0.0");
    fleet
        .project
        .write("bot/migrations/0002-more.up.sql", "SELECT 1;\n");
    rosey.apply().exits(0);
    let both = ["up 1.0.0\nup 2.0.0", ""];
    assert_eq!(ran(&fleet), both);
    let before = fleet.snapshots();
    let name = super::fleet::ENVIRONMENT;
    for command in ["rollback", "remove"] {
        let told = rosey
            .run(&[command, name, "--yes", "--only", "h1"])
            .exits(10)
            .stderr;
        assert!(
            told.contains("h2: task migrate of rosey-bot was run once for all hosts")
                && told.contains("take h2 back with it"),
            "{told}"
        );
        fleet.must_be(&before);
        assert_eq!(ran(&fleet), both);
    }
    // Who has only noted it undoes nothing.
    rosey
        .run(&["rollback", name, "--yes", "--only", "h2"])
        .exits(0);
    assert_eq!(fleet.served(), ["2.0.0", "1.0.0"]);
    assert_eq!(ran(&fleet), both);
    // Nobody keeps any more what needs it.
    rosey
        .run(&["rollback", name, "--yes", "--only", "h1"])
        .exits(0);
    assert_eq!(ran(&fleet), ["up 1.0.0\nup 2.0.0\ndown 2.0.0", ""]);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
}

// Whoever migrated fails, and the other host stays new, as declared: it needs what was migrated.
#[test]
fn what_was_run_once_stays_where_another_host_is_new_for_good() {
    let fleet = Fleet::up(2);
    fleet.declare("    service \"rosey-bot\" {", MIGRATE);
    fleet.declare("waves 1 \"100%\"", "waves \"100%\"; on-failure \"stop\"");
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    fleet
        .project
        .write("bot/migrations/0002-more.up.sql", "SELECT 1;\n");
    break_one(&fleet, 1, "unhealthy");
    fleet.declare("within \"10s\"", "within \"3s\"");
    let failed = rosey.apply().exits(17);
    assert!(
        failed.stderr.contains("others are new and need it"),
        "{}",
        failed.stderr
    );
    assert_eq!(ran(&fleet), ["up 1.0.0\nup 2.0.0", ""]);
    assert_eq!(fleet.served(), ["1.0.0", "2.0.0"]);
    before[&1].must_equal(&fleet.snapshots()[&1]);
    // Corrected, it goes on from there.
    fleet.declare("vars { fault \"unhealthy\"; }; ", "");
    fleet.version("2.1.0");
    rosey.apply().exits(0);
    assert_eq!(ran(&fleet), ["up 1.0.0\nup 2.0.0", ""]);
    assert_eq!(fleet.served(), ["2.1.0"; 2]);
    assert_eq!(rosey.steps(), Vec::<String>::new());
}
