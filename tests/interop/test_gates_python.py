"""The hook in front of model loaders: real safetensors files in a real log, and every way in which
a model is refused. `torch.load` has a stand-in here: torch itself is too large.
"""

import contextlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from unittest import mock

import numpy
import safetensors.numpy

import harness
from harness import InteropTest, flip
from loading import HOOK, Loading, gate

# Text that no message, no exception and no log line may contain.
SECRET = "not-to-be-seen-anywhere"


class Verified(Loading):
    def test_tensors_are_those_that_were_signed(self) -> None:
        loaded = self.load()
        self.assertEqual(set(loaded), set(self.tensors))
        for name, tensor in self.tensors.items():
            numpy.testing.assert_array_equal(loaded[name], tensor)

    def test_a_model_says_what_it_is(self) -> None:
        model = gate.verify(self.model, trust=self.trust, online=True)
        self.assertEqual((model.name, model.signer), ("tiny-llm", "signer"))
        self.assertRegex(model.model_id, "^[0-9a-f]{64}$")
        self.assertGreaterEqual(model.index, 0)
        # The bundle is there and is no file of the model.
        files = {path.relative_to(self.model).as_posix()
                 for path in self.model.rglob("*") if path.is_file()}
        self.assertEqual(set(model.files), files - {"model.sig"})
        self.assertEqual(model.read("config.json"), (self.model / "config.json").read_bytes())
        self.assertEqual(gate.verified(self.model, trust=self.trust), self.model)

    def test_a_bundle_that_was_put_into_the_model_afterwards(self) -> None:
        """What its statement leaves out does not name it; as `treering verify` has it."""
        (self.model / "model.sig").unlink()
        self.treering("sign", self.model, "--trust", self.trust, "--key", self.key,
                      "--name", "tiny-llm", "--signature", self.bundle)
        (self.model / "model.sig").write_bytes(self.bundle.read_bytes())
        self.assertEqual(set(self.load()), set(self.tensors))
        self.assertEqual(set(self.load(signature=self.model / "model.sig")), set(self.tensors))

    def test_one_file_is_a_model_too(self) -> None:
        alone = self.folder / "alone.safetensors"
        shutil.copy(self.weights, alone)
        self.sign(alone)
        loaded = gate.load_file(alone, trust=self.trust)
        numpy.testing.assert_array_equal(loaded["bias"], self.tensors["bias"])
        with gate.copied(alone, trust=self.trust) as copy:
            self.assertEqual(copy.read_bytes(), alone.read_bytes())
        flip(alone, 2000)
        with self.assertRaises(gate.NotVerified):
            gate.load_file(alone, trust=self.trust)

    def test_torch_gets_the_bytes_and_weights_only(self) -> None:
        torch = mock.Mock()
        torch.load = lambda file, **options: (file.read(), options)
        with mock.patch.dict(sys.modules, torch=torch):
            got = gate.torch_load(self.pickle, trust=self.trust,
                                  torch_options={"map_location": "cpu"})
            self.assertEqual(got, (self.pickle.read_bytes(),
                                   {"map_location": "cpu", "weights_only": True}))
            with self.assertRaises(gate.WrongUsage):
                gate.torch_load(self.pickle, trust=self.trust, torch_options={"mmap": True})

    def test_a_copy_is_private_has_signed_files_only_and_is_removed(self) -> None:
        # Left out of every signature, so anybody may have put it there.
        (self.model / ".git").mkdir()
        (self.model / ".git/hooks.py").write_text("import evil")
        with gate.copied(self.model, trust=self.trust) as copy:
            self.assertEqual(copy.name, self.model.name)
            files = {path.relative_to(copy).as_posix() for path in copy.rglob("*")
                     if path.is_file()}
            self.assertEqual(files, set(gate.verify(self.model, trust=self.trust).files))
            self.assertEqual(stat.S_IMODE(copy.parent.stat().st_mode), 0o700)
            loaded = safetensors.numpy.load_file(copy / "model.safetensors")
            numpy.testing.assert_array_equal(loaded["bias"], self.tensors["bias"])
        self.assertFalse(copy.parent.exists())
        with self.assertRaisesRegex(gate.NotVerified, "no signed file"):
            gate.verify(self.model, trust=self.trust).read(".git/hooks.py")

    def test_paths_lead_to_signed_files_by_any_spelling(self) -> None:
        link = self.folder / "link"
        link.symlink_to(self.model)
        model = gate.verify(self.model, trust=self.trust)
        for path in ("config.json", "./tokenizer/../config.json", self.model / "config.json",
                     link / "config.json"):
            self.assertEqual(model.name_of(path), "config.json", path)
        for path in ("../trust.json", self.trust, "model.sig", "", "."):
            with self.assertRaises(gate.NotVerified):
                model.name_of(path)


