//! A port that the app is to listen on, and that somebody has.

use std::net::{Ipv4Addr, TcpListener};

use super::here::Here;
use crate::support::Project;

#[test]
fn a_port_that_somebody_else_has_is_told_before_anything_is_done() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, here.port)).unwrap();
    let ran = here.apply().exits(10);
    let who = format!("(process {}", std::process::id());
    for words in [&format!("port {} is taken", here.port), &who] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    assert!(!here.root().exists());
    drop(taken);
    here.apply().exits(0);
}

#[test]
fn what_the_app_itself_listens_on_is_free_for_its_next_version_and_name() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("log_level \"info\"", "log_level \"debug\"");
    here.apply().exits(0);
    here.declare("service \"bot\"", "service \"robot\"");
    here.declare("process \"bot\"", "process \"robot\"");
    let planned = here.planned();
    assert!(
        planned.contains(&"restart remove service bot.service".to_owned()),
        "{planned:#?}"
    );
    here.apply().exits(0);
}

#[test]
fn an_app_that_moves_to_a_port_is_told_who_has_it() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let declared = format!("port {}", here.port);
    here.declare(&declared, &format!("port {port}"));
    let ran = here.apply().exits(10);
    let words = format!("port {port} is taken");
    assert!(ran.stderr.contains(&words), "{}", ran.stderr);
}
