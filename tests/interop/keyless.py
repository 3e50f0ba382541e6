"""What the tests of keyless signing share: an authority of their own, a log that serves both faces
of Rekor, and what clients of Sigstore believe and ask, as `trust export` writes it.

A client is stock: it is told nothing but the file of its configuration, an identity token, and
whose signature is to be believed.
"""

import base64
import json
import ssl
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import harness
from fulcio import Fulcio, b64, der_key
from harness import InteropTest, run

IDENTITY = "dev@example.test"
OTHER_IDENTITY = "another@example.test"
OTHER_ISSUER = "https://issuer.example"

# A new key as each face of a log has one, by the name that trusted roots give it.
OTHER_KEYS = {
    "PKIX_ECDSA_P256_SHA_256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "PKIX_ED25519": ed25519.Ed25519PrivateKey.generate,
}


class Config:
    """What a client believes and asks, in the files of `trust export`."""

    def __init__(self, folder: Path):
        # Signs and verifies: sigstore-python and model_signing.
        self.client = folder / "client_trust_config.json"
        # Verifies only.
        self.root = folder / "trusted_root.json"
        # Signs only.
        self.signing = folder / "signing_config.json"

    def changed(self, folder: Path, change) -> "Config":
        """The same for a client that believes a trusted root with `change` applied to it."""
        other = Config(folder)
        content = json.loads(self.client.read_text())
        change(content["trustedRoot"])
        other.client.write_text(json.dumps(content))
        other.root.write_text(json.dumps(content["trustedRoot"]))
        other.signing.write_text(json.dumps(content["signingConfig"]))
        return other

    def timestamp_urls(self) -> list[str]:
        """Whom a client asks for timestamps."""
        services = json.loads(self.client.read_text())["signingConfig"]["tsaUrls"]
        return [service["url"] for service in services]

    def clock_root(self) -> str:
        """The root of the one timestamp authority that is believed, PEM."""
        [clock] = json.loads(self.root.read_text())["timestampAuthorities"]
        certificate = clock["certChain"]["certificates"][-1]["rawBytes"]
        return ssl.DER_cert_to_PEM_cert(base64.b64decode(certificate))


def keys_of_other_logs(root: dict) -> None:
    """Puts keys that signed nothing in place of those of the logs."""
    for log in root["tlogs"]:
        key = OTHER_KEYS[log["publicKey"]["keyDetails"]]()
        log["publicKey"]["rawBytes"] = b64(der_key(key))


def another_clock(root: dict) -> None:
    """Puts certificates of somebody else in place of those of the timestamp authority."""
    [clock] = root["timestampAuthorities"]
    clock["certChain"] = root["certificateAuthorities"][0]["certChain"]


def export(log: harness.Log, folder: Path, *flags) -> Config:
    """What the server itself writes, for the address that the log has now."""
    run(harness.server(), "trust", "export", "--data", log.data, "--out", folder,
        "--url", log.url, *flags)
    return Config(folder)


class KeylessTest(InteropTest):
    """One authority and one log for all tests of a class, and an artifact for each test."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.fulcio = cls.enterClassContext(Fulcio())
        cls.configs = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.configs / "authority.json").write_text(json.dumps(cls.fulcio.trust_config()))
        # Rekor v1 says itself when it took an entry; nobody is asked for a timestamp.
        cls.v1 = cls.config("v1", "--without-timestamps")
        # Rekor v2 does not, and its clients want one: that of the log's own authority.
        cls.v2 = cls.config("v2")

    @classmethod
    def config(cls, faces: str, *flags) -> Config:
        """The configuration for clients of Rekor v1, v2 or both."""
        return export(cls.log, cls.configs / faces, "--rekor", faces,
                      "--merge", cls.configs / "authority.json", *flags)

    def setUp(self) -> None:
        super().setUp()
        self.artifact = self.folder / "artifact.bin"
        # Its own in each test, so that none finds the entry of another.
        self.artifact.write_bytes(self.id().encode() * 100)
        self.changed = self.folder / "changed.bin"
        self.changed.write_bytes(self.artifact.read_bytes() + b".")

    def token(self) -> str:
        return self.fulcio.token(IDENTITY)

    def check_bundle(self, config: Config, bundle: Path, artifact, status: int = 0,
                     identity: str = IDENTITY, issuer: str | None = None) -> str:
        """What the Rust crate sigstore-verify says; its output."""
        return run(harness.BINARIES / "check-bundle", config.root, bundle, artifact, identity,
                   issuer or self.fulcio.url, status=status)


class SigstorePython:
    """The command line of sigstore-python of one version."""

    def __init__(self, version: str):
        self.python = harness.SIGSTORE[version]
        self.version = version

    def _run(self, config: Config, *arguments, status: int = 0) -> str:
        return run(self.python, "-m", "sigstore", "--trust-config", config.client, *arguments,
                   status=status)

    def says_its_version(self) -> str:
        return run(self.python, "-m", "sigstore", "--version").strip()

    def sign(self, config: Config, token: str, artifact: Path, *flags, status: int = 0) -> str:
        return self._run(config, "sign", "--identity-token", token, *flags, artifact,
                         status=status)

    def attest(self, config: Config, token: str, artifact: Path, *flags) -> str:
        """Signs a provenance of the artifact, whose digest is its subject."""
        predicate = artifact.parent / "predicate.json"
        predicate.write_text(json.dumps(PROVENANCE))
        return self._run(config, "attest", "--identity-token", token, "--predicate", predicate,
                         "--predicate-type", "https://slsa.dev/provenance/v1", *flags, artifact)

    def verify(self, config: Config, issuer: str, artifact: Path, *flags, status: int = 0,
               identity: str = IDENTITY) -> str:
        return self._run(config, "verify", "identity", "--cert-identity", identity,
                         "--cert-oidc-issuer", issuer, *flags, artifact, status=status)


# The least that sigstore-python takes for a provenance of SLSA 1.0.
PROVENANCE = {
    "buildDefinition": {"buildType": "https://ci.example/build/v1", "externalParameters": {}},
    "runDetails": {"builder": {"id": "https://ci.example/builder"}},
}


def entry_of(bundle: Path) -> dict:
    """The one log entry of a bundle."""
    [entry] = json.loads(bundle.read_text())["verificationMaterial"]["tlogEntries"]
    return entry


def kind_of(bundle: Path) -> tuple[str, str]:
    """Of which kind and version the logged entry is."""
    kind = entry_of(bundle)["kindVersion"]
    return kind["kind"], kind["version"]


def timestamps_of(bundle: Path) -> list:
    """The RFC 3161 timestamps of a bundle."""
    material = json.loads(bundle.read_text())["verificationMaterial"]
    return material.get("timestampVerificationData", {}).get("rfc3161Timestamps", [])
