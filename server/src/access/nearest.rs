//! Unknown names in files of people, with the name that was probably meant.
//!
//! Out of scope: which names there are; the reader of each file says.

use super::principal::printable;

/// Names further from all known ones than this share of their letters get no suggestion.
const LIKENESS_MIN: f64 = 0.6;

/// The longest piece of a file that an error repeats, in bytes.
const SHOWN_LEN_MAX: usize = 80;

/// The known name that is most like `name`, if one is.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > SHOWN_LEN_MAX {
        return None;
    }
    let scored =
        known.into_iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

/// `WHAT "NAME" is not known; did you mean "NEAREST"?`
pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown = printable(name, SHOWN_LEN_MAX);
    match nearest(name, known) {
        Some(near) => format!("{what} {shown:?} is not known; did you mean {near:?}?"),
        None => format!("{what} {shown:?} is not known"),
    }
}

/// The message of a reader of TOML or JSON, with the nearest name where it met an unknown key.
/// `serde` names the key and those that it expected, each in back quotes.
pub fn explain(message: &str) -> String {
    let Some((_, rest)) = message.split_once("unknown field `") else { return message.to_owned() };
    let Some((name, rest)) = rest.split_once('`') else { return message.to_owned() };
    let known = rest.split('`').skip(1).step_by(2);
    match nearest(name, known) {
        Some(near) => format!("{}; did you mean `{near}`?", message.trim_end()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_nonsense_is_not() {
        let known = ["names", "kinds", "project"];
        assert_eq!(nearest("nmaes", known), Some("names"));
        assert_eq!(nearest("kind", known), Some("kinds"));
        assert_eq!(nearest("zzzzzz", known), None);
        assert_eq!(nearest(&"names".repeat(100), known), None);
        assert!(unknown("kind", "dse", ["dsse"]).ends_with("did you mean \"dsse\"?"));
    }

    #[test]
    fn messages_of_serde_are_understood() {
        let message = "unknown field `nmae`, expected one of `name`, `project`, `kinds`";
        assert_eq!(explain(message), format!("{message}; did you mean `name`?"));
        let one = "unknown field `rul`, expected `rule`";
        assert_eq!(explain(one), format!("{one}; did you mean `rule`?"));
        assert_eq!(explain("missing field `name`"), "missing field `name`");
        assert_eq!(explain("unknown field `"), "unknown field `");
    }
}