class Refusals(Loading):
    def test_one_changed_bit(self) -> None:
        flip(self.weights, -1)
        refused = self.assert_refused(gate.NotVerified, "bytes")
        self.assertEqual((refused.exit, refused.report["verified"]), (1, False))

    def test_one_changed_bit_of_another_file_of_the_model(self) -> None:
        flip(self.model / "tokenizer/vocab.json", 0)
        self.assert_refused(gate.NotVerified)

    def test_a_file_that_nobody_signed(self) -> None:
        (self.model / "adapter.safetensors").write_bytes(self.weights.read_bytes())
        self.assert_refused(gate.NotVerified)

    def test_no_bundle(self) -> None:
        (self.model / "model.sig").unlink()
        self.assert_refused(gate.NotVerified, "model.sig")

    def test_a_pipe_for_a_bundle(self) -> None:
        (self.model / "model.sig").unlink()
        os.mkfifo(self.model / "model.sig")
        self.assert_refused(gate.NotVerified, "not a regular file")

    def test_a_signer_whom_nobody_accepts(self) -> None:
        (self.model / "model.sig").unlink()
        self.sign(key=self.new_key("stranger"))
        self.assert_refused(gate.NotVerified, "signer")

    def test_a_signature_that_is_not_logged(self) -> None:
        bundle = json.loads((self.model / "model.sig").read_text())
        del bundle["verificationMaterial"]["tlogEntries"]
        (self.model / "model.sig").write_text(json.dumps(bundle))
        self.assert_refused(gate.NotVerified)

    def test_a_bundle_of_another_model(self) -> None:
        other = harness.make_model(self.folder / "other")
        self.sign(other)
        shutil.copy(other / "model.sig", self.model / "model.sig")
        self.assert_refused(gate.NotVerified)

    def test_a_policy_that_wants_the_newest(self) -> None:
        newer = self.folder / "newer"
        shutil.copytree(self.model, newer)
        (newer / "model.sig").unlink()
        flip(newer / "model.safetensors", -1)
        self.sign(newer)
        self.assert_refused(gate.PolicyRefused, "newest", online=True)
        # The same without asking: nothing offline can know.
        self.assertEqual(set(self.load()), set(self.tensors))
        allowed = gate.verify(self.model, trust=self.trust, online=True, extra=["--allow-older"])
        self.assertEqual(allowed.report["exit"], 0)

    def test_a_check_that_is_required_and_cannot_run(self) -> None:
        self.change_trust(lambda trust: trust.update(maxCheckpointAgeSeconds=3600))
        refused = self.assert_refused(gate.Unavailable)
        self.assertEqual(refused.exit, 5)

    def test_a_log_that_does_not_answer(self) -> None:
        self.change_trust(lambda trust: trust["log"].update(url="http://127.0.0.1:1"))
        self.assert_refused(gate.Unavailable, online=True, extra=["--deadline", "1s"])

    def test_a_trust_file_that_makes_no_sense(self) -> None:
        self.trust.write_text("{}")
        self.assert_refused(gate.WrongUsage)

    def test_no_trust_file_is_said(self) -> None:
        self.trust = None
        self.assert_refused(gate.WrongUsage, "TREERING_TRUST")

    def test_a_flag_that_does_not_exist(self) -> None:
        self.assert_refused(gate.WrongUsage, "--no-such-flag", extra=["--no-such-flag"])

    def test_no_treering(self) -> None:
        (self.tools / "treering").unlink()
        self.assert_refused(gate.ToolMissing, program=self.tools / "treering")
        with mock.patch.dict(os.environ, PATH=str(self.folder)):
            self.assert_refused(gate.ToolMissing)


class Tool(Loading):
    """Programs that are not `treering`, or are and end as it seldom does."""

    def said(self, **changes) -> str:
        """A report of success, changed."""
        report = dict(gate.verify(self.model, trust=self.trust).report) | changes
        return json.dumps({name: value for name, value in report.items() if value is not None})

    def test_each_exit_code_has_its_exception(self) -> None:
        kinds = {1: gate.NotVerified, 2: gate.WrongUsage, 4: gate.NotAuthorised,
                 5: gate.Unavailable, 6: gate.IntegrityAlarm, 7: gate.PolicyRefused,
                 3: gate.ToolFailed, 101: gate.ToolFailed}
        for status, kind in kinds.items():
            error = {"schema": "treering.error/v1", "exit": status, "what": "w", "why": "y"}
            self.replace_tool(f"echo '{json.dumps(error)}'; exit {status}")
            self.assertEqual(self.assert_refused(kind, "w: y").exit, status)
            self.replace_tool(f"exit {status}")
            self.assert_refused(kind, f"ended with {status}")

    def test_a_tool_that_is_killed(self) -> None:
        self.replace_tool("kill -9 $$")
        self.assert_refused(gate.ToolFailed)

    def test_a_tool_that_hangs(self) -> None:
        self.replace_tool("exec tail -f /dev/null")
        self.assert_refused(gate.Unavailable, "did not end", timeout=0.1)

    def test_a_tool_that_says_nothing_or_no_success_is_no_success(self) -> None:
        honest = gate.verify(self.model, trust=self.trust).report["model"]
        answers = [
            "", "verified", "null", "[]", "{}", '{"schema": 1}',
            self.said(verified=False), self.said(verified=None), self.said(verified="true"),
            self.said(schema="treering.inspect/v1"), self.said(model=None), self.said(exit=7),
            self.said(model=honest | {"modelId": "00" * 32}),
            self.said(model=honest | {"files": honest["files"] + 1}),
        ]
        for answer in answers:
            (self.folder / "answer").write_text(answer)
            self.replace_tool(
                f'case "$*" in *" verify "*) cat {self.folder}/answer ;; '
                '*) exec "$real" "$@" ;; esac')
            self.assert_refused(gate.ToolFailed)

    def test_names_that_lead_out_of_the_model_are_no_files(self) -> None:
        digest = "00" * 32
        for name in ("../x", "/x", "a/../../x", "a//b", "./a", "", "a\0b"):
            self.assertFalse(gate._is_sane((name, digest)), name)
        for value in ("", digest[2:], digest.replace("0", "g"), digest.upper().replace("0", "A")):
            self.assertFalse(gate._is_sane(("a", value)), value)
        self.assertTrue(gate._is_sane(("a/b.safetensors", digest)))


