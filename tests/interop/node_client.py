"""A script of js/ as a process that answers one question after the other, on the Node.js that the
lock file names."""

import json
import platform
import subprocess
import tempfile
import threading
from pathlib import Path

import harness
from harness import COMMAND_SECONDS_MAX, ROOT

SCRIPTS = ROOT / "tests/interop/js"

# What npm calls the architectures that Node.js is locked for.
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


class Refused(Exception):
    """The answer of a client that says no: its words."""

    def __init__(self, refusal: dict):
        super().__init__(json.dumps(refusal))
        self.refusal = refusal


class NodeClient:
    """Runs a script with the packages in a folder; a context manager."""

    def __init__(self, script: str, folder: str):
        packages = harness.NODE_PACKAGES / folder
        self._command = [node(), SCRIPTS / script, packages]

    def __enter__(self) -> "NodeClient":
        self._messages = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._messages,
            text=True)
        return self

    def __exit__(self, *_exception) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=COMMAND_SECONDS_MAX)
        self._process.stdout.close()
        self._messages.close()

    def ask(self, **question):
        """The answer, or `Refused`. What is `None` is left out, as a caller in JavaScript does."""
        said = {name: value for name, value in question.items() if value is not None}
        guard = threading.Timer(COMMAND_SECONDS_MAX, self._process.kill)
        guard.start()
        try:
            self._process.stdin.write(json.dumps(said, default=str) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        if not line:
            self._process.wait(timeout=COMMAND_SECONDS_MAX)
            self._messages.seek(0)
            raise AssertionError(f"{said}: no answer\n{self._messages.read()}")
        answer = json.loads(line)
        if "refusal" in answer:
            raise Refused(answer["refusal"])
        return answer["answer"]


def node() -> Path:
    architecture = ARCHITECTURES[platform.machine()]
    return harness.NODE_PACKAGES / f"node_modules/node-linux-{architecture}/bin/node"
