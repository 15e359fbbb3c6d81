//! Words, quotes and variables as systemd's unit files have them; no shell.
//!
//! See "Quoting" in systemd.syntax(7) and "Command lines" in systemd.service(5).

use std::iter::Peekable;
use std::str::Chars;

/// Looks up a variable of the service.
pub(super) type Variable<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Splits at spaces outside of quotes, and takes quotes and backslashes away.
///
/// # Errors
/// Says which quote isn't closed, or what follows a backslash that means nothing.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|letter| letter.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut rest, text)?);
    }
}

fn word(rest: &mut Peekable<Chars<'_>>, text: &str) -> Result<String, String> {
    let mut word = String::new();
    let mut quote = None;
    while let Some(letter) = rest.next_if(|letter| quote.is_some() || !letter.is_whitespace()) {
        match (letter, quote) {
            ('\\', _) => word.push(escaped(rest).ok_or_else(|| {
                format!("{text:?} has a backslash before something that it doesn't escape")
            })?),
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (letter, _) => word.push(letter),
        }
    }
    match quote {
        Some(open) => Err(format!("{text:?} has a {open} that is not closed")),
        None => Ok(word),
    }
}

/// The character that a backslash and what follows stand for.
fn escaped(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    Some(match rest.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        's' => ' ',
        plain @ ('\\' | '"' | '\'' | '$' | '%') => plain,
        'x' => {
            let digits: String = [rest.next()?, rest.next()?].into_iter().collect();
            let code = u8::from_str_radix(&digits, 16).ok()?;
            char::from(code).is_ascii().then_some(char::from(code))?
        }
        _ => return None,
    })
}

/// Fills in the variables of a word: `${NAME}` anywhere in it, `$NAME` as a whole word, which becomes
/// as many words as the value has; `$$` is a dollar.
pub(super) fn fill(word: &str, variable: &Variable<'_>) -> Vec<String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
    };
    if let Some(name) = word.strip_prefix('$').filter(|name| is_name(name)) {
        let value = variable(name).unwrap_or_default();
        return value.split_whitespace().map(str::to_owned).collect();
    }
    let mut filled = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .filter(|(name, _)| is_name(name))
        {
            filled.push_str(&variable(name).unwrap_or_default());
            rest = after;
        } else {
            filled.push('$');
        }
    }
    filled.push_str(rest);
    vec![filled]
}

/// The variables of an EnvironmentFile; lines that are none are passed over, as systemd does.
pub(super) fn environment_file(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|letter| letter.is_whitespace()).is_some() {}
        match rest.peek() {
            None => return all,
            Some('#' | ';') => {
                while rest.next().is_some_and(|letter| letter != '\n') {}
                continue;
            }
            Some(_) => {}
        }
        let mut name = String::new();
        while let Some(letter) = rest.next_if(|letter| !matches!(letter, '=' | '\n')) {
            name.push(letter);
        }
        if rest.next() == Some('=') {
            all.push((name.trim().to_owned(), file_value(&mut rest)));
        }
    }
}

/// A value up to the end of its line; quotes may span lines, and a backslash joins two.
fn file_value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    // How much of it is inside quotes: spaces at the end are cut only after that.
    let mut fixed = 0;
    let mut quote = None;
    while rest
        .next_if(|letter| letter.is_whitespace() && *letter != '\n')
        .is_some()
    {}
    while let Some(letter) = rest.next() {
        match (letter, quote) {
            ('\n', None) => break,
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => {
                quote = None;
                fixed = value.len();
            }
            ('\\', None | Some('"')) => match rest.next() {
                Some('\n') | None => {}
                // Inside double quotes a backslash is one unless it escapes, as in a shell.
                Some(next) if quote.is_some() && !matches!(next, '"' | '\\' | '`' | '$') => {
                    value.extend(['\\', next]);
                }
                Some(next) => {
                    value.push(next);
                    fixed = value.len();
                }
            },
            (letter, _) => value.push(letter),
        }
    }
    let end = value.trim_end().len().max(fixed);
    value.truncate(end);
    value
}
