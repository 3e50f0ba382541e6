"""Evidence of every kind, as our client keeps it when a log lies to it, judged by code that shares
nothing with ours.
"""

import json
import tempfile
import unittest
from pathlib import Path

import harness
from check_evidence import judge


def keys_of_the_log(evidence: str) -> list[str]:
    """The keys in a file that have the log's name: whoever runs the log of this test knows them."""
    lines = evidence.splitlines()
    origin = next(line for line in lines if line.startswith("origin ")).removeprefix("origin ")
    keys = [line.removeprefix("key ") for line in lines if line.startswith("key ")]
    return [key for key in keys if key.split("+")[0] == origin]


class Lies(unittest.TestCase):
    def test_are_worth_the_same_to_an_independent_judge(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        lines = harness.run(harness.BINARIES / "lies", folder).splitlines()
        lies = [json.loads(line) for line in lines]
        self.assertGreaterEqual({lie["verdict"] for lie in lies},
                                {"proven-log", "proven-witness", "suspicious"})
        for lie in lies:
            evidence = Path(lie["file"]).read_bytes()
            verdict, why = judge(evidence, keys_of_the_log(evidence.decode()))
            self.assertEqual(verdict, lie["verdict"], f"{lie['lie']}: {why}")
