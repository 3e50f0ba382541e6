"""What happens between the verification of a model and its loader: files that somebody changes, and
loaders that know nothing of verification. `torch.load` has a stand-in here.
"""

import io
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy
import safetensors.numpy

import harness
from harness import flip
from loading import HOOK, Loading, gate

import treering_guard


class Swaps(Loading):
    """Somebody changes things after `treering` looked and before the loader does."""

    def evil(self) -> Path:
        """Another model, genuine and logged, by a signer whom nobody accepts."""
        evil = self.folder / "evil"
        shutil.copytree(self.model, evil)
        (evil / "model.sig").unlink()
        flip(evil / "model.safetensors", -1)
        flip(evil / "pytorch_model.bin", -1)
        self.sign(evil, self.new_key("stranger"))
        return evil

    def assert_changed(self) -> None:
        for way in (
            lambda: self.load(),
            lambda: gate.torch_load(self.pickle, trust=self.trust),
            lambda: gate.copied(self.model, trust=self.trust).__enter__(),
        ):
            # The first way changed the model for all; what is signed is put back.
            self.restore()
            reached = AssertionError("a loader was reached")
            with mock.patch.object(gate.importlib, "import_module", side_effect=reached):
                with self.assertRaises(gate.Changed):
                    way()

    def setUp(self) -> None:
        super().setUp()
        self.kept = self.folder / "kept"
        shutil.copytree(self.model, self.kept)

    def restore(self) -> None:
        shutil.rmtree(self.model)
        shutil.copytree(self.kept, self.model)

    def test_of_weights_are_noticed(self) -> None:
        evil = self.evil()
        self.after_verification(f'cp "{evil}"/*.safetensors "{evil}"/*.bin "{self.model}"')
        self.assert_changed()

    def test_of_weights_and_bundle_are_noticed(self) -> None:
        evil = self.evil()
        self.after_verification(f'cp "{evil}"/* "{self.model}" 2>/dev/null')
        self.assert_changed()

    def test_of_the_bundle_change_nothing(self) -> None:
        evil = self.evil()
        self.after_verification(f'cp "{evil}/model.sig" "{self.model}"')
        self.assertEqual(set(self.load()), set(self.tensors))

    def test_of_a_file_for_a_pipe_or_nothing_are_noticed(self) -> None:
        model = gate.verify(self.model, trust=self.trust)
        self.weights.unlink()
        os.mkfifo(self.weights)
        with self.assertRaisesRegex(gate.NotVerified, "not a regular file"):
            model.load_file("model.safetensors")
        self.weights.unlink()
        with self.assertRaisesRegex(gate.NotVerified, "cannot be read"):
            model.load_file("model.safetensors")

    def test_with_size_and_time_kept_are_noticed(self) -> None:
        model = gate.verify(self.model, trust=self.trust)
        before = self.weights.stat()
        flip(self.weights, -1)
        os.utime(self.weights, ns=(before.st_atime_ns, before.st_mtime_ns))
        with self.assertRaises(gate.Changed):
            model.read("model.safetensors")

    def test_in_the_copy_of_a_file_leave_nothing_behind(self) -> None:
        model = gate.verify(self.model, trust=self.trust)
        flip(self.weights, -1)
        with self.assertRaises(gate.Changed):
            model.copy_file("model.safetensors", self.folder / "copy")
        self.assertFalse((self.folder / "copy").exists())


class Guarded(Loading):
    def test_loaders_take_verified_files_only(self) -> None:
        other = self.folder / "other.safetensors"
        shutil.copy(self.weights, other)
        with treering_guard.Guard(gate.verify(self.model, trust=self.trust)):
            loaded = safetensors.numpy.load_file(self.weights)
            numpy.testing.assert_array_equal(loaded["bias"], self.tensors["bias"])
            with safetensors.safe_open(filename=self.weights, framework="np") as file:
                numpy.testing.assert_array_equal(file.get_tensor("bias"), self.tensors["bias"])
            with self.assertRaisesRegex(gate.NotVerified, "no signed file"):
                safetensors.numpy.load_file(other)
            with self.assertRaisesRegex(gate.NotVerified, "not of a path"):
                safetensors.safe_open(io.BytesIO(), framework="np")
            with self.assertRaisesRegex(gate.WrongUsage, "a guard already"):
                treering_guard.Guard().start()
            flip(self.weights, -1)
            with self.assertRaises(gate.Changed):
                safetensors.numpy.load_file(self.weights)
        self.assertEqual(set(safetensors.numpy.load_file(other)), set(self.tensors))

    def test_what_is_open_stays_what_was_signed(self) -> None:
        with treering_guard.Guard(gate.verify(self.model, trust=self.trust)):
            file = safetensors.safe_open(self.weights, framework="np")
            flip(self.weights, -1)
            for name, tensor in self.tensors.items():
                numpy.testing.assert_array_equal(file.get_tensor(name), tensor)

    def test_reaches_modules_that_are_imported_later(self) -> None:
        """In a process of its own, with a stand-in for torch."""
        torch = self.folder / "modules/torch"
        torch.mkdir(parents=True)
        (torch / "serialization.py").write_text(
            "def load(f, **options):\n    return open(f, 'rb').read()\n")
        (torch / "__init__.py").write_text("from torch.serialization import load\n")
        script = f"""
import sys, treering_guard, treering_verify
model = treering_verify.verify({str(self.model)!r}, trust={str(self.trust)!r})
guard = treering_guard.Guard(model)
guard.start()
assert not {{"torch", "safetensors"}} & set(sys.modules)
import safetensors.numpy, torch
inside, outside = {str(self.pickle)!r}, {str(self.trust)!r}
assert torch.load(inside) == open(inside, "rb").read() == torch.serialization.load(f=inside)
assert set(safetensors.numpy.load_file({str(self.weights)!r})) == {set(self.tensors)!r}
for load in (torch.load, torch.serialization.load, safetensors.numpy.load_file):
    try:
        load(outside)
        raise SystemExit(f"{{load}} took a file that nobody signed")
    except treering_verify.NotVerified:
        pass
guard.stop()
for module, name in ((torch, "load"), (torch.serialization, "load"),
                     (safetensors, "safe_open"), (safetensors.numpy, "safe_open")):
    assert not hasattr(getattr(module, name), "_treering_real"), (module, name)
assert torch.load(outside)
print("done")
"""
        said = harness.run(sys.executable, "-c", script, environment={
            "PYTHONPATH": f"{HOOK}:{self.folder / 'modules'}"})
        self.assertEqual(said.strip(), "done")
