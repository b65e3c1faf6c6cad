"""Jobs of `lossbench speed` next to other tools: peers.py [OPTIONS] [KIND …]

Every tool runs as a process from start to end, in turn with lossbench and on the same files. A tool
that is not installed, or that fails, is left out with a note; `pip install -e '.[test-peers]'`
installs all of them.

Such a process is this program again, as peers.py TOOL KIND PRED GT: the functions import what they
need, so that a process waits for its own tool only.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbench.results.result import Result
    from lossbench.speed.jobs import Job
    from lossbench.speed.processes import FinishedProcess
    from lossbench.speed.report import SpeedTable
    from lossbench.speed.sections import Row, Setup

Numbers = dict[str, float]  # by loss or expression of lossbench
LABELS = range(1, 5)  # of the volumes, without background


def pictures(pred: Path, gt: Path) -> Iterator[list[Any]]:
    """Both sides of each pair as arrays of bytes, prediction first."""
    import numpy as np
    from PIL import Image

    for file in sorted(gt.iterdir()):
        yield [np.array(Image.open(folder / file.name)) for folder in (pred, gt)]


def means(rows: list[Any], *names: str) -> Numbers:
    """The mean of each number over the pairs."""
    columns = [[float(number) for number in column] for column in zip(*rows, strict=True)]
    return {name: sum(each) / len(each) for name, each in zip(names, columns, strict=True)}


def monai_masks(pred: Path, gt: Path) -> Numbers:
    import torch
    from monai.metrics import compute_dice, compute_iou

    rows = []
    for pair in pictures(pred, gt):
        one, other = (torch.from_numpy(each)[None, None] > 127 for each in pair)
        rows.append((1 - compute_dice(one, other).item(), compute_iou(one, other).item()))
    return means(rows, "dice", "iou")


def torchmetrics_masks(pred: Path, gt: Path) -> Numbers:
    import torch
    from torchmetrics.functional.segmentation import dice_score, mean_iou

    rows = []
    for pair in pictures(pred, gt):
        one, other = (torch.from_numpy(each)[None, None] > 127 for each in pair)
        rows.append((1 - dice_score(one, other, 1), mean_iou(one, other, 1)))
    return means(rows, "dice", "iou")


def torchmetrics_pictures(pred: Path, gt: Path) -> Numbers:
    import torch
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    rows = []
    for pair in pictures(pred, gt):
        one, other = (torch.from_numpy(each).movedim(-1, 0)[None] / 255 for each in pair)
        psnr = peak_signal_noise_ratio(one, other, data_range=1.0)
        rows.append((psnr, structural_similarity_index_measure(one, other, data_range=1.0)))
    return means(rows, "psnr", "ssim(border=reflect)")


def piq_pictures(pred: Path, gt: Path) -> Numbers:
    import piq
    import torch

    rows = []
    for pair in pictures(pred, gt):
        one, other = (torch.from_numpy(each).movedim(-1, 0)[None] / 255 for each in pair)
        rows.append((piq.psnr(one, other), piq.ssim(one, other, downsample=False)))
    return means(rows, "psnr", "ssim")


def skimage_pictures(pred: Path, gt: Path) -> Numbers:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    rows = [
        (
            peak_signal_noise_ratio(other, one),
            structural_similarity(other, one, channel_axis=-1, **gaussian),
        )
        for one, other in pictures(pred, gt)
    ]
    return means(rows, "psnr", "ssim")


def nnunet_volumes(pred: Path, gt: Path) -> Numbers:
    """nnU-Net's own evaluation of a folder, with two processes."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    summary = compute_metrics_on_folder(
        str(gt), str(pred), None, SimpleITKIO(), ".nii.gz", list(LABELS), num_processes=2
    )
    return {"dice": 1 - summary["foreground_mean"]["Dice"]}


def monai_volumes(pred: Path, gt: Path) -> Numbers:
    import torch
    from monai.metrics import DiceMetric
    from monai.networks.utils import one_hot
    from monai.transforms import LoadImage

    load, metric = LoadImage(image_only=True), DiceMetric(include_background=False)
    for file in sorted(gt.iterdir()):
        sides = (torch.as_tensor(load(folder / file.name)) for folder in (pred, gt))
        metric(*(one_hot(side[None, None], LABELS.stop) for side in sides))
    return {"dice": 1 - metric.aggregate().item()}


def pycocotools_boxes(pred: Path, gt: Path) -> Numbers:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return average_precision(COCO, COCOeval, pred, gt)


def faster_coco_eval_boxes(pred: Path, gt: Path) -> Numbers:
    from faster_coco_eval import COCO, COCOeval_faster

    return average_precision(COCO, COCOeval_faster, pred, gt)


def hotcoco_boxes(pred: Path, gt: Path) -> Numbers:
    from hotcoco import COCO, COCOeval

    return average_precision(COCO, COCOeval, pred, gt)


def average_precision(coco: Any, evaluate: Any, pred: Path, gt: Path) -> Numbers:
    """COCO's average precision, through the interface that pycocotools introduced."""
    truth = coco(str(gt))
    each = evaluate(truth, truth.loadRes(str(pred)), "bbox")
    each.evaluate()
    each.accumulate()
    each.summarize()
    return {"average_precision_boxes": float(each.stats[0])}


