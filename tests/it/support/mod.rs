//! What tests of the whole program say: a [`Lab`] of real hosts, a [`Project`] with declarations in it, [`Rosey`] to run
//! the program as a person would, and a [`Look`] at a machine that shares no code with the program it judges.
//!
//! It knows the program only by its command line and by what it leaves on servers.

mod dice;
mod lab;
mod project;
mod rosey;
mod snapshot;
mod terminal;
mod wait;

pub use dice::Dice;
pub use lab::{Lab, Wanted};
pub use project::Project;
#[allow(
    unused_imports,
    reason = "part of the vocabulary, like what main.rs says of dead code"
)]
pub use rosey::Ran;
pub use rosey::Rosey;
pub use snapshot::Look;
#[allow(
    unused_imports,
    reason = "part of the vocabulary, like what main.rs says of dead code"
)]
pub use snapshot::Snapshot;
pub use terminal::Terminal;
pub use wait::wait_until;

use std::path::{Path, PathBuf};

/// The checkout that is being tested.
pub fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Copies a directory tree with its modes and links, as it is; `what` may only hold files, directories and links.
pub fn copy_tree(what: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(what)
        .arg(to)
        .status()
        .expect("cp runs");
    assert!(
        status.success(),
        "{} could not be copied to {}",
        what.display(),
        to.display()
    );
}
