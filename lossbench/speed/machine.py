"""What figures depend on beside the code: processor, cores, versions, and who else is at work."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source
from typing import Any

from lossbench.runtime.cpu import cores
from lossbench.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "pillow", "click")
BUSY = 0.5  # load of each core from which timings are not what the machine can do


def described() -> dict[str, Any]:
    """The machine, from what the system tells; nothing is imported to ask it."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.release()}",
        "memory_mb": _memory(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {
            "lossbench": __version__,
            "python": platform.python_version(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
    }


def hindrances(machine: Mapping[str, Any]) -> Iterator[str]:
    """What makes timings longer than they are elsewhere, a sentence each."""
    load = machine["load"]
    if load is not None and load > BUSY * cores():
        yield f"the machine is busy (load {load} on {cores()} cores): timings will be too long"
    if sys.dont_write_bytecode and not os.path.exists(cache_from_source(__file__)):
        yield (
            "Python may not keep compiled modules here (PYTHONDONTWRITEBYTECODE): every start of"
            " lossbench takes some 0.1 s longer than where pip has compiled them"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The model of the processor, or the kind where there is no more to know."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            facts = dict(line.partition(":")[::2] for line in file if ":" in line)
    except OSError:
        facts = {}
    named = {name.strip(): value.strip() for name, value in facts.items()}
    return named.get("model name") or platform.processor() or platform.machine()


def _memory() -> int | None:
    """Memory of the machine in MB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    except (AttributeError, ValueError, OSError):
        return None
