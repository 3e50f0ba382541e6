//! Which media type a reader takes, by `Accept` (RFC 9110 section 12.5.1).
//!
//! As in Rekor, only GET is refused for it: whoever posts JSON gets JSON. Parameters other than `q`
//! do not count: nothing here has any.

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap};

use crate::http::reply::Fault;

/// What almost everything is served as.
pub const JSON_ONLY: &[&str] = &["application/json"];

/// What the public key is served as; the first to whoever takes both.
pub const PEM_OR_JSON: &[&str] = &["application/x-pem-file", "application/json"];

/// How much a reader wants a media type, and how clearly it says so: the better one is greater.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Wanted {
    quality: f32,
    /// 0 for `*/*`, 1 for `type/*`, 2 for the type itself.
    precision: u8,
}

/// The media type of `offers` that the reader wants most; among equals the first.
///
/// # Errors
/// 406 when it takes none.
pub fn negotiate(headers: &HeaderMap, offers: &[&'static str]) -> Result<&'static str, Fault> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<&str> = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .collect();
    if let (true, Some(first)) = (ranges.is_empty(), offers.first()) {
        return Ok(first);
    }
    let mut best: Option<(&'static str, Wanted)> = None;
    for offer in offers {
        // Of all that is said of a type, what is said most precisely counts.
        let said = ranges.iter().filter_map(|range| wanted(range, offer));
        let Some(wanted) = said.max_by_key(|wanted| wanted.precision) else { continue };
        if wanted.quality > 0.0 && best.is_none_or(|(_, best)| wanted > best) {
            best = Some((offer, wanted));
        }
    }
    best.map(|(offer, _)| offer).ok_or_else(|| {
        let offers = offers.join(" ");
        let message = format!("unsupported media type requested, only [{offers}] are available");
        Fault::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", message)
    })
}

/// What a media range says of `offer`; `None` if it is not about it.
fn wanted(range: &str, offer: &str) -> Option<Wanted> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let precision = match media_type.strip_suffix('*') {
        Some("*/") => 0,
        Some(start) if start.ends_with('/') && offer.starts_with(start) => 1,
        None if media_type == offer => 2,
        _ => return None,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    // A quality that is no number is as if it were not there.
    let quality = quality.and_then(|text| text.parse::<f32>().ok()).unwrap_or(1.0);
    let quality = if quality.is_finite() { quality.clamp(0.0, 1.0) } else { 1.0 };
    Some(Wanted { quality, precision })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accepts: &[&str], offers: &[&'static str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for accept in accepts {
            headers.append(ACCEPT, accept.parse().unwrap());
        }
        let chosen = negotiate(&headers, offers);
        if let Err(fault) = &chosen {
            assert_eq!(fault.status, StatusCode::NOT_ACCEPTABLE);
        }
        chosen.ok()
    }

    #[test]
    fn what_clients_send_is_served_and_the_rest_is_not_acceptable() {
        let json = Some("application/json");
        for accept in [
            "",
            "*/*",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/*",
            "text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8",
            "application/json;q=0.001",
            "application/json;q=x",
        ] {
            assert_eq!(chosen(&[accept], JSON_ONLY), json, "{accept}");
        }
        assert_eq!(chosen(&[], JSON_ONLY), json);
        assert_eq!(chosen(&["text/html", "application/json"], JSON_ONLY), json);
        for accept in
            ["text/html", "application/jsonx", "application/json;q=0", "*/*;q=0", "json", "text/*"]
        {
            assert_eq!(chosen(&[accept], JSON_ONLY), None, "{accept}");
        }
    }

    #[test]
    fn a_key_is_pem_unless_json_is_wanted_more() {
        let (pem, json) = (Some("application/x-pem-file"), Some("application/json"));
        for (accept, expected) in [
            ("*/*", pem),
            ("application/*", pem),
            ("application/x-pem-file", pem),
            ("application/json", json),
            ("application/json, */*", json),
            ("application/json;q=0.5, */*;q=0.1", json),
            ("application/json;q=0.5, */*", pem),
            ("application/x-pem-file;q=0, */*;q=0.1", json),
            ("application/json, application/x-pem-file", pem),
            ("text/plain", None),
        ] {
            assert_eq!(chosen(&[accept], PEM_OR_JSON), expected, "{accept}");
        }
        assert_eq!(chosen(&[], PEM_OR_JSON), pem);
    }
}
