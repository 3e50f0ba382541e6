"""What the tests of the Python gate share: a model with real tensors in a real log, and ways to
load it that must all say the same.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy
import safetensors.numpy

import harness
from harness import ROOT, InteropTest

HOOK = ROOT / "deploy/python"
sys.path.insert(0, str(HOOK))

import treering_verify as gate  # noqa: E402


class Loading(InteropTest):
    """A model with tensors, signed by a key that a trust file of its own accepts."""

    def setUp(self) -> None:
        super().setUp()
        self.tensors = {
            "embedding": numpy.arange(4096, dtype=numpy.float32).reshape(64, 64),
            "bias": numpy.full(7, 0.5, dtype=numpy.float16),
        }
        self.weights = self.model / "model.safetensors"
        safetensors.numpy.save_file(self.tensors, self.weights)
        self.pickle = self.model / "pytorch_model.bin"
        self.pickle.write_bytes(b"pickled " * 1000)
        self.trust = self.folder / "trust.json"
        shutil.copy(self.log.trust, self.trust)
        self.key = self.new_key("signer")
        self.accept("signer")
        self.sign()
        tools = self.folder / "tools"
        tools.mkdir()
        (tools / "treering").symlink_to(harness.treering())
        self.tools = tools
        self.enterContext(mock.patch.dict(os.environ, {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "TREERING_STATE": str(self.folder / "state"),
        }))

    def new_key(self, name: str) -> Path:
        key = self.folder / f"{name}.pem"
        self.treering("keygen", "--key", key, "--no-password")
        return key

    def accept(self, name: str) -> None:
        self.treering("trust", "add-signer", name, "--trust", self.trust,
                      "--public-key", self.folder / f"{name}.pub")

    def sign(self, model: Path | None = None, key: Path | None = None) -> None:
        self.treering("sign", model or self.model, "--trust", self.trust,
                      "--key", key or self.key, "--name", "tiny-llm")

    def change_trust(self, change) -> None:
        trust = json.loads(self.trust.read_text())
        change(trust)
        self.trust.write_text(json.dumps(trust))

    def replace_tool(self, script: str) -> None:
        """Puts a script where `treering` is; `$real` is the real one."""
        tool = self.tools / "treering"
        tool.unlink()
        tool.write_text(f"#!/bin/sh\nreal='{harness.treering()}'\n{script}\n")
        tool.chmod(0o755)

    def after_verification(self, command: str) -> None:
        """Has `command` run once `treering verify` is done, before anybody hears of it."""
        self.replace_tool(
            f'"$real" "$@"; status=$?\ncase "$*" in *" verify "*) {command} ;; esac\nexit $status')

    def load(self, **options) -> dict:
        return gate.load_file(self.weights, trust=self.trust, **options)

    def assert_refused(self, kind: type, text: str = "", **options) -> gate.Refused:
        """No way to load the model gets to a loader, and all say the same."""
        ways = (
            lambda: self.load(**options),
            lambda: gate.torch_load(self.pickle, trust=self.trust, **options),
            lambda: gate.verified(self.model, trust=self.trust, **options),
            lambda: gate.copied(self.model, trust=self.trust, **options).__enter__(),
        )
        reached = AssertionError("a loader was reached")
        with mock.patch.object(gate.importlib, "import_module", side_effect=reached):
            for way in ways:
                with self.quiet(), self.assertRaises(gate.Refused) as refused:
                    way()
                self.assertIs(type(refused.exception), kind, refused.exception)
                self.assertIn(text, str(refused.exception))
        return refused.exception

    def quiet(self):
        """What the hook logs goes to the test, not to the terminal."""
        return mock.patch.object(gate._log, "warning")
