"""What figures depend on beside the code: processor, cores, versions, and who else is at work."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lossbench.run.cores import cores
from lossbench.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "pillow", "click")


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
