//! X.509 certificates (RFC 5280) as signers present them, written byte by byte. The log reads the
//! key and the names, and verifies no chain, so they sign themselves.

use crate::submission::Signer;

/// DER of a certificate over the signer's key with one e-mail address, and an extension that makes
/// it `padding` bytes longer.
pub fn certificate(signer: &Signer, email: &str, padding: usize) -> Vec<u8> {
    let algorithm = der(0x30, &[&der(0x06, &[ECDSA_WITH_SHA256])]);
    let name = der(0x30, &[]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"400101000000Z"])]);
    let names = der(0x30, &[&der(0x81, &[email.as_bytes()])]);
    let extensions = der(
        0x30,
        &[&extension(SUBJECT_ALT_NAME, &names), &{
            extension(PRIVATE_USE, &der(0x04, &[&vec![7; padding]]))
        }],
    );
    let signed = der(
        0x30,
        &[
            &der(0xa0, &[&der(0x02, &[&[2]])]),
            &der(0x02, &[&[1]]),
            &algorithm,
            &name,
            &validity,
            &name,
            signer.key.spki_der(),
            &der(0xa3, &[&extensions]),
        ],
    );
    let signature = signer.sign(&signed);
    der(0x30, &[&signed, &algorithm, &der(0x03, &[&[0], &signature])])
}

/// The same in PEM.
pub fn certificate_pem(signer: &Signer, email: &str, padding: usize) -> String {
    let text = treering_proto::encoding::to_base64(&certificate(signer, email, padding));
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    der(0x30, &[&der(0x06, &[oid]), &der(0x04, &[value])])
}

/// One DER element: tag, length, and its parts one after the other.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut element = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => element.push(short),
        Ok(short) => element.extend([0x81, short]),
        Err(_) => {
            let length = u16::try_from(length).expect("a test certificate is short");
            element.push(0x82);
            element.extend(length.to_be_bytes());
        }
    }
    [element, content].concat()
}

/// 1.2.840.10045.4.3.2.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.3.6.1.4.1.99999.1, which means nothing.
const PRIVATE_USE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x86, 0x8d, 0x1f, 0x01];
