//! What stands in the files for Sigstore's clients: the log, its timestamp authority, and what the
//! operator names or takes from files that there are already.

use std::path::{Path, PathBuf};

use treering_proto::bundle::CHAIN_MAX;
use treering_proto::certificate::{CERTIFICATE_LEN_MAX, Certificate};
use treering_proto::identity::LogIdentity;
use treering_proto::key::PublicKey;
use treering_proto::sigstore::{
    Authority, AuthorityChain, ClientTrustConfig, DOCUMENT_LEN_MAX, LogInstance, Service,
    SigstoreDocument,
};

use super::address::{Address, ServiceAddress};
use super::own_timestamps::OwnTimestamps;
use super::{ExportError, read};

/// The longest file of a chain: certificates in base64, with some text around each.
const CHAIN_FILE_LEN_MAX: usize = CHAIN_MAX * 2 * CERTIFICATE_LEN_MAX;

/// The longest file of a key; longer ones are no key.
const KEY_FILE_LEN_MAX: usize = 64 << 10;

/// As which kind of log ours stands in the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RekorFaces {
    /// As one of Rekor v1.
    V1,
    /// As one of Rekor v2.
    V2,
    /// As both; clients sign with the highest version that they know.
    Both,
}

/// Whose timestamps stand in the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Timestamps {
    /// Those of the services that are merged, or else the log's own if it gives any, whose
    /// certificates are believed either way.
    Own,
    /// Those of another authority.
    Other {
        /// The full address that takes requests.
        url: String,
        /// The file of its certificates.
        chain: PathBuf,
    },
    /// Nobody's.
    None,
}

/// What stands in the files for Sigstore's clients, beside the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigstoreOptions {
    /// As which kind of log ours stands there.
    pub rekor: RekorFaces,
    /// Trusted roots, signing configs and client trust configs to take authorities and services
    /// from.
    pub merge: Vec<PathBuf>,
    /// The address of the authority that certifies signers, and the file of its certificates.
    pub fulcio: Option<(String, PathBuf)>,
    /// The keys of logs of certificates.
    pub ct_keys: Vec<PathBuf>,
    /// The addresses of these logs: none, or one for each key.
    pub ct_urls: Vec<String>,
    /// Who says who a signer is.
    pub oidc_url: Option<String>,
    /// Whose timestamps.
    pub timestamps: Timestamps,
}

/// What was made of it.
pub(super) struct Documents {
    /// Both documents.
    pub(super) config: ClientTrustConfig,
    /// The certificates of another timestamp authority that was named, for `trust.json`.
    pub(super) timestamp_authorities: Vec<Certificate>,
    /// Whether the log's own timestamp authority stands in the documents.
    pub(super) has_own_timestamps: bool,
    /// What a client will not do with them, a sentence each.
    pub(super) warnings: Vec<String>,
}

/// Makes the documents. `own_chain` has the certificates of the log's own timestamp authority.
pub(super) fn documents(
    options: &SigstoreOptions,
    identity: &LogIdentity,
    address: &Address,
    own_chain: Option<&str>,
) -> Result<Documents, ExportError> {
    let own = OwnTimestamps::new(address, own_chain)?;
    let mut warnings = address.warnings(options.rekor != RekorFaces::V1);
    let mut config = this_log(options.rekor, identity, address);
    add_named(&mut config, options)?;
    for path in &options.merge {
        let more = read_document(path)?;
        warnings.extend(left_out(&config, &more, path));
        if options.timestamps != Timestamps::None && own.has_earlier(&more) {
            warnings.push(earlier_authority(path));
        }
        add_merged(&mut config, more, path)?;
    }
    own.leave_out(&mut config);
    let mut timestamp_authorities = Vec::new();
    let mut has_own_timestamps = false;
    match (&options.timestamps, &own.chain) {
        (Timestamps::None, _) => {
            config.trusted_root.timestamp_authorities.clear();
            config.signing_config.tsa_urls.clear();
        }
        (Timestamps::Other { url, chain: path }, own_chain) => {
            let at = ServiceAddress::parse("--timestamp-url", url)?;
            if own.is_at(&at.url) {
                return Err(ExportError::OwnTimestampUrl { url: url.clone() });
            }
            let (read, certificates) = read_other_timestamps(path, own_chain.as_ref())?;
            believe_timestamps(&mut config, &at.url, &read);
            ask_for_timestamps(&mut config, &at.url, &at.host);
            timestamp_authorities = certificates;
        }
        (Timestamps::Own, Some(chain)) => {
            // Whom clients ask is one choice, and whose tokens they believe another: somebody may
            // have asked this log before.
            believe_timestamps(&mut config, own.url(), chain);
            if config.signing_config.tsa_urls.is_empty() {
                ask_for_timestamps(&mut config, own.url(), &address.origin);
            }
            has_own_timestamps = true;
        }
        (Timestamps::Own, None) => {}
    }
    warnings.extend(own.unbelieved(&config));
    warnings.extend(missing(&config, options.rekor));
    Ok(Documents { config, timestamp_authorities, has_own_timestamps, warnings })
}

