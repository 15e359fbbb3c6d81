//! Things in a row, in few words.

/// How many are named.
const NAMED: usize = 3;

/// Some things, each once: `link /a and file /b`, `link /a, file /b, file /c and 2 more`.
#[must_use]
pub fn few(things: impl IntoIterator<Item = String>) -> String {
    let mut named: Vec<String> = Vec::new();
    for thing in things {
        if !named.contains(&thing) {
            named.push(thing);
        }
    }
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    let last = match more {
        0 => named.pop(),
        more => Some(format!("{more} more")),
    };
    let last = last.unwrap_or_default();
    match named.as_slice() {
        [] => last,
        named => format!("{} and {last}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::few;

    #[test]
    fn a_few_are_named_each_once_and_the_others_counted() {
        let of = |things: &[&str]| few(things.iter().map(|it| (*it).to_owned()));
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["a", "a"]), "a");
        assert_eq!(of(&["a", "b"]), "a and b");
        assert_eq!(of(&["a", "b", "c"]), "a, b and c");
        assert_eq!(of(&["a", "b", "a", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
