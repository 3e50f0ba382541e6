"""The authority of the tests certifies who shows a token and has the key, and nobody else.

What is in its certificates, and that their SCTs verify, the clients of Sigstore say, in the other
tests: they refuse a certificate in which any of it is wrong.
"""

import base64
import json
import time
import unittest
import urllib.error
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fulcio import Fulcio, der_key

EMAIL = "dev@example.test"
WORKLOAD = "https://ci.example/release"


class Certificates(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.fulcio = cls.enterClassContext(Fulcio())

    def setUp(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def post(self, path: str, token: str, request: dict) -> tuple[int, bytes]:
        question = urllib.request.Request(
            self.fulcio.url + path, json.dumps(request).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(question, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def proof(self, said: str, key=None) -> str:
        signature = (key or self.key).sign(said.encode(), ec.ECDSA(hashes.SHA256()))
        return base64.b64encode(signature).decode()

    def ask(self, token: str, proof: str) -> tuple[int, bytes]:
        key = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return self.post("/api/v2/signingCert", token, {"publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": key.decode()},
            "proofOfPossession": proof,
        }})

    def assert_refused(self, answer: tuple[int, bytes], why: str) -> None:
        status, body = answer
        self.assertEqual(status, 400, body)
        self.assertIn(why, json.loads(body)["message"])

    def assert_certified(self, certificate: bytes, name: x509.GeneralName) -> None:
        leaf = x509.load_pem_x509_certificate(certificate)
        self.assertEqual(leaf.public_key(), self.key.public_key())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual((list(names.value), names.critical), ([name], True))

    def test_an_address_and_a_workload(self) -> None:
        for identity, kind in ((EMAIL, x509.RFC822Name),
                               (WORKLOAD, x509.UniformResourceIdentifier)):
            status, body = self.ask(self.fulcio.token(identity), self.proof(identity))
            self.assertEqual(status, 200, body)
            chain = json.loads(body)["signedCertificateEmbeddedSct"]["chain"]["certificates"]
            self.assertEqual(len(chain), 3)
            self.assert_certified(chain[0].encode(), kind(identity))

    def test_as_the_first_version_of_the_interface(self) -> None:
        status, body = self.post("/api/v1/signingCert", self.fulcio.token(EMAIL), {
            "publicKey": {"algorithm": "ecdsa",
                          "content": base64.b64encode(der_key(self.key)).decode()},
            "signedEmailAddress": self.proof(EMAIL),
        })
        self.assertEqual((status, body.count(b"BEGIN CERTIFICATE")), (201, 3), body)
        self.assert_certified(body, x509.RFC822Name(EMAIL))

    def test_not_who_does_not_have_the_key(self) -> None:
        other = ec.generate_private_key(ec.SECP256R1())
        token = self.fulcio.token(EMAIL)
        self.assert_refused(self.ask(token, self.proof(EMAIL, other)), "possession")
        self.assert_refused(self.ask(token, self.proof("another@example.test")), "possession")

    def test_not_a_request_that_was_changed(self) -> None:
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(self.key, hashes.SHA256())
        )
        content = bytearray(request.public_bytes(serialization.Encoding.DER))
        # The last bytes are the signature's.
        content[-1] ^= 1
        changed = (b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(content)
                   + b"-----END CERTIFICATE REQUEST-----\n")
        good = request.public_bytes(serialization.Encoding.PEM)
        for csr, expected in ((good, 200), (changed, 400)):
            status, body = self.post(
                "/api/v2/signingCert", self.fulcio.token(EMAIL),
                {"certificateSigningRequest": base64.b64encode(csr).decode()})
            self.assertEqual(status, expected, body)

    def test_not_with_a_token_that_is_not_good(self) -> None:
        past = int(time.time()) - 1
        with Fulcio() as other:
            tokens = {
                "expired": self.fulcio.token(EMAIL, exp=past),
                "Audience": self.fulcio.token(EMAIL, aud="somebody"),
                "issuer": self.fulcio.token(EMAIL, iss="https://issuer.example"),
                "verified": self.fulcio.token(EMAIL, email_verified=False),
                "verification": other.token(EMAIL, iss=self.fulcio.url),
                "segments": "",
            }
        for why, token in tokens.items():
            self.assert_refused(self.ask(token, self.proof(EMAIL)), why)
