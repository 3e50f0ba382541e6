"""sigstore-js as npm has it (versions 3, 4 and 5) signs into a log of ours by both faces of Rekor,
verifies what came of it with the documents that the log exports, and refuses what it should."""

import base64
import json

from harness import Key
from keyless import IDENTITY
from lossy import LossyProxy
from sigstore_js import (
    BY_EMAIL, IN_TOTO, URI, SigstoreJsTest, changed, entry_of, flipped, index_of, kind_of,
    timestamps_of)


class Verified:
    """What holds of a message and an attestation that were signed by either face. The class signs
    `signed_message` and `signed_statement` once; both identities are the e-mail address."""

    def test_a_message_is_verified_by_the_package_and_with_the_root_in_a_file(self) -> None:
        self.verify(self.signed_message, self.message, **BY_EMAIL)
        self.assertEqual(self.verify_with_root(self.signed_message, self.message), IDENTITY)

    def test_an_attestation_is_verified_by_the_package_and_with_the_root_in_a_file(self) -> None:
        self.verify(self.signed_statement, **BY_EMAIL)
        self.assertEqual(self.verify_with_root(self.signed_statement), IDENTITY)

    def test_the_signer_that_is_asked_for_passes_and_any_other_does_not(self) -> None:
        issuer = self.fulcio.url
        for bundle, data in (
                (self.signed_message, [self.message]), (self.signed_statement, [])):
            self.verify(bundle, *data, certificateIssuer=issuer, **BY_EMAIL)
            for wrong in (
                    {"certificateIdentityEmail": "^eve@example\\.test$"},
                    {"certificateIdentityURI": URI},
                    {"certificateIssuer": "https://issuer.example.test"}):
                self.refuses("UNTRUSTED_SIGNER_ERROR", self.verify, bundle, *data, **wrong)

    def test_a_changed_message_is_refused(self) -> None:
        other = self.folder / "other"
        other.write_bytes(b"another message\n")
        self.refuses("SIGNATURE_ERROR", self.verify, self.signed_message, other)

    def test_a_changed_attestation_is_refused(self) -> None:
        def change(bundle: dict) -> None:
            envelope = bundle["dsseEnvelope"]
            statement = json.loads(base64.b64decode(envelope["payload"]))
            statement["predicate"] = {"changed": True}
            envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

        self.refuses("TLOG_BODY_ERROR", self.verify, changed(self.signed_statement, change))

    def test_a_proof_that_does_not_lead_to_the_checkpoint_is_refused(self) -> None:
        # The log has more than one entry, so there is a hash to change.
        def change(bundle: dict) -> None:
            proof = entry_of(bundle)["inclusionProof"]
            proof["hashes"][0] = flipped(proof["hashes"][0])

        self.refuses("TLOG_INCLUSION_PROOF_ERROR", self.verify,
                     changed(self.signed_statement, change))

    def test_a_checkpoint_that_the_log_did_not_sign_is_refused(self) -> None:
        def change(bundle: dict) -> None:
            checkpoint = entry_of(bundle)["inclusionProof"]["checkpoint"]
            name, size, rest = checkpoint["envelope"].split("\n", 2)
            checkpoint["envelope"] = f"{name}\n{int(size) + 1}\n{rest}"

        self.refuses("TLOG_INCLUSION_PROOF_ERROR", self.verify,
                     changed(self.signed_statement, change))

    def test_the_entry_of_another_artifact_is_refused(self) -> None:
        def change(bundle: dict) -> None:
            entries = self.other_message["verificationMaterial"]["tlogEntries"]
            bundle["verificationMaterial"]["tlogEntries"] = entries

        self.refuses("TLOG_BODY_ERROR", self.verify, changed(self.signed_message, change),
                     self.message)

    def test_a_log_that_is_not_in_the_root_is_refused(self) -> None:
        def refused_with(change, word: str) -> None:
            root = json.loads(self.both.root.read_text())
            change(root)
            file = self.folder / "root.json"
            file.write_text(json.dumps(root))
            self.refuses(word, self.verify_with_root, self.signed_message, self.message, file)

        refused_with(lambda root: root.update(tlogs=[]), self.UNKNOWN_LOG)
        refused_with(lambda root: root.update(ctlogs=[]), "CERTIFICATE_ERROR")
        refused_with(lambda root: root.update(certificateAuthorities=[]), "CERTIFICATE_ERROR")


