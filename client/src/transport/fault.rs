//! Faults of TLS and of proxies, told apart: what is wrong, and what to do about it. They do not
//! pass by themselves, so nobody waits for them; and they happen before a request is sent, so none
//! of them leaves a write in doubt.
//!
//! The HTTP library gives its errors as text, whose words are known here and held by tests
//! (`client/tests/network`). Words that changed would make a fault one of the others again, which
//! is tried again until the deadline; no wrong connection is made.
//!
//! Out of scope: faults that may pass.

use std::fmt;

/// Why no connection came about that trying again would bring about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No authority that is trusted here certified the server.
    UnknownAuthority,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is for other names.
    OtherName,
    /// The server's certificate cannot be accepted for another reason.
    BadCertificate,
    /// The server wants a certificate of the client.
    ClientCertificateRequired,
    /// The server does not accept the certificate of the client.
    ClientCertificateRefused,
    /// The proxy wants to know who asks.
    ProxyAuthentication,
    /// The proxy does not connect to the log.
    ProxyRefused,
}

impl Fault {
    /// The fault that an error's text, with those of its causes, tells of.
    pub(super) fn of(text: &str) -> Option<Self> {
        WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, fault)| *fault)
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::UnknownAuthority => {
                "say --ca-file FILE with the PEM of the authority that certifies the log's server; \
                 its operator has it"
            }
            Self::Expired => {
                "ask the log's operator to renew the certificate; look whether this machine's \
                 clock is right"
            }
            Self::NotYetValid => "look whether this machine's clock is right",
            Self::OtherName => {
                "look at log.url in the trust file: it must have a name that is in the certificate"
            }
            Self::BadCertificate => "ask the log's operator for another certificate",
            Self::ClientCertificateRequired => {
                "say --client-certificate FILE and --client-key FILE"
            }
            Self::ClientCertificateRefused => {
                "ask the log's operator which authorities may certify clients, and look whether \
                 the certificate of --client-certificate has expired"
            }
            Self::ProxyAuthentication => {
                "put name and password into the proxy's URL: HTTPS_PROXY=http://NAME:PASSWORD@HOST"
            }
            Self::ProxyRefused => {
                "ask whoever runs the proxy of HTTPS_PROXY to let it connect to the log, or name \
                 the log's host in NO_PROXY"
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "the server's certificate is of no authority trusted here",
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::OtherName => "the server's certificate is for another name",
            Self::BadCertificate => "the server's certificate cannot be accepted",
            Self::ClientCertificateRequired => "the server requires a client certificate",
            Self::ClientCertificateRefused => "the server does not accept the client certificate",
            Self::ProxyAuthentication => "the proxy requires a name and a password",
            Self::ProxyRefused => "the proxy does not connect to the log",
        })
    }
}

/// The words of rustls and of the HTTP library, special ones first.
const WORDS: [(&str, Fault); 17] = [
    ("invalid peer certificate: UnknownIssuer", Fault::UnknownAuthority),
    // An authority of the same name with another key.
    ("invalid peer certificate: BadSignature", Fault::UnknownAuthority),
    ("invalid peer certificate: certificate expired", Fault::Expired),
    ("invalid peer certificate: Expired", Fault::Expired),
    ("invalid peer certificate: certificate not valid yet", Fault::NotYetValid),
    ("invalid peer certificate: NotValidYet", Fault::NotYetValid),
    ("invalid peer certificate: certificate not valid for name", Fault::OtherName),
    ("invalid peer certificate: NotValidForName", Fault::OtherName),
    ("invalid peer certificate", Fault::BadCertificate),
    ("fatal alert: CertificateRequired", Fault::ClientCertificateRequired),
    ("fatal alert: UnknownCA", Fault::ClientCertificateRefused),
    ("fatal alert: BadCertificate", Fault::ClientCertificateRefused),
    ("fatal alert: CertificateExpired", Fault::ClientCertificateRefused),
    ("fatal alert: CertificateUnknown", Fault::ClientCertificateRefused),
    ("fatal alert: DecryptError", Fault::ClientCertificateRefused),
    ("tunnel error: proxy authorization required", Fault::ProxyAuthentication),
    ("tunnel error: unsuccessful", Fault::ProxyRefused),
];
