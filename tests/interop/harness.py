"""What the interoperability tests share: a real log, both command lines, models, keys, authorities.

The log is the shipped server on a port of its own choice with a directory of its own; it is ended
by its process id. Keys and certificates are made at run time. Nothing here waits by the clock.
"""

import concurrent.futures
import datetime
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# The directory of the binaries under test; run.py sets it.
BINARIES = Path()

# The directory of Node.js and the versions of sigstore-js; run.py sets it.
NODE_PACKAGES = Path()

# A Python for each version of sigstore-python, by the version's name; run.py sets it.
SIGSTORE: dict[str, str] = {}

ROOT = Path(__file__).resolve().parents[2]

# A command that takes longer hangs.
COMMAND_SECONDS_MAX = 120


class Log:
    """A running log with its trust file, served with `flags`; a context manager."""

    def __init__(self, folder: Path, *flags: str):
        self.data = folder / "log"
        self.trust = folder / "trust" / "trust.json"
        self._flags = flags
        self._messages = folder / "server.log"
        self._server = None

    def __enter__(self) -> "Log":
        run(server(), "init", "--data", self.data, "--url", "http://127.0.0.1")
        run(server(), "trust", "export", "--data", self.data, "--out", self.trust.parent)
        with self._messages.open("wb") as messages:
            self._server = subprocess.Popen(
                [server(), "serve", "--data", self.data, "--listen", "127.0.0.1:0", *self._flags],
                stdout=subprocess.PIPE,
                stderr=messages,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._meet()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the log, which must end well; a second call does nothing."""
        status = self._stop()
        if status != 0:
            raise AssertionError(f"the log ended with {status}:\n{self._messages.read_text()}")

    def _meet(self) -> None:
        """Waits for the line that says where the log listens, and trusts that address."""
        ready = self._server.stdout.readline()
        if not ready:
            raise AssertionError(f"the log did not start:\n{self._messages.read_text()}")
        address = json.loads(ready)["listen"]
        self.url = f"http://{address}"
        self.change_trust(lambda trust: trust["log"].update(url=self.url))

    def _stop(self) -> int:
        self._server.terminate()
        self._server.stdout.close()
        return self._server.wait(timeout=COMMAND_SECONDS_MAX)

    def change_trust(self, change) -> None:
        """Rewrites the trust file with `change` applied to it."""
        trust = json.loads(self.trust.read_text())
        change(trust)
        self.trust.write_text(json.dumps(trust, indent=2))

    def trust_key(self, name: str, public_key: Path) -> None:
        """Accepts signatures by a key."""
        run(treering(), "trust", "add-signer", name, "--trust", self.trust,
            "--public-key", public_key)

    def trust_authority(self, name: str, authority: Path, identity: str) -> None:
        """Accepts signatures by the holder of a certificate by this authority alone."""

        def change(trust):
            trust["certificateAuthorities"] = [authority.read_text()]
            trust["signers"] = [{"name": name, "identity": identity}]

        self.change_trust(change)


class InteropTest(unittest.TestCase):
    """One log for all tests of a class, and a folder for each test."""

    # Everybody may write.
    LOG_FLAGS = ("--open-writes",)

    @classmethod
    def setUpClass(cls) -> None:
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.log = cls.enterClassContext(Log(Path(folder), *cls.LOG_FLAGS))

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.model = make_model(self.folder / "tiny-llm")
        self.bundle = self.folder / "tiny-llm.sig"

    def treering(self, *arguments, status: int = 0) -> str:
        """Runs our client with a state of this test's own; its output, both streams."""
        state = {"TREERING_STATE": str(self.folder / "state")}
        return run(treering(), *arguments, status=status, environment=state)

    def model_signing(self, *arguments, status: int = 0) -> str:
        """Runs the stock tool; its output, both streams."""
        return run(sys.executable, "-m", "model_signing", *arguments, status=status)


def server() -> Path:
    return BINARIES / "treering-server"


def treering() -> Path:
    return BINARIES / "treering"


def run(*command, status: int = 0, environment: dict | None = None) -> str:
    """Runs a command that must end with `status`, and returns what it wrote."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        env=os.environ | {"NO_COLOR": "1"} | (environment or {}),
    )
    if done.returncode != status:
        line = " ".join(str(word) for word in command)
        raise AssertionError(f"`{line}` ended with {done.returncode}, not {status}:\n{done.stdout}")
    return done.stdout


def together(*calls) -> list:
    """Makes calls that need nothing of each other at the same time; their results."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [call.result() for call in [pool.submit(call) for call in calls]]


def flip(file: Path, at: int) -> None:
    """Changes one bit of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def make_model(folder: Path) -> Path:
    """A model whose file names sort differently by path component and by character."""
    files = {
        "config.json": b'{"architectures": ["Tiny"]}',
        "empty.txt": b"",
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer/vocab.json": b'{"a": 0, "b": 1}',
        "weights/model-00001-of-00002.safetensors": bytes(range(256)) * 64,
        "weights/model-00002-of-00002.safetensors": bytes(reversed(range(256))) * 64,
    }
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def flip_weight(model: Path) -> None:
    """Changes one bit of one weight."""
    flip(model / "weights/model-00002-of-00002.safetensors", 1000)


class Key:
    """A P-256 key pair in two PEM files, as OpenSSL writes them."""

    def __init__(self, folder: Path, name: str):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.private = folder / f"{name}.pem"
        self.public = folder / f"{name}.pub"
        self.private.write_bytes(self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ))
        self.public.write_bytes(self.key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        ))


class Authority:
    """A certificate authority of one level, as an enterprise has it."""

    def __init__(self, folder: Path, name: str):
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._folder = folder
        usage = key_usage(key_cert_sign=True, crl_sign=True)
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA384())
        )
        self.certificate = folder / f"{name}.crt"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certify(self, key: Key, identity: str) -> Path:
        """A certificate for code signing by the holder of `key`, whose identity is a URI."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
        certificate = (
            self._builder(subject, key.key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]),
                critical=False)
            .sign(self._key, hashes.SHA384())
        )
        file = self._folder / f"{key.private.stem}.crt"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def _builder(self, subject: x509.Name, public_key) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False)
        )


def key_usage(**used: bool) -> x509.KeyUsage:
    """The named usages and no other."""
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})
