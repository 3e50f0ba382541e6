use der::asn1::Any;
use der::{Decode as _, Encode as _, Tag, TagNumber};

use super::*;
use crate::encoding::to_base64;
use crate::hash::sha256;
use crate::key::HashAlgorithm;

/// DER by hand: tag, length, value.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    match value.len() {
        short @ 0..0x80 => [vec![tag, short as u8], value].concat(),
        middle @ 0x80..0x100 => [vec![tag, 0x81, middle as u8], value].concat(),
        long => [vec![tag, 0x82, (long >> 8) as u8, long as u8], value].concat(),
    }
}

const OID_SHA_256: [u8; 11] = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const OID_SHA_1: [u8; 7] = [6, 5, 0x2b, 0x0e, 3, 2, 0x1a];
const NULL: [u8; 2] = [5, 0];
const ONE: [u8; 3] = [2, 1, 1];
const YES: [u8; 3] = [1, 1, 0xff];

fn imprint() -> Vec<u8> {
    let digest = sha256(b"abc");
    tlv(0x30, &[&tlv(0x30, &[&OID_SHA_256, &NULL]), &tlv(4, &[digest.as_bytes()])])
}

fn policy() -> Vec<u8> {
    POLICY.to_der().unwrap()
}

fn request(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

fn refused(bytes: &[u8]) -> TimestampRequestError {
    TimestampRequest::from_der(bytes).unwrap_err()
}

#[test]
fn requests_are_read_and_written_again_byte_for_byte() {
    let nonce = tlv(2, &[&[0x7f; 64]]);
    let bare = tlv(0x30, &[&tlv(0x30, &[&OID_SHA_256]), &tlv(4, &[&[7; 32]])]);
    for parts in [
        vec![ONE.to_vec(), imprint()],
        vec![ONE.to_vec(), bare],
        vec![ONE.to_vec(), imprint(), policy()],
        vec![ONE.to_vec(), imprint(), policy(), nonce.clone(), YES.to_vec()],
        vec![ONE.to_vec(), imprint(), vec![2, 1, 0]],
        vec![ONE.to_vec(), imprint(), vec![2, 1, 0x80], YES.to_vec()],
        vec![ONE.to_vec(), imprint(), vec![2, 2, 0, 0x80]],
        vec![ONE.to_vec(), imprint(), vec![2, 1, 0xff]],
    ] {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let bytes = request(&parts);
        let read = TimestampRequest::from_der(&bytes).unwrap();
        assert_eq!(read.to_der(), bytes);
        assert_eq!(read.wants_certificate(), parts.last().unwrap() == &YES);
    }
    for (algorithm, length) in
        [(HashAlgorithm::Sha256, 32), (HashAlgorithm::Sha384, 48), (HashAlgorithm::Sha512, 64)]
    {
        let made = TimestampRequest::new(algorithm, vec![7; length]).unwrap();
        let made = made.with_nonce(Some(&[1, 2, 3])).unwrap().with_certificate(true);
        assert_eq!(TimestampRequest::from_der(&made.to_der()).unwrap(), made);
        for wrong in [0, length - 1, length + 1] {
            let refused = TimestampRequest::new(algorithm, vec![7; wrong]).unwrap_err();
            let expected = TimestampRequestError::DigestLength { expected: length, found: wrong };
            assert_eq!(refused, expected);
        }
    }
}

#[test]
fn what_is_not_the_one_spelling_of_a_request_is_refused() {
    let no = [1, 1, 0];
    let odd_yes = [1, 1, 1];
    let long_length = [0x30, 0x81, 0x38, 2, 1, 1].as_slice();
    let long_length = [long_length, &request(&[&ONE, &imprint()])[5..]].concat();
    let indefinite = [&[0x30, 0x80], &request(&[&ONE, &imprint()])[2..], &[0, 0]].concat();
    for bytes in [
        Vec::new(),
        b"not DER".to_vec(),
        vec![0x30, 0],
        vec![0x30; 2000],
        long_length,
        indefinite,
        [request(&[&ONE, &imprint()]), vec![0]].concat(),
        request(&[&ONE]),
        request(&[&imprint(), &ONE]),
        request(&[&ONE, &imprint(), &no]),
        request(&[&ONE, &imprint(), &odd_yes]),
        request(&[&ONE, &imprint(), &YES, &[2, 1, 5]]),
        request(&[&ONE, &imprint(), &[2, 1, 5], &policy()]),
        request(&[&ONE, &imprint(), &[2, 0]]),
        request(&[&ONE, &imprint(), &[2, 2, 0, 5]]),
        request(&[&ONE, &imprint(), &[2, 2, 0xff, 0x85]]),
        request(&[&ONE, &imprint(), &[2, 1, 5], &[2, 1, 5]]),
        request(&[&[2, 2, 0, 1], &imprint()]),
        request(&[&[2, 1, 0xff], &imprint()]),
        request(&[&[2, 2, 1, 1], &imprint()]),
        request(&[&ONE, &tlv(0x30, &[&tlv(0x30, &[&OID_SHA_256, &YES]), &tlv(4, &[&[7; 32]])])]),
        request(&[&ONE, &tlv(0x30, &[&tlv(0x30, &[&OID_SHA_256]), &tlv(3, &[&[7; 32]])])]),
        request(&[&ONE, &tlv(0x31, &[&tlv(0x30, &[&OID_SHA_256]), &tlv(4, &[&[7; 32]])])]),
        request(&[&ONE, &imprint(), &[0xa1, 0]]),
        request(&[&ONE, &imprint(), &[0x80, 0]]),
    ] {
        assert_eq!(refused(&bytes), TimestampRequestError::Malformed, "{bytes:02x?}");
    }
}

#[test]
fn what_is_a_request_and_not_for_us_is_refused_by_name() {
    let with_oid = |oid: &[u8], digest: &[u8]| {
        let imprint = tlv(0x30, &[&tlv(0x30, &[oid, &NULL]), &tlv(4, &[digest])]);
        refused(&request(&[&ONE, &imprint]))
    };
    let weak = with_oid(&OID_SHA_1, &[7; 20]);
    assert_eq!(weak, TimestampRequestError::Algorithm("1.3.14.3.2.26".to_owned()));
    for found in [0, 31, 33, 64] {
        let refused = with_oid(&OID_SHA_256, &vec![7; found]);
        assert_eq!(refused, TimestampRequestError::DigestLength { expected: 32, found });
    }
    for version in [0, 2, 127] {
        let refused = refused(&request(&[&[2, 1, version], &imprint()]));
        assert_eq!(refused, TimestampRequestError::Version(version));
    }
    let policy = refused(&request(&[&ONE, &imprint(), &[6, 3, 0x2a, 3, 4]]));
    assert_eq!(policy, TimestampRequestError::Policy);
    let nonce = refused(&request(&[&ONE, &imprint(), &tlv(2, &[&[1; NONCE_LEN_MAX + 1]])]));
    assert_eq!(nonce, TimestampRequestError::Nonce);
    let extension = tlv(0x30, &[&[6, 3, 0x2a, 3, 4], &tlv(4, &[b"x"])]);
    let extensions = refused(&request(&[&ONE, &imprint(), &tlv(0xa0, &[&extension])]));
    assert_eq!(extensions, TimestampRequestError::Extensions);
    let labels = [weak, policy, nonce, extensions].map(|error| error.label());
    let expected =
        ["timestamp-algorithm", "timestamp-policy", "timestamp-nonce", "timestamp-extension"];
    assert_eq!(labels, expected);
}

#[test]
fn no_part_and_no_changed_byte_of_a_request_is_a_panic() {
    let whole = request(&[&ONE, &imprint(), &policy(), &[2, 2, 0x12, 0x34], &YES]);
    for length in 0..whole.len() {
        assert_eq!(refused(&whole[..length]), TimestampRequestError::Malformed);
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            if let Ok(read) = TimestampRequest::from_der(&changed) {
                assert_eq!(read.to_der(), changed);
            }
        }
    }
}

