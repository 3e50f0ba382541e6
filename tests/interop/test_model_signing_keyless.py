"""Stock `model_signing` signs with an identity instead of a key, through both faces of Rekor; what
it wrote is verified by itself, by the Rust crate sigstore-verify and by our client, and is refused
when it should be.
"""

import base64
import json
import shutil

from harness import flip_weight, together
from keyless import (
    IDENTITY, OTHER_IDENTITY, OTHER_ISSUER, Config, KeylessTest, kind_of, timestamps_of,
)


class Keyless(KeylessTest):
    """How a model is signed, and verified by everybody who can."""

    def setUp(self) -> None:
        super().setUp()
        # What our client verifies.
        self.ours = self.bundle

    def sign(self, config: Config) -> None:
        self.model_signing("sign", "sigstore", self.model, "--signature", self.bundle,
                           "--trust_config", config.client, "--identity_token", self.token())

    def verify(self, config: Config, status: int = 0, identity: str = IDENTITY,
               issuer: str | None = None) -> str:
        return self.model_signing(
            "verify", "sigstore", self.model, "--signature", self.bundle,
            "--trust_config", config.client, "--identity", identity,
            "--identity_provider", issuer or self.fulcio.url, status=status)

    def verify_with_ours(self, status: int = 0, identity: str = IDENTITY) -> str:
        self.trust(identity)
        return self.treering("verify", self.model, "--signature", self.ours,
                             "--trust", self.log.trust, status=status)

    def trust(self, identity: str) -> None:
        """Has our client believe who shows a certificate for this identity, and nobody else; and
        the log's clock."""

        def change(trust):
            trust["certificateAuthorities"] = self.fulcio.chain()
            trust["timestampAuthorities"] = [self.v2.clock_root()]
            trust["signers"] = [
                {"name": "dev", "identity": identity, "issuer": self.fulcio.url}]

        self.log.change_trust(change)

    def subject(self) -> str:
        """The digest that the statement is about, which is no file's."""
        envelope = json.loads(self.bundle.read_text())["dsseEnvelope"]
        [subject] = json.loads(base64.b64decode(envelope["payload"]))["subject"]
        return "sha256:" + subject["digest"]["sha256"]


class ModelSigning(Keyless):
    def assert_believed_and_refused(self, config: Config) -> None:
        """As it is by everybody; and not as another's, nor with one bit changed."""
        together(
            lambda: self.assertIn("succeeded", self.verify(config)),
            lambda: self.assertIn(
                "SANs", self.verify(config, identity=OTHER_IDENTITY, status=1)),
            lambda: self.assertIn(
                "OIDCIssuer", self.verify(config, issuer=OTHER_ISSUER, status=1)),
            lambda: self.check_bundle(config, self.bundle, self.subject()),
            lambda: self.check_bundle(
                config, self.bundle, self.subject(), identity=OTHER_IDENTITY, status=1),
            lambda: self.check_bundle(config, self.bundle, "sha256:" + 32 * "00", status=1),
        )
        self.verify_with_ours()
        self.verify_with_ours(identity=OTHER_IDENTITY, status=1)
        flip_weight(self.model)
        self.assertIn("mismatch", self.verify(config, status=1).lower())
        self.verify_with_ours(status=1)

    def test_through_rekor_v1_without_timestamps(self) -> None:
        self.sign(self.v1)
        self.assertEqual((kind_of(self.bundle), timestamps_of(self.bundle)),
                         (("dsse", "0.0.1"), []))
        # No proof of this face can be held against what others saw, so our client wants another.
        self.assertIn("Rekor v1 proof", self.verify_with_ours(status=1))
        self.ours = self.folder / "ours.sig"
        shutil.copy(self.bundle, self.ours)
        self.treering("submit", self.ours, "--replace", "--trust", self.log.trust)
        self.assert_believed_and_refused(self.v1)

    def test_through_rekor_v2_with_our_timestamps(self) -> None:
        self.sign(self.v2)
        self.assertEqual(kind_of(self.bundle), ("hashedrekord", "0.0.2"))
        self.assertEqual(len(timestamps_of(self.bundle)), 1)
        self.assertRegex(self.verify_with_ours(), r"passed +timestamp")
        self.assert_believed_and_refused(self.v2)

    def test_a_signature_through_one_face_is_none_through_another(self) -> None:
        """Who knows only the other face's key believes no proof of this one."""
        self.sign(self.v1)
        self.assertIn("invalid log entry", self.verify(self.v2, status=1))


class Offline(Keyless):
    def test_is_verified_when_the_log_and_the_authority_have_gone(self) -> None:
        self.sign(self.v2)
        self.log.stop()
        self.fulcio.stop()
        self.assertIn("succeeded", self.verify(self.v2))
        self.verify_with_ours()
        flip_weight(self.model)
        self.verify(self.v2, status=1)
        self.verify_with_ours(status=1)
