"""The table of encodings, and the encodings that no guess chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import REPOSITORY
from PIL import Image

import lossbench
from lossbench.data.planning.encoding import ENCODINGS, NUMBERS

RNG = np.random.default_rng(5)
STORED = RNG.integers(0, 5, (300, 400)) * (RNG.random((300, 400)) < 0.6)  # large: counted in words
GREY = RNG.integers(0, 256, STORED.shape).astype(np.uint8)
TRUTH = ((STORED + RNG.integers(0, 2, STORED.shape)) > 1).astype(np.uint8)
NONZERO: dict[str, Any] = {"pred_encoding": "nonzero", "gt_encoding": "nonzero"}
Folder = Callable[..., Path]


def values(pred: Any, target: Any, *losses: str, **how: Any) -> list[float]:
    """The value of each loss of the only sample, whose error is raised."""
    result = lossbench.evaluate(pred, target, losses or ("dice", "bce"), **how)
    if result.failed:
        raise lossbench.InputError(result.failed[0].message)
    return [column.samples[0] for column in result.values.values()]


def test_a_row_holds_one_kind_of_number_and_is_documented() -> None:
    text = (REPOSITORY / "docs" / "reading.md").read_text(encoding="utf-8")
    assert not ENCODINGS.keys() & NUMBERS.keys()
    for name, encoding in ENCODINGS.items():
        assert encoding.name == name
        assert encoding.is_hard + encoding.is_soft + encoding.is_instances == 1
        assert bool(encoding.advice) == encoding.is_hard
        assert f"\n| `{name}` |" in text


@pytest.mark.parametrize(
    "stored",
    [
        STORED.astype(np.uint8),
        STORED.astype(np.uint8) * 63,
        STORED.astype(np.uint16) * 16000,
        STORED * -70000,
        STORED.astype(np.uint32) * 100000,
        STORED / 8,
        STORED.astype(np.float16) / -3,
        STORED > 0,
    ],
    ids=["uint8", "uint8 to 252", "uint16", "negative", "uint32", "float64", "float16", "bool"],
)
@pytest.mark.parametrize(
    "how", [{}, {"inputs": {"weight": [GREY / 255]}}], ids=["counts", "pixels"]
)
def test_nonzero_is_a_mask_of_everything_but_0(stored: Any, how: dict[str, Any]) -> None:
    mask = (stored != 0).astype(np.uint8)
    assert values([stored], [TRUTH], pred_encoding="nonzero", **how) == values(
        [mask], [TRUTH], **how
    )
    assert values([GREY], [stored], gt_encoding="nonzero", **how) == values([GREY], [mask], **how)


def test_nonzero_ignores_only_the_values_of_the_option() -> None:
    stored = np.where(STORED == 4, 255, STORED).astype(np.uint8)
    run = lossbench.plan([TRUTH], [stored], **NONZERO)
    assert "gt: nonzero (0 is background)" in str(run.plan)
    assert not run.plan.notes
    mask = (stored != 0).astype(np.uint8)
    assert values([TRUTH], [stored], **NONZERO) == values([TRUTH], [mask])
    masked = np.where(stored == 255, 255, mask)
    assert values([TRUTH], [stored], ignore=255, **NONZERO) == values(
        [TRUTH], [masked], gt_encoding="mask", ignore=255
    )


def test_nonzero_has_components_and_stacks() -> None:
    mask = (STORED != 0).astype(np.uint8)
    how: dict[str, Any] = {"task": "instances"}
    assert values([TRUTH * 7], [STORED], "panoptic_quality", **how, **NONZERO) == values(
        [TRUTH], [mask], "panoptic_quality", **how
    )
    pred, stored, masks = (np.stack([each, each[::-1]]) for each in (TRUTH, STORED, mask))
    how = {"task": "multilabel"}
    assert values([pred * 7], [stored], **how, **NONZERO) == values([pred], [masks], **how)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.where(STORED == 1, np.nan, STORED), "has value nan in .* give every pixel a number"),
        (np.stack([GREY, GREY, 255 - GREY], -1), "is a colour picture"),
    ],
    ids=["nan", "colours"],
)
def test_nonzero_refuses_what_is_no_number(folder: Folder, stored: Any, message: str) -> None:
    name = "a.npy" if stored.ndim == 2 else "a.png"
    sides = folder("pred", {name: stored}), folder("gt", {"a.png": TRUTH})
    with pytest.raises(lossbench.InputError, match=message):
        values(*sides, pred_encoding="nonzero")


def test_nonzero_has_no_meaning_on_several_classes() -> None:
    labels = STORED.astype(np.uint8)
    with pytest.raises(lossbench.SettingError, match="--gt-encoding nonzero"):
        lossbench.plan([TRUTH], [labels], pred_encoding="nonzero")


def test_indices_of_a_palette_can_be_nonzero(folder: Folder) -> None:
    picture = Image.fromarray(STORED.astype(np.uint8)).convert("P")
    picture.putdata(STORED.ravel().tolist())
    sides = folder("pred", {"a.png": picture}), folder("gt", {"a.png": TRUTH * 255})
    wanted = values([(STORED != 0).astype(np.uint8)], [TRUTH])
    assert values(*sides, pred_encoding="nonzero") == wanted


@pytest.mark.parametrize(("mode", "ending"), [("RGBA", "png"), ("LA", "png"), ("RGBA", "tif")])
def test_alpha_is_a_probability(folder: Folder, mode: str, ending: str) -> None:
    picture = Image.fromarray(np.flip(GREY)).convert(mode)
    picture.putalpha(Image.fromarray(GREY))
    truth = folder("gt", {"a.png": TRUTH * 255})
    cut = folder("pred", {f"a.{ending}": picture})
    run = lossbench.plan(cut, truth, pred_encoding="alpha")
    assert str(run.plan) == "binary · pred: alpha (uint8/255) · gt: mask {0,255}"
    assert values(cut, truth, pred_encoding="alpha") == values([GREY], [TRUTH])
    assert values(truth, cut, "dice", "mse", gt_encoding="alpha") == values(
        [TRUTH], [GREY], "dice", "mse", gt_encoding="probability"
    )


def test_a_picture_without_alpha_is_an_error(folder: Folder) -> None:
    sides = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": TRUTH * 255})
    message = r"a.png has no alpha channel \(L\) where the plan reads alpha \(uint8/255\)"
    with pytest.raises(lossbench.InputError, match=message):
        values(*sides, pred_encoding="alpha")


def test_grey_levels_in_colours_have_the_type_of_the_plan(folder: Folder) -> None:
    pred = {"a.png": GREY.astype(np.uint16) * 257, "b.png": np.stack([GREY] * 3, -1)}
    sides = folder("pred", pred), folder("gt", dict.fromkeys(pred, TRUTH * 255))
    (failure,) = lossbench.evaluate(*sides, "dice").failed
    assert failure.id == "b"
    assert "holds uint8 where the plan reads probability (uint16/65535)" in failure.message


def test_the_command_and_a_config_take_every_encoding(
    folder: Folder, tmp_path: Path, lossbench_command: Callable[..., Any]
) -> None:
    sides = folder("pred", {"a.png": TRUTH}), folder("gt", {"a.png": STORED.astype(np.uint8)})
    config = tmp_path / "config.yaml"
    config.write_text("pred: {encoding: mask}\ntarget: {encoding: nonzero}\n")
    flags = ("--pred-encoding", "mask", "--gt-encoding", "nonzero")
    documents = []
    for how in (flags, ("-c", config)):
        done = lossbench_command("eval", *sides, "-f", "json", "-l", "iou", *how)
        assert done.returncode == 0, done.stderr
        documents.append(json.loads(done.stdout)["aggregate"])
    both, union = (TRUTH & (STORED > 0)).sum(), (TRUTH | (STORED > 0)).sum()
    assert documents[0] == documents[1]
    assert documents[0]["iou"]["mean"] == pytest.approx(both / union)
