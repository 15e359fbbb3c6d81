//! Who asks what time it is: a clock that is set must decide nothing about a run.

use super::sources::of_the_program;

/// The clock for people, as the libraries in use call it.
const WORDS: [&str; 4] = [
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "ClockId::Realtime",
];

/// Who asks it, and for what. Guard, deadlines, locks and the order of changes aren't here: they go by the monotonic
/// clock and the boot id.
const ASKED_BY: [&str; 7] = [
    // Until when a freeze holds, as a person said it.
    "src/cli/freeze.rs",
    // Whether a freeze still holds, and clocks that differ.
    "src/cli/notes.rs",
    // When a saved plan expires.
    "src/cli/plan.rs",
    // Times and names of runs, for people.
    "src/cli/surroundings.rs",
    // The same on a server.
    "src/host/local/facts.rs",
    // Since when lines of a log are wanted.
    "src/host/systemd.rs",
    // Whether a host's certificate is valid.
    "src/remote/handler.rs",
];

#[test]
fn no_decision_about_a_run_asks_what_time_it_is() {
    let asks = |text: &str| WORDS.iter().any(|word| text.contains(word));
    let sources = of_the_program();
    let asking: Vec<_> = sources.iter().filter(|source| asks(&source.text)).collect();
    let asking: Vec<_> = asking.iter().map(|source| source.path.as_str()).collect();
    assert_eq!(asking, ASKED_BY);
}