/// The log and nothing else.
fn this_log(rekor: RekorFaces, identity: &LogIdentity, address: &Address) -> ClientTrustConfig {
    let Address { url, base_url, origin, made_for: _ } = address;
    let mut config = ClientTrustConfig::default();
    let tlogs = &mut config.trusted_root.tlogs;
    let services = &mut config.signing_config.rekor_tlog_urls;
    // sigstore-js takes the first of two services.
    if rekor != RekorFaces::V1 {
        tlogs.push(LogInstance::rekor_v2(base_url, identity));
        services.push(Service::new(url, 2, origin));
    }
    if rekor != RekorFaces::V2 {
        tlogs.push(LogInstance::rekor_v1(base_url, identity));
        services.push(Service::new(url, 1, origin));
    }
    config
}

/// Adds what flags name: who certifies signers, logs of certificates, who says who a signer is.
fn add_named(config: &mut ClientTrustConfig, options: &SigstoreOptions) -> Result<(), ExportError> {
    let ClientTrustConfig { trusted_root, signing_config } = config;
    if let Some((url, path)) = &options.fulcio {
        let at = ServiceAddress::parse("--fulcio-url", url)?;
        let chain = AuthorityChain::of_signers(&read_pem(path, CHAIN_FILE_LEN_MAX)?)
            .map_err(|source| ExportError::Chain { path: path.clone(), source })?;
        trusted_root.certificate_authorities.push(Authority::new(&at.url, &chain));
        signing_config.ca_urls.push(Service::new(&at.url, 1, &at.host));
    }
    if !options.ct_urls.is_empty() && options.ct_urls.len() != options.ct_keys.len() {
        return Err(ExportError::CtUrls);
    }
    for (index, path) in options.ct_keys.iter().enumerate() {
        let url = match options.ct_urls.get(index) {
            Some(url) => ServiceAddress::parse("--ct-url", url)?.url,
            // Clients find the key by its hash; the address is for who watches that log.
            None => String::new(),
        };
        let key = PublicKey::from_pem(&read_pem(path, KEY_FILE_LEN_MAX)?)
            .map_err(|source| ExportError::Key { path: path.clone(), source })?;
        trusted_root.ctlogs.push(LogInstance::of_certificates(&url, &key));
    }
    if let Some(url) = &options.oidc_url {
        let at = ServiceAddress::parse("--oidc-url", url)?;
        // As it was given: an issuer is compared letter for letter.
        signing_config.oidc_urls.push(Service::new(url, 1, &at.host));
    }
    Ok(())
}

/// Makes clients believe a timestamp authority; it stands before those that are there.
fn believe_timestamps(config: &mut ClientTrustConfig, url: &str, chain: &AuthorityChain) {
    config.trusted_root.timestamp_authorities.insert(0, Authority::new(url, chain));
}

/// Makes clients ask a timestamp authority, before those that are there.
fn ask_for_timestamps(config: &mut ClientTrustConfig, url: &str, operator: &str) {
    config.signing_config.tsa_urls.insert(0, Service::new(url, 1, operator));
}

/// The chain of another timestamp authority, and its certificates one by one.
fn read_other_timestamps(
    path: &Path,
    own_chain: Option<&AuthorityChain>,
) -> Result<(AuthorityChain, Vec<Certificate>), ExportError> {
    let wrong = |source| ExportError::Chain { path: path.to_owned(), source };
    let chain = AuthorityChain::of_timestamps(&read_pem(path, CHAIN_FILE_LEN_MAX)?);
    let chain = chain.map_err(wrong)?;
    let is_own = |der: &Vec<u8>| own_chain.is_some_and(|own| own.ders().contains(der));
    if chain.ders().iter().any(is_own) {
        return Err(ExportError::OwnTimestamps { path: path.to_owned() });
    }
    let read = |der: &Vec<u8>| {
        let wrong = |source| ExportError::Certificate { path: path.to_owned(), source };
        Certificate::from_der(der).map_err(wrong)
    };
    let certificates = chain.ders().iter().map(read).collect::<Result<_, _>>()?;
    Ok((chain, certificates))
}

