//! The example bot, as what every other test here deploys: what it tells of itself, and what can be done to it.

use std::collections::BTreeSet;

use super::here::{Here, PATIENCE};
use crate::support::{Project, wait_until};

#[test]
fn the_bot_tells_eight_things_and_its_channel_can_be_taken_down() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let health = || here.get("/api/health").expect("the bot answers");
    wait_until("the bot to have heard somebody", PATIENCE, || {
        health()["user_count"].as_u64().is_some_and(|it| it > 0)
    });
    let (one, two) = (health(), health());
    let names: BTreeSet<_> = one.as_object().expect("an object").keys().collect();
    let wanted = [
        "status",
        "connected",
        "channel",
        "uptime",
        "version",
        "user_count",
        "requests",
        "errors",
    ];
    assert_eq!(names, wanted.map(str::to_owned).iter().collect());
    assert_eq!(one["status"], "running");
    assert_eq!(one["connected"], true);
    assert_eq!(one["channel"], "test");
    assert_eq!(one["version"], "1.0.0");
    assert_eq!(one["errors"], 0);
    assert!(one["uptime"].as_f64() > Some(0.0), "{one}");
    assert!(
        two["uptime"].as_f64() >= one["uptime"].as_f64(),
        "{one} {two}"
    );
    let counted = |health: &serde_json::Value| health["requests"].as_u64().expect("a number");
    assert_eq!(counted(&two), counted(&one) + 1);

    here.rosey.run(&["verify", "test"]).exits(0);
    let down = here
        .post("/api/channel", r#"{"up": false}"#)
        .expect("it answers");
    assert_eq!(
        (&down["status"], &down["connected"]),
        (&"degraded".into(), &false.into())
    );
    assert_eq!(health()["connected"], false);
    here.rosey.run(&["verify", "test"]).exits(16);
    let up = here
        .post("/api/channel", r#"{"up": true}"#)
        .expect("it answers");
    assert_eq!(
        (&up["status"], &up["connected"]),
        (&"running".into(), &true.into())
    );
    here.rosey.run(&["verify", "test"]).exits(0);
    let refused = here.post("/api/channel", "{}").expect("it answers");
    assert!(refused["error"].is_string(), "{refused}");
    assert_eq!(health()["connected"], true);
}
