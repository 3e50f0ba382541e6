"""Verifies a model before anything loads it: the gate in front of `safetensors` and `torch.load`.

    import treering_verify

    tensors = treering_verify.load_file("llm/model.safetensors", trust="trust.json")

    model = treering_verify.verify("llm", trust="trust.json")        # all of a directory, once
    tensors = model.load_file("model.safetensors")
    state = model.torch_load("pytorch_model.bin")

    with treering_verify.copied("llm", trust="trust.json") as path:   # loaders that take a path
        pipeline = transformers.pipeline(model=path)

    verify --> `treering verify` (signer, log, policy, every byte) --> digests of the signed files
    read   --> bytes in memory --> hashed --> the signed digest? --> these bytes go to the loader

One file, Python 3.9 or newer, nothing but the standard library and the program `treering`. For code
that cannot be changed there is `treering_guard` beside it.

Invariants. What is not verified raises, a subclass of `Refused`, before a loader is imported. The
bundle is read once: the copy that `treering` verified is the one whose digests count. The loaders
here never open the model's file a second time: they hash and load the same bytes, or a copy that
only this user can reach. What loosens a check is said by the caller; variables such as
TREERING_IGNORE_PATH are not handed on.

Out of scope. `verified` returns a path, and whoever may write there can change it afterwards; so
can whoever may write to this process or its private files, which is this user and root. Pickles
that a trusted signer signed can do what they like: `torch_load` asks torch for weights only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import logging
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO, Optional, Union

StrPath = Union[str, "os.PathLike[str]"]

# Bytes of a bundle, as treering itself has it.
BUNDLE_LEN_MAX = 16 << 20
# Seconds for `treering verify`, hashing included. Models of many terabytes need more.
TIMEOUT_SECONDS = 3600.0
# Characters of an exception's text.
MESSAGE_LEN_MAX = 4096
_READ_LEN = 1 << 20

# Variables of `treering` that are handed on: the way to the log, secrets among them, and what makes
# a verification stricter or noted down. All others are left out.
_VARIABLES = frozenset({
    "TREERING_CA_FILE", "TREERING_CLIENT_CERTIFICATE", "TREERING_CLIENT_KEY", "TREERING_DEADLINE",
    "TREERING_EVENTS", "TREERING_EVENTS_WEBHOOK", "TREERING_INDEX", "TREERING_ONLINE",
    "TREERING_STATE", "TREERING_STATUS", "TREERING_TOKEN", "TREERING_TOKEN_FILE",
})

_log = logging.getLogger("treering_verify")


# --- refusals ----------------------------------------------------------------------------------


class Refused(Exception):
    """The model is not verified, and nothing of it was loaded.

    `exit` is the exit code of `treering`, or None if it did not come so far; `report` is what it
    printed (`treering.report/v1` or `treering.error/v1`), or None.
    """

    def __init__(
        self, why: str, exit: Optional[int] = None, report: Optional[Mapping[str, Any]] = None
    ):
        super().__init__(_visible(why))
        self.exit = exit
        self.report = report


class NotVerified(Refused):
    """A check does not hold: bytes, signature, signer, log (exit 1)."""


class Changed(NotVerified):
    """A file is not what was signed, though it was when the model was verified."""


class WrongUsage(Refused):
    """The call, or the trust file, makes no sense (exit 2)."""


class NotAuthorised(Refused):
    """The log does not let this caller (exit 4)."""


class Unavailable(Refused):
    """A check that is required could not run, or something did not answer (exit 5)."""


class IntegrityAlarm(Refused):
    """A fork, a rollback or a false proof: a person must look (exit 6)."""


class PolicyRefused(Refused):
    """All is genuine, and a policy does not want it (exit 7)."""


class ToolMissing(Refused):
    """There is no program `treering`."""


class ToolFailed(Refused):
    """`treering` did not end as it does, or said what it never says."""


_BY_EXIT = {
    1: NotVerified, 2: WrongUsage, 4: NotAuthorised, 5: Unavailable, 6: IntegrityAlarm,
    7: PolicyRefused,
}


def _visible(text: str) -> str:
    """Strangers name files and models; their text makes no line of its own and no colours."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MESSAGE_LEN_MAX else text[:MESSAGE_LEN_MAX] + " ..."


