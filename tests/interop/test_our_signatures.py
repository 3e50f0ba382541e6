"""What `treering sign` writes is a signature that the stock `model_signing` verifies, with the
proof of the log inside, and that it refuses when it should."""

import json

from harness import InteropTest, Key, flip_weight


class OurSignature(InteropTest):
    def setUp(self) -> None:
        super().setUp()
        # Keys made by our client, not by this test: the files must suit the stock tool.
        self.key = self.folder / "signer.pem"
        self.public_key = self.folder / "signer.pub"
        self.treering("keygen", "--key", self.key, "--no-password")
        self.treering("sign", self.model, "--trust", self.log.trust, "--key", self.key,
                      "--signature", self.bundle)

    def verify(self, public_key, status: int = 0) -> str:
        return self.model_signing("verify", "key", self.model, "--signature", self.bundle,
                                  "--public_key", public_key, status=status)

    def test_is_verified_with_its_proof_inside(self) -> None:
        material = json.loads(self.bundle.read_text())["verificationMaterial"]
        self.assertEqual(len(material["tlogEntries"]), 1)
        self.assertIn("checkpoint", material["tlogEntries"][0]["inclusionProof"])
        self.assertIn("succeeded", self.verify(self.public_key))

    def test_is_refused_for_a_changed_weight(self) -> None:
        flip_weight(self.model)
        self.assertIn("Hash mismatch", self.verify(self.public_key, status=1))

    def test_is_refused_under_another_key(self) -> None:
        other = Key(self.folder, "other")
        self.assertIn("Key mismatch", self.verify(other.public, status=1))