class Environment(Loading):
    def test_what_loosens_a_check_is_not_taken_from_variables(self) -> None:
        flip(self.weights, -1)
        with mock.patch.dict(os.environ, TREERING_IGNORE_PATH="model.safetensors"):
            self.assert_refused(gate.NotVerified)

    def test_every_variable_of_verify_was_thought_of(self) -> None:
        """A flag that is new is either handed on or not: say which in the hook, or here."""
        left_out = {
            "TREERING_ALLOW_OLDER", "TREERING_ALLOW_SYMLINKS", "TREERING_IDENTITY",
            "TREERING_IGNORE_PATH", "TREERING_ISSUER", "TREERING_OUTPUT", "TREERING_PUBLIC_KEY",
            "TREERING_QUIET", "TREERING_SIGNATURE", "TREERING_TRUST",
        }
        known = set(re.findall(r"\[env: (TREERING_\w+)", self.treering("verify", "--help")))
        self.assertGreater(len(known), 10)
        self.assertEqual(known - gate._VARIABLES - left_out, set())
        # What is handed on is read; the token is, by no flag.
        self.assertEqual(gate._VARIABLES - known, {"TREERING_TOKEN"})
        self.assertEqual(gate._VARIABLES & left_out, set())

    def test_secrets_reach_the_tool_and_no_message(self) -> None:
        seen = self.folder / "seen"
        self.replace_tool(f'env >>"{seen}"; exec "$real" "$@"')
        said = io.StringIO()
        given = {"TREERING_TOKEN": SECRET, "TREERING_KEY_PASSWORD": SECRET, "OTHER": SECRET}
        flip(self.weights, -1)
        self.change_trust(lambda trust: trust["log"].update(url="http://127.0.0.1:1"))
        with mock.patch.dict(os.environ, given), contextlib.redirect_stderr(said), \
                contextlib.redirect_stdout(said), self.quiet() as logged:
            away = {"online": True, "extra": ["--deadline", "1s"]}
            for options in ({}, away, {"extra": ["--no-such-flag"]},
                            {"timeout": 1e-9}, {"program": "no-such-tool"}):
                with self.assertRaises(gate.Refused) as refused:
                    gate.verify(self.model, trust=self.trust, **options)
                caught = refused.exception
                chain = (caught, caught.__cause__, caught.__context__, caught.report)
                said.write(" ".join(map(repr, chain)) + str(caught))
        said.write(repr(logged.mock_calls))
        self.assertIn(SECRET, seen.read_text())
        self.assertNotIn("TREERING_KEY_PASSWORD", seen.read_text())
        self.assertNotIn(SECRET, said.getvalue())

    def test_strangers_words_make_no_lines(self) -> None:
        error = {"schema": "treering.error/v1", "what": "a\nverified: b\u001b[2J", "why": "\u202e"}
        (self.folder / "answer").write_text(json.dumps(error))
        self.replace_tool(f"cat {self.folder}/answer; exit 1")
        refused = self.assert_refused(gate.NotVerified, r"a\nverified: b\x1b[2J: \u202e")
        self.assertTrue(str(refused).isprintable())

    def test_an_alarm_is_logged(self) -> None:
        self.replace_tool("echo 'ALARM: evidence is in x' >&2; exit 6")
        with self.assertLogs("treering_verify", "WARNING") as logged:
            with self.assertRaises(gate.IntegrityAlarm):
                self.load()
        self.assertIn("ALARM: evidence is in x", logged.output[0])


class Imports(InteropTest):
    def test_the_hook_needs_nothing_but_the_standard_library(self) -> None:
        """Python without site-packages imports both files."""
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c",
             f"import sys; sys.path.insert(0, {str(HOOK)!r}); import treering_guard"],
            capture_output=True, text=True, timeout=harness.COMMAND_SECONDS_MAX, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
