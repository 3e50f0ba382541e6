"""Evidence that our code wrote, judged by code that shares nothing with it: both come to the same
verdict on every file, whole and damaged, and no damaged file convicts anybody.

The files beside this one, evidence/*.evidence, were written once and stay: whoever holds old
evidence must be able to use it.
"""

import base64
import hashlib
import json
import tempfile
import unittest
from pathlib import Path

import harness
from check_evidence import judge

VERDICTS = {
    "broken-promise": "proven-log",
    "fork-prefix": "proven-log",
    "fork-prefix-across": "proven-log",
    "fork-size": "proven-log",
    "fork-size-across": "proven-log",
    "rollback-log": "suspicious",
    "rollback-suspected": "suspicious",
    "rollback-witness": "not-proven",
    "rollback-witness-later": "proven-witness",
    "wrong-time-early": "suspicious",
    "wrong-time-late": "suspicious",
}

# Those that take a key which only a trust file binds to the log.
NEED_TRUST = ("rollback-log", "wrong-time-early", "wrong-time-late")

EXITS = {"proven-log": 0, "proven-witness": 0, "suspicious": 1, "not-proven": 1, "malformed": 2}


def files() -> dict[str, bytes]:
    folder = Path(__file__).parent / "evidence"
    return {path.stem: path.read_bytes() for path in sorted(folder.iterdir())}


def above_sum(data: bytes) -> bytes:
    return data[:data.rindex(b"\nsum ") + 1]


def renewed(lines: bytes) -> bytes:
    """What a forger makes of changed lines."""
    total = base64.b64encode(hashlib.sha256(lines).digest())
    return lines + b"sum " + total + b"\nseen now by nobody\n"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


class Evidence(unittest.TestCase):
    def test_has_the_verdict_that_it_had_when_it_was_written(self) -> None:
        found = {name: judge(data)[0] for name, data in files().items()}
        self.assertEqual(found, VERDICTS)

    def test_convicts_the_log_by_a_key_that_nothing_binds_only_if_it_is_trusted(self) -> None:
        for name in NEED_TRUST:
            data = files()[name]
            vkeys = [line[4:].decode() for line in data.split(b"\n") if line.startswith(b"key ")]
            self.assertEqual(judge(data, vkeys)[0], "proven-log", name)
            self.assertEqual(judge(data, vkeys[:1])[0], "suspicious", name)

    def test_convicts_nobody_when_a_character_was_changed(self) -> None:
        for name, data in files().items():
            lines = above_sum(data)
            # Of the long files, whose lines are ML-DSA signatures, one in seven.
            for at in range(0, len(lines), 7 if len(lines) > 4000 else 1):
                self.assertEqual(judge(flipped(data, at))[0], "malformed", f"{name} {at}")
                verdict, _ = judge(renewed(flipped(lines, at)))
                self.assertFalse(verdict.startswith("proven"), f"{name} {at}: {verdict}")

    def test_has_one_verdict_by_our_client_and_by_others(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        file = folder / "evidence"
        for name, data in files().items():
            lines = above_sum(data)
            ends = [at for at, byte in enumerate(lines) if byte == ord("\n")]
            damaged = [renewed(flipped(lines, end - 3)) for end in ends]
            without = [renewed(lines[:end] + lines[after:]) for end, after in zip(ends, ends[1:])]
            for case in [data, *damaged, *without]:
                file.write_bytes(case)
                verdict, why = judge(case)
                output = harness.run(
                    harness.treering(), "evidence", "verify", file, "--output", "json",
                    "--quiet", status=EXITS[verdict])
                self.assertEqual(json.loads(output)["verdict"], verdict, f"{name}: {why}")