class V1(Verified, SigstoreJsTest):
    """The package `sigstore`, which knows Rekor v1 alone, and `@sigstore/sign` on that face."""

    UNKNOWN_LOG = "TLOG_INCLUSION_PROMISE_ERROR"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.signed_message = cls.sign(cls.message)
        cls.signed_statement = cls.sign(cls.statement, IN_TOTO)
        other = cls.configs / "other"
        other.write_bytes(b"the message of another entry\n")
        cls.other_message = cls.sign(other)

    def test_entries_have_the_kinds_promises_and_proofs_of_rekor(self) -> None:
        self.assertEqual(kind_of(self.signed_message), ("hashedrekord", "0.0.1"))
        self.assertEqual(kind_of(self.signed_statement), ("dsse", "0.0.1"))
        for bundle in (self.signed_message, self.signed_statement):
            entry = entry_of(bundle)
            self.assertIn("signedEntryTimestamp", entry["inclusionPromise"])
            self.assertIn("checkpoint", entry["inclusionProof"])

    def test_the_kind_intoto_of_older_clients_is_logged_and_verified(self) -> None:
        bundle = self.sign(self.statement, IN_TOTO, legacyCompatibility=True)
        self.assertEqual(kind_of(bundle), ("intoto", "0.0.2"))
        self.verify(bundle, **BY_EMAIL)

    def test_a_workflow_is_verified_by_its_uri(self) -> None:
        bundle = self.sign(self.message, identity=URI)
        self.verify(bundle, self.message, certificateIdentityURI=f"^{URI}$")

    def test_a_promise_that_the_log_did_not_make_is_refused(self) -> None:
        def later(bundle: dict) -> None:
            entry = entry_of(bundle)
            entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)

        def unsigned(bundle: dict) -> None:
            promise = entry_of(bundle)["inclusionPromise"]
            promise["signedEntryTimestamp"] = flipped(promise["signedEntryTimestamp"])

        for change in (later, unsigned):
            self.refuses("TLOG_INCLUSION_PROMISE_ERROR", self.verify,
                         changed(self.signed_statement, change))

    def test_a_timestamp_beside_the_promise_is_verified(self) -> None:
        bundle = self.sign(self.message, tsaServerURL=self.log.url)
        self.assertEqual(len(timestamps_of(bundle)), 1)
        self.verify(bundle, self.message, **BY_EMAIL)

    def test_a_key_without_a_certificate_is_enough(self) -> None:
        key = Key(self.folder, "signer")
        bundle = self.ask("signWithKey", artifact=self.message, key=key.private, hint="signer",
                          witness={"rekorBaseURL": self.log.url})
        self.verify(bundle, self.message, publicKey=key.public.read_text())
        other = Key(self.folder, "other").public.read_text()
        self.refuses("SIGNATURE_ERROR", self.verify, bundle, self.message, publicKey=other)

    def test_an_entry_that_is_there_already_is_fetched_if_asked_for(self) -> None:
        before = self.size()
        for bundle in (self.signed_message, self.signed_statement):
            entry = self.submit_again(bundle, fetchOnConflict=True)
            self.assertEqual(index_of(entry), index_of(entry_of(bundle)))
            self.assertEqual(entry["canonicalizedBody"], entry_of(bundle)["canonicalizedBody"])

            def change(copied: dict) -> None:
                copied["verificationMaterial"]["tlogEntries"] = [entry]

            data = [] if "dsseEnvelope" in bundle else [self.message]
            self.verify(changed(bundle, change), *data, **BY_EMAIL)
            refused = self.refuses(
                "TLOG_CREATE_ENTRY_ERROR", self.submit_again, bundle, fetchOnConflict=False)
            self.assertIn("409", str(refused))
        self.assertEqual(self.size(), before)

    def test_a_lost_answer_is_made_good_by_asking_again(self) -> None:
        key = Key(self.folder, "signer")
        before = self.size()
        with LossyProxy(self.log.url) as proxy:
            witness = {"rekorBaseURL": proxy.url, "fetchOnConflict": True, "retry": {"retries": 2}}
            bundle = self.ask("signWithKey", artifact=self.message, key=key.private,
                              hint="signer", witness=witness)
        self.assertEqual([answer[2] for answer in proxy.answers], [201, 409, 200])
        self.assertEqual(self.size(), before + 1)
        self.verify(bundle, self.message, publicKey=key.public.read_text())

    def test_what_does_not_verify_is_not_logged(self) -> None:
        before = self.size()
        bundle = changed(self.signed_message, lambda bundle: bundle["messageSignature"].update(
            signature=self.other_message["messageSignature"]["signature"]))
        refused = self.refuses("TLOG_CREATE_ENTRY_ERROR", self.submit_again, bundle)
        self.assertIn("400", str(refused))
        self.assertEqual(self.size(), before)


