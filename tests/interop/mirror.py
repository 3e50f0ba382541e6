"""A mirror of The Update Framework that hands out one trusted root, for clients that take theirs
from nowhere else.

It is as small as the specification (https://theupdateframework.github.io/specification/v1.0.31)
allows: one Ed25519 key for all four roles, one version of each file, no delegations. The key, the
port and all files are made at run time.
"""

import datetime
import functools
import hashlib
import http.server
import json
import threading
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Longer than any test, and a client refuses what has expired.
VALID = datetime.timedelta(hours=1)


class Mirror:
    """Serves `trusted_root` from a repository below `folder`; a context manager."""

    def __init__(self, folder: Path, trusted_root: Path):
        self.root = folder / "root.json"
        self._key = Ed25519PrivateKey.generate()
        (folder / "targets").mkdir(parents=True)
        content = trusted_root.read_bytes()
        (folder / "targets/trusted_root.json").write_bytes(content)
        self._write(self.root, self._root())
        self._write(folder / "targets.json", {
            "_type": "targets", "version": 1, "targets": {"trusted_root.json": {
                "length": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            }},
        })
        self._write(folder / "snapshot.json", {
            "_type": "snapshot", "version": 1, "meta": {"targets.json": {"version": 1}},
        })
        self._write(folder / "timestamp.json", {
            "_type": "timestamp", "version": 1, "meta": {"snapshot.json": {"version": 1}},
        })
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _root(self) -> dict:
        role = {"keyids": [self._key_id()], "threshold": 1}
        names = ("root", "timestamp", "snapshot", "targets")
        return {
            "_type": "root", "version": 1, "consistent_snapshot": False,
            "keys": {self._key_id(): self._public_key()}, "roles": dict.fromkeys(names, role),
        }

    def _public_key(self) -> dict:
        raw = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": raw.hex()}}

    def _key_id(self) -> str:
        return hashlib.sha256(_canonical(self._public_key())).hexdigest()

    def _write(self, file: Path, signed: dict) -> None:
        expires = datetime.datetime.now(datetime.timezone.utc) + VALID
        signed = signed | {
            "spec_version": "1.0.31", "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        signature = {"keyid": self._key_id(), "sig": self._key.sign(_canonical(signed)).hex()}
        file.write_text(json.dumps({"signatures": [signature], "signed": signed}))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, and no line on the terminal for each."""

    def log_message(self, *_arguments) -> None:
        pass


def _canonical(value: dict) -> bytes:
    """Canonical JSON of values that are ASCII, as all of these are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
