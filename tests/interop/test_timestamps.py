"""Timestamps of the log, verified by OpenSSL and by the client that sigstore-python verifies them
with; and the certificates as RFC 3161 and RFC 5280 want them."""

import base64
import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from harness import InteropTest, run

SIGNATURE = b"the bytes of a signature"

# What Sigstore's own authority writes into its tokens unless it is told otherwise.
POLICY = "1.3.6.1.4.1.57264.2"


class Timestamps(InteropTest):
    # Nobody needs a token for a timestamp, and writes stay closed.
    LOG_FLAGS = ()

    def setUp(self) -> None:
        super().setUp()
        self.url = json.loads(self.log.trust.read_text())["log"]["url"]
        self.chain = x509.load_pem_x509_certificates(self.fetch_chain())
        self.leaf, self.root = self.folder / "leaf.pem", self.folder / "root.pem"
        blocks = self.fetch_chain().decode().split("-----END CERTIFICATE-----\n")
        for file, block in zip((self.leaf, self.root), blocks):
            file.write_text(block + "-----END CERTIFICATE-----\n")

    def fetch_chain(self) -> bytes:
        with urllib.request.urlopen(f"{self.url}/api/v1/timestamp/certchain") as answer:
            self.assertEqual(answer.headers["content-type"], "application/pem-certificate-chain")
            return answer.read()

    def post(self, body: bytes, media_type: str = "application/timestamp-query") -> bytes:
        """The answer to a request for a timestamp."""
        request = urllib.request.Request(f"{self.url}/api/v1/timestamp", body)
        request.add_header("content-type", media_type)
        with urllib.request.urlopen(request) as answer:
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["content-type"], "application/timestamp-reply")
            return answer.read()

    def openssl(self, *words, status: int = 0) -> str:
        return run("openssl", *words, status=status)

    def stamped(self, *flags: str) -> tuple[Path, Path, Path]:
        """A file, OpenSSL's request for a time of it, and the answer."""
        data, query = self.folder / "data", self.folder / "query"
        reply = self.folder / "reply"
        data.write_bytes(SIGNATURE)
        self.openssl("ts", "-query", "-data", data, "-out", query, *flags)
        reply.write_bytes(self.post(query.read_bytes()))
        return data, query, reply

    def verifier(self, request, leaf_is_known: bool = True):
        builder = VerifierBuilder.from_request(request).add_root_certificate(self.chain[1])
        return (builder.tsa_certificate(self.chain[0]) if leaf_is_known else builder).build()


class ByOpenssl(Timestamps):
    def verify(self, *words, status: int = 0) -> str:
        return self.openssl("ts", "-verify", "-CAfile", self.root, *words, status=status)

    def test_verifies_with_the_certificate_that_was_asked_for(self) -> None:
        for digest in ("-sha256", "-sha384", "-sha512"):
            data, query, reply = self.stamped(digest, "-cert")
            self.assertIn("Verification: OK", self.verify("-queryfile", query, "-in", reply))
            self.assertIn("Verification: OK", self.verify("-data", data, "-in", reply))

    def test_verifies_without_a_nonce_and_with_a_named_policy(self) -> None:
        _, query, reply = self.stamped("-sha256", "-cert", "-no_nonce", "-tspolicy", POLICY)
        self.assertIn("Verification: OK", self.verify("-queryfile", query, "-in", reply))

    def test_verifies_without_the_certificate_in_it_when_the_verifier_has_it(self) -> None:
        _, query, reply = self.stamped("-sha256")
        known = ("-queryfile", query, "-in", reply, "-untrusted", self.leaf)
        self.assertIn("Verification: OK", self.verify(*known))
        self.verify("-queryfile", query, "-in", reply, status=1)

    def test_refuses_other_data_another_request_and_another_root(self) -> None:
        _, query, reply = self.stamped("-sha256", "-cert")
        other = self.folder / "other"
        other.write_bytes(b"other bytes")
        self.verify("-data", other, "-in", reply, status=1)
        again = self.folder / "again"
        self.openssl("ts", "-query", "-data", self.folder / "data", "-sha256", "-out", again)
        said = self.verify("-queryfile", again, "-in", reply, status=1)
        self.assertIn("nonce mismatch", said)
        self.openssl("ts", "-verify", "-CAfile", self.leaf, "-queryfile", query, "-in", reply,
                     status=1)

    def test_refuses_an_answer_with_one_changed_bit(self) -> None:
        _, query, reply = self.stamped("-sha256", "-cert")
        whole = reply.read_bytes()
        info = whole.index(hashlib.sha256(SIGNATURE).digest())
        for at in (info, info + 40, info + 60, len(whole) - 5):
            changed = bytearray(whole)
            changed[at] ^= 1
            reply.write_bytes(changed)
            self.verify("-queryfile", query, "-in", reply, status=1)

    def test_reads_what_the_token_says(self) -> None:
        _, _, reply = self.stamped("-sha256", "-cert")
        said = self.openssl("ts", "-reply", "-in", reply, "-text")
        for line in ("Status: Granted.", "Version: 1", f"Policy OID: {POLICY}",
                     "Hash Algorithm: sha256", "Accuracy: unspecified", "Ordering: no",
                     "TSA: unspecified"):
            self.assertIn(line, said)


