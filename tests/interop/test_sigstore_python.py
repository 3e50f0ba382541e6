"""sigstore-python, with nothing changed but its configuration, signs with our log through both
faces of Rekor; what it wrote is verified by itself and by the Rust crate sigstore-verify, and is
refused when it should be.
"""

from harness import together
from keyless import (
    IDENTITY, OTHER_IDENTITY, OTHER_ISSUER, Config, KeylessTest, SigstorePython, another_clock,
    entry_of, keys_of_other_logs, kind_of, timestamps_of,
)


class Flows:
    """What every version does; `DSSE_V2` is the kind that it logs statements as in Rekor v2."""

    VERSION: str
    DSSE_V2: tuple[str, str]

    def setUp(self) -> None:
        super().setUp()
        self.sigstore = SigstorePython(self.VERSION)
        self.signed = self.folder / "artifact.bin.sigstore.json"

    def verify(self, config: Config, *flags, artifact=None, status: int = 0, **changed) -> str:
        return self.sigstore.verify(
            config, changed.pop("issuer", self.fulcio.url), artifact or self.artifact,
            *(flags or ("--bundle", self.signed)), status=status, **changed)

    def assert_refuses_others(self, config: Config) -> None:
        """Another artifact, another signer, another issuer and another log."""
        other_log = config.changed(self.folder, keys_of_other_logs)
        together(
            lambda: self.assertIn(
                f"FAIL: {self.changed}", self.verify(config, artifact=self.changed, status=1)),
            lambda: self.assertIn(
                "SANs", self.verify(config, identity=OTHER_IDENTITY, status=1)),
            lambda: self.assertIn(
                "OIDCIssuer", self.verify(config, issuer=OTHER_ISSUER, status=1)),
            lambda: self.assertIn("invalid log entry", self.verify(other_log, status=1)),
            lambda: self.check_bundle(other_log, self.signed, self.artifact, status=1),
        )

    def assert_crate_agrees(self, config: Config) -> None:
        """sigstore-verify believes the bundle, and none of what is not so."""
        self.check_bundle(config, self.signed, self.artifact)
        self.check_bundle(config, self.signed, self.changed, status=1)
        self.assertIn("identity", self.check_bundle(
            config, self.signed, self.artifact, identity=OTHER_IDENTITY, status=1))
        self.assertIn("issuer", self.check_bundle(
            config, self.signed, self.artifact, issuer=OTHER_ISSUER, status=1))

    def test_says_its_version(self) -> None:
        self.assertEqual(self.sigstore.says_its_version(), f"sigstore {self.VERSION}.0")

    def test_an_artifact_through_rekor_v1(self) -> None:
        self.sigstore.sign(self.v1, self.token(), self.artifact)
        self.assertEqual(kind_of(self.signed), ("hashedrekord", "0.0.1"))
        self.assertEqual(timestamps_of(self.signed), [])
        self.assertIn("signedEntryTimestamp", entry_of(self.signed)["inclusionPromise"])
        self.assertIn("OK", self.verify(self.v1))
        self.assert_refuses_others(self.v1)
        self.assert_crate_agrees(self.v1)

    def test_an_artifact_through_rekor_v2(self) -> None:
        self.sigstore.sign(self.v2, self.token(), self.artifact)
        self.assertEqual(kind_of(self.signed), ("hashedrekord", "0.0.2"))
        self.assertEqual(len(timestamps_of(self.signed)), 1)
        self.assertEqual(self.v2.timestamp_urls(), [f"{self.log.url}/api/v1/timestamp"])
        self.assertIn("OK", self.verify(self.v2))
        self.assert_refuses_others(self.v2)
        # Nothing else says when it was signed.
        self.assertIn("verified time", self.verify(
            self.v2.changed(self.folder, another_clock), status=1))
        self.assert_crate_agrees(self.v2)

    def test_a_statement_through_rekor_v1(self) -> None:
        self.sigstore.attest(self.v1, self.token(), self.artifact)
        self.assertEqual(kind_of(self.signed), ("dsse", "0.0.1"))
        self.assertIn("OK", self.verify(self.v1))
        self.assert_refuses_others(self.v1)
        self.assert_crate_agrees(self.v1)

    def test_a_statement_through_rekor_v2(self) -> None:
        self.sigstore.attest(self.v2, self.token(), self.artifact)
        self.assertEqual(kind_of(self.signed), self.DSSE_V2)
        self.assertEqual(len(timestamps_of(self.signed)), 1)
        self.assertIn("OK", self.verify(self.v2))
        self.assert_refuses_others(self.v2)
        if self.DSSE_V2 == ("hashedrekord", "0.0.2"):
            self.assert_crate_agrees(self.v2)
        else:
            # The crate does not read such entries, whoever's log they are in.
            self.assertIn("dsse", self.check_bundle(
                self.v2, self.signed, self.artifact, status=1))

    def test_finds_the_entry_of_a_signature_that_has_no_bundle(self) -> None:
        """It asks Rekor v1 for the entry of a signature and a certificate."""
        detached = ("--signature", self.folder / "sig", "--certificate", self.folder / "crt")
        self.sigstore.sign(self.v1, self.token(), self.artifact, "--no-default-files", *detached)
        self.assertFalse(self.signed.exists())
        self.assertIn("OK", self.verify(self.v1, *detached))
        # What is asked for is not there: nothing like it was logged.
        self.assertNotIn("OK", self.verify(self.v1, *detached, artifact=self.changed, status=1))

    def test_chooses_a_face_if_there_are_both(self) -> None:
        config = self.config("both")
        for flags, kind in (((), ("hashedrekord", "0.0.2")),
                            (("--rekor-version", "1"), ("hashedrekord", "0.0.1"))):
            self.sigstore.sign(config, self.token(), self.artifact, "--overwrite", *flags)
            self.assertEqual(kind_of(self.signed), kind)
            self.assertIn("OK", self.verify(config))

    def test_without_a_token_for_the_authority_nothing_is_signed(self) -> None:
        token = self.fulcio.token(IDENTITY, iss=OTHER_ISSUER)
        self.sigstore.sign(self.v1, token, self.artifact, status=1)
        self.assertFalse(self.signed.exists())


class SigstorePython45(Flows, KeylessTest):
    VERSION = "4.5"
    DSSE_V2 = ("hashedrekord", "0.0.2")


class SigstorePython42(Flows, KeylessTest):
    VERSION = "4.2"
    DSSE_V2 = ("dsse", "0.0.2")


class Offline(KeylessTest):
    """The log and the authority have gone, and others have been logged since."""

    def test_old_bundles_are_verified_and_others_refused(self) -> None:
        sigstore = SigstorePython("4.5")
        signed = {}
        for name, config, sign in (
            ("v1", self.v1, sigstore.sign),
            ("v2", self.v2, sigstore.sign),
            ("statement-v1", self.v1, sigstore.attest),
            ("statement-v2", self.v2, sigstore.attest),
        ):
            bundle = self.folder / f"{name}.sigstore.json"
            sign(config, self.token(), self.artifact, "--bundle", bundle)
            signed[bundle] = config
        token = self.token()
        self.log.stop()
        self.fulcio.stop()
        sigstore.sign(self.v1, token, self.artifact, "--bundle", self.folder / "new", status=1)
        for bundle, config in signed.items():
            for artifact, status in ((self.artifact, 0), (self.changed, 1)):
                together(
                    lambda: sigstore.verify(config, self.fulcio.url, artifact, "--offline",
                                            "--bundle", bundle, status=status),
                    lambda: self.check_bundle(config, bundle, artifact, status=status),
                )
