//! PEM (RFC 7468): DER between two lines that say what it is.
//!
//! Written as Go and OpenSSL write it, for the text is hashed: 64 columns, LF, a trailing LF. Read
//! strictly where one block is expected, and by the rules of Go where Rekor v1 reads whatever its
//! submitters have in their files.
//!
//! Out of scope: what the DER means.

use crate::encoding::{from_base64, to_base64};

/// One block of a text of several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block<'a> {
    /// What the block says that it is, such as `CERTIFICATE`.
    pub(crate) label: &'a str,
    /// The bytes.
    pub(crate) der: Vec<u8>,
}

/// The DER inside exactly one PEM block labelled `label`; surrounding white space is ignored.
pub(crate) fn decode(text: &str, label: &str) -> Option<Vec<u8>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let body = text.trim().strip_prefix(&begin)?.strip_suffix(&end)?;
    let joined: String = body.split_ascii_whitespace().collect();
    from_base64(&joined)
}

/// One PEM block: 64 columns, LF, a trailing LF.
pub(crate) fn encode(der: &[u8], label: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let body = to_base64(der);
    for line in body.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The blocks of a text, not more than `max` of them. As in Go, text before a block is passed over,
/// and so are a block that does not end and the headers of RFC 1421.
///
/// `None` when a block cannot be decoded, when there is text after the last one, or when there is
/// no block at all.
pub(crate) fn blocks(text: &str, max: usize) -> Option<Vec<Block<'_>>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    let mut is_after_block = false;
    for line in text.trim().lines() {
        if blocks.len() == max {
            return Some(blocks);
        }
        if let Some(label) = marker(line, "-----BEGIN ") {
            open = Some((label, String::new()));
        } else if let Some(label) = marker(line, "-----END ") {
            let (_, body) = open.take().filter(|(begun, _)| *begun == label)?;
            blocks.push(Block { label, der: from_base64(&body)? });
            is_after_block = true;
            continue;
        } else if let Some((_, body)) = &mut open {
            // A header; no base64 has a colon.
            if !line.contains(':') {
                body.extend(line.split_ascii_whitespace());
            }
        }
        is_after_block = false;
    }
    is_after_block.then_some(blocks)
}

/// What a line that begins or ends a block says; white space after it is ignored.
fn marker<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.trim_ascii_end().strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN A-----\nAQ==\n-----END A-----\n";
    const TWO: &str = "-----BEGIN B B-----\r\nAg\r\n==\r\n-----END B B-----  \r\n";

    fn read(text: &str) -> Option<Vec<(&str, Vec<u8>)>> {
        let blocks = blocks(text, 3)?;
        Some(blocks.into_iter().map(|block| (block.label, block.der)).collect())
    }

    #[test]
    fn lines_have_64_columns() {
        let text = encode(&[0; 49], "A");
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines, ["-----BEGIN A-----", &"A".repeat(64), "AA==", "-----END A-----", ""]);
        assert_eq!(decode(&text, "A"), Some(vec![0; 49]));
        assert_eq!(decode(&text, "B"), None);
    }

    #[test]
    fn several_blocks_are_read_with_what_go_passes_over() {
        let (one, two) = (("A", vec![1]), ("B B", vec![2]));
        assert_eq!(read(ONE), Some(vec![one.clone()]));
        assert_eq!(read(&format!("{ONE}{TWO}")), Some(vec![one.clone(), two.clone()]));
        assert_eq!(read(&format!(" \n{ONE}\n\nwords\n{TWO}\n ")), Some(vec![one.clone(), two]));
        let headers = ONE.replace("AQ==", "Proc-Type: 4\nDEK-Info: x\n\nA Q\t=\n=");
        assert_eq!(read(&headers), Some(vec![one.clone()]));
        assert_eq!(read(&format!("-----BEGIN C-----\nAQ\n{ONE}")), Some(vec![one]));
    }

    #[test]
    fn what_is_no_block_or_follows_the_last_one_is_refused() {
        let cut = ONE.trim_end().strip_suffix("-----END A-----").unwrap();
        for text in [
            "",
            "words",
            cut,
            &format!("{ONE}words"),
            &format!("{ONE}{cut}"),
            &ONE.replace("AQ==", "AQ="),
            &ONE.replace("AQ==", "AR=="),
            &ONE.replace("END A", "END B"),
            &ONE.replace('\n', " "),
            &format!("x{ONE}"),
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn no_more_blocks_are_read_than_are_wanted() {
        assert_eq!(read(&ONE.repeat(3)).unwrap().len(), 3);
        assert_eq!(read(&format!("{}-----BEGIN", ONE.repeat(3))).unwrap().len(), 3);
    }
}
