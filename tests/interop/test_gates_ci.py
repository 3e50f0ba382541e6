"""Signing and logging in one step of a build: the script itself, and what stands in the GitHub
Action and in the GitLab template, run as these systems run it. The log takes nothing without its
token.
"""

import json
import os
import re
import shutil
from pathlib import Path

import yaml

import harness
from harness import ROOT, InteropTest

SCRIPT = ROOT / "deploy/ci/sign-and-log"
ACTION = ROOT / "deploy/github/action.yml"
TEMPLATE = ROOT / "deploy/gitlab/sign-and-log.yml"
HASH = "^[0-9a-f]{64}$"


class SignAndLog(InteropTest):
    """A log that takes entries for a token only, and a key with a password."""

    LOG_FLAGS = ()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        made = harness.run(harness.server(), "token", "create", "--data", cls.log.data,
                           "--name", "ci")
        cls.token = json.loads(made)["token"]

    def setUp(self) -> None:
        super().setUp()
        self.password = "one password of many"
        self.password_file = self.folder / "password"
        self.password_file.write_text(self.password)
        self.token_file = self.folder / "token"
        self.token_file.write_text(self.token)
        for file in (self.password_file, self.token_file):
            file.chmod(0o600)
        self.key = self.folder / "ci.pem"
        self.treering("keygen", "--key", self.key, "--password-file", self.password_file)
        self.public_key = self.folder / "ci.pub"
        # As the Dockerfile has them.
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "treering").symlink_to(harness.treering())
        (tools / "treering-sign-and-log").symlink_to(SCRIPT)
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        self.dotenv = self.folder / "signed.env"
        self.outputs = self.folder / "outputs"
        self.outputs.touch()
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.temporary),
            "GITHUB_OUTPUT": str(self.outputs),
            "TREERING_STATE": str(self.folder / "ci-state"),
        }
        # Of a build that traces its shells and says all it can.
        self.traced = {"SHELLOPTS": "xtrace"}

    def flags(self) -> list:
        return [self.model, "--trust", self.log.trust, "--key", self.key, "--password-file",
                self.password_file, "--token-file", self.token_file, "--name", "tiny-llm"]

    def run_script(self, *arguments, status: int = 0, **more: str) -> str:
        said = harness.run(SCRIPT, *arguments, status=status,
                           environment=self.environment | self.traced | more)
        self.assert_no_secret(said)
        return said

    def assert_no_secret(self, text: str) -> None:
        """Neither in a text nor left behind in a file."""
        lines = [line for line in self.key.read_text().splitlines() if "-----" not in line]
        secrets = [self.token, self.password, *lines]
        for file in (self.outputs, self.dotenv):
            text += file.read_text() if file.exists() else ""
        for secret in secrets:
            self.assertNotIn(secret, text)
        self.assertEqual(list(self.temporary.iterdir()), [])

    def assert_nothing_said(self) -> None:
        self.assertEqual(self.outputs.read_text(), "")
        self.assertFalse(self.dotenv.exists())
        self.assertFalse((self.model / "model.sig").exists())

    def assert_signed(self, values: dict) -> None:
        """The values are those of an entry that verifies."""
        report = json.loads(self.treering(
            "verify", self.model, "--trust", self.log.trust, "--public-key", self.public_key,
            "--online", "--output", "json"))
        self.assertEqual(values["index"], str(report["entry"]["index"]))
        self.assertEqual(values["leaf"], report["entry"]["leaf"])
        self.assertEqual(values["model-id"], report["model"]["modelId"])
        self.assertEqual(values["log"], report["entry"]["log"])
        self.assertEqual(Path(values["bundle"]), self.model / "model.sig")
        self.assertRegex(values["leaf"], HASH)


def pairs(text: str) -> dict:
    """Lines of NAME=VALUE among others, each name once."""
    found = re.findall("^([a-zA-Z_-]+)=(.*)$", text, re.MULTILINE)
    assert len({name for name, _ in found}) == len(found), text
    return dict(found)