# --- verifying ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerifiedModel:
    """A model that was verified, with the digest of each signed file; made by `verify` only."""

    path: Path
    """Where it was, absolute."""
    files: Mapping[str, str]
    """SHA-256 of each file that is signed, in hex, by its name below `path`; a model that is one
    file has the one name `.`."""
    report: Mapping[str, Any]
    """All that `treering verify` said."""

    @property
    def name(self) -> Optional[str]:
        """The name that the signer gave it."""
        return self.report["model"]["name"]

    @property
    def model_id(self) -> str:
        """The model id, 64 hexadecimal digits."""
        return self.report["model"]["modelId"]

    @property
    def signer(self) -> str:
        """The rule of the trust file that accepts the signer."""
        return self.report["signer"]

    @property
    def index(self) -> int:
        """Index of its entry in the log."""
        return self.report["entry"]["index"]

    def read(self, file: StrPath = ".") -> bytes:
        """The bytes of one file: exactly what was signed, whatever happened to the file since.

        `file` is a name below the model's path, or a path that leads there.
        """
        name = self.name_of(file)
        with _open_regular(self._path_of(name)) as source:
            content = source.read()
        if hashlib.sha256(content).hexdigest() != self.files[name]:
            raise Changed(f"{self._path_of(name)} changed after it was verified")
        return content

    def load_file(self, file: StrPath = ".", *, framework: str = "numpy") -> dict[str, Any]:
        """The tensors of a safetensors file, by `safetensors.<framework>.load`. Takes the memory of
        the file beside that of the tensors."""
        content = self.read(file)
        return importlib.import_module(f"safetensors.{framework}").load(content)

    def torch_load(self, file: StrPath = ".", **options: Any) -> Any:
        """What `torch.load` makes of the file, of weights only unless `options` say otherwise."""
        if options.get("mmap"):
            raise WrongUsage("a file that is mapped can change while it is used; see copied()")
        content = self.read(file)
        options.setdefault("weights_only", True)
        return importlib.import_module("torch").load(io.BytesIO(content), **options)

    def copy_to(self, folder: Path) -> Path:
        """Copies the signed files, and no others, to where nothing is yet below `folder`; each is
        hashed on its way. The path of the copy."""
        copy = folder / self.path.name
        for name in self.files:
            target = copy if name == "." else copy / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.copy_file(name, target)
        return copy

    def copy_file(self, name: str, target: Path) -> None:
        """Copies one signed file to where none is, hashed on its way. What is not the signed bytes
        does not stay."""
        hasher = hashlib.sha256()
        with _open_regular(self._path_of(name)) as source:
            with open(target, "xb", opener=_private) as copy:
                while block := source.read(_READ_LEN):
                    hasher.update(block)
                    copy.write(block)
        if hasher.hexdigest() != self.files[name]:
            target.unlink()
            raise Changed(f"{self._path_of(name)} changed after it was verified")

    def name_of(self, file: StrPath) -> str:
        """The name of a signed file that `file`, a name or a path, means."""
        given = os.fspath(file)
        path = Path(os.path.abspath(given if os.path.isabs(given) else self.path / given))
        for name in (given, os.path.relpath(path, self.path), _below(Path(given), self.path)):
            if name in self.files:
                return name
        raise NotVerified(f"{given} is no signed file of {self.path}")

    def _path_of(self, name: str) -> Path:
        return self.path if name == "." else self.path / name


def verify(
    model: StrPath,
    *,
    trust: Optional[StrPath] = None,
    signature: Optional[StrPath] = None,
    online: bool = False,
    extra: Sequence[str] = (),
    program: StrPath = "treering",
    timeout: float = TIMEOUT_SECONDS,
) -> VerifiedModel:
    """Runs `treering verify` on a directory or a file; returns only when it is verified.

    `trust` is the trust file, else what TREERING_TRUST names. `signature` is the bundle, else
    MODEL/model.sig or MODEL.sig. `extra` are further flags, such as `--status FILE` or
    `--allow-symlinks`. Raises a `Refused` otherwise.
    """
    path = Path(os.path.abspath(model))
    trust = trust or os.environ.get("TREERING_TRUST")
    if not trust:
        raise WrongUsage("no trust file: say trust=, or set TREERING_TRUST")
    found = shutil.which(os.fspath(program))
    if found is None:
        raise ToolMissing(f"there is no program {os.fspath(program)!r} in PATH")
    if not path.exists():
        raise WrongUsage(f"there is no file or directory {path}")
    bundle = Path(signature) if signature else _default_signature(path)
    with tempfile.TemporaryDirectory(prefix="treering-") as private:
        # Read once. Whatever is put in its place later is neither verified nor believed.
        copy = Path(private) / "model.sig"
        copy.write_bytes(_read_bundle(bundle))
        flags = ["--trust", os.fspath(trust), "--signature", str(copy), *extra]
        if online:
            flags.append("--online")
        inside = _below(bundle, path) if path.is_dir() else None
        if inside is not None:
            flags += ["--ignore-path", inside]
        report = _run(found, ["verify", *flags, "--", str(path)], timeout)
        signed = _run(found, ["inspect", "--", str(copy)], timeout)
    return VerifiedModel(path, MappingProxyType(_digests(report, signed)), report)


def verified(model: StrPath, **options: Any) -> Path:
    """The absolute path of `model`, if it is verified; the options are those of `verify`.

    For models that nobody can write to any more, such as a read-only mount. Otherwise what is
    loaded from the path later may be something else: use `load_file`, `torch_load` or `copied`.
    """
    return verify(model, **options).path


def load_file(
    file: StrPath, *, model: Optional[StrPath] = None, framework: str = "numpy", **options: Any
) -> dict[str, Any]:
    """Verifies the model that a safetensors file belongs to, and loads the bytes that were signed.

    `model` is the model, else FILE itself if there is a FILE.sig, else its directory; the other
    options are those of `verify`.
    """
    return verify(model or _model_of(file), **options).load_file(
        os.path.abspath(file), framework=framework)


