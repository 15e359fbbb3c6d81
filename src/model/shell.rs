//! Words for a POSIX shell.

/// Quotes one word so that a shell passes it on unchanged.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Joins words into one command line.
#[must_use]
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Wraps a script so that it is `sh` that reads it, whatever the login shell is.
#[must_use]
pub fn script(text: &str) -> String {
    join(["sh", "-c", text])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_needs_it() {
        let cases = [
            ("plain", "plain"),
            ("/a/b-c_d.e", "/a/b-c_d.e"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
        ];
        for (word, expected) in cases {
            assert_eq!(quote(word), expected, "{word:?}");
        }
    }
}