class V2(Verified, SigstoreJsTest):
    """`@sigstore/sign` with the signing configuration that the log exports: Rekor v2 and a
    timestamp, both from the one server."""

    UNKNOWN_LOG = "TLOG_INCLUSION_PROOF_ERROR"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        [cls.signed_message] = cls.sign_as_configured(cls.v2, cls.message)
        [cls.signed_statement] = cls.sign_as_configured(cls.v2, cls.statement, IN_TOTO)
        other = cls.configs / "other"
        other.write_bytes(b"the message of another entry\n")
        [cls.other_message] = cls.sign_as_configured(cls.v2, other)

    def test_entries_have_the_kinds_of_rekor_and_no_time_but_that_of_the_authority(self) -> None:
        self.assertEqual(kind_of(self.signed_message), ("hashedrekord", "0.0.2"))
        self.assertEqual(kind_of(self.signed_statement), ("dsse", "0.0.2"))
        for bundle in (self.signed_message, self.signed_statement):
            entry = entry_of(bundle)
            self.assertEqual(entry.get("integratedTime", "0"), "0")
            self.assertNotIn("inclusionPromise", entry)
            self.assertEqual(len(timestamps_of(bundle)), 1)

    def test_many_signers_at_once_each_get_their_entry(self) -> None:
        before = self.size()
        bundles = self.sign_as_configured(self.v2, self.message, times=8)
        self.assertEqual(len({index_of(entry_of(bundle)) for bundle in bundles}), 8)
        self.assertEqual(self.size(), before + 8)
        self.verify(bundles[-1], self.message)

    def test_the_configuration_for_one_face_or_both_is_enough(self) -> None:
        for config, version in (
                (self.v1, "0.0.1"), (self.v2, "0.0.2"), (self.both, "0.0.2")):
            [bundle] = self.sign_as_configured(config, self.message)
            self.assertEqual(kind_of(bundle)[1], version)
            self.assertEqual(
                self.verify_with_root(bundle, self.message, config.root), IDENTITY)

    def test_a_certificate_without_a_timestamp_is_refused(self) -> None:
        config = json.loads(self.v2.signing.read_text())
        config = {name: part for name, part in config.items() if not name.startswith("tsa")}
        file = self.folder / "signing_config.json"
        file.write_text(json.dumps(config))
        [bundle] = self.sign_as_configured(file, self.message)
        self.assertEqual(timestamps_of(bundle), [])
        self.refuses("TIMESTAMP_ERROR", self.verify, bundle, self.message)

    def test_a_timestamp_of_another_signature_or_authority_is_refused(self) -> None:
        def change(bundle: dict) -> None:
            [timestamp] = timestamps_of(bundle)
            [other] = timestamps_of(self.other_message)
            timestamp["signedTimestamp"] = other["signedTimestamp"]

        self.refuses("TIMESTAMP_ERROR", self.verify, changed(self.signed_message, change),
                     self.message)
        root = json.loads(self.both.root.read_text())
        file = self.folder / "root.json"
        file.write_text(json.dumps(root | {"timestampAuthorities": []}))
        self.refuses("TIMESTAMP_ERROR", self.verify_with_root, self.signed_message, self.message,
                     file)

    def test_an_entry_that_is_there_already_is_not_logged_again(self) -> None:
        # On this face sigstore-js has no way to ask for the entry that is there.
        before = self.size()
        for bundle in (self.signed_message, self.signed_statement):
            refused = self.refuses(
                "TLOG_CREATE_ENTRY_ERROR", self.submit_again, bundle, majorApiVersion=2)
            self.assertIn("409", str(refused))
            self.assertIn(f"index {index_of(entry_of(bundle))}", str(refused))
        self.assertEqual(self.size(), before)

    def test_what_does_not_verify_is_not_logged(self) -> None:
        before = self.size()
        bundle = changed(self.signed_message, lambda bundle: bundle["messageSignature"].update(
            signature=self.other_message["messageSignature"]["signature"]))
        refused = self.refuses(
            "TLOG_CREATE_ENTRY_ERROR", self.submit_again, bundle, majorApiVersion=2)
        self.assertIn("400", str(refused))
        self.assertEqual(self.size(), before)