class ByTheClientOfSigstorePython(Timestamps):
    def ask(self, **wishes):
        request = TimestampRequestBuilder(data=SIGNATURE, **wishes).build()
        return request, decode_timestamp_response(self.post(request.as_bytes()))

    def test_verifies_in_every_form(self) -> None:
        for algorithm in (HashAlgorithm.SHA256, HashAlgorithm.SHA512):
            for nonce in (True, False):
                for certificate in (True, False):
                    request, answer = self.ask(
                        hash_algorithm=algorithm, nonce=nonce, cert_req=certificate)
                    self.verifier(request).verify_message(answer, SIGNATURE)
                    self.assertEqual(answer.tst_info.nonce, request.nonce)
                    sent = len(answer.signed_data.certificates)
                    self.assertEqual(sent, 1 if certificate else 0)

    def test_finds_the_signer_in_the_token(self) -> None:
        request, answer = self.ask(cert_req=True)
        self.verifier(request, leaf_is_known=False).verify_message(answer, SIGNATURE)

    def test_refuses_other_bytes_and_another_nonce(self) -> None:
        request, answer = self.ask()
        with self.assertRaises(VerificationError):
            self.verifier(request).verify_message(answer, b"other bytes")
        other, _ = self.ask()
        with self.assertRaises(VerificationError):
            self.verifier(other).verify_message(answer, SIGNATURE)

    def test_verifies_the_answer_to_json_as_sigstore_js_asks(self) -> None:
        digest = base64.b64encode(hashlib.sha256(SIGNATURE).digest()).decode()
        body = json.dumps({"artifactHash": digest, "hashAlgorithm": "sha256"}).encode()
        answer = decode_timestamp_response(self.post(body, "application/json"))
        builder = VerifierBuilder().add_root_certificate(self.chain[1])
        verifier = builder.tsa_certificate(self.chain[0]).build()
        verifier.verify_message(answer, SIGNATURE)

    def test_hears_why_a_request_is_refused(self) -> None:
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.post(b"no request")
        with caught.exception as answer:
            self.assertEqual(answer.code, 400)
            self.assertEqual(json.loads(answer.read())["code"], 400)


class Certificates(Timestamps):
    def extension(self, certificate: x509.Certificate, kind, critical: bool):
        extension = certificate.extensions.get_extension_for_class(kind)
        self.assertEqual(extension.critical, critical, kind)
        return extension.value

    def used(self, certificate: x509.Certificate) -> set[str]:
        """The usages of a key that a certificate allows."""
        usage = self.extension(certificate, x509.KeyUsage, critical=True)
        names = ("digital_signature", "content_commitment", "key_encipherment",
                 "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
        return {name for name in names if getattr(usage, name)}

    def test_are_a_root_that_certifies_one_signer_of_timestamps(self) -> None:
        leaf, root = self.chain
        leaf.verify_directly_issued_by(root)
        root.verify_directly_issued_by(root)
        for certificate in (leaf, root):
            self.assertIsInstance(certificate.public_key().curve, ec.SECP256R1)
            host = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            self.assertEqual([name.value for name in host], ["127.0.0.1"])
        self.assertNotEqual(leaf.subject, root.subject)
        self.assertNotEqual(leaf.serial_number, root.serial_number)
        self.assertEqual(leaf.not_valid_after_utc, root.not_valid_after_utc)

        authority = self.extension(root, x509.BasicConstraints, critical=True)
        self.assertEqual((authority.ca, authority.path_length), (True, 0))
        self.assertEqual(self.used(root), {"key_cert_sign"})
        signer = self.extension(leaf, x509.BasicConstraints, critical=True)
        self.assertFalse(signer.ca)
        self.assertEqual(self.used(leaf), {"digital_signature"})
        purposes = self.extension(leaf, x509.ExtendedKeyUsage, critical=True)
        self.assertEqual(list(purposes), [ExtendedKeyUsageOID.TIME_STAMPING])

        names = self.extension(root, x509.SubjectKeyIdentifier, critical=False)
        named = self.extension(leaf, x509.AuthorityKeyIdentifier, critical=False)
        self.assertEqual(named.key_identifier, names.digest)
        self.extension(leaf, x509.SubjectKeyIdentifier, critical=False)

    def test_satisfy_openssl_as_a_chain_for_timestamps(self) -> None:
        said = self.openssl("verify", "-x509_strict", "-purpose", "timestampsign",
                            "-CAfile", self.root, self.leaf)
        self.assertIn("OK", said)
