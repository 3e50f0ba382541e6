"""A certificate authority as Fulcio is one, with the identity provider and the log of certificates
that belong to it, for tests only: everything is made when it starts, and nothing is kept.

It answers what the clients of Fulcio ask for: `/api/v2/signingCert`, and `/api/v1/signingCert` for
cosign 2. It issues certificates for ten minutes to whoever shows an identity token and signs with
the key that is to be certified. Each has an embedded SCT (RFC 6962, section 3.2) by a key that
stands for a log: what it signed for is kept nowhere.

usage: fulcio.py --out DIRECTORY [--seconds N]

Listens on a port of 127.0.0.1, prints its URL once it does, and writes into DIRECTORY:
  merge.json  a ClientTrustConfig of the authority, the CT key and the identity provider, without
              a log: what `treering-server trust export --merge` takes
  chain.pem   the authority's certificates, the one that issues first, the root last
  root.pem    the root alone
  ct.pub      the public key of the log of certificates, PEM
  token       an identity token of dev@example.test, good for ten minutes
`GET URL/token?identity=NAME` gives further tokens; a NAME with `@` is an e-mail address, any other
a URI. The issuer in all certificates is URL. Ends with its parent, or after N seconds (an hour).
"""

import argparse
import base64
import ctypes
import datetime
import hashlib
import http.server
import json
import os
import signal
import struct
import threading
import time
import urllib.parse
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness import key_usage

# What the clients of Sigstore ask for; a token for anybody else is refused.
AUDIENCE = "sigstore"

# As long as those of Fulcio. Tokens live as long: nobody needs one for more than a certificate.
CERTIFICATE_SECONDS = 600
TOKEN_SECONDS = 600

# A request is a token of one or two KiB, a key and a signature.
BODY_BYTES_MAX = 64 * 1024

# Longer silence on a connection is a client that has gone.
SILENCE_SECONDS_MAX = 10

# Extensions of Fulcio: the issuer of the identity token, as plain bytes and as a UTF8String.
ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")

# RFC 6962, section 3.3.
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")

POSSESSION_HASHES = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class Refused(Exception):
    """A request that gets no certificate, and why."""


