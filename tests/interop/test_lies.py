"""Evidence of every kind, as our client keeps it when a log lies to it, judged by code that shares
nothing with ours.
"""

import json
import tempfile
import unittest
from pathlib import Path

import harness
from check_evidence import judge


class Lies(unittest.TestCase):
    def test_are_worth_the_same_to_an_independent_judge(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        lines = harness.run(harness.BINARIES / "lies", folder).splitlines()
        lies = [json.loads(line) for line in lines]
        self.assertGreaterEqual({lie["verdict"] for lie in lies},
                                {"proven-log", "proven-witness", "suspicious"})
        for lie in lies:
            verdict, why = judge(Path(lie["file"]).read_bytes())
            self.assertEqual(verdict, lie["verdict"], f"{lie['lie']}: {why}")