def torch_load(
    file: StrPath,
    *,
    model: Optional[StrPath] = None,
    torch_options: Optional[Mapping[str, Any]] = None,
    **options: Any,
) -> Any:
    """As `load_file`, for `torch.load`, which gets `torch_options`."""
    return verify(model or _model_of(file), **options).torch_load(
        os.path.abspath(file), **(torch_options or {}))


@contextlib.contextmanager
def copied(
    model: StrPath, *, directory: Optional[StrPath] = None, **options: Any
) -> Iterator[Path]:
    """A private copy of the signed files of a verified model, for loaders that want a path; it is
    removed at the end. Takes the model's size below `directory` (else where temporary files are).
    """
    found = verify(model, **options)
    with tempfile.TemporaryDirectory(prefix="treering-", dir=directory) as private:
        yield found.copy_to(Path(private))


# --- the tool ----------------------------------------------------------------------------------


def _run(program: str, arguments: Sequence[str], timeout: float) -> Mapping[str, Any]:
    """What one command said, if it ended with 0."""
    given = {name: value for name, value in os.environ.items()
             if not name.startswith("TREERING_") or (name in _VARIABLES and value)}
    command = [program, "--output", "json", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=timeout, env=given, check=False)
    except subprocess.TimeoutExpired:
        # Without its cause: that one holds the whole command.
        raise Unavailable(f"treering did not end within {timeout:g} s") from None
    except OSError as error:
        raise ToolMissing(f"{program} cannot be run: {error.strerror}") from None
    said = done.stderr[-MESSAGE_LEN_MAX:].decode(errors="replace").strip()
    for line in said.splitlines():
        _log.warning("%s", _visible(line))
    try:
        report = json.loads(done.stdout)
        schema = report["schema"]
    except (ValueError, TypeError, KeyError):
        report, schema = None, ""
    status = done.returncode
    if status != 0:
        raise _BY_EXIT.get(status, ToolFailed)(_reason(status, report, said), status, report)
    if schema not in ("treering.report/v1", "treering.inspect/v1"):
        raise ToolFailed("treering ended with 0 without saying what it found", status, report)
    return report


def _reason(status: int, report: Optional[Mapping[str, Any]], said: str) -> str:
    try:
        if report and report["schema"] == "treering.error/v1":
            return f"{report['what']}: {report['why']}"
        if report and report["schema"] == "treering.report/v1":
            bad = [f"{check['check']}: {check['why']}" for check in report["checks"]
                   if check["required"] and check["outcome"] != "passed"]
            if bad:
                return "; ".join(bad)
    except (KeyError, TypeError):
        pass
    return f"treering ended with {status}: {said.splitlines()[0] if said else 'no word'}"


def _digests(report: Mapping[str, Any], signed: Mapping[str, Any]) -> dict[str, str]:
    """The signed files, from the two answers about the one bundle."""
    try:
        if report["schema"] != "treering.report/v1" or report["verified"] is not True:
            raise ToolFailed("treering ended with 0, but does not say that it verified", 0, report)
        if report["exit"] != 0 or report["model"]["modelId"] != signed["model"]["modelId"]:
            raise ToolFailed("treering contradicts itself", 0, report)
        files = {file["name"]: file["digest"] for file in signed["resources"]}
        whole = len(files) == len(signed["resources"]) == report["model"]["files"] > 0
        if not whole or not all(map(_is_sane, files.items())):
            raise ToolFailed("treering lists files that no model has", 0, report)
        return files
    except (KeyError, TypeError) as error:
        raise ToolFailed(f"treering's answer lacks {error}", 0, report) from None


def _is_sane(file: tuple[str, str]) -> bool:
    """A SHA-256, of a name that leads nowhere but below the model."""
    name, digest = file
    parts = PurePosixPath(name).parts
    return bool(
        len(digest) == 64 and set(digest) <= set("0123456789abcdef") and "\0" not in name
        and not name.startswith("/") and ".." not in parts
        and (name == "." or (parts and "/".join(parts) == name))
    )


# --- files -------------------------------------------------------------------------------------


def _default_signature(path: Path) -> Path:
    return path / "model.sig" if path.is_dir() else path.with_name(path.name + ".sig")


def _model_of(file: StrPath) -> Path:
    path = Path(os.path.abspath(file))
    return path if _default_signature(path).exists() else path.parent


def _below(file: Path, folder: Path) -> Optional[str]:
    """The name of `file` below `folder`, wherever links on the way to both lead."""
    real = Path(os.path.realpath(file.parent)) / file.name
    try:
        return real.relative_to(os.path.realpath(folder)).as_posix()
    except ValueError:
        return None


def _open_regular(path: Path) -> BinaryIO:
    """Opens a regular file. A pipe in its place is refused, and not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NotVerified(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotVerified(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _read_bundle(path: Path) -> bytes:
    with _open_regular(path) as source:
        content = source.read(BUNDLE_LEN_MAX + 1)
    if len(content) > BUNDLE_LEN_MAX:
        raise NotVerified(f"{path} is too long for a bundle")
    return content


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
