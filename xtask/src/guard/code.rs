//! Rust source without its comments and literals, so that rules are matched against code alone.

/// Returns the source with every comment, string and character literal blanked.
/// Lines keep their numbers.
pub(super) fn code(source: &str) -> String {
    let mut scanner = Scanner { rest: source, code: String::with_capacity(source.len()) };
    while scanner.step() {}
    scanner.code
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
}

impl Scanner<'_> {
    /// Takes one literal, comment or character; returns false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some(length) = self.raw_string() {
            self.blank(length);
        } else if first == '"' {
            self.blank(quoted(self.rest, '"'));
        } else if first == '\'' && is_character(self.rest) {
            self.blank(quoted(self.rest, '\''));
        } else {
            self.code.push(first);
            self.rest = &self.rest[first.len_utf8()..];
        }
        true
    }

    /// Replaces the next `length` bytes by one space and their line ends.
    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.code.push(' ');
        self.code.extend(gone.chars().filter(|c| *c == '\n'));
        self.rest = rest;
    }

    /// The length of the raw string that starts here, if one does.
    fn raw_string(&self) -> Option<usize> {
        if self.code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !self.code.ends_with(['b', 'c'])
        {
            return None;
        }
        let after = self.rest.strip_prefix('r')?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        let body = after[hashes..].strip_prefix('"')?;
        let closing = format!("\"{}", "#".repeat(hashes));
        let end = body.find(&closing).map_or(body.len(), |at| at + closing.len());
        Some(self.rest.len() - body.len() + end)
    }
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a literal that ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

/// Tells a character literal from a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    let first = characters.next();
    first == Some('\\') || characters.next() == Some('\'')
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn comments_and_literals_are_blanked() {
        for source in [
            "a // gone\nb",
            "a /* gone /* gone */\n gone */ b",
            "a \"gone \\\" gone\n\" b",
            "a r#\"gone \" \n gone\"# b",
            "a br\"gone\n\" b",
        ] {
            let code = code(source);
            assert!(!code.contains("gone"), "{source} -> {code}");
            assert!(code.starts_with('a') && code.ends_with('b'), "{source} -> {code}");
            assert_eq!(code.lines().count(), 2, "{source} -> {code}");
        }
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        assert_eq!(
            code("fn f<'a>(x: &'a str) { '\"'; '\\''; 'é' }"),
            "fn f<'a>(x: &'a str) {  ;  ;   }"
        );
    }
}
