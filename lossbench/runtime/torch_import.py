"""What of torch a command does not wait for."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

SHAPES = "torch._meta_registrations"


class Later(ModuleType):
    """A module that is imported when it is first asked for something."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which the import system asks every module for
            raise AttributeError(name)
        whole_torch()
        return getattr(import_module(SHAPES), name)


def torch_for_numbers() -> None:
    """Have this process import torch without what it knows of tensors that have no numbers.

    A quarter of the import (of torch 2.13) goes into functions that tell what shape comes of what
    shapes, for compilers and for the device `meta`. For programs whose tensors are numbers, as the
    command's are; nothing happens where torch has been imported already.
    """
    if "torch" not in sys.modules:
        sys.modules.setdefault(SHAPES, Later(SHAPES))


def whole_torch() -> None:
    """Have what was left out imported after all, or with torch: before code that may ask for it."""
    if isinstance(sys.modules.get(SHAPES), Later):
        sys.modules.pop(SHAPES, None)
        if "torch" in sys.modules:
            import_module(SHAPES)
