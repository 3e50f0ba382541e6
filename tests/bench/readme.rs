//! What `--write-readme` writes: the short table into README.md and the whole report into
//! docs/performance.md, each between its two marker lines, and the plots into docs/plots/.
//!
//! Invariant: a file without exactly its two marker lines is an error, and nothing is written then.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// The lines between which everything is replaced.
const BEGIN: &str = "<!-- scripts/bench --write-readme: begin -->";
const END: &str = "<!-- scripts/bench --write-readme: end -->";

/// The files that have them: for the short table, and for the whole report.
const FILES: [&str; 2] = ["README.md", "docs/performance.md"];

/// Where the plots go.
const PLOTS: &str = "docs/plots";

/// What is written.
pub(crate) struct Pages {
    /// For README.md.
    pub(crate) short: String,
    /// For docs/performance.md.
    pub(crate) whole: String,
    /// Names and texts of SVG files.
    pub(crate) plots: Vec<(&'static str, String)>,
}

/// Checks that `root` has both files with their marker lines.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    FILES.iter().try_for_each(|name| replaced(root, name, "").map(|_| ()))
}

/// Writes `pages` into the repository at `root`.
pub(crate) fn write(root: &Path, pages: &Pages) -> anyhow::Result<()> {
    let mut texts = Vec::new();
    for (name, section) in FILES.into_iter().zip([&pages.short, &pages.whole]) {
        texts.push((root.join(name), replaced(root, name, section)?));
    }
    let plots = root.join(PLOTS);
    fs::create_dir_all(&plots)?;
    texts.extend(pages.plots.iter().map(|(name, text)| (plots.join(name), text.clone())));
    for (path, text) in texts {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The text of the file called `name` below `root`, with `section` between its markers.
fn replaced(root: &Path, name: &str, section: &str) -> anyhow::Result<String> {
    let path = root.join(name);
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    replace_section(&text, section).with_context(|| path.display().to_string())
}

/// `text` with `section` between its marker lines, whatever was there.
fn replace_section(text: &str, section: &str) -> anyhow::Result<String> {
    for marker in [BEGIN, END] {
        let count = text.lines().filter(|line| *line == marker).count();
        ensure!(count == 1, "the line {marker} is there {count} times");
    }
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            BEGIN => {
                lines.extend([BEGIN, "", section.trim(), ""]);
                inside = true;
            }
            END => {
                ensure!(inside, "the line {END} comes before the line {BEGIN}");
                lines.push(END);
                inside = false;
            }
            _ if inside => {}
            _ => lines.push(line),
        }
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inside: &str) -> String {
        format!("before\n\n{BEGIN}\n{inside}{END}\n\nafter\n")
    }

    #[test]
    fn what_is_between_the_markers_is_replaced_and_nothing_else() {
        let expected = page("\nnew\n\n");
        assert_eq!(replace_section(&page(""), "new\n").unwrap(), expected);
        assert_eq!(replace_section(&page("\nold\nlines\n\n"), "new").unwrap(), expected);
        assert_eq!(replace_section(&expected, "new").unwrap(), expected);
    }

    #[test]
    fn a_file_without_its_markers_is_refused() {
        let swapped = format!("{END}\n{BEGIN}\n");
        for text in ["", BEGIN, END, &swapped, &page("").repeat(2)] {
            assert!(replace_section(text, "new").is_err(), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_written_when_one_file_lacks_its_markers() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        fs::write(root.path().join("README.md"), page("")).unwrap();
        fs::write(root.path().join("docs/performance.md"), "no markers\n").unwrap();
        let plots = vec![("a.svg", "<svg/>".to_owned())];
        let mut pages = Pages { short: "short".into(), whole: "whole".into(), plots };
        assert!(check(root.path()).is_err());
        assert!(write(root.path(), &pages).is_err());
        let readme = fs::read_to_string(root.path().join("README.md")).unwrap();
        assert_eq!(readme, page(""));

        fs::write(root.path().join("docs/performance.md"), page("")).unwrap();
        check(root.path()).unwrap();
        pages.whole = "all of it".into();
        write(root.path(), &pages).unwrap();
        let whole = fs::read_to_string(root.path().join("docs/performance.md")).unwrap();
        assert!(whole.contains("all of it"));
        assert!(root.path().join("docs/plots/a.svg").is_file());
    }
}