/// A file that should have PEM in it; what is no text in it is no PEM either.
fn read_pem(path: &Path, max: usize) -> Result<String, ExportError> {
    Ok(String::from_utf8_lossy(&read(path, max)?).into_owned())
}

/// Reads a file to take authorities and services from.
fn read_document(path: &Path) -> Result<ClientTrustConfig, ExportError> {
    let wrong = |source| ExportError::Merge { path: path.to_owned(), source };
    let bytes = read(path, DOCUMENT_LEN_MAX)?;
    Ok(match SigstoreDocument::parse(&bytes).map_err(wrong)? {
        SigstoreDocument::TrustedRoot(trusted_root) => {
            ClientTrustConfig { trusted_root, ..Default::default() }
        }
        SigstoreDocument::SigningConfig(signing_config) => {
            ClientTrustConfig { signing_config, ..Default::default() }
        }
        SigstoreDocument::ClientTrustConfig(config) => config,
    })
}

/// That the logs of a file are not taken from it, if it has others than ours.
fn left_out(config: &ClientTrustConfig, more: &ClientTrustConfig, path: &Path) -> Option<String> {
    let known: Vec<&[u8]> = config.trusted_root.tlogs.iter().map(LogInstance::log_id).collect();
    let logs = more.trusted_root.tlogs.iter().filter(|log| !known.contains(&log.log_id()));
    let others = logs.count();
    (others > 0).then(|| {
        format!(
            "{}: its transparency logs ({others}) are left out; what they alone have logged does \
             not verify by these files",
            path.display()
        )
    })
}

/// That a file has certificates with which this log stamped before.
fn earlier_authority(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path}: an earlier timestamp authority of this log stays in the trusted root, for what it \
         stamped; if its key was stolen, take it out of {path}"
    )
}

/// Takes authorities and services from what a file says.
fn add_merged(
    config: &mut ClientTrustConfig,
    more: ClientTrustConfig,
    path: &Path,
) -> Result<(), ExportError> {
    let wrong = |source| ExportError::Merge { path: path.to_owned(), source };
    config.trusted_root.add_authorities(more.trusted_root).map_err(wrong)?;
    config.signing_config.add_services(more.signing_config).map_err(wrong)
}

/// What signers and verifiers with certificates will miss.
fn missing(config: &ClientTrustConfig, rekor: RekorFaces) -> Vec<String> {
    let ClientTrustConfig { trusted_root, signing_config } = config;
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    let (has_roots, has_authority) =
        (!trusted_root.certificate_authorities.is_empty(), !signing_config.ca_urls.is_empty());
    match (has_roots, has_authority) {
        (true, true) => {}
        (false, false) => warn(
            "no authority for signers is named (--fulcio-url, --merge): signing without keys of \
             one's own, as sigstore-python, model_signing's sigstore method, sigstore-js and \
             sigstore-java do, needs one; signing with keys, as cosign does, needs none",
        ),
        (true, false) => warn(
            "there are authorities for signers, but no address of one (--fulcio-url, or a signing \
             config to merge): clients can verify, and cannot sign without keys of their own",
        ),
        (false, true) => warn(
            "there is an address of an authority for signers, but no certificates of one \
             (--fulcio-chain, or a trusted root to merge): what clients sign there does not verify",
        ),
    }
    if has_roots && trusted_root.ctlogs.is_empty() {
        warn(
            "no log of certificates is named (--ct-key, --merge): clients verify certificates only \
             with one, unless they are told otherwise, as cosign is with --insecure-ignore-sct",
        );
    }
    if has_authority && signing_config.oidc_urls.is_empty() {
        warn(
            "nobody is named who says who a signer is (--oidc-url, --merge): model_signing and \
             sigstore-java do not sign then, other clients only with a token that they are given",
        );
    }
    if !signing_config.tsa_urls.is_empty() {
        return warnings;
    }
    if rekor != RekorFaces::V1 && has_authority {
        warn(
            "no timestamp authority is named: with certificates clients do not sign through Rekor \
             v2, or do not verify it; with --rekor v1 the log's promises say the time",
        );
    }
    warn("sigstore-java does not read a signing config without a timestamp authority");
    warnings
}
