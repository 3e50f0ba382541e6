//! Pages for people, and the description of the Rekor v1 face for programs: `/`, `/docs` and
//! `/swagger.json`.
//!
//! Invariant: a page needs nothing but itself: no script, no font, no picture, nothing from another
//! host; browsers are told so.

use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use super::reply::{JSON, Reply, plain};
use super::v1;

/// `GET /`.
pub fn serve_home() -> Reply {
    page(include_str!("pages/home.html"))
}

/// `GET /docs`.
pub fn serve_docs() -> Reply {
    page(include_str!("pages/docs.html"))
}

/// `GET /swagger.json`.
pub fn serve_document() -> Reply {
    plain(JSON, v1::DOCUMENT)
}

fn page(html: &'static str) -> Reply {
    let mut reply = plain(HTML, html);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, NOTHING_ELSE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NOTHING_ELSE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::super::route::{NoRoute, Route};

    /// Every `href` of a page, without its fragment.
    fn links(page: &str) -> Vec<&str> {
        let ends = page.split("href=\"").skip(1).map(|rest| rest.split('"').next());
        ends.map(|link| link.unwrap().split(['#', '?']).next().unwrap()).collect()
    }

    #[test]
    fn pages_lead_to_what_there_is_and_to_no_other_host() {
        for page in [include_str!("pages/home.html"), include_str!("pages/docs.html")] {
            for (what, count) in [("<script", 0), ("src=", 0), ("//", 0), ("<title>", 1)] {
                assert_eq!(page.matches(what).count(), count, "{what}");
            }
            assert!(links(page).len() >= 3, "{page}");
            for link in links(page) {
                let route = Route::parse(&Method::GET, link);
                assert!(!matches!(route, Err(NoRoute::NotFound)), "{link} leads nowhere");
            }
        }
        let home = links(include_str!("pages/home.html"));
        for needed in ["/checkpoint", "/docs", "/swagger.json", "/api/v1/log"] {
            assert!(home.contains(&needed), "{needed}");
        }
    }
}
