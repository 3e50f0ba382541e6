"""What the tests of sigstore-js share beyond those of keyless signing: sigstore-js at one version,
and a mirror for the trusted root, which its main package takes from nowhere else."""

import base64
import copy
import json
import urllib.request
from pathlib import Path

from keyless import IDENTITY, Config, KeylessTest
from lossy import LossyProxy
from mirror import Mirror
from node_client import NodeClient, Refused

URI = "https://ci.example.test/workflow"

# How the package `sigstore` is asked whether it was this signer: with a regular expression.
BY_EMAIL = {"certificateIdentityEmail": "^dev@example\\.test$"}

IN_TOTO = "application/vnd.in-toto+json"


class SigstoreJsTest(KeylessTest):
    """What is signed once for all tests of a class: `message` is a file, `statement` another."""

    # The directory of the version below those that run.py names.
    VERSION = ""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.clients = {}
        cls.both = cls.config("both")
        cls.mirror = cls.enterClassContext(Mirror(cls.configs / "mirror", cls.both.root))
        cls.message = cls.configs / "message"
        cls.message.write_bytes(b"a message\n")
        cls.statement = cls.configs / "statement"
        cls.statement.write_text(json.dumps({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "message", "digest": {"sha256": "00" * 32}}],
            "predicateType": "https://example.test/predicate",
            "predicate": {},
        }))

    @classmethod
    def ask(cls, operation: str, *, version: str | None = None, **request):
        """Does one thing with sigstore-js: the answer, or `Refused`."""
        version = version or cls.VERSION
        if version not in cls.clients:
            cls.clients[version] = cls.enterClassContext(NodeClient("client.mjs", version))
        return cls.clients[version].ask(operation=operation, **request)

    # --- signing -------------------------------------------------------------------------------

    @classmethod
    def sign(cls, artifact: Path, kind: str | None = None, identity: str = IDENTITY,
             **options) -> dict:
        """A bundle by the package `sigstore`; an attestation if the artifact is of a `kind`."""
        return cls.ask("sign", artifact=artifact, type=kind, options={
            "fulcioURL": cls.fulcio.url, "rekorURL": cls.log.url,
            "identityToken": cls.fulcio.token(identity),
        } | options)

    @classmethod
    def sign_as_configured(cls, config: Config | Path, artifact: Path, kind: str | None = None,
                           times: int = 1) -> list[dict]:
        """Bundles by `@sigstore/sign`, with everything that a signing configuration names."""
        file = config if isinstance(config, Path) else config.signing
        return cls.ask("signAsConfigured", artifact=artifact, type=kind, times=times,
                       signingConfig=file, identityToken=cls.fulcio.token(IDENTITY))

    def config_through(self, proxy: LossyProxy, config: Config) -> Path:
        """A signing configuration of which the log is asked through a proxy, and nobody else."""
        content = json.loads(config.signing.read_text())
        for service in content["rekorTlogUrls"]:
            service["url"] = service["url"].replace(self.log.url, proxy.url)
        file = self.folder / "through.json"
        file.write_text(json.dumps(content))
        return file

    def submit_again(self, bundle: dict, **witness) -> dict:
        """The entry that comes back when what a bundle holds is submitted once more."""
        witness = {"rekorBaseURL": self.log.url, "retry": {"retries": 2}} | witness
        [entry] = self.ask("submit", bundle=bundle, witness=witness)
        return entry

    # --- verifying -----------------------------------------------------------------------------

    def verify(self, bundle: dict, artifact: Path | None = None, version: str | None = None,
               **options) -> None:
        """Verifies by the package `sigstore`, with the trusted root from a mirror."""
        self.ask("verify", version=version, bundle=bundle, artifact=artifact, options={
            "tufMirrorURL": self.mirror.url, "tufRootPath": self.mirror.root,
            "tufCachePath": self.folder / "cache",
        } | options)

    def verify_with_root(self, bundle: dict, artifact: Path | None = None,
                         root: Path | None = None) -> str:
        """Verifies by `@sigstore/verify`, with a trusted root in a file; who signed."""
        return self.ask("verifyWithRoot", bundle=bundle, artifact=artifact,
                        trustedRoot=root or self.both.root)["identity"]

    def refuses(self, word: str, what, *arguments, **named) -> Refused:
        """Fails unless sigstore-js refuses under this word."""
        with self.assertRaises(Refused) as refused:
            what(*arguments, **named)
        self.assertEqual(refused.exception.refusal["word"], word, refused.exception)
        return refused.exception

    # --- the log -------------------------------------------------------------------------------

    def size(self) -> int:
        """The number of entries that are published."""
        with urllib.request.urlopen(f"{self.log.url}/checkpoint") as answer:
            return int(answer.read().split(b"\n")[1])


def entry_of(bundle: dict) -> dict:
    """The only log entry in a bundle."""
    [entry] = bundle["verificationMaterial"]["tlogEntries"]
    return entry


def index_of(entry: dict) -> int:
    """Protobuf leaves a zero out."""
    return int(entry.get("logIndex", 0))


def timestamps_of(bundle: dict) -> list[dict]:
    material = bundle["verificationMaterial"]
    return (material.get("timestampVerificationData") or {}).get("rfc3161Timestamps", [])


def kind_of(bundle: dict) -> tuple[str, str]:
    kind = entry_of(bundle)["kindVersion"]
    return kind["kind"], kind["version"]


def changed(bundle: dict, change) -> dict:
    """A copy with `change` applied to it."""
    copied = copy.deepcopy(bundle)
    change(copied)
    return copied


def flipped(text: str, at: int = -1) -> str:
    """Base64 of bytes of which one bit is another."""
    content = bytearray(base64.b64decode(text))
    content[at] ^= 1
    return base64.b64encode(content).decode()
