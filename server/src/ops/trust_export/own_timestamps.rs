//! The log's own timestamp authority, and what files that are merged say of it.
//!
//! Invariant: only this export says where the log's own timestamps are; a file that was written
//! when the log was reached elsewhere, or had another authority, never does.

use treering_proto::sigstore::{Authority, AuthorityChain, ClientTrustConfig, Service};

use super::ExportError;
use super::address::{Address, ServiceAddress};

/// The path of timestamps below the address of a log.
const TIMESTAMP_PATH: &str = "/api/v1/timestamp";

/// Where the log gives timestamps, and whose certificates they verify by.
pub(super) struct OwnTimestamps {
    /// Where it is reached now, and where it was made for.
    urls: [String; 2],
    /// Its certificates, if it has an authority.
    pub(super) chain: Option<AuthorityChain>,
}

impl OwnTimestamps {
    /// Reads the certificates of the log at `address`, if it has any.
    pub(super) fn new(address: &Address, chain: Option<&str>) -> Result<Self, ExportError> {
        let chain = chain.map(AuthorityChain::of_timestamps).transpose();
        let chain = chain.map_err(ExportError::OwnChain)?;
        let urls = [&address.url, &address.made_for].map(|url| format!("{url}{TIMESTAMP_PATH}"));
        Ok(Self { urls, chain })
    }

    /// Where clients ask for timestamps.
    pub(super) fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Whether `url` is an address of this log's timestamps, however it is spelled.
    pub(super) fn is_at(&self, url: &str) -> bool {
        ServiceAddress::parse("--merge", url).is_ok_and(|at| self.urls.contains(&at.url))
    }

    /// Whether these are the certificates that the log has now.
    fn is_present(&self, authority: &Authority) -> bool {
        self.chain.as_ref().is_some_and(|chain| authority.has_chain(chain))
    }

    /// Whether a file has an authority of this log other than the present one.
    pub(super) fn has_earlier(&self, more: &ClientTrustConfig) -> bool {
        more.trusted_root.timestamp_authorities.iter().any(|authority| {
            authority.uri().is_some_and(|uri| self.is_at(uri)) && !self.is_present(authority)
        })
    }

    /// Leaves out the present authority as an earlier export may have written it, and every address
    /// of it. Its earlier certificates stay, for those who verify old timestamps.
    pub(super) fn leave_out(&self, config: &mut ClientTrustConfig) {
        let authorities = &mut config.trusted_root.timestamp_authorities;
        let (own, others): (Vec<_>, Vec<_>) =
            authorities.drain(..).partition(|authority| self.is_present(authority));
        *authorities = others;
        let uris: Vec<&str> = own.iter().filter_map(Authority::uri).collect();
        let is_own = |service: &Service| uris.contains(&service.url()) || self.is_at(service.url());
        config.signing_config.tsa_urls.retain(|service| !is_own(service));
    }

    /// What clients will not do if they ask somebody else, of whom there are no certificates.
    pub(super) fn unbelieved(&self, config: &ClientTrustConfig) -> Option<String> {
        let mut services = config.signing_config.tsa_urls.iter();
        let mut authorities = config.trusted_root.timestamp_authorities.iter();
        let asks_others = services.any(|service| !self.is_at(service.url()));
        let believes_others = authorities.any(|authority| !self.is_present(authority));
        (asks_others && !believes_others).then(|| {
            "there is an address of a timestamp authority, but no certificates of one: what \
             clients have it stamp does not verify"
                .to_owned()
        })
    }
}
