//! Which request means what. Paths are cleaned first, as Rekor does: doubled slashes collapse, a
//! trailing slash is dropped.
//!
//! Invariant: a resource has one route; what is not named here is 404, a known path with another
//! method 405.

use hyper::Method;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `GET /checkpoint`, `/api/v2/checkpoint`: the C2SP checkpoint.
    Checkpoint,
    /// `GET /tile/...`, `/api/v2/tile/...`: the path from `tile/` on.
    Tile(String),
    /// `POST /api/v2/log/entries`.
    V2Submit,
    /// `POST /api/v1/log/entries`.
    V1Submit,
    /// `GET /api/v1/log/entries?logIndex=`.
    V1EntryByIndex,
    /// `GET /api/v1/log/entries/{id}`.
    V1EntryById(String),
    /// `GET /api/v1/log`.
    V1LogInfo,
    /// `GET /api/v1/log/publicKey`.
    V1PublicKey,
    /// `GET /api/v1/log/proof`.
    V1Proof,
    /// `POST /api/v1/log/entries/retrieve`.
    V1Retrieve,
    /// `POST /api/v1/index/retrieve`.
    V1Index,
    /// `GET /`: a page for people.
    Home,
    /// `GET /docs`: a page about the Rekor v1 face.
    Docs,
    /// `GET /swagger.json`: the same for programs.
    Document,
    /// `POST /api/v1/timestamp`, as Sigstore's timestamp authority takes it.
    Timestamp,
    /// `GET /api/v1/timestamp/certchain`.
    TimestampChain,
    /// `GET /api/treering/v1/entries/{index}`.
    Entry(String),
    /// `GET /api/treering/v1/search`.
    Search,
    /// `GET /api/treering/v1/statements/{payload hash}`.
    Statement(String),
    /// `POST /api/treering/v1/statements`.
    Statements,
    /// `GET /api/treering/v1/checkpoints?around=` or `?from=`.
    Checkpoints,
    /// `GET /api/treering/v1/identity`.
    Identity,
    /// `GET /livez`: the process answers.
    Live,
    /// `GET /readyz`: the log takes entries; with the reason if not.
    Ready,
    /// `GET /healthz`, as rekor-tiles answers it.
    Healthz,
    /// `GET /ping`, as Rekor v1 answers it.
    Ping,
    /// `GET /metrics`.
    Metrics,
}

/// Why there is no route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoRoute {
    /// No such path.
    NotFound,
    /// The path exists, for these methods.
    MethodNotAllowed {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// A browser asks what it may do.
    Preflight,
}

/// The face that a path belongs to, which decides how errors look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// Rekor v1.
    V1,
    /// Rekor v2.
    V2,
    /// Everything else.
    Native,
}

impl Face {
    /// The face of a path.
    pub fn of(path: &str) -> Self {
        let path = clean(path);
        if path.starts_with("/api/v1/") {
            Self::V1
        } else if path.starts_with("/api/v2/") {
            Self::V2
        } else {
            Self::Native
        }
    }
}

impl Route {
    /// The route of a request line.
    pub fn parse(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let path = clean(path);
        if *method == Method::OPTIONS {
            return Err(NoRoute::Preflight);
        }
        let (read, write) = (Self::read(&path), Self::write(&path));
        let allow = match (&read, &write) {
            (None, None) => return Err(NoRoute::NotFound),
            (Some(_), None) => "GET, HEAD",
            (None, Some(_)) => "POST",
            (Some(_), Some(_)) => "GET, HEAD, POST",
        };
        let route = match *method {
            Method::GET | Method::HEAD => read,
            Method::POST => write,
            _ => None,
        };
        route.ok_or(NoRoute::MethodNotAllowed { allow })
    }

