//! An older distribution among newer ones.

use crate::support::Wanted;

use super::fleet::{Commands as _, Fleet};

#[test]
fn an_older_host_in_a_fleet_is_a_host_like_any_other() {
    let fleet = Fleet::with(Wanted {
        hosts: 2,
        old: vec![2],
        ..Wanted::default()
    });
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    let before = fleet.snapshots();
    assert_eq!(rosey.steps(), [""; 0]);
    fleet.version("2.0.0");
    fleet.declare("fault \"\"", "fault \"exit\"");
    fleet.declare("waves 1 \"100%\"", "waves \"100%\"");
    rosey.apply().exits(7);
    fleet.must_be(&before);
    rosey.run(&["remove", "lab", "--yes"]).exits(0);
}
