//! Source files of this repository, with every byte classed as code, comment or literal.
//!
//! The scanner knows as much Rust as that takes: nested block comments, raw and byte strings, and
//! characters as opposed to lifetimes. It never fails; unbalanced text is classed to its end.

use std::fs;
use std::path::{Path, PathBuf};

/// What a byte of a Rust file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Code,
    Comment,
    /// The inside of a string or character literal; its quotes are code.
    Literal,
}

/// One file: its path from the repository's root, its text, and the class of each byte.
pub(crate) struct Source {
    path: String,
    text: String,
    classes: Vec<Class>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let classes = if path.ends_with(".rs") {
            classify(text.as_bytes())
        } else {
            vec![Class::Code; text.len()]
        };
        Self { path: path.to_owned(), text: text.to_owned(), classes }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Written in Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Run by a shell: known by its first line, since scripts have no extension.
    pub(crate) fn is_script(&self) -> bool {
        self.text.starts_with("#!") && self.text.lines().next().is_some_and(|l| l.contains("sh"))
    }

    /// Nothing but tests: a `tests.rs` beside its module, or anything in the tests package.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs")
    }

    /// The text with everything but code blanked out: same length, same lines.
    pub(crate) fn code(&self) -> String {
        self.only(|class| class == Class::Code)
    }

    /// The text without the insides of literals: what is left must fit the columns.
    pub(crate) fn lines_without_literals(&self) -> impl Iterator<Item = String> {
        let mut kept = Vec::with_capacity(self.text.len());
        for (byte, class) in self.text.bytes().zip(&self.classes) {
            if byte == b'\n' || *class != Class::Literal {
                kept.push(byte);
            }
        }
        let kept = String::from_utf8_lossy(&kept).into_owned();
        kept.split('\n').map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    /// The code of tests: all of it in a test file, else the inline `#[cfg(test)]` modules.
    pub(crate) fn test_code(&self) -> String {
        let code = self.code();
        if self.is_test() {
            return code;
        }
        let mut kept = blank(code.as_bytes());
        for range in test_modules(&code) {
            kept[range.clone()].copy_from_slice(&code.as_bytes()[range]);
        }
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// The code that is shipped: everything outside tests.
    pub(crate) fn production_code(&self) -> String {
        let code = self.code();
        if self.is_test() {
            return String::from_utf8_lossy(&blank(code.as_bytes())).into_owned();
        }
        let mut kept = code.clone().into_bytes();
        for range in test_modules(&code) {
            let blanked = blank(&code.as_bytes()[range.clone()]);
            kept[range].copy_from_slice(&blanked);
        }
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// Lines that are not in an inline test module.
    pub(crate) fn production_line_count(&self) -> usize {
        let code = self.code();
        let in_tests =
            test_modules(&code).into_iter().map(|range| code[range].lines().count()).sum::<usize>();
        self.text.lines().count() - in_tests
    }

    fn only(&self, keep: impl Fn(Class) -> bool) -> String {
        let bytes = self.text.bytes().zip(&self.classes);
        let kept = bytes.map(|(byte, class)| match byte {
            b'\n' => b'\n',
            byte if keep(*class) => byte,
            _ => b' ',
        });
        String::from_utf8_lossy(&kept.collect::<Vec<_>>()).into_owned()
    }
}

/// Where each `#[cfg(test)] mod x { .. }` lies in `code`, from the attribute to the closing brace.
fn test_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let after = start + "#[cfg(test)]".len();
        from = after;
        if !code[after..].trim_start().starts_with("mod ") {
            continue;
        }
        let Some(opening) = code[after..].find(['{', ';']).map(|at| after + at) else { break };
        if code.as_bytes()[opening] == b'{' {
            let end = closing_brace(code, opening).map_or(code.len(), |at| at + 1);
            ranges.push(start..end);
            from = end;
        }
    }
    ranges
}

/// The brace that closes the one at `opening`; `code` has no comments and no literals.
pub(crate) fn closing_brace(code: &str, opening: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(opening) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn blank(code: &[u8]) -> Vec<u8> {
    code.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }).collect()
}