fn json(text: &str) -> Result<TimestampRequest, TimestampRequestError> {
    TimestampRequest::from_json(text.as_bytes())
}

#[test]
fn json_asks_for_the_same_as_der() {
    let digest = sha256(b"abc");
    let hash = to_base64(digest.as_bytes());
    let plain = TimestampRequest::new(HashAlgorithm::Sha256, digest.as_bytes().to_vec()).unwrap();
    for text in [
        format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256"}}"#),
        format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"SHA256","nonce":null,"more":1}}"#),
        format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256","tsaPolicyOID":""}}"#),
        format!(
            r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256","tsaPolicyOID":"{POLICY}"}}"#
        ),
    ] {
        assert_eq!(json(&text).unwrap(), plain, "{text}");
    }
    for (number, bytes) in [
        ("0", vec![0]),
        ("127", vec![0x7f]),
        ("128", vec![0, 0x80]),
        ("256", vec![1, 0]),
        ("18446744073709551616", vec![1, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let text = format!(
            r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256","certificates":true,"nonce":{number}}}"#
        );
        let expected = plain.clone().with_nonce(Some(&bytes)).unwrap().with_certificate(true);
        assert_eq!(json(&text).unwrap(), expected, "{number}");
    }
    // The largest that fits, 2^511 - 1, and the next.
    let largest = "6703903964971298549787012499102923063739682910296196688861780721860882015036773488400937149083451713845015929093243025426876941405973284973216824503042047";
    let with = |nonce: &str| {
        json(&format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256","nonce":{nonce}}}"#))
    };
    let most = [vec![0x7f], vec![0xff; 63]].concat();
    assert_eq!(with(largest).unwrap(), plain.with_nonce(Some(&most)).unwrap());
    let next = largest.replace("2047", "2048");
    for wrong in [&next, "-1", "1.0", "1e3", "\"5\"", "true", "[]", &"9".repeat(3000)] {
        assert_eq!(with(wrong).unwrap_err(), TimestampRequestError::Nonce, "{wrong}");
    }
}

#[test]
fn json_that_is_no_request_is_refused_in_few_words() {
    let hash = to_base64(&[7; 32]);
    for text in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"artifactHash":"{hash}"}}"#),
        r#"{"artifactHash":5,"hashAlgorithm":"sha256"}"#.to_owned(),
        r#"{"artifactHash":"*","hashAlgorithm":"sha256"}"#.to_owned(),
        format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256"}} {{}}"#),
        format!(r#"{{"artifactHash":"{hash}","artifactHash":"{hash}","hashAlgorithm":"sha256"}}"#),
        format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256","certificates":"{hash}"}}"#),
        format!(r#"{{"certificates":"{}"}}"#, "\u{1}".repeat(3000)),
    ] {
        let refused = json(&text).unwrap_err();
        assert!(matches!(refused, TimestampRequestError::MalformedJson(_)), "{text}: {refused}");
        assert!(refused.to_string().len() < 1000, "{refused}");
    }
    let named = |name: &str| {
        let text = format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"{name}"}}"#);
        json(&text).unwrap_err()
    };
    assert_eq!(named("sha1"), TimestampRequestError::Algorithm("sha1".to_owned()));
    let long = named(&"\\n".repeat(2000));
    assert_eq!(long, TimestampRequestError::Algorithm("\\n".repeat(40)));
    let short = json(r#"{"artifactHash":"AAAA","hashAlgorithm":"sha256"}"#).unwrap_err();
    assert_eq!(short, TimestampRequestError::DigestLength { expected: 32, found: 3 });
    let policy =
        format!(r#"{{"artifactHash":"{hash}","hashAlgorithm":"sha256","tsaPolicyOID":"1.2.3"}}"#);
    assert_eq!(json(&policy).unwrap_err(), TimestampRequestError::Policy);
}

/// What was decoded of a structure, member by member.
fn members(bytes: &[u8]) -> Vec<Any> {
    let mut reader = der::SliceReader::new(bytes).unwrap();
    let mut found = Vec::new();
    while !der::Reader::is_finished(&reader) {
        found.push(Any::decode(&mut reader).unwrap());
    }
    found
}

fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// A certificate, made here of bytes; nothing is signed.
fn certificate(usage: Option<(bool, &[u8])>) -> Vec<u8> {
    let name = tlv(0x30, &[&tlv(0x31, &[&tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(12, &[b"tsa"])])])]);
    let algorithm = tlv(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let validity = tlv(0x30, &[&tlv(0x17, &[b"260101000000Z"]), &tlv(0x17, &[b"360101000000Z"])]);
    let curve = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let key = tlv(0x30, &[&tlv(0x30, &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &curve])]);
    let key = [&key[2..], &tlv(3, &[&[0, 4], &[7; 64]])].concat();
    let key = tlv(0x30, &[&key]);
    let extension = usage.map(|(critical, purposes)| {
        let critical = if critical { YES.to_vec() } else { Vec::new() };
        let value = tlv(4, &[&tlv(0x30, &[purposes])]);
        let extension = tlv(0x30, &[&[6, 3, 0x55, 0x1d, 0x25], &critical, &value]);
        tlv(0xa3, &[&tlv(0x30, &[&extension])])
    });
    let extension = extension.unwrap_or_default();
    let version = [0xa0, 3, 2, 1, 2];
    let serial = [2, 2, 0x12, 0x34];
    let parts: [&[u8]; 8] =
        [&version, &serial, &algorithm, &name, &validity, &name, &key, &extension];
    tlv(0x30, &[&tlv(0x30, &parts), &algorithm, &tlv(3, &[&[0, 1]])])
}