class Script(SignAndLog):
    def test_signs_logs_and_says_where(self) -> None:
        said = self.run_script(*self.flags(), "--dotenv", self.dotenv)
        self.assert_signed(pairs(said))
        self.assert_signed(pairs(self.outputs.read_text()))
        lines = pairs(self.dotenv.read_text())
        self.assertEqual(set(lines), {"SIGNED_INDEX", "SIGNED_LEAF", "SIGNED_MODEL_ID",
                                      "SIGNED_LOG", "SIGNED_BUNDLE"})
        self.assert_signed({name.removeprefix("SIGNED_").lower().replace("_", "-"): value
                            for name, value in lines.items()})

    def test_takes_everything_from_variables_and_empty_ones_for_absent(self) -> None:
        self.run_script(
            self.model, SIGNING_KEY=self.key.read_text(), TREERING_KEY="", TREERING_NAME="tiny-llm",
            TREERING_TRUST=str(self.log.trust), TREERING_KEY_PASSWORD=self.password,
            TREERING_TOKEN=self.token, TREERING_TOKEN_FILE="", TREERING_MODEL_VERSION="",
            TREERING_CA_FILE="", TREERING_OUTPUT="text")
        self.assert_signed(pairs(self.outputs.read_text()))

    def test_a_log_that_lets_nobody_in(self) -> None:
        self.dotenv.write_text("SIGNED_INDEX=0\n")
        self.token_file.write_text("trt_0123456789abcdef_" + "A" * 43)
        said = self.run_script(*self.flags(), "--dotenv", self.dotenv, status=4)
        self.assertIn("not signed and logged", said)
        self.assert_nothing_said()

    def test_no_token(self) -> None:
        flags = self.flags()
        at = flags.index("--token-file")
        del flags[at:at + 2]
        self.run_script(*flags, "--dotenv", self.dotenv, status=4)
        self.assert_nothing_said()

    def test_a_log_that_does_not_answer(self) -> None:
        trust = json.loads(self.log.trust.read_text())
        trust["log"]["url"] = "http://127.0.0.1:1"
        elsewhere = self.folder / "elsewhere.json"
        elsewhere.write_text(json.dumps(trust))
        flags = [elsewhere if flag == self.log.trust else flag for flag in self.flags()]
        self.run_script(*flags, "--deadline", "1s", "--dotenv", self.dotenv, status=5)
        self.assert_nothing_said()

    def test_a_wrong_password(self) -> None:
        self.password_file.write_text("another")
        self.run_script(*self.flags(), "--dotenv", self.dotenv, status=2)
        self.assert_nothing_said()

    def test_a_wrong_password_of_a_key_in_a_variable(self) -> None:
        self.run_script(self.model, SIGNING_KEY=self.key.read_text(), status=2,
                        TREERING_TRUST=str(self.log.trust), TREERING_KEY_PASSWORD="another")
        self.assert_nothing_said()

    def test_no_model_and_no_flags(self) -> None:
        for arguments in ([], ["--trust", self.log.trust], [""], [self.folder / "none"],
                          [self.model, "--dotenv"], [self.model, "--no-such-flag"], [self.model]):
            self.run_script(*arguments, status=2)
            self.assert_nothing_said()

    def test_a_model_named_like_a_flag_is_a_model_or_nothing(self) -> None:
        said = self.run_script(*self.flags()[1:], status=2)
        self.assertNotIn("index=", said)
        flags = [*self.flags()[1:], "--dotenv", self.dotenv]
        for arguments in (["--help", *flags], ["--", "--help"], [*flags, "--", "--help"],
                          [*flags, "--", ""], [*flags, "--"], ["", *flags],
                          [self.model, *flags, "--", self.model],
                          [*flags, "--", self.model, "--no-such-flag"]):
            self.run_script(*arguments, status=2)
            self.assert_nothing_said()

    def test_help_is_for_people(self) -> None:
        self.assertIn("usage: sign-and-log", self.run_script("--help"))

    def test_the_model_may_come_last(self) -> None:
        model = self.folder / "--help"
        self.model.rename(model)
        said = harness.run("bash", "-c", 'cd "$1" && shift && exec "$@"', "in", self.folder, SCRIPT,
                           *self.flags()[1:], "--dotenv", self.dotenv, "--", "--help",
                           environment=self.environment)
        self.assertEqual(pairs(said)["bundle"], "--help/model.sig")
        self.assertTrue((model / "model.sig").exists())
        self.assertIn("SIGNED_INDEX", self.dotenv.read_text())

    def test_what_an_earlier_run_left_goes_before_anything_else(self) -> None:
        for arguments in (["--help", "--dotenv", self.dotenv], [f"--dotenv={self.dotenv}"],
                          [self.model, "--dotenv", self.dotenv, "--dotenv"],
                          ["--dotenv", self.dotenv, "--", self.model, self.model]):
            self.dotenv.write_text("SIGNED_INDEX=0\n")
            self.run_script(*arguments, status=2)
            self.assert_nothing_said()

    def test_no_treering(self) -> None:
        (self.folder / "bin/treering").unlink()
        said = self.run_script(*self.flags(), "--dotenv", self.dotenv, status=5)
        self.assertIn("no treering in PATH", said)
        self.assert_nothing_said()

    def test_no_jq(self) -> None:
        tools = self.folder / "few"
        tools.mkdir()
        for tool in ("bash", "env", "rm", "sed", "mktemp", "mv"):
            (tools / tool).symlink_to(shutil.which(tool))
        (tools / "treering").symlink_to(harness.treering())
        said = self.run_script(*self.flags(), status=5, PATH=str(tools))
        self.assertIn("no jq in PATH", said)
        self.assert_nothing_said()

    def test_a_tool_that_says_something_else_is_no_success(self) -> None:
        """Also when it smuggles lines into the outputs."""
        good = {"schema": "treering.report/v1", "verified": True, "index": 7, "leaf": "a" * 64,
                "log": "log.example", "signature": "model.sig", "model": {"modelId": "b" * 64}}
        bad = [{"index": "7\nx=y"}, {"index": -1}, {"index": 0.5}, {"index": None},
               {"leaf": "a" * 63}, {"log": "a\nindex=9"}, {"log": ""}, {"signature": None},
               {"verified": False}, {"schema": "treering.report/v2"}, {"model": {}},
               {"model": {"modelId": "b" * 64 + "\n"}}]
        tool = self.folder / "bin/treering"
        tool.unlink()
        answer = self.folder / "answer"
        tool.write_text(f"#!/bin/sh\ncat {answer}\n")
        tool.chmod(0o755)
        two = json.dumps(good) * 2
        for text in ["", "signed", "null", two, *(json.dumps(good | change) for change in bad)]:
            answer.write_text(text)
            said = self.run_script(*self.flags(), "--dotenv", self.dotenv, status=5)
            self.assertIn("cannot be read", said, text)
            self.assert_nothing_said()
        answer.write_text(json.dumps(good))
        self.run_script(*self.flags())
        self.assertEqual(pairs(self.outputs.read_text())["index"], "7")

    def test_what_fails_in_a_report_is_said(self) -> None:
        report = {"schema": "treering.report/v1", "verified": False, "checks": [
            {"check": "inclusion", "why": "no\u001b[2J proof", "outcome": "failed",
             "required": True},
            {"check": "times", "why": "fine", "outcome": "passed", "required": True}]}
        answer = self.folder / "answer"
        answer.write_text(json.dumps(report))
        tool = self.folder / "bin/treering"
        tool.unlink()
        tool.write_text(f"#!/bin/sh\ncat {answer}\nexit 6\n")
        tool.chmod(0o755)
        said = self.run_script(*self.flags(), status=6)
        self.assertIn("failed inclusion: no?[2J proof", said)
        self.assertNotIn("times", said)


