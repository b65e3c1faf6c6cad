"""Values to try for every option of the catalogue, in tests of laws that all losses obey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lossbench
from lossbench.catalog.compatibility import PER_AXIS
from lossbench.catalog.registry import Entry

EVERY = {entry.name: entry for entry in lossbench.list_losses()}
# Of segments, which are neither tensors nor pixels by themselves: test_panoptic.py.
INSTANCES = {name for name, entry in EVERY.items() if "instances" in entry.tasks}
# Of networks, which want pictures of some size and weights: test_deep.py.
DEEP = {name for name, entry in EVERY.items() if entry.family == "deep"}
# Of vectors, of scores, of boxes and records, or with inputs of their own: test_embedding.py,
# test_adversarial.py, test_detection.py.
FAMILIES = ("embedding", "adversarial", "detection")
OTHERS = {name for name, entry in EVERY.items() if entry.family in FAMILIES} | {"auxiliary"}
ENTRIES = {name: entry for name, entry in EVERY.items() if name not in INSTANCES | DEEP | OTHERS}
JUDGED = {"binary": 1, "multiclass": 3, "multilabel": 3, "image": 3}

# By option, or by loss and option where that loss means something else by it.
VALUES: dict[str | tuple[str, str], list[Any]] = {
    "absent": [0.25, "skip"],
    "alpha": [0.3],
    "apart": [True],
    "b": [0.2],
    "background": [False, True],
    "beta": [2.0],
    ("smooth_l1", "beta"): [0.1, 0.0],
    ("combo", "beta"): [0.2],
    "bins": [7],
    "border": ["reflect"],
    "both_empty": [0.0],
    "cap": [3.0],
    "class_reduction": ["sum", "weighted"],
    "class_weights": [[0.5, 2.0, 1.5], "auto", "median_frequency"],
    ("generalized_dice", "class_weights"): ["simple", "uniform"],
    ("exp_log", "class_weights"): [[0.5, 2.0, 1.5], "root_frequency", None],
    "classes": ["all"],
    "connectivity": ["faces"],
    "data_range": [3.0],
    "delta": [0.2],
    "empty": [1.0],
    "eps": [0.1],
    "dilation": [2.0],
    "directed": [True],
    "distance": ["chessboard"],
    "epsilon": [2.0],
    "erosions": [2],
    "exponent": [0.5],
    "fallback": [0.0],
    "form": ["brosch"],
    "fraction": [0.6],
    "gamma": [0.0, 0.4, 1.0],
    ("binary_focal", "alpha"): [0.3, [0.3, 0.8, 0.5], "auto", None],
    ("focal", "alpha"): [0.3, [0.3, 1.8, 0.5], "auto"],
    ("focal", "gamma"): [0.0, 0.4, [2.0, 0.0, 1.0]],
    ("focal_tversky", "gamma"): [0.4, [0.4, 2.0, 1.0]],
    ("focal_tversky", "alpha"): [[0.3, 1.8, 0.5]],
    ("focal_tversky", "beta"): [[0.3, 1.8, 0.5]],
    "half": [True],
    "intersection": ["min"],
    "isotropic": [True],
    "iterations": [1],
    "k1": [0.1],
    "k2": [0.1],
    "label_smoothing": [0.1],
    "log": [True],
    "min_kept": [5],
    "mix": [0.2],
    ("dice_ce", "mix"): [0.2, None],
    ("dice_bce", "mix"): [0.2, None],
    "negative": [True],
    "one_empty": [9.0, "diagonal"],
    "one_vs_all": [True],
    "over": ["all", "classes"],
    "percentile": [80.0],
    "precision": ["double"],
    "pooled": [True],
    "pos_weight": [3.0, [3.0, 0.5, 1.0], "auto"],
    "power": [1.5, 0.5],
    "prior": [[0.2, 0.5, 0.3]],
    "reduction": ["sum"],
    "rule": ["weighted"],
    "scaled": [False],
    "sigma": [0.7],
    "smooth": [1.0],
    "smooth_dr": [0.5],
    "smooth_nr": [2.0],
    "spacing": [[2.0, 0.5]],
    "squared": [True, "elements"],
    "surface": ["contour", "mask", "subpixel"],
    "threshold": [0.2, 0.7],
    "tolerance": [0.5],
    "weight_map": ["edge(width=1, factor=3)"],
    "window": [1],
}
# What a loss is given besides, so that it has a meaning on small pictures or the option an effect.
BESIDES: dict[str | tuple[str, str], dict[str, Any]] = {
    "ssim": {"window": 2},
    "ssim_loss": {"window": 2},
    "ms_ssim": {"window": 1},
    "exp_log": {"class_weights": None},
    ("bce", "prior"): {"label_smoothing": 0.3},
    ("bce_with_logits", "prior"): {"label_smoothing": 0.3},
    ("cross_entropy", "prior"): {"label_smoothing": 0.3},
}
LOGITS = {name for name, entry in ENTRIES.items() if "Logits" in entry.inputs.values()}
# What looks at pixels in their places.
STRUCTURE = {name for name, entry in ENTRIES.items() if entry.family in ("structure", "boundary")}


def judged(entry: Entry, task: str, classes: int | None = None) -> int:
    """How many numbers a list of one a class has: a binary task may have its background, too."""
    if task == "binary":
        return 2 if "Distribution" in entry.inputs.values() else 1
    return JUDGED[task] if classes is None else classes


def has_meaning(entry: Entry, option: str, task: str) -> bool:
    """LOSSES.md: no threshold on a multiclass task but a loss's own, a background only there.

    What is made from classes needs some.
    """
    if option == "threshold":
        return task != "multiclass" or entry.options[option].owner == entry.name
    if option == "background":
        return task == "multiclass"
    return option not in ("class_weights", "weight_map") or task != "image"


def option_sets(
    name: str,
    task: str,
    classes: int | None = None,
    rules: bool = False,
    in_turn: bool = False,
) -> Iterator[dict[str, Any]]:
    """A loss as it is, and with each value of each option that has a meaning on a task.

    Args:
        name: the loss.
        task: binary, multiclass, multilabel or image.
        classes: how long lists are, where not as usual.
        rules: with values that follow from the data set, too.
        in_turn: each option on one task only, and the loss as it is on every task.
    """
    entry, always = ENTRIES[name], BESIDES.get(name, {})
    yield always
    for number, option in enumerate(entry.options):
        tasks = [
            each for each in JUDGED if each in entry.tasks and has_meaning(entry, option, each)
        ]
        if task not in tasks or (in_turn and task != tasks[number % len(tasks)]):
            continue
        for value in VALUES.get((name, option), VALUES.get(option, [])):
            if value in ("auto", "median_frequency", "root_frequency") and not rules:
                continue
            if isinstance(value, list) and option not in PER_AXIS:
                value = [*value, 0.4][: judged(entry, task, classes)]
            yield {**always, **BESIDES.get((name, option), {}), option: value}


def typed(name: str, options: dict[str, Any]) -> str:
    """A loss as an expression."""
    given = ", ".join(f"{option}={_word(value)}" for option, value in options.items())
    return f"{name}({given})" if given else name


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
