//! The signing config: which services signers use (`SigningConfig`).
//!
//! What clients make of it: of the services of one operator that are valid now, cosign,
//! sigstore-go, sigstore-python, sigstore-java and sigstore-rust take the highest version that they
//! know; sigstore-js takes the newest, and of several the first. So of services of one time the
//! highest version stands first.

use serde::Serialize;

use super::{DocumentError, Period, SIGNING_CONFIG_MEDIA_TYPE, add_new, items, pretty};
use crate::protojson::{FieldError, Object};

/// Where signers find services. How many of them they take is always written as `ANY`: any one, the
/// only choice that sigstore-js can read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SigningConfig {
    /// Who certifies signers (Fulcio), base URLs.
    pub ca_urls: Vec<Service>,
    /// Who says who a signer is (OpenID Connect).
    pub oidc_urls: Vec<Service>,
    /// Transparency logs, base URLs.
    pub rekor_tlog_urls: Vec<Service>,
    /// Timestamp authorities, full URLs.
    pub tsa_urls: Vec<Service>,
}

/// One service (`Service`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    url: String,
    major_api_version: u32,
    valid_for: Period,
    operator: String,
}

/// How the document is written. Without an authority for times nothing is said about choosing one:
/// sigstore-js takes that for a demand that it cannot meet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Json<'a> {
    media_type: &'static str,
    ca_urls: &'a [Service],
    oidc_urls: &'a [Service],
    rekor_tlog_urls: &'a [Service],
    tsa_urls: &'a [Service],
    rekor_tlog_config: Choice,
    #[serde(skip_serializing_if = "Option::is_none")]
    tsa_config: Option<Choice>,
}

/// How many services are taken (`ServiceConfiguration`).
#[derive(Serialize)]
struct Choice {
    selector: &'static str,
}

const ANY: Choice = Choice { selector: "ANY" };

impl SigningConfig {
    /// Adds the services of `other` that are not there yet. Its transparency logs are left out.
    ///
    /// # Errors
    /// If a list gets too long.
    pub fn add_services(&mut self, other: Self) -> Result<(), DocumentError> {
        let Self { ca_urls, oidc_urls, rekor_tlog_urls: _, tsa_urls } = other;
        add_new(&mut self.ca_urls, ca_urls, "caUrls")?;
        add_new(&mut self.oidc_urls, oidc_urls, "oidcUrls")?;
        add_new(&mut self.tsa_urls, tsa_urls, "tsaUrls")
    }

    /// The text of the document, indented, with a trailing LF.
    pub fn format(&self) -> String {
        pretty(&self.to_json())
    }

    pub(super) fn to_json(&self) -> Json<'_> {
        Json {
            media_type: SIGNING_CONFIG_MEDIA_TYPE,
            ca_urls: &self.ca_urls,
            oidc_urls: &self.oidc_urls,
            rekor_tlog_urls: &self.rekor_tlog_urls,
            tsa_urls: &self.tsa_urls,
            rekor_tlog_config: ANY,
            tsa_config: (!self.tsa_urls.is_empty()).then_some(ANY),
        }
    }

    /// Reads the message; its media type was taken. How many services it wants taken is not kept.
    pub(super) fn from_untyped_object(mut object: Object) -> Result<Self, DocumentError> {
        let config = Self {
            ca_urls: items(&mut object, "caUrls", Service::from_object)?,
            oidc_urls: items(&mut object, "oidcUrls", Service::from_object)?,
            rekor_tlog_urls: items(&mut object, "rekorTlogUrls", Service::from_object)?,
            tsa_urls: items(&mut object, "tsaUrls", Service::from_object)?,
        };
        object.optional_object("rekorTlogConfig")?;
        object.optional_object("tsaConfig")?;
        object.finish()?;
        Ok(config)
    }
}

impl Service {
    /// A service that is valid from long ago on. `operator` is a URI without a scheme, such as a
    /// host name.
    pub fn new(url: &str, major_api_version: u32, operator: &str) -> Self {
        Self {
            url: url.to_owned(),
            major_api_version,
            valid_for: Period::always(),
            operator: operator.to_owned(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn from_object(mut object: Object) -> Result<Self, FieldError> {
        let version = object.int64("majorApiVersion")?;
        let service = Self {
            url: object.text("url")?,
            major_api_version: u32::try_from(version)
                .map_err(|_| FieldError::Malformed("majorApiVersion"))?,
            valid_for: Period::take(&mut object)?,
            operator: object.optional_text("operator")?.unwrap_or_default(),
        };
        object.finish()?;
        Ok(service)
    }
}
