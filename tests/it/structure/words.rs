//! Sizes and words: no file too long to read, nothing left undone, no name looked up by the C library.

use super::sources::{all_below, of_the_program};

/// Beyond this a file is two ideas.
const MOST_LINES: usize = 700;

#[test]
fn no_file_is_too_long_to_read() {
    let mut long = Vec::new();
    for source in all_below("src").iter().chain(&all_below("tests")) {
        let lines = source.text.lines().count();
        if lines > MOST_LINES {
            long.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_left_undone() {
    // Taken apart, so that this file isn't found itself.
    let words = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("#[ign", "ore"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X:"),
    ];
    let mut found = Vec::new();
    for source in all_below("src").iter().chain(&all_below("tests")) {
        for (index, line) in source.text.lines().enumerate() {
            let has = words.iter().filter(|word| line.contains(*word));
            found.extend(has.map(|word| format!("{}:{} has {word}", source.path, index + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The program is static, and the name service of a static glibc loads the modules of whatever distribution the server
/// has, which can abort the process. So names of hosts, users and groups are never asked of the C library there; nor on
/// the controller, where the same binary runs.
#[test]
fn no_name_is_looked_up_by_the_c_library() {
    let words = [
        "ToSocketAddrs",
        "to_socket_addrs",
        "lookup_host",
        "getaddrinfo",
        "getpwnam",
        "getpwuid",
        "getgrnam",
        "getgrgid",
    ];
    let mut found = Vec::new();
    for source in of_the_program() {
        for line in source.lines() {
            let has = words.iter().filter(|word| line.code.contains(*word));
            found.extend(has.map(|word| format!("{}:{} names {word}", source.path, line.number)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
