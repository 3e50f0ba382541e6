"""Other people's tools against ours: runs every interoperability test and counts.

usage: run.py --binaries DIRECTORY --sigstore 4.5=PYTHON --sigstore 4.2=PYTHON --node PACKAGES

DIRECTORY holds the shipped `treering-server` and `treering`, and the programs of the tests. The
Python packages are those of requirements.txt; each PYTHON has sigstore-python of that version, as
in requirements-sigstore-*.txt; PACKAGES is what `npm ci` makes of js/. `scripts/test` provides all
of it.
"""

import argparse
import sys
import unittest
from pathlib import Path

import harness


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--sigstore", metavar="VERSION=PYTHON", action="append", default=[])
    parser.add_argument("--node", type=Path, required=True)
    arguments = parser.parse_args()
    harness.BINARIES = arguments.binaries.resolve()
    harness.SIGSTORE = dict(pair.split("=", 1) for pair in arguments.sigstore)
    harness.NODE_PACKAGES = arguments.node.resolve()
    tests = unittest.defaultTestLoader.discover(str(Path(__file__).parent), pattern="test_*.py")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
    failed = len(result.failures) + len(result.errors)
    # A class that cannot be set up fails without having run a test.
    passed = max(0, result.testsRun - failed)
    print(f"interop: {passed} passed, {failed} failed")
    # No test may be left out, and a run that found none has shown nothing.
    return 0 if result.wasSuccessful() and passed > 0 and not result.skipped else 1


if __name__ == "__main__":
    sys.exit(main())
