"""Puts the gate around code that cannot be changed: while a guard stands, `safetensors` and
`torch.load` read only files of models that were verified before.

    model = treering_verify.verify("llm", trust="trust.json")
    with treering_guard.Guard(model):
        import transformers
        transformers.pipeline(model="llm")

    safe_open(path) --> path is a signed file? --> private copy, hashed --> the real safe_open
    torch.load(path)         no: NotVerified       differs: Changed         the real torch.load

Stands for modules that are loaded already and, by a finder in `sys.meta_path`, for those that are
imported later. All loaders of `safetensors` that take a path go through `safe_open`.

Out of scope: what took `safe_open` or `torch.load` for itself before the guard stood, so raise it
first; other readers (`pickle`, `numpy.load`, `open`); code that wants to get around it, since all
Python code can; other threads that want to load something else meanwhile.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

from treering_verify import NotVerified, VerifiedModel, WrongUsage

# What reads a model's file, by module. `safe_open` is in each module of `safetensors` that took it.
_READERS = {
    **{f"safetensors{module}": ("safe_open",)
       for module in (".flax", ".mlx", ".numpy", ".paddle", ".tensorflow", ".torch")},
    "safetensors": ("safe_open", "_safe_open_handle"),
    "torch": ("load",),
    "torch.serialization": ("load",),
}


class Guard:
    """A context manager; `start` and `stop` do the same for the life of a process."""

    def __init__(self, *models: VerifiedModel):
        self._models = models
        self._replaced: list[tuple[ModuleType, str, Any]] = []
        self._finder = _Finder(self._replace)

    def __enter__(self) -> Guard:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """From here on only verified files are read."""
        if any(isinstance(finder, _Finder) for finder in sys.meta_path):
            raise WrongUsage("there is a guard already; one takes any number of models")
        sys.meta_path.insert(0, self._finder)
        for name in _READERS:
            if name in sys.modules:
                self._replace(sys.modules[name])

    def stop(self) -> None:
        """Puts everything back."""
        sys.meta_path.remove(self._finder)
        while self._replaced:
            module, attribute, real = self._replaced.pop()
            setattr(module, attribute, real)

    def _replace(self, module: ModuleType) -> None:
        for attribute in _READERS[module.__name__]:
            found = getattr(module, attribute, None)
            if found is None:
                continue
            # A module that is imported late takes what another one has, guarded already.
            real = getattr(found, "_treering_real", found)
            if real is found:
                setattr(module, attribute, self._guarded(real))
            self._replaced.append((module, attribute, real))

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real, updated=())
        def read(*arguments: Any, **options: Any) -> Any:
            # As safe_open and torch.load name it, where its name is said.
            if arguments:
                file, *arguments = arguments
            else:
                file = options.pop("filename", None) or options.pop("f", None)
            # Wherever an open file comes from, nobody knows what is in it.
            if not isinstance(file, (str, os.PathLike)):
                raise NotVerified(f"{real.__name__} of a {type(file).__name__}, not of a path")
            model, name = self._find(os.path.abspath(file))
            with tempfile.TemporaryDirectory(prefix="treering-") as private:
                copy = Path(private) / Path(file).name
                model.copy_file(name, copy)
                # What is open or mapped stays, though its name goes.
                return real(os.fspath(copy), *arguments, **options)

        read._treering_real = real
        return read

    def _find(self, path: str) -> tuple[VerifiedModel, str]:
        for model in self._models:
            try:
                return model, model.name_of(path)
            except NotVerified:
                continue
        raise NotVerified(f"{path} is no signed file of a verified model")


class _Finder(importlib.abc.MetaPathFinder):
    """Lets others find a module, and has it changed once it is loaded."""

    def __init__(self, loaded: Callable[[ModuleType], None]):
        self._loaded = loaded
        self._looking = False

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if name not in _READERS or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            load, loaded = spec.loader.exec_module, self._loaded

            def exec_module(module: ModuleType) -> None:
                load(module)
                loaded(module)

            spec.loader.exec_module = exec_module
        return spec
