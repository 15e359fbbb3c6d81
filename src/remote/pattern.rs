//! Host patterns as ssh_config(5) and sshd(8) write them: `*`, `?` and `!`.

/// Tells whether a single pattern without `!` matches, letter case aside.
pub(crate) fn matches_one(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    // Greedy with one point to come back to: linear in practice, never exponential.
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    p = star + 1;
                    n = from + 1;
                    retry = Some((star, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Tells whether a list of patterns matches: one does, and no negated one does.
pub(crate) fn matches_list<'a>(patterns: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if matches_one(negated, name) => return false,
            Some(_) => {}
            None => matched = matched || matches_one(pattern, name),
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        let cases = [
            ("bot-1", "bot-1", true),
            ("bot-1", "BOT-1", true),
            ("bot-?", "bot-1", true),
            ("bot-?", "bot-10", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXbd", false),
            ("[10.0.0.?]:2222", "[10.0.0.7]:2222", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches_one(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_negated_pattern_beats_every_other() {
        assert!(matches_list(["*.org", "!x.org"], "y.org"));
        assert!(!matches_list(["*.org", "!x.org"], "x.org"));
        assert!(!matches_list(["!x.org"], "y.org"));
    }
}
