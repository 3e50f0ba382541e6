//! Base64 and hexadecimal as the wire formats want them.
//!
//! Invariant: strict decoding accepts exactly one text for each byte string, so text can be
//! compared instead of bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// RFC 4648 section 4, padded.
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of canonical padded standard base64; `None` for every other spelling.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The bytes of standard or URL-safe base64, padded or not, as protojson readers accept it.
pub fn from_base64_lenient(text: &str) -> Option<Vec<u8>> {
    let standard: String = text
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    LENIENT.decode(standard).ok()
}

/// The bytes of base64 as protojson reads it: of the standard or the URL-safe alphabet, padded if
/// its length is a multiple of 4 and else not; line breaks, and surplus bits of the last character,
/// do not count.
pub fn from_base64_protojson(text: &str) -> Option<Vec<u8>> {
    let is_padded = text.len().is_multiple_of(4);
    // What nearly everybody sends. Nothing else is looked for in megabytes of it: with any of the
    // other characters it does not decode.
    if let Ok(bytes) = STANDARD_LOOSE[usize::from(is_padded)].decode(text) {
        return Some(bytes);
    }
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD_LOOSE };
    let engine = &alphabet[usize::from(is_padded)];
    if text.contains(['\r', '\n']) {
        let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        return engine.decode(joined).ok();
    }
    engine.decode(text).ok()
}

/// The bytes of standard padded base64 in which carriage returns and line feeds do not count, as Go
/// reads it.
pub fn from_base64_lines(text: &str) -> Option<Vec<u8>> {
    if text.contains(['\r', '\n']) {
        let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        return from_base64(&joined);
    }
    from_base64(text)
}

/// The bytes of lower-case hexadecimal; `None` for upper case, odd length and other characters.
pub fn from_hex_lower(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = vec![0; text.len() / 2];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = vec![0; 2 * bytes.len()];
    hex::encode_to_slice(bytes, &mut text).expect("there are two digits for each byte");
    String::from_utf8(text).expect("digits are ASCII")
}

/// One alphabet as protojson reads it: not padded, padded.
const fn loose(alphabet: &alphabet::Alphabet) -> [GeneralPurpose; 2] {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let bare = config.with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let padded = config.with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    [GeneralPurpose::new(alphabet, bare), GeneralPurpose::new(alphabet, padded)]
}

static STANDARD_LOOSE: [GeneralPurpose; 2] = loose(&alphabet::STANDARD);
static URL_SAFE: [GeneralPurpose; 2] = loose(&alphabet::URL_SAFE);

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_base64_has_one_spelling() {
        assert_eq!(from_base64("+/8="), Some(vec![0xfb, 0xff]));
        for other in ["-_8=", "+/8", "+/9=", "+/8=\n", " +/8="] {
            assert_eq!(from_base64(other), None, "{other:?}");
        }
    }

    #[test]
    fn lenient_base64_takes_both_alphabets_with_or_without_padding() {
        for text in ["+/8=", "-_8=", "+/8", "-_8"] {
            assert_eq!(from_base64_lenient(text), Some(vec![0xfb, 0xff]), "{text:?}");
        }
        assert_eq!(from_base64_lenient("+/8=="), None);
    }

    #[test]
    fn protojson_takes_four_forms_of_base64_and_mixes_none() {
        for text in ["+/8=", "-_8=", "+/8", "-_8", "+/9=", "-_9", "+/\r\n8"] {
            assert_eq!(from_base64_protojson(text), Some(vec![0xfb, 0xff]), "{text:?}");
        }
        assert_eq!(from_base64_protojson(""), Some(Vec::new()));
        for text in ["+_8=", "-/8", "+/8==", "+/8=\n", "+/ 8", "AA=", "A", "*", "=AAA"] {
            assert_eq!(from_base64_protojson(text), None, "{text:?}");
        }
    }

    #[test]
    fn line_breaks_are_skipped_only_where_go_skips_them() {
        assert_eq!(from_base64_lines("+/\r\n8=\n"), Some(vec![0xfb, 0xff]));
        assert_eq!(from_base64_lines("+/ 8="), None);
    }

    #[test]
    fn hexadecimal_is_lower_case() {
        assert_eq!(from_hex_lower("00ff"), Some(vec![0, 255]));
        assert_eq!(from_hex_lower("00FF"), None);
        assert_eq!(from_hex_lower("0"), None);
    }
}