# By the name of a tool, and the kind of files as lossbench.speed.jobs calls it.
PROGRAMS: dict[tuple[str, str], Callable[[Path, Path], Numbers]] = {
    ("monai", "mask"): monai_masks,
    ("torchmetrics", "mask"): torchmetrics_masks,
    ("torchmetrics", "colour"): torchmetrics_pictures,
    ("piq", "colour"): piq_pictures,
    ("skimage", "colour"): skimage_pictures,
    ("nnunetv2", "volumes"): nnunet_volumes,
    ("monai", "volumes"): monai_volumes,
    ("pycocotools", "boxes"): pycocotools_boxes,
    ("faster_coco_eval", "boxes"): faster_coco_eval_boxes,
    ("hotcoco", "boxes"): hotcoco_boxes,
}


COLUMNS = {
    "job": ("job", ""),
    "peer": ("peer", ""),
    "seconds": ("lossbench, s", ".2f"),
    "peer_seconds": ("peer, s", ".2f"),
    "ratio": ("lossbench / peer", ".2f"),
    "difference": ("numbers differ by", ".1g"),
}


def numbers_of(result: Result) -> Numbers:
    """The numbers of lossbench that the peers compute, too.

    nnU-Net and MONAI leave the background of volumes out, and COCO ranks the boxes of all images.
    """
    task = result.run["plan"]["task"]
    if task == "detection":
        return {name: each["pooled"] for name, each in result.aggregates.items()}
    if task == "multiclass":
        classes = {name: each.classes[LABELS.start :] for name, each in result.values.items()}
        return {name: fmean(map(mean, rows)) for name, rows in classes.items()}
    return {name: mean(each.samples) for name, each in result.values.items()}


def difference(numbers: Numbers, expected: Numbers) -> float:
    """The largest difference of a peer's numbers from those of lossbench, relative above 1."""
    return max(
        abs(number - expected[name]) / max(1, abs(expected[name]))
        for name, number in numbers.items()
    )


def mean(values: list[float]) -> float:
    """The mean of the values that are defined."""
    return fmean(value for value in values if not math.isnan(value))


def compared(job: Job, setup: Setup) -> list[Row]:
    """A row for each peer of a job: medians, ratios within each round, and how numbers differ."""
    import lossbench
    from lossbench.errors import LossbenchError
    from lossbench.speed.processes import alternate, run

    sides = job.sides(setup)
    tasks: dict[str, Callable[[], FinishedProcess]] = {
        "lossbench": partial(setup.evaluate, job.losses, *sides)
    }
    numbers: dict[str, Numbers] = {}
    for tool in (tool for tool, kind in PROGRAMS if kind == job.kind):
        if not find_spec(tool):
            setup.note(f"{tool} is left out: it is not installed")
            continue
        peer = partial(run, [sys.executable, __file__, tool, job.kind, *map(str, sides)])
        try:
            numbers[tool] = json.loads(peer().output.splitlines()[-1])
        except LossbenchError as error:
            setup.note(f"{tool} is left out: {error}")
        else:
            tasks[tool] = peer
    losses = dict.fromkeys(name for each in numbers.values() for name in each)
    expected = numbers_of(lossbench.evaluate(*sides, list(losses))) if losses else {}
    setup.note(f"{job.title}: {', '.join(tasks)}, {setup.repeat} rounds")
    rounds = alternate(setup.repeat, tasks)
    return [
        {
            "job": job.title,
            "peer": tool,
            "seconds": median(each["lossbench"].seconds for each in rounds),
            "peer_seconds": median(each[tool].seconds for each in rounds),
            "ratio": median(each["lossbench"].seconds / each[tool].seconds for each in rounds),
            "difference": difference(of_tool, expected),
        }
        for tool, of_tool in numbers.items()
    ]


def table(setup: Setup, kinds: list[str]) -> SpeedTable:
    """The jobs of some kinds of files with all peers that are installed; by default all jobs."""
    from lossbench.speed.jobs import JOBS
    from lossbench.speed.report import SpeedTable

    jobs = [job.fitted(setup) for job in JOBS if not kinds or job.kind in kinds]
    rows = [row for job in jobs for row in compared(job, setup)]
    return SpeedTable("peers", "processes from start to end, in turn", COLUMNS, rows)


def main() -> None:
    """Draw the files, run all tools and print the table."""
    import lossbench
    from lossbench.speed.report import SpeedReport, describe_machine
    from lossbench.speed.sections import Setup

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=0, help="of each job; by default its own")
    parser.add_argument("--size", type=int, default=0, help="of each job; by default its own")
    parser.add_argument("--repeat", type=int, default=3, help="rounds, of which medians are shown")
    kinds = sorted({kind for _, kind in PROGRAMS})
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of files: {', '.join(kinds)}")
    arguments = vars(parser.parse_args())
    if unknown := set(arguments["kinds"]).difference(kinds):
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(kinds)}")
    kinds = arguments.pop("kinds")
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(Path(folder), device="cpu", note=partial(print, file=sys.stderr), **arguments)
        report = SpeedReport(describe_machine(), arguments, (table(setup, kinds),))
    print(lossbench.render(report, "table"))


if __name__ == "__main__":
    if len(sys.argv) == 5 and tuple(sys.argv[1:3]) in PROGRAMS:
        tool, kind, *sides = sys.argv[1:]
        print(json.dumps(PROGRAMS[tool, kind](*map(Path, sides))))
    else:
        main()
