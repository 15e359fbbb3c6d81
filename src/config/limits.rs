//! What is refused before a file is parsed: too large, not text, nested too
//! deep, or with a string that never ends.
//!
//! The parser recurses on nested braces and comments until the stack is gone,
//! and takes quadratic time on unclosed raw strings, so both are looked for by
//! a scan that does neither. Must not know any word of the declaration.

use super::place::{Place, SourceFile, Sources};
use super::problem::Problem;

/// The largest file that is read, in bytes.
pub(crate) const LARGEST_FILE: usize = 1 << 20;
/// The deepest nesting of braces, and of block comments.
pub(crate) const DEEPEST: usize = 64;

/// Takes the bytes as text.
pub(crate) fn as_text(shown: &str, bytes: Vec<u8>) -> Result<String, Problem> {
    if bytes.len() > LARGEST_FILE {
        return Err(Problem::new(format!(
            "{shown} is larger than 1 MiB, which is all that a declaration may be"
        ))
        .help("is it really a declaration? Split it with `include` if so"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = bytes[..offset]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        let byte = bytes.get(offset).copied().unwrap_or_default();
        Problem::new(format!(
            "{shown} is not UTF-8: byte 0x{byte:02x} at offset {offset}, in line {line}"
        ))
        .help("save the file as UTF-8")
    })
}

/// Refuses a text that the parser can't be given.
pub(crate) fn check(sources: &Sources, source: u32) -> Result<(), Problem> {
    let text = sources
        .file(source)
        .map_or("", |file: &SourceFile| &file.text);
    let mut scan = Scan {
        text: text.as_bytes(),
        position: 0,
        source,
        depth: 0,
    };
    while let Some(byte) = scan.peek(0) {
        match byte {
            b'{' => {
                scan.depth += 1;
                if scan.depth > DEEPEST {
                    return Err(
                        Problem::new(format!("nested more than {DEEPEST} levels deep"))
                            .at(
                                scan.place(scan.position, 1),
                                format!("level {} begins here", DEEPEST + 1),
                            )
                            .help("a closing brace may be missing further up"),
                    );
                }
                scan.position += 1;
            }
            b'}' => {
                scan.depth = scan.depth.saturating_sub(1);
                scan.position += 1;
            }
            b'/' if scan.peek(1) == Some(b'/') => scan.skip_line(),
            b'/' if scan.peek(1) == Some(b'*') => scan.skip_comment()?,
            b'"' => scan.skip_string()?,
            b'#' => scan.skip_raw_string()?,
            _ => scan.position += 1,
        }
    }
    Ok(())
}

struct Scan<'a> {
    text: &'a [u8],
    position: usize,
    source: u32,
    depth: usize,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.position + ahead).copied()
    }

    fn at(&self, text: &[u8]) -> bool {
        self.text[self.position..].starts_with(text)
    }

    fn place(&self, offset: usize, length: usize) -> Place {
        Place::new(self.source, offset, length)
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.position += 1;
        }
    }

    fn skip_comment(&mut self) -> Result<(), Problem> {
        let start = self.position;
        let mut depth = 0;
        while self.position < self.text.len() {
            if self.at(b"/*") {
                depth += 1;
                if depth > DEEPEST {
                    return Err(Problem::new(format!(
                        "comments nested more than {DEEPEST} levels deep"
                    ))
                    .at(self.place(self.position, 2), "too deep"));
                }
                self.position += 2;
            } else if self.at(b"*/") {
                depth -= 1;
                self.position += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.position += 1;
            }
        }
        Err(Problem::new("a comment is not closed")
            .at(self.place(start, 2), "it begins here")
            .help("close it with `*/`"))
    }

    fn skip_string(&mut self) -> Result<(), Problem> {
        let start = self.position;
        let many_lines = self.at(b"\"\"\"");
        let quotes: &[u8] = if many_lines { b"\"\"\"" } else { b"\"" };
        self.position += quotes.len();
        while self.position < self.text.len() {
            if self.peek(0) == Some(b'\\') {
                self.position += 2;
            } else if self.at(quotes) {
                self.position += quotes.len();
                return Ok(());
            } else if self.peek(0) == Some(b'\n') && !many_lines {
                // The parser says it better; what follows is looked at as if the string had ended.
                return Ok(());
            } else {
                self.position += 1;
            }
        }
        if many_lines {
            return Err(self.unclosed(start, quotes.len(), "\"\"\""));
        }
        Ok(())
    }

    fn skip_raw_string(&mut self) -> Result<(), Problem> {
        let start = self.position;
        let mut hashes = 0;
        while self.peek(0) == Some(b'#') {
            hashes += 1;
            self.position += 1;
        }
        if self.peek(0) != Some(b'"') {
            return Ok(());
        }
        let quotes: &[u8] = if self.at(b"\"\"\"") { b"\"\"\"" } else { b"\"" };
        let mut end = quotes.to_vec();
        end.resize(quotes.len() + hashes, b'#');
        self.position += quotes.len();
        while self.position < self.text.len() {
            if self.at(&end) {
                self.position += end.len();
                return Ok(());
            }
            self.position += 1;
        }
        Err(self.unclosed(start, hashes + quotes.len(), &String::from_utf8_lossy(&end)))
    }

    fn unclosed(&self, start: usize, length: usize, end: &str) -> Problem {
        Problem::new("a string is not closed")
            .at(self.place(start, length), "it begins here")
            .help(format!("close it with `{end}`"))
    }
}
