"""How wrong is a folder of predictions? Losses and scores per image, and a gate."""

from lossbench.api import (
    check_path,
    evaluate,
    find_loss,
    gather_settings,
    gradcheck,
    list_conventions,
    list_formats,
    list_losses,
    list_sections,
    list_weights,
    load_config,
    loss,
    measure_speed,
    merge,
    plan,
    plan_merge,
    render,
    save,
    schema,
)
from lossbench.buffers import keep_buffers
from lossbench.errors import InputError, LossbenchError, OutputError, SettingError
from lossbench.version import __version__

__all__ = [
    "InputError",
    "LossbenchError",
    "OutputError",
    "SettingError",
    "__version__",
    "check_path",
    "evaluate",
    "find_loss",
    "gather_settings",
    "gradcheck",
    "keep_buffers",
    "list_conventions",
    "list_formats",
    "list_losses",
    "list_sections",
    "list_weights",
    "load_config",
    "loss",
    "measure_speed",
    "merge",
    "plan",
    "plan_merge",
    "render",
    "save",
    "schema",
]
