//! Public keys and certificates, in DER and in PEM.

use treering_proto::certificate::{Certificate, IDENTITIES_MAX};
use treering_proto::key::PublicKey;
use treering_proto::verifier::Verifier;

fn check_key(key: &PublicKey) {
    assert_eq!(PublicKey::from_pem(&key.to_pem()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_spki_der(key.spki_der()).as_ref(), Ok(key));
    for garbage in [&b""[..], &[0; 64], &[0x30, 6, 2, 1, 1, 2, 1, 1], &[0xff; 512]] {
        assert!(key.verify(b"message", garbage).is_err());
    }
}

pub(super) fn spki(data: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_spki_der(data) else { return false };
    assert_eq!(key.spki_der(), data);
    check_key(&key);
    true
}

pub(super) fn pem(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let Ok(verifier) = Verifier::from_pem(text) else { return false };
    let again = Verifier::from_pem(&verifier.to_pem()).expect("our own PEM is read");
    assert_eq!(again, verifier);
    true
}

pub(super) fn certificate(data: &[u8]) -> bool {
    let Ok(read) = Certificate::from_der(data) else { return false };
    assert_eq!(read.der(), data);
    assert!(read.identities().len() <= IDENTITIES_MAX);
    assert_eq!(Certificate::from_pem(&read.to_pem()).as_ref(), Ok(&read));
    check_key(read.key());
    true
}
