use std::path::Path;

use tempfile::TempDir;
use treering_proto::hash::sha256;

use super::*;
use crate::certificate_chain::tests::{authority, leaf};
use crate::private_key::PrivateKey;

pub(crate) const CRITICAL: &str = "extendedKeyUsage=critical,timeStamping";

const SHA_256: [u8; 15] = [0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];
const ECDSA_SHA_256: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const MESSAGE_DIGEST: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SIGNED_DATA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const POLICY: [u8; 5] = [6, 3, 0x2a, 3, 4];

/// A timestamp authority with one signer.
pub(crate) struct Stamper {
    pub(crate) root: Certificate,
    pub(crate) leaf: Certificate,
    key: PrivateKey,
}

/// How a token differs from a good one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    Nothing,
    NoCertificate,
    TwoSigners,
    OtherContentType,
    NamedByKey,
}

impl Stamper {
    pub(crate) fn new(dir: &Path, usage: &str) -> Self {
        let root = authority(dir, "root");
        let leaf = leaf(dir, "root", usage);
        let key = PrivateKey::load(&dir.join("l.key"), || unreachable!("it has no password"));
        Self { root, leaf, key: key.unwrap() }
    }

    pub(crate) fn token(&self, signature: &[u8], time: u64, odd: Odd) -> Vec<u8> {
        let second = jiff::Timestamp::from_second(time.try_into().unwrap()).unwrap();
        let second = second.strftime("%Y%m%d%H%M%SZ").to_string();
        let imprint = tlv(0x30, &[&SHA_256, &tlv(4, &[&sha256(signature).0])]);
        let generated = tlv(0x18, &[second.as_bytes()]);
        let info = tlv(0x30, &[&[2, 1, 1], &POLICY, &imprint, &[2, 1, 7], &generated]);
        let named = TST_INFO.to_der().unwrap();
        let content = tlv(0x30, &[&named, &tlv(0xa0, &[&tlv(4, &[&info])])]);
        let signer = self.signer_info(&info, odd);
        let signers = match odd {
            Odd::TwoSigners => tlv(0x31, &[&signer, &signer]),
            _ => tlv(0x31, &[&signer]),
        };
        let certificates = match odd {
            Odd::NoCertificate => Vec::new(),
            _ => tlv(0xa0, &[self.leaf.der()]),
        };
        let algorithms = tlv(0x31, &[&SHA_256]);
        let data = tlv(0x30, &[&[2, 1, 3], &algorithms, &content, &certificates, &signers]);
        tlv(0x30, &[&SIGNED_DATA, &tlv(0xa0, &[&data])])
    }

    fn signer_info(&self, info: &[u8], odd: Odd) -> Vec<u8> {
        let content_type = match odd {
            Odd::OtherContentType => SIGNED_DATA.to_vec(),
            _ => TST_INFO.to_der().unwrap(),
        };
        let name = CONTENT_TYPE.to_der().unwrap();
        let of_type = tlv(0x30, &[&name, &tlv(0x31, &[&content_type])]);
        let digest = tlv(0x31, &[&tlv(4, &[&sha256(info).0])]);
        let of_digest = tlv(0x30, &[&MESSAGE_DIGEST, &digest]);
        let signed = tlv(0x31, &[&of_type, &of_digest]);
        let signature = tlv(4, &[&self.key.sign(&signed).unwrap()]);
        let attributes = tlv(0xa0, &[&of_type, &of_digest]);
        let x509 = X509::from_der(self.leaf.der()).unwrap();
        let tbs = x509.tbs_certificate();
        let (issuer, number) = (tbs.issuer().to_der(), tbs.serial_number().to_der());
        let who = match odd {
            Odd::NamedByKey => tlv(0x80, &[b"a key that the certificate does not name"]),
            _ => tlv(0x30, &[&issuer.unwrap(), &number.unwrap()]),
        };
        tlv(0x30, &[&[2, 1, 1], &who, &SHA_256, &attributes, &ECDSA_SHA_256, &signature])
    }

    pub(crate) fn during(&self) -> u64 {
        self.leaf.not_before() + 60
    }

    fn check(&self, odd: Odd) -> Result<u64, TimestampError> {
        let token = self.token(b"signature", self.during(), odd);
        check_timestamp(&token, b"signature", std::slice::from_ref(&self.root))
    }
}

/// The token in an answer with the status `granted`, or another.
fn answer(status: u8, token: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(0x30, &[&[2, 1, status]]), token])
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = match value.len() {
        short @ 0..0x80 => vec![u8::try_from(short).unwrap()],
        long => [vec![0x82], u16::try_from(long).unwrap().to_be_bytes().to_vec()].concat(),
    };
    let length = match length.as_slice() {
        [0x82, 0, byte] => vec![0x81, *byte],
        _ => length,
    };
    [vec![tag], length, value].concat()
}