class GitHub(SignAndLog):
    def setUp(self) -> None:
        super().setUp()
        self.action = yaml.safe_load(ACTION.read_text())
        self.step, = self.action["runs"]["steps"]

    def run_action(self, status: int = 0, **inputs) -> str:
        """Runs the one step, as `shell: bash` of GitHub does."""
        inputs = {name.replace("_", "-"): str(value) for name, value in inputs.items()}
        known = {name: given.get("default", "") for name, given in self.action["inputs"].items()}
        self.assertLessEqual(set(inputs), set(known))

        def expand(text: str) -> str:
            return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}",
                          lambda found: (known | inputs)[found[1]], text)

        script = self.folder / "step.sh"
        script.write_text(self.step["run"])
        given = {name: expand(value) for name, value in self.step["env"].items()}
        given["GITHUB_ACTION_PATH"] = str(ACTION.parent)
        self.environment.pop("TREERING_STATE", None)
        said = harness.run("bash", "--noprofile", "--norc", "-eo", "pipefail", script,
                           status=status, environment=self.environment | given)
        self.assert_no_secret(said)
        return said

    def test_signs_with_secrets_and_says_where(self) -> None:
        self.run_action(
            model=self.model, trust=self.log.trust, key=self.key.read_text(), name="tiny-llm",
            password=self.password, token=self.token, state=self.folder / "ci-state",
            version="1.2.0")
        values = pairs(self.outputs.read_text())
        self.assert_signed(values)
        promised = {name: output["value"] for name, output in self.action["outputs"].items()}
        self.assertEqual(promised, {name: "${{ steps.sign.outputs.%s }}" % name for name in values})
        self.assertIn("1.2.0", self.treering("inspect", self.model / "model.sig"))

    def test_signs_with_a_key_in_a_file(self) -> None:
        bundle = self.model / "model.sig"
        self.run_action(
            model=self.model, trust=self.log.trust, key_file=self.key, name="tiny-llm",
            password=self.password, token=self.token, state=self.folder / "ci-state",
            signature=bundle)
        self.assert_signed(pairs(self.outputs.read_text()))

    def test_fails_as_the_script_does(self) -> None:
        self.run_action(status=4, model=self.model, trust=self.log.trust, name="tiny-llm",
                        key=self.key.read_text(), password=self.password,
                        state=self.folder / "ci-state")
        self.assert_nothing_said()

    def test_a_model_called_help_is_no_success(self) -> None:
        for model in ("--help", "-h", "--"):
            self.run_action(status=2, model=model, trust=self.log.trust, key=self.key.read_text(),
                            password=self.password, token=self.token,
                            state=self.folder / "ci-state")
            self.assert_nothing_said()

    def test_an_input_is_no_command(self) -> None:
        """Nothing that a caller gives is pasted into the text of the step."""
        self.assertNotIn("${{", self.step["run"])
        touched = self.folder / "touched"
        self.run_action(status=2, model=f'x"; touch "{touched}"; echo "$(touch {touched})',
                        trust=self.log.trust, state=self.folder / "ci-state")
        self.assertFalse(touched.exists())