class Fulcio:
    """The authority, serving on a port of its own choice; a context manager."""

    def __init__(self):
        self._started = now()
        self._root_key = ec.generate_private_key(ec.SECP384R1())
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._ct_key = ec.generate_private_key(ec.SECP256R1())
        self._identity_key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._authority("root", self._root_key, "root", self._root_key, 1)
        self._issuer = self._authority("issuer", self._key, "root", self._root_key, 0)
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Face", (_Face,), {"fulcio": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # Serves until it is closed, whether or not anybody waits for it.
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Fulcio":
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; a second call does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- what clients get ----------------------------------------------------------------------

    def token(self, identity: str, **claims) -> str:
        """An identity token for an e-mail address or a URI, with `claims` in place of its own."""
        issued = int(time.time())
        body = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": identity,
            "iat": issued,
            "exp": issued + TOKEN_SECONDS,
        }
        if "@" in identity:
            body |= {"email": identity, "email_verified": True}
        return jwt.encode(body | claims, self._identity_key, algorithm="ES256")

    def issue(self, token: str, key_of) -> list[str]:
        """The PEM certificates, from the new one to the root, for the holder of a token.

        `key_of` gets the identity, and returns the key whose possession it has verified.
        """
        try:
            claims = jwt.decode(
                token, self._identity_key.public_key(), algorithms=["ES256"], audience=AUDIENCE,
                issuer=self.url, options={"require": ["iss", "aud", "sub", "iat", "exp"]})
        except jwt.InvalidTokenError as error:
            raise Refused(f"identity token: {error}") from error
        email = claims.get("email")
        if email is not None and claims.get("email_verified") is not True:
            raise Refused("identity token: the e-mail address is not verified")
        name = email or claims["sub"]
        kind = x509.RFC822Name if email else x509.UniformResourceIdentifier
        certificate = self._certify(key_of(name), kind(name))
        return [pem(certificate), *self.chain()]

    def chain(self) -> list[str]:
        """The PEM certificates of the authority, the root last."""
        return [pem(self._issuer), pem(self._root)]

    def ct_public_key(self) -> bytes:
        """The key that SCTs are signed with, DER."""
        return der_key(self._ct_key)

    def trust_config(self) -> dict:
        """A ClientTrustConfig that has no log."""
        valid = {"start": timestamp(self._started - datetime.timedelta(hours=1))}
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [],
                "certificateAuthorities": [{
                    "subject": {"organization": "treering tests", "commonName": "root"},
                    "uri": self.url,
                    "certChain": {"certificates": [
                        {"rawBytes": b64(der(certificate))}
                        for certificate in (self._issuer, self._root)
                    ]},
                    "validFor": valid,
                }],
                "ctlogs": [{
                    "baseUrl": f"{self.url}/ct",
                    "hashAlgorithm": "SHA2_256",
                    "publicKey": {
                        "rawBytes": b64(self.ct_public_key()),
                        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                        "validFor": valid,
                    },
                    "logId": {"keyId": b64(hashlib.sha256(self.ct_public_key()).digest())},
                }],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [self._service(valid)],
                "oidcUrls": [self._service(valid)],
                "rekorTlogUrls": [],
                "tsaUrls": [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def _service(self, valid: dict) -> dict:
        return {"url": self.url, "majorApiVersion": 1, "validFor": valid, "operator": "tests"}

    def discovery(self) -> dict:
        """What OpenID Connect Discovery asks for; nobody logs in here."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def keys(self) -> dict:
        """The key of the identity provider, as a JSON Web Key Set."""
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._identity_key.public_key(), as_dict=True)
        return {"keys": [key | {"alg": "ES256", "use": "sig"}]}

    # --- certificates --------------------------------------------------------------------------

    def _authority(self, name: str, key, issuer: str, issuer_key, below: int) -> x509.Certificate:
        started = self._started
        builder = (
            self._builder(key.public_key(), issuer, issuer_key.public_key())
            .subject_name(named(name))
            .not_valid_before(started - datetime.timedelta(hours=1))
            .not_valid_after(started + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
            .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        )
        if key is not issuer_key:
            builder = builder.add_extension(code_signing(), critical=False)
        return builder.sign(issuer_key, hashes.SHA384())

    def _certify(self, public_key, name: x509.GeneralName) -> x509.Certificate:
        issued = now()
        issuer = self.url.encode()
        builder = (
            self._builder(public_key, "issuer", self._key.public_key())
            .subject_name(x509.Name([]))
            .not_valid_before(issued)
            .not_valid_after(issued + datetime.timedelta(seconds=CERTIFICATE_SECONDS))
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(code_signing(), critical=False)
            # It stands for the subject, which is empty (RFC 5280, section 4.1.2.6).
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER, issuer), critical=False)
            .add_extension(
                x509.UnrecognizedExtension(ISSUER_V2, der_value(0x0C, issuer)), critical=False)
        )
        # What the log signs is the certificate as it would be without the extension.
        without = builder.sign(self._key, hashes.SHA384()).tbs_certificate_bytes
        scts = x509.UnrecognizedExtension(SCT_LIST, der_value(0x04, self._sct_list(without)))
        return builder.add_extension(scts, critical=False).sign(self._key, hashes.SHA384())

    def _builder(self, public_key, issuer: str, issuer_key) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(named(issuer))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )

    def _sct_list(self, certificate: bytes) -> bytes:
        """A list of one SCT, version 1, without extensions (RFC 6962, sections 3.2 and 3.3)."""
        milliseconds = time.time_ns() // 1_000_000
        issuer = hashlib.sha256(der_key(self._key)).digest()
        # Version, certificate_timestamp, time, precert_entry, issuer, certificate, no extensions.
        signed = (struct.pack("!BBQH", 0, 0, milliseconds, 1) + issuer
                  + struct.pack("!I", len(certificate))[1:] + certificate + struct.pack("!H", 0))
        signature = self._ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        log = hashlib.sha256(self.ct_public_key()).digest()
        # SHA-256 is 4 and ECDSA 3 (RFC 5246, section 7.4.1.4.1).
        sct = (b"\0" + log + struct.pack("!QHBBH", milliseconds, 0, 4, 3, len(signature))
               + signature)
        entry = struct.pack("!H", len(sct)) + sct
        return struct.pack("!H", len(entry)) + entry


class _Face(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0: one request for each connection."""

    fulcio: Fulcio
    timeout = SILENCE_SECONDS_MAX

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/.well-known/openid-configuration":
            self._json(200, self.fulcio.discovery())
        elif url.path == "/keys":
            self._json(200, self.fulcio.keys())
        elif url.path == "/api/v2/trustBundle":
            self._json(200, {"chains": [{"certificates": self.fulcio.chain()}]})
        elif url.path == "/api/v1/rootCert":
            self._answer(200, "application/pem-certificate-chain", "".join(self.fulcio.chain()))
        elif url.path == "/token":
            names = urllib.parse.parse_qs(url.query).get("identity")
            if names:
                self._answer(200, "text/plain", self.fulcio.token(names[0]))
            else:
                self._refuse(400, "whose token? ?identity=NAME")
        else:
            self._refuse(404, f"there is no {url.path}")

    def do_POST(self) -> None:
        faces = {"/api/v2/signingCert": self._version_2, "/api/v1/signingCert": self._version_1}
        face = faces.get(self.path)
        if face is None:
            self._refuse(404, f"there is no {self.path}")
            return
        try:
            face(self._body())
        except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
            self._refuse(400, f"{type(error).__name__}: {error}")

    def _version_2(self, request: dict) -> None:
        credentials = request.get("credentials") or {}
        token = credentials.get("oidcIdentityToken") or self._bearer()
        csr = request.get("certificateSigningRequest")
        asked = request.get("publicKeyRequest") or {}

        def key_of(identity: str):
            if csr:
                return key_of_request(base64.b64decode(csr))
            key = load_key(asked["publicKey"]["content"].encode())
            return possessed(key, base64.b64decode(asked["proofOfPossession"]), identity)

        chain = {"certificates": self.fulcio.issue(token, key_of)}
        self._json(200, {"signedCertificateEmbeddedSct": {"chain": chain}})

    def _version_1(self, request: dict) -> None:
        csr = request.get("certificateSigningRequest")

        def key_of(identity: str):
            if csr:
                return key_of_request(base64.b64decode(csr))
            key = load_key(base64.b64decode(request["publicKey"]["content"]))
            return possessed(key, base64.b64decode(request["signedEmailAddress"]), identity)

        chain = self.fulcio.issue(self._bearer(), key_of)
        self._answer(201, "application/pem-certificate-chain", "".join(chain))

    def _bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _body(self) -> dict:
        length = int(self.headers.get("Content-Length", ""))
        if not 0 <= length <= BODY_BYTES_MAX:
            raise Refused(f"a body of {length} bytes")
        return json.loads(self.rfile.read(length))

    def _refuse(self, status: int, why: str) -> None:
        # The form of gRPC's gateway, where clients look for a message.
        self._json(status, {"code": 3, "message": why, "details": []})

    def _json(self, status: int, answer: dict) -> None:
        self._answer(status, "application/json", json.dumps(answer))

    def _answer(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments) -> None:
        """Nobody reads it."""


# --- keys that somebody has -----------------------------------------------------------------------

def key_of_request(content: bytes):
    """The key of a certificate signing request, PEM, which is signed with it."""
    request = x509.load_pem_x509_csr(content)
    if not request.is_signature_valid:
        raise Refused("the certificate signing request is not signed by its key")
    return request.public_key()


def load_key(content: bytes):
    """A public key, PEM or DER."""
    if content.startswith(b"-----BEGIN"):
        return serialization.load_pem_public_key(content)
    return serialization.load_der_public_key(content)


def possessed(key, proof: bytes, identity: str):
    """The key, if it signed the identity."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(proof, identity.encode())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(proof, identity.encode(), ec.ECDSA(POSSESSION_HASHES[key.curve.name]))
        else:
            raise Refused("the key is of another kind than ECDSA and Ed25519")
    except InvalidSignature:
        raise Refused("the proof of possession is not by the key") from None
    return key


# --- encodings ------------------------------------------------------------------------------------

def named(name: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "treering tests"),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ])


def code_signing() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])


def now() -> datetime.datetime:
    """Whole seconds, as certificates have them."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def timestamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def der_key(key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def der_value(tag: int, content: bytes) -> bytes:
    """A value of DER with a tag of one byte."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


# --- a process of its own -------------------------------------------------------------------------

def write(fulcio: Fulcio, folder: Path) -> None:
    """The files that `--out` promises."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = fulcio.chain()
    key = serialization.load_der_public_key(fulcio.ct_public_key())
    ct = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "merge.json").write_text(json.dumps(fulcio.trust_config(), indent=2))
    (folder / "chain.pem").write_text("".join(chain))
    (folder / "root.pem").write_text(chain[-1])
    (folder / "ct.pub").write_bytes(ct)
    (folder / "token").write_text(fulcio.token("dev@example.test"))


def end_with_parent(parent: int) -> None:
    """Has the kernel send SIGTERM when the process that started this one ends (prctl(2))."""
    set_parent_death_signal = 1
    if ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError("prctl")
    if os.getppid() != parent:
        raise SystemExit("the parent has ended")


def main() -> None:
    parent = os.getppid()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=3600)
    arguments = parser.parse_args()
    end_with_parent(parent)
    # What SIGTERM and SIGINT do to a program that does not ask is right here: nothing is kept.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.alarm(arguments.seconds)
    with Fulcio() as fulcio:
        write(fulcio, arguments.out)
        print(fulcio.url, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