const FOR_TIMESTAMPS: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
const FOR_CODE: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3];

#[test]
fn only_a_certificate_for_timestamps_alone_stands_for_an_authority() {
    let good = StampCertificate::from_der(&certificate(Some((true, &FOR_TIMESTAMPS)))).unwrap();
    assert_eq!(good.subject(), "CN=tsa");
    let both = [FOR_TIMESTAMPS, FOR_CODE].concat();
    for usage in
        [None, Some((false, &FOR_TIMESTAMPS[..])), Some((true, &FOR_CODE)), Some((true, &both))]
    {
        let refused = StampCertificate::from_der(&certificate(usage)).unwrap_err();
        assert_eq!(refused, StampCertificateError::Usage);
    }
    let refused = StampCertificate::from_der(b"\x30\x00").unwrap_err();
    assert_eq!(refused, StampCertificateError::Malformed);
}

#[test]
fn a_token_says_what_was_asked_and_nothing_else() {
    let der = certificate(Some((true, &FOR_TIMESTAMPS)));
    let certificate = StampCertificate::from_der(&der).unwrap();
    let digest = sha256(b"signature").as_bytes().to_vec();
    for (nonce, wants_certificate) in [(Some(&[0x80, 1][..]), true), (None, false)] {
        let asked = TimestampRequest::new(HashAlgorithm::Sha256, digest.clone()).unwrap();
        let asked = asked.with_nonce(nonce).unwrap().with_certificate(wants_certificate);
        let token = Token::new(&asked, &certificate, [0xff; SERIAL_LEN], 1_800_000_000).unwrap();
        let signed = token.to_sign().to_vec();
        let reply = token.reply(b"signature").unwrap();

        let reply = members(Any::from_der(&reply).unwrap().value());
        let [status, token] = reply.as_slice() else { panic!("{reply:?}") };
        assert_eq!(status.to_der().unwrap(), [0x30, 3, 2, 1, 0]);
        let token = members(token.value());
        assert_eq!(token[0].to_der().unwrap(), [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 7, 2]);
        let data = members(members(token[1].value())[0].value());
        assert_eq!(data[0].to_der().unwrap(), [2, 1, 3]);
        assert_eq!(data[1].to_der().unwrap(), tlv(0x31, &[&tlv(0x30, &[&OID_SHA_256])]));
        let certificates = tlv(0xa0, &[&der]);
        let sent = data[3..data.len() - 1].iter().map(|part| part.to_der().unwrap());
        let expected = wants_certificate.then_some(certificates);
        assert_eq!(sent.collect::<Vec<_>>(), Vec::from_iter(expected));

        let content = members(data[2].value());
        assert_eq!(content[1].header().tag(), context(0));
        let info = members(content[1].value())[0].value().to_vec();
        let time = tlv(0x18, &[b"20270115080000Z"]);
        let serial = tlv(2, &[&[0x7f], &[0xff; 15]]);
        let imprint = tlv(0x30, &[&tlv(0x30, &[&OID_SHA_256, &NULL]), &tlv(4, &[&digest])]);
        let nonce = nonce.map(|nonce| tlv(2, &[nonce])).unwrap_or_default();
        assert_eq!(info, tlv(0x30, &[&ONE, &policy(), &imprint, &serial, &time, &nonce]));

        let signer = members(members(data.last().unwrap().value())[0].value());
        assert_eq!(signer[0].to_der().unwrap(), ONE);
        let attributes = members(signer[3].value());
        assert_eq!(tlv(0x31, &[signer[3].value()]), signed, "what is signed is what is shown");
        assert_eq!(attributes.len(), 3);
        let digest_of_info = tlv(0x31, &[&tlv(4, &[sha256(&info).as_bytes()])]);
        let hash_of_certificate = tlv(4, &[sha256(&der).as_bytes()]);
        let values: Vec<Vec<u8>> =
            attributes.iter().map(|part| members(part.value())[1].to_der().unwrap()).collect();
        assert!(values.contains(&digest_of_info));
        let ess = tlv(0x30, &[&tlv(0x30, &[&tlv(0x30, &[&hash_of_certificate])])]);
        assert!(values.contains(&tlv(0x31, &[&ess])));
        let encoded: Vec<Vec<u8>> = attributes.iter().map(|part| part.to_der().unwrap()).collect();
        assert!(encoded.is_sorted(), "a SET OF is in the order of its bytes");
        assert_eq!(signer[5].value(), b"signature");
    }
}

#[test]
fn serial_numbers_are_positive_and_of_one_length_and_time_ends_with_the_year_9999() {
    let certificate =
        StampCertificate::from_der(&certificate(Some((true, &FOR_TIMESTAMPS)))).unwrap();
    let asked = TimestampRequest::new(HashAlgorithm::Sha256, vec![7; 32]).unwrap();
    for first in [0, 0x3f, 0x80, 0xff] {
        let mut serial = [0; SERIAL_LEN];
        serial[0] = first;
        let reply = Token::new(&asked, &certificate, serial, 0).unwrap().reply(b"").unwrap();
        let serial = tlv(2, &[&[first & 0x7f | 0x40], &[0; 15]]);
        assert!(reply.windows(serial.len()).any(|window| window == serial));
    }
    const LAST: u64 = 253_402_300_799;
    assert!(Token::new(&asked, &certificate, [1; SERIAL_LEN], LAST).is_some());
    assert!(Token::new(&asked, &certificate, [1; SERIAL_LEN], LAST + 1).is_none());
}
