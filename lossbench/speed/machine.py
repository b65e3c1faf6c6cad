"""The machine: processor, cores, load and versions."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lossbench.runtime.cpu import cores
from lossbench.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "pillow", "click")


def describe() -> dict[str, Any]:
    """The machine as the system describes it, without importing the packages."""
    versions = {"lossbench": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def _processor() -> str:
    """The model of the processor, or its kind where the system does not name the model."""
    try:
        facts = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        facts = ""
    model = re.search(r"^model name\s*: (.+)$", facts, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
