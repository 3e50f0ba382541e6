"""What `treering-server trust export` writes for Sigstore's clients is read by sigstore-python, and
its keys verify the checkpoints that the log serves."""

import base64
import json
import urllib.request
from pathlib import Path

import sigstore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from harness import Authority, InteropTest, Key, key_usage, run, server
from model_signing._signing import sign_sigstore
from sigstore._internal.rekor.checkpoint import SignedNote
from sigstore._internal.rekor.client import RekorClient
from sigstore._internal.rekor.client_v2 import RekorV2Client
from sigstore._internal.trust import KeyringPurpose
from sigstore._utils import KeyID
from sigstore.errors import Error, VerificationError
from sigstore.models import ClientTrustConfig, SigningConfig, TrustedRoot

MODES = ("v1", "v2", "both")

# The documents of the public instance, as sigstore-python carries them.
PUBLIC = Path(sigstore.__file__).parent / "_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"


class TrustExport(InteropTest):
    def setUp(self) -> None:
        super().setUp()
        self.url = json.loads(self.log.trust.read_text())["log"]["url"]
        self.out = self.folder / "export"

    def export(self, *flags, status: int = 0) -> str:
        """Exports for the address that the log has now; what was said on both streams."""
        return run(server(), "trust", "export", "--data", self.log.data, "--out", self.out,
                   "--url", self.url, *flags, status=status)

    def named(self) -> tuple:
        """Flags that name every service there is beside the log."""
        self.authority = Authority(self.folder, "ca")
        self.ct_key = Key(self.folder, "ct")
        self.clock = make_clock(self.folder)
        return (
            "--fulcio-url", "https://ca.example", "--fulcio-chain", self.authority.certificate,
            "--ct-key", self.ct_key.public, "--oidc-url", "https://login.example",
            "--timestamp-url", "https://tsa.example/api/v1/timestamp",
            "--timestamp-chain", self.clock,
        )

    def json(self, name: str) -> dict:
        return json.loads((self.out / name).read_text())

    def root(self) -> TrustedRoot:
        return TrustedRoot.from_file(str(self.out / "trusted_root.json"))

    def signing(self) -> SigningConfig:
        return SigningConfig.from_file(str(self.out / "signing_config.json"))

    def both(self) -> ClientTrustConfig:
        return ClientTrustConfig.from_json((self.out / "client_trust_config.json").read_text())

    def log_id(self, key_details: str) -> KeyID:
        """The log id that stands beside the only key of a kind."""
        [log] = [log for log in self.json("trusted_root.json")["tlogs"]
                 if log["publicKey"]["keyDetails"] == key_details]
        return KeyID(base64.b64decode(log["logId"]["keyId"]))

    def notes(self) -> dict:
        """The checkpoints that the log serves, by version of Rekor."""
        return {
            "v1": json.loads(get(f"{self.url}/api/v1/log"))["signedTreeHead"],
            "v2": get(f"{self.url}/checkpoint"),
        }

    def test_its_keys_verify_the_checkpoints_that_are_served(self) -> None:
        self.export("--rekor", "both")
        ids = {"v1": self.log_id("PKIX_ECDSA_P256_SHA_256"), "v2": self.log_id("PKIX_ED25519")}
        notes = self.notes()
        for mode in MODES:
            self.export("--rekor", mode)
            keyring = self.root().rekor_keyring(KeyringPurpose.VERIFY)
            for version, note in notes.items():
                with self.subTest(mode=mode, version=version):
                    note = SignedNote.from_text(note)
                    if mode in (version, "both"):
                        note.verify(keyring, ids[version])
                    else:
                        with self.assertRaises(VerificationError):
                            note.verify(keyring, ids[version])

    def test_a_signer_takes_the_highest_version_that_stands_there(self) -> None:
        named = self.named()
        for mode, client in (("v1", RekorClient), ("v2", RekorV2Client), ("both", RekorV2Client)):
            with self.subTest(mode=mode):
                self.export("--rekor", mode, *named)
                [log] = self.signing().get_tlogs()
                self.assertIs(type(log), client)
                self.assertTrue(log.url.startswith(self.url))
        forced = self.both()
        forced.force_tlog_version = 1
        [log] = forced.signing_config.get_tlogs()
        self.assertIs(type(log), RekorClient)

    def test_what_is_named_is_what_is_read(self) -> None:
        named = self.named()
        for mode in MODES:
            with self.subTest(mode=mode):
                self.export("--rekor", mode, *named)
                config = self.both()
                for signing in (self.signing(), config.signing_config):
                    self.assertEqual(signing.get_fulcio().url, "https://ca.example")
                    self.assertEqual(signing.get_oidc_url(), "https://login.example")
                    [tsa] = signing.get_tsas()
                    self.assertEqual(tsa.url, "https://tsa.example/api/v1/timestamp")
                for root in (self.root(), config.trusted_root):
                    self.assertEqual(root.get_fulcio_certs(),
                                     certificates(self.authority.certificate))
                    [tsa] = root.get_timestamp_authorities()
                    self.assertEqual(tsa.certificates(allow_expired=False),
                                     certificates(self.clock))
                    self.verify_by_ct_key(root)

    def verify_by_ct_key(self, root: TrustedRoot) -> None:
        """Something that the log of certificates signed is found and verified by its key id."""
        public = self.ct_key.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        key_id = hashes.Hash(hashes.SHA256())
        key_id.update(public)
        signature = self.ct_key.key.sign(b"said", ec.ECDSA(hashes.SHA256()))
        keyring = root.ct_keyring(KeyringPurpose.VERIFY)
        keyring.verify(key_id=KeyID(key_id.finalize()), signature=signature, data=b"said")

    def test_model_signing_takes_it_for_a_verifier(self) -> None:
        self.export(*self.named())
        sign_sigstore.Verifier(identity="a@b.example", oidc_issuer="https://login.example",
                               trust_config=self.out / "client_trust_config.json")

    def test_without_an_authority_it_is_read_and_cannot_sign(self) -> None:
        said = self.export("--without-timestamps")
        self.assertIn("warning: no authority for signers is named", said)
        self.assertEqual(self.root().get_timestamp_authorities(), [])
        self.both().trusted_root.rekor_keyring(KeyringPurpose.VERIFY)
        with self.assertRaisesRegex(Error, "No valid Fulcio CA"):
            self.signing()

    def test_the_documents_of_the_public_instance_can_be_merged(self) -> None:
        root, signing = PUBLIC / "trusted_root.json", PUBLIC / "signing_config.v0.2.json"
        said = self.export("--merge", root, "--merge", signing)
        self.assertIn("its transparency logs", said)
        config = self.both()
        public = TrustedRoot.from_file(str(root))
        self.assertEqual(config.trusted_root.get_fulcio_certs(), public.get_fulcio_certs())
        self.assertEqual(config.signing_config.get_fulcio().url,
                         SigningConfig.from_file(str(signing)).get_fulcio().url)
        config.trusted_root.ct_keyring(KeyringPurpose.VERIFY)
        for name, lists in (
            (root, ("certificateAuthorities", "ctlogs", "timestampAuthorities")),
            (signing, ("caUrls", "oidcUrls", "tsaUrls")),
        ):
            ours = self.json(name.name.replace(".v0.2", ""))
            for items in lists:
                # The log's own timestamp authority is believed, too, and stands first.
                ours_only = 1 if items == "timestampAuthorities" else 0
                self.assertEqual(ours[items][ours_only:], json.loads(name.read_text())[items],
                                 items)
        # Of its logs none is believed.
        for log in public._inner.tlogs:
            self.assertNotIn(log.log_id, [ours.log_id for ours in self.root()._inner.tlogs])

    def test_a_wrong_file_is_refused_and_nothing_is_written(self) -> None:
        bundle = self.folder / "bundle.json"
        bundle.write_text('{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}')
        said = self.export("--merge", bundle, status=2)
        self.assertIn("bundle.json: the media type", said)
        self.assertFalse(self.out.exists())


def make_clock(folder: Path) -> Path:
    """The certificate of a timestamp authority, and that of its root."""
    authority = Authority(folder, "clock-root")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clock")])
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        authority._builder(subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(authority._key, hashes.SHA384())
    )
    chain = folder / "clock.pem"
    pem = leaf.public_bytes(serialization.Encoding.PEM)
    chain.write_bytes(pem + authority.certificate.read_bytes())
    return chain


def certificates(pem: Path) -> list:
    return x509.load_pem_x509_certificates(pem.read_bytes())


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()
