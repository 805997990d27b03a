"""Recipes such as a user might install, each of which misbehaves in its own way before its first
batch. Real child processes run them."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from recipe_kit.context import Context
from recipe_kit.recipe import Recipe, Trained
from shared_schemas.specs import Hyperparameters
from training_worker.recipes.mlp import MlpRecipe

ROOT = Path(__file__).parents[2]


def install(folder: Path, names: Sequence[str]) -> str:
    """Make the recipes of this module visible by entry points, as those of a user's package are. ->
    the PYTHONPATH for processes that must find them"""
    points = {name.lower(): f"tests.support.odd_recipes:{name}" for name in names}
    install_package(folder / "site", "odd_recipes", points)
    return os.pathsep.join([str(folder / "site"), str(ROOT)])


def install_package(site: Path, name: str, recipes: Mapping[str, str]) -> None:
    """Write the metadata of a package with these entry points, module:class by the recipe's name. site: a folder that
    is or will be on the path of Python."""
    package = site / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "\n".join(f"{recipe} = {where}" for recipe, where in recipes.items())
    (package / "entry_points.txt").write_text(f"[headrace.recipes]\n{points}\n")


class OddHyperparameters(Hyperparameters, frozen=True, kw_only=True):
    """mark: a file that the test reads."""

    mark: str | None = None


class _OddRecipe(Recipe[OddHyperparameters]):
    hyperparameters = OddHyperparameters

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__.lower()

    def train(self, context: Context[OddHyperparameters]) -> Trained:
        self.misbehave(context.hyperparameters)
        return MlpRecipe().train(context)

    def misbehave(self, wanted: OddHyperparameters) -> None:
        raise NotImplementedError


class Hanging(_OddRecipe):
    """Prints for ever and makes no step. It has started a process of its own, and names it."""

    def misbehave(self, wanted: OddHyperparameters) -> None:
        grandchild = subprocess.Popen(["sleep", "600"])
        Path(wanted.mark or "").write_text(f"{os.getpid()} {grandchild.pid}")
        while True:
            print("still here", flush=True)
            time.sleep(0.05)


class Killed(_OddRecipe):
    def misbehave(self, wanted: OddHyperparameters) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Exiting(_OddRecipe):
    def misbehave(self, wanted: OddHyperparameters) -> None:
        os._exit(3)


class Raising(_OddRecipe):
    def misbehave(self, wanted: OddHyperparameters) -> None:
        raise LookupError("a secret of the data")


class OutOfMemory(_OddRecipe):
    def misbehave(self, wanted: OddHyperparameters) -> None:
        raise MemoryError


class Gluttonous(_OddRecipe):
    """Allocates memory until the kernel refuses, within a limit that protects the machine."""

    def misbehave(self, wanted: OddHyperparameters) -> None:
        taken_kib = int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0])
        limit = taken_kib * 1024 + 256 * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        hoard = []
        while True:
            hoard.append(bytearray(16 * 1024 * 1024))


class Printing(_OddRecipe):
    """Prints what it can see of its environment."""

    def misbehave(self, wanted: OddHyperparameters) -> None:
        print("seen:", *sorted(name for name in os.environ if name.startswith("HEADRACE_")))
        print("warned", file=sys.stderr)
        print("a line without an end", end="")


class Forging(_OddRecipe):
    """Writes bytes that are no message to every descriptor that could lead to the supervisor."""

    def misbehave(self, wanted: OddHyperparameters) -> None:
        for descriptor in range(3, 32):
            try:
                os.write(descriptor, b"\xff" * 64)
            except OSError:
                continue
        time.sleep(600)


class Asserting(_OddRecipe):
    """Indexes beyond a tensor on the device, which breaks the CUDA context of the process for good."""

    def misbehave(self, wanted: OddHyperparameters) -> None:
        import torch

        torch.zeros(2, device="cuda")[torch.tensor([5], device="cuda")].cpu()


class DeviceHoarding(_OddRecipe):
    """Takes more than half of the device's memory, keeps it, and trains."""

    hoard: ClassVar[list[object]] = []

    def misbehave(self, wanted: OddHyperparameters) -> None:
        self.hoard.append(_on_device(0.6))


class DeviceGluttonous(_OddRecipe):
    def misbehave(self, wanted: OddHyperparameters) -> None:
        _on_device(2.0)


def _on_device(share: float) -> object:
    """A tensor on the device that takes this share of its memory."""
    import torch

    n_bytes = int(share * torch.cuda.get_device_properties(0).total_memory)
    return torch.empty(n_bytes, dtype=torch.uint8, device="cuda")
