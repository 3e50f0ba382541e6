"""Signatures that the stock `model_signing` makes can be logged and verified by ours, and are
refused when they should be."""

from harness import Authority, InteropTest, Key, flip_weight

IDENTITY = "https://ci.example/release"


class StockKeySignature(InteropTest):
    def setUp(self) -> None:
        super().setUp()
        self.key = Key(self.folder, "signer")
        self.log.change_trust(lambda trust: trust.update(signers=[]))
        self.log.trust_key("signer", self.key.public)
        self.model_signing("sign", "key", self.model, "--signature", self.bundle,
                           "--private_key", self.key.private)

    def submit(self, public_key, status: int = 0) -> str:
        return self.treering("submit", self.bundle, "--public-key", public_key,
                             "--trust", self.log.trust, status=status)

    def verify(self, status: int = 0) -> str:
        return self.treering("verify", self.model, "--signature", self.bundle,
                             "--trust", self.log.trust, status=status)

    def test_is_verified_once_logged(self) -> None:
        self.verify(status=1)
        self.submit(self.key.public)
        self.verify()

    def test_is_still_verified_by_the_stock_tool_once_logged(self) -> None:
        self.submit(self.key.public)
        self.model_signing("verify", "key", self.model, "--signature", self.bundle,
                           "--public_key", self.key.public)

    def test_is_refused_for_a_changed_weight(self) -> None:
        self.submit(self.key.public)
        flip_weight(self.model)
        self.verify(status=1)

    def test_is_not_logged_under_another_key(self) -> None:
        self.submit(Key(self.folder, "other").public, status=1)

    def test_is_refused_from_a_signer_who_is_not_accepted(self) -> None:
        self.submit(self.key.public)
        self.log.change_trust(lambda trust: trust.update(signers=[]))
        self.log.trust_key("other", Key(self.folder, "other").public)
        self.verify(status=1)


class StockCertificateSignature(InteropTest):
    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.folder, "authority")
        key = Key(self.folder, "signer")
        certificate = self.authority.certify(key, IDENTITY)
        self.log.trust_authority("ci", self.authority.certificate, IDENTITY)
        self.model_signing("sign", "certificate", self.model, "--signature", self.bundle,
                           "--private_key", key.private, "--signing_certificate", certificate,
                           "--certificate_chain", self.authority.certificate)
        self.treering("submit", self.bundle, "--trust", self.log.trust)

    def verify(self, status: int = 0) -> str:
        return self.treering("verify", self.model, "--signature", self.bundle,
                             "--trust", self.log.trust, status=status)

    def test_is_verified(self) -> None:
        self.verify()

    def test_is_still_verified_by_the_stock_tool(self) -> None:
        self.model_signing("verify", "certificate", self.model, "--signature", self.bundle,
                           "--certificate_chain", self.authority.certificate)

    def test_is_refused_for_a_changed_weight(self) -> None:
        flip_weight(self.model)
        self.verify(status=1)

    def test_is_refused_from_another_authority(self) -> None:
        other = Authority(self.folder, "other")
        self.log.trust_authority("ci", other.certificate, IDENTITY)
        self.verify(status=1)

    def test_is_refused_for_another_identity(self) -> None:
        self.log.trust_authority("ci", self.authority.certificate, "https://ci.example/other")
        self.verify(status=1)
