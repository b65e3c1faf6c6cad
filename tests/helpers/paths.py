"""Where things are: the repository, its sample data, the real data beside it."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
SAMPLES = REPOSITORY / "sample_data"
DATA = REPOSITORY.parent / "shared" / "data"
PLUGINS = Path(__file__).parent / "plugins"