class Version3OnRekorV1(V1):
    VERSION = "sigstore-3"


class Version4OnRekorV1(V1):
    VERSION = "sigstore-4"


class Version5OnRekorV1(V1):
    VERSION = "sigstore-5"

    def test_older_versions_verify_it(self) -> None:
        for version in ("sigstore-4", "sigstore-3"):
            self.verify(self.signed_message, self.message, version, **BY_EMAIL)
            self.verify(self.signed_statement, version=version, **BY_EMAIL)


    def test_an_answer_that_comes_too_late_is_made_good_by_asking_again(self) -> None:
        before = self.size()
        with LossyProxy(self.log.url, late=True) as proxy:
            config = self.config_through(proxy, self.v1)
            [bundle] = self.sign_as_configured(config, self.message)
        self.assertEqual([answer[2] for answer in proxy.answers], [201, 409, 200])
        self.assertEqual(self.size(), before + 1)
        self.verify(bundle, self.message, **BY_EMAIL)


class Version4OnRekorV2(V2):
    VERSION = "sigstore-4"


class Version5OnRekorV2(V2):
    VERSION = "sigstore-5"

    def test_the_older_version_verifies_it(self) -> None:
        for version in ("sigstore-4",):
            self.verify(self.signed_message, self.message, version, **BY_EMAIL)
            self.verify(self.signed_statement, version=version, **BY_EMAIL)


    def test_after_an_answer_that_comes_too_late_it_signs_anew(self) -> None:
        # It asks again, and has no way to ask for the entry that it is told of.
        before = self.size()
        with LossyProxy(self.log.url, late=True) as proxy:
            config = self.config_through(proxy, self.v2)
            refused = self.refuses(
                "TLOG_CREATE_ENTRY_ERROR", self.sign_as_configured, config, self.message)
            self.assertIn("409", str(refused))
            [bundle] = self.sign_as_configured(config, self.message)
        self.assertEqual([answer[2] for answer in proxy.answers], [201, 409, 201])
        self.assertEqual(self.size(), before + 2)
        self.verify(bundle, self.message, **BY_EMAIL)


class Version5OnALogWithoutDsse(SigstoreJsTest):
    """A log that takes no `dsse` by Rekor v2, as Rekor itself since 2.3: sigstore-js attests by
    Rekor v1 there."""

    VERSION = "sigstore-5"
    LOG_FLAGS = ("--open-writes", "--refuse-dsse")

    def test_messages_go_by_both_faces_and_attestations_by_the_first(self) -> None:
        for config in (self.v1, self.v2):
            [bundle] = self.sign_as_configured(config, self.message)
            self.verify(bundle, self.message, **BY_EMAIL)
        [bundle] = self.sign_as_configured(self.v1, self.statement, IN_TOTO)
        self.verify(bundle, **BY_EMAIL)
        before = self.size()
        refused = self.refuses("TLOG_CREATE_ENTRY_ERROR", self.sign_as_configured, self.v2,
                               self.statement, IN_TOTO)
        self.assertIn("(400) invalid type, must be hashedrekord", str(refused))
        self.assertEqual(self.size(), before)


# What has no version of its own is no test.
del V1, V2