    fn read(path: &str) -> Option<Self> {
        match path {
            "" => return Some(Self::Home),
            "/docs" => return Some(Self::Docs),
            "/swagger.json" => return Some(Self::Document),
            "/checkpoint" | "/api/v2/checkpoint" => return Some(Self::Checkpoint),
            "/api/v1/log" => return Some(Self::V1LogInfo),
            "/api/v1/log/publicKey" => return Some(Self::V1PublicKey),
            "/api/v1/log/proof" => return Some(Self::V1Proof),
            "/api/v1/log/entries" => return Some(Self::V1EntryByIndex),
            "/api/v1/timestamp/certchain" => return Some(Self::TimestampChain),
            "/api/treering/v1/search" => return Some(Self::Search),
            "/api/treering/v1/checkpoints" => return Some(Self::Checkpoints),
            "/api/treering/v1/identity" => return Some(Self::Identity),
            "/livez" => return Some(Self::Live),
            "/readyz" => return Some(Self::Ready),
            "/healthz" => return Some(Self::Healthz),
            "/metrics" => return Some(Self::Metrics),
            _ if path.eq_ignore_ascii_case("/ping") => return Some(Self::Ping),
            _ => {}
        }
        let tile = path.strip_prefix("/api/v2/").or_else(|| path.strip_prefix('/'));
        if let Some(tile) = tile.filter(|tile| tile.starts_with("tile/")) {
            return Some(Self::Tile(tile.to_owned()));
        }
        let last = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            (!rest.contains('/')).then(|| rest.to_owned())
        };
        last("/api/v1/log/entries/")
            .map(Self::V1EntryById)
            .or_else(|| last("/api/treering/v1/entries/").map(Self::Entry))
            .or_else(|| last("/api/treering/v1/statements/").map(Self::Statement))
    }

    fn write(path: &str) -> Option<Self> {
        match path {
            "/api/v2/log/entries" => Some(Self::V2Submit),
            "/api/v1/log/entries" => Some(Self::V1Submit),
            "/api/v1/log/entries/retrieve" => Some(Self::V1Retrieve),
            "/api/v1/index/retrieve" => Some(Self::V1Index),
            "/api/v1/timestamp" => Some(Self::Timestamp),
            "/api/treering/v1/statements" => Some(Self::Statements),
            _ => None,
        }
    }
}

impl Route {
    /// The name that Rekor v1 has for the operation, if it is one of its face.
    pub fn v1_operation(&self) -> Option<&'static str> {
        match self {
            Self::V1Submit => Some("createLogEntry"),
            Self::V1EntryByIndex => Some("getLogEntryByIndex"),
            Self::V1EntryById(_) => Some("getLogEntryByUUID"),
            Self::V1LogInfo => Some("getLogInfo"),
            Self::V1PublicKey => Some("getPublicKey"),
            Self::V1Proof => Some("getLogProof"),
            Self::V1Retrieve => Some("searchLogQuery"),
            Self::V1Index => Some("searchIndex"),
            _ => None,
        }
    }

    /// Whether it is a GET of Rekor v1, no answer of which may be kept.
    pub fn is_v1_get(&self) -> bool {
        self.v1_operation().is_some_and(|operation| operation.starts_with("get"))
    }
}

/// Collapses doubled slashes and drops a trailing one.
fn clean(path: &str) -> String {
    let mut cleaned = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_rekor_cleans_them() {
        for path in ["/api/v1/log/entries", "/api/v1/log/entries/", "//api/v1//log/entries//"] {
            assert_eq!(Route::parse(&Method::POST, path), Ok(Route::V1Submit), "{path}");
        }
        assert_eq!(Route::parse(&Method::GET, "/PING"), Ok(Route::Ping));
        let id = Route::V1EntryById("ab".into());
        assert_eq!(Route::parse(&Method::GET, "/api/v1/log/entries/ab/"), Ok(id));
    }

    #[test]
    fn tiles_are_under_both_prefixes() {
        let tile = Route::Tile("tile/0/x001/067.p/5".into());
        for path in ["/tile/0/x001/067.p/5", "/api/v2/tile/0/x001/067.p/5"] {
            assert_eq!(Route::parse(&Method::HEAD, path), Ok(tile.clone()), "{path}");
        }
    }

    #[test]
    fn other_methods_and_paths_are_told_apart() {
        let not_allowed = Err(NoRoute::MethodNotAllowed { allow: "POST" });
        assert_eq!(Route::parse(&Method::GET, "/api/v2/log/entries"), not_allowed);
        let not_allowed = Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD" });
        assert_eq!(Route::parse(&Method::DELETE, "/checkpoint"), not_allowed);
        let both = Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD, POST" });
        assert_eq!(Route::parse(&Method::PUT, "/api/v1/log/entries"), both);
        let search = Ok(Route::V1Index);
        assert_eq!(Route::parse(&Method::POST, "/api/v1/index/retrieve/"), search);
        let id = Ok(Route::V1EntryById("retrieve".into()));
        assert_eq!(Route::parse(&Method::GET, "/api/v1/log/entries/retrieve"), id);
        for path in ["/", "//", "/docs/", "/swagger.json"] {
            assert!(Route::parse(&Method::GET, path).is_ok(), "{path}");
        }
        assert_eq!(Route::parse(&Method::GET, "/api/v1"), Err(NoRoute::NotFound));
        assert_eq!(Route::parse(&Method::GET, "/api/v1/log/entries/a/b"), Err(NoRoute::NotFound));
        assert_eq!(Route::parse(&Method::OPTIONS, "/anything"), Err(NoRoute::Preflight));
    }
}