class GitLab(SignAndLog):
    def setUp(self) -> None:
        super().setUp()
        self.job = yaml.safe_load(TEMPLATE.read_text())[".treering-sign-and-log"]
        del self.environment["GITHUB_OUTPUT"], self.environment["TREERING_STATE"]

    def run_job(self, status: int = 0, **variables: str) -> str:
        """Runs the job's lines, as a runner does; the project is the folder of this test."""
        script = self.folder / "job.sh"
        script.write_text("\n".join(["set -eo pipefail", *self.job["script"]]))
        project = {"CI_PROJECT_DIR": str(self.folder)}
        defaults = {name: value.replace("$CI_PROJECT_DIR", str(self.folder))
                    for name, value in self.job["variables"].items()}
        said = harness.run("bash", script, status=status,
                           environment=self.environment | project | defaults | variables)
        self.assert_no_secret(said)
        return said

    def given(self) -> dict:
        return {"MODEL": str(self.model), "TREERING_KEY": str(self.key),
                "TREERING_NAME": "tiny-llm", "TREERING_TRUST": str(self.log.trust),
                "TREERING_KEY_PASSWORD": self.password, "TREERING_TOKEN": self.token}

    def test_signs_and_hands_on_where(self) -> None:
        self.run_job(**self.given())
        dotenv = self.folder / self.job["artifacts"]["reports"]["dotenv"]
        self.assert_signed({name.removeprefix("SIGNED_").lower().replace("_", "-"): value
                            for name, value in pairs(dotenv.read_text()).items()})
        # What is cached is there.
        for path in self.job["cache"]["paths"]:
            self.assertTrue((self.folder / path).exists(), path)

    def test_a_model_called_help_is_no_success(self) -> None:
        dotenv = self.folder / self.job["artifacts"]["reports"]["dotenv"]
        dotenv.write_text("SIGNED_INDEX=0\n")
        self.run_job(status=2, **self.given() | {"MODEL": "--help"})
        self.assertFalse(dotenv.exists())

    def test_fails_as_the_script_does(self) -> None:
        self.run_job(status=4, **self.given() | {"TREERING_TOKEN": ""})
        self.assertFalse((self.folder / self.job["artifacts"]["reports"]["dotenv"]).exists())
        self.assertEqual(self.job["retry"]["exit_codes"], 5)