#[test]
fn a_token_of_a_certified_signer_gives_its_time() {
    let dir = TempDir::new().unwrap();
    let stamper = Stamper::new(dir.path(), CRITICAL);
    assert_eq!(stamper.check(Odd::Nothing).unwrap(), stamper.during());
    let token = stamper.token(b"signature", stamper.during(), Odd::Nothing);
    let roots = std::slice::from_ref(&stamper.root);
    assert_eq!(check_timestamp(&answer(0, &token), b"signature", roots).unwrap(), stamper.during());
    let refused = check_timestamp(&answer(2, &token), b"signature", roots);
    assert!(matches!(refused, Err(TimestampError::Invalid(_))));
    // Authorities that send no certificate stand in the trust file with their signer.
    let bare = stamper.token(b"signature", stamper.during(), Odd::NoCertificate);
    let both = [stamper.leaf.clone(), stamper.root.clone()];
    assert_eq!(check_timestamp(&bare, b"signature", &both).unwrap(), stamper.during());
    let alone = check_timestamp(&bare, b"signature", roots);
    assert!(matches!(alone, Err(TimestampError::NoSigner)));
}

#[test]
fn strangers_other_signatures_and_times_outside_the_certificate_are_refused() {
    let dir = TempDir::new().unwrap();
    let stamper = Stamper::new(dir.path(), CRITICAL);
    let stranger = authority(dir.path(), "stranger");
    let token = stamper.token(b"signature", stamper.during(), Odd::Nothing);
    // Both roots have the same name, so only the signature on the certificate tells them apart.
    let unknown = check_timestamp(&token, b"signature", &[stranger]);
    assert!(matches!(unknown, Err(TimestampError::Invalid(_))), "{unknown:?}");
    let roots = std::slice::from_ref(&stamper.root);
    let other = check_timestamp(&token, b"another signature", roots);
    assert!(matches!(other, Err(TimestampError::Invalid(_))), "{other:?}");
    for time in [stamper.leaf.not_before() - 60, stamper.leaf.not_after() + 60] {
        let token = stamper.token(b"signature", time, Odd::Nothing);
        let outside = check_timestamp(&token, b"signature", roots);
        assert!(matches!(outside, Err(TimestampError::Invalid(_))), "{outside:?}");
    }
}

#[test]
fn a_certificate_that_is_for_something_else_too_stamps_nothing() {
    for usage in [
        "extendedKeyUsage=timeStamping",
        "extendedKeyUsage=critical,timeStamping,codeSigning",
        "extendedKeyUsage=critical,codeSigning",
        "keyUsage=digitalSignature",
    ] {
        let dir = TempDir::new().unwrap();
        let refused = Stamper::new(dir.path(), usage).check(Odd::Nothing);
        assert!(matches!(refused, Err(TimestampError::NoSigner)), "{usage}: {refused:?}");
    }
}

#[test]
fn a_token_has_one_signer_who_signed_a_token() {
    let dir = TempDir::new().unwrap();
    let stamper = Stamper::new(dir.path(), CRITICAL);
    for odd in [Odd::TwoSigners, Odd::OtherContentType] {
        let refused = stamper.check(odd);
        assert!(matches!(refused, Err(TimestampError::Malformed(_))), "{refused:?}");
    }
    let refused = stamper.check(Odd::NamedByKey);
    assert!(matches!(refused, Err(TimestampError::Invalid(_))), "{refused:?}");
    for garbage in [&b""[..], b"\x30\x00", b"\x30\x80", b"token", &[0x30; 100]] {
        let refused = check_timestamp(garbage, b"signature", std::slice::from_ref(&stamper.root));
        assert!(matches!(refused, Err(TimestampError::Malformed(_))), "{refused:?}");
    }
}

#[test]
fn no_changed_byte_makes_another_time() {
    let dir = TempDir::new().unwrap();
    let stamper = Stamper::new(dir.path(), CRITICAL);
    let token = stamper.token(b"signature", stamper.during(), Odd::NoCertificate);
    let both = [stamper.leaf.clone(), stamper.root.clone()];
    let mut refused = 0;
    for at in 0..token.len() {
        let mut wrong = token.clone();
        wrong[at] ^= 1;
        match check_timestamp(&wrong, b"signature", &both) {
            // The algorithms are named twice, and only once under the signature.
            Ok(time) => assert_eq!(time, stamper.during(), "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused * 10 > token.len() * 9, "{refused} of {}", token.len());
}

#[test]
fn a_token_that_is_false_under_any_key_is_not_excused_by_its_key() {
    use sigstore_tsa::Error;
    let mismatch = || Error::HashMismatch { expected: String::new(), actual: String::new() };
    for error in [mismatch(), Error::ResponseFailure, Error::NoTstInfo, Error::InvalidEKU] {
        assert!(matches!(told(error, false), TimestampError::Invalid(_)));
    }
    let signature = || Error::SignatureVerificationError(String::new());
    assert!(matches!(told(signature(), false), TimestampError::UnsupportedKey));
    assert!(matches!(told(signature(), true), TimestampError::Invalid(_)));
}
