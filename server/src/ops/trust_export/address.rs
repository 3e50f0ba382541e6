//! Addresses: where clients reach a log, by what they know it, and which of them mix up the two.
//!
//! A log is known by its origin, a bare host name that was fixed when it was made. Sigstore's
//! clients take it from an address: `baseUrl` of the trusted root, without the port; rekor-monitor
//! takes that of the signing config, with the port. So `baseUrl` always has the origin as its host,
//! even when the log is reached elsewhere.

use hyper::Uri;

use super::ExportError;

/// Where a log is, and by what it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    /// Where clients reach it, without a slash at the end.
    pub(super) url: String,
    /// The address by which clients know it; its host is the origin.
    pub(super) base_url: String,
    /// Its origin.
    pub(super) origin: String,
    /// The address that it was made for, where an earlier export may have found it.
    pub(super) made_for: String,
}

/// Where a service is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ServiceAddress {
    /// Without a slash at the end.
    pub(super) url: String,
    /// Its host, which stands for who operates it.
    pub(super) host: String,
}

impl Address {
    /// The address of the log that was made for `made_for`, and is reached at `reached_at` if that
    /// is another one.
    pub(super) fn new(
        made_for: &str,
        reached_at: Option<&str>,
        origin: &str,
    ) -> Result<Self, ExportError> {
        let made_for = ServiceAddress::parse("--url", made_for)?;
        let reached_at = match reached_at {
            Some(url) => ServiceAddress::parse("--url", url)?,
            None => made_for.clone(),
        };
        let base_url = if reached_at.host == origin { &reached_at.url } else { &made_for.url };
        let (base_url, url) = (base_url.clone(), reached_at.url);
        Ok(Self { url, base_url, origin: origin.to_owned(), made_for: made_for.url })
    }

    /// What clients will not do with this address, a sentence each. `has_v2` says whether the log
    /// stands in the files as one of Rekor v2.
    pub(super) fn warnings(&self, has_v2: bool) -> Vec<String> {
        let Self { url, base_url, origin, made_for: _ } = self;
        let mut warnings = Vec::new();
        let after_scheme = url.split_once("://").map(|(_, rest)| rest);
        if has_v2 && after_scheme != Some(origin.as_str()) {
            warnings.push(format!(
                "rekor-monitor takes all that follows the scheme of {url} for the name of a Rekor v2 \
                 log; this one is called {origin}, and rekor-monitor refuses its checkpoints"
            ));
        }
        if has_v2 && origin.starts_with('[') {
            warnings.push(format!(
                "cosign and sigstore-go leave out the brackets of an address of IPv6; they do not \
                 verify Rekor v2 entries of a log that is called {origin}"
            ));
        }
        if base_url != url {
            warnings.push(format!(
                "clients know the log as {base_url}, and reach it at {url}; those that look up Rekor \
                 v1 entries by the trusted root (sigstore-java, and sigstore-python without a \
                 bundle) ask the former"
            ));
        }
        warnings
    }
}

impl ServiceAddress {
    /// Reads the value of `flag`: lower-case host, no default port, no slash at the end.
    ///
    /// # Errors
    /// [`ExportError::Url`].
    pub(super) fn parse(flag: &'static str, url: &str) -> Result<Self, ExportError> {
        let wrong = || ExportError::Url { flag, url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.to_ascii_lowercase();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // The library drops a fragment, so the text is asked.
        if authority.contains('@') || uri.query().is_some() || url.contains('#') {
            return Err(wrong());
        }
        // Nor does it mind a port that none can have.
        let has_port = authority.len() > host.len();
        let port = uri.port_u16();
        if has_port != port.is_some() {
            return Err(wrong());
        }
        let port = port.filter(|port| *port != default_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        Ok(Self { url: format!("{scheme}://{host}{port}{path}"), host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<(String, String)> {
        let parsed = ServiceAddress::parse("--url", url).ok()?;
        Some((parsed.url, parsed.host))
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (url, written, host) in [
            ("https://log.corp", "https://log.corp", "log.corp"),
            ("HTTPS://Log.Corp:443/", "https://log.corp", "log.corp"),
            ("http://log.corp:80", "http://log.corp", "log.corp"),
            ("http://log.corp:443", "http://log.corp:443", "log.corp"),
            ("http://localhost:3000/", "http://localhost:3000", "localhost"),
            ("https://a.b/C/d//", "https://a.b/C/d", "a.b"),
            ("http://[::1]:3000", "http://[::1]:3000", "[::1]"),
        ] {
            assert_eq!(parsed(url), Some((written.to_owned(), host.to_owned())), "{url}");
        }
        for url in [
            "",
            "log.corp",
            "/x",
            "ftp://log.corp",
            "https://",
            "https://a@b",
            "https://x?y",
            "https://x/#y",
            "https://x y",
            "https://x:70000",
            "https://:1",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    #[test]
    fn a_log_is_known_by_its_origin_wherever_it_is_reached() {
        let made_for = "http://localhost:3000";
        let base_url = |reached_at| {
            Address::new(made_for, reached_at, "localhost").map(|address| address.base_url).unwrap()
        };
        assert_eq!(base_url(None), made_for);
        assert_eq!(base_url(Some("http://localhost:4000/log/")), "http://localhost:4000/log");
        assert_eq!(base_url(Some("http://127.0.0.1:3000")), made_for);
    }

    #[test]
    fn each_address_that_a_client_gets_wrong_is_remarked_on() {
        let warned = |made_for: &str, reached_at, origin, has_v2| {
            let address = Address::new(made_for, reached_at, origin).unwrap();
            let warnings = address.warnings(has_v2).into_iter();
            let first_word = |text: String| text.split(' ').next().unwrap().to_owned();
            warnings.map(first_word).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(warned("https://log.corp/", None, "log.corp", true), none);
        assert_eq!(warned("https://log.corp:443", None, "log.corp", true), none);
        assert_eq!(warned("https://log.corp:1", None, "log.corp", true), ["rekor-monitor"]);
        assert_eq!(warned("https://log.corp:1", None, "log.corp", false), none);
        let path = Some("https://log.corp/x");
        assert_eq!(warned("https://log.corp", path, "log.corp", true), ["rekor-monitor"]);
        let other = Some("https://other.corp");
        assert_eq!(
            warned("https://log.corp", other, "log.corp", true),
            ["rekor-monitor", "clients"]
        );
        assert_eq!(warned("https://log.corp", other, "log.corp", false), ["clients"]);
        assert_eq!(warned("http://[::1]", None, "[::1]", true), ["cosign"]);
        assert_eq!(warned("http://[::1]", None, "[::1]", false), none);
    }
}