fn classify(text: &[u8]) -> Vec<Class> {
    let mut classes = vec![Class::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (class, from, to) = if rest.starts_with(b"//") {
            (Class::Comment, at, at + line_length(rest))
        } else if rest.starts_with(b"/*") {
            (Class::Comment, at, at + block_comment_length(rest))
        } else if let Some(hashes) = raw_string_hashes(text, at) {
            let opening = at + 1 + hashes + 1;
            (Class::Literal, opening, raw_string_end(text, opening, hashes))
        } else if rest[0] == b'"' {
            (Class::Literal, at + 1, at + 1 + quoted_length(&rest[1..], b'"'))
        } else if rest[0] == b'\'' && is_character(rest) {
            (Class::Literal, at + 1, at + 1 + quoted_length(&rest[1..], b'\''))
        } else {
            at += 1;
            continue;
        };
        let to = to.min(text.len());
        classes[from..to].fill(class);
        // A literal's closing quote is code and opens nothing.
        at = if class == Class::Literal { to + 1 } else { to };
    }
    classes
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The number of `#` when a raw string opens at `at` with `r`, also inside `br` and `cr`.
fn raw_string_hashes(text: &[u8], at: usize) -> Option<usize> {
    if text[at] != b'r' {
        return None;
    }
    let before = text[..at].iter().rev().take_while(|byte| is_word(**byte)).count();
    if before > 1 || (before == 1 && !matches!(text[at - 1], b'b' | b'c')) {
        return None;
    }
    let hashes = text[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (text.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(text: &[u8], opening: usize, hashes: usize) -> usize {
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    text[opening..]
        .windows(closing.len())
        .position(|window| window == closing)
        .map_or(text.len(), |length| opening + length)
}

/// The bytes up to the closing quote; a backslash takes the byte after it along.
fn quoted_length(inside: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < inside.len() && inside[at] != quote {
        at += if inside[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// A character literal, not a lifetime: an escape, or one character and a quote.
fn is_character(rest: &[u8]) -> bool {
    let Some(first) = rest.get(1) else { return false };
    let length = match first {
        b'\\' => return true,
        0x00..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    rest.get(1 + length) == Some(&b'\'')
}

/// Part of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Every text file of the repository, sorted by path.
pub(crate) fn tree() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files.iter().filter_map(|file| read(&root, file)).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().expect("a listed path has a name").to_string_lossy();
        if path.is_symlink() || is_not_ours(&name) {
            continue;
        }
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// Made by tools or by running the log, not written by people.
fn is_not_ours(name: &str) -> bool {
    matches!(name, ".git" | "target" | "__pycache__" | "Cargo.lock" | "LICENSE")
        || name.starts_with("treering-data")
}

/// `None` for a file that is no text.
fn read(root: &Path, file: &Path) -> Option<Source> {
    let text = String::from_utf8(fs::read(file).expect("a listed file can be read")).ok()?;
    let path = file.strip_prefix(root).expect("the walk starts at the root");
    Some(Source::new(&path.to_string_lossy(), &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text).code()
    }

    #[test]
    fn blanks_comments_and_literals_only() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("a\"b", g)"#), r#"f("    ", g)"#);
        assert_eq!(code("r#\"a\"b\"# c"), "r#\"   \"# c");
        assert_eq!(code("br\"\\\" c"), "br\" \" c");
        assert_eq!(code("'a' '\\'' 'x"), "' ' '  ' 'x");
        assert_eq!(code("&'a str, \"{\""), "&'a str, \" \"");
        assert_eq!(code("\"open"), "\"    ");
    }

    #[test]
    fn tells_test_modules_from_production() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("a.rs", text);
        assert_eq!(source.production_line_count(), 2);
        assert!(source.test_code().contains("fn b") && !source.test_code().contains("fn a"));
        assert!(source.production_code().contains("fn c"));
        assert!(!source.production_code().contains("fn b"));
        assert_eq!(source.production_code().len(), text.len());
    }

    #[test]
    fn a_test_module_in_its_own_file_takes_nothing_along() {
        let source = Source::new("a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n");
        assert_eq!(source.production_line_count(), 3);
        assert!(source.production_code().contains("fn a"));
    }
}
