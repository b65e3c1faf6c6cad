"""Every preset against the tool that it is named after, and the vectors that tell them apart.

The tool itself is run where it is installed. What cannot be installed beside a CPU build of torch,
or is on no index, is written down by hand from its source; such a reference is called `by_hand`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.option_values import DEEP, INSTANCES, OTHERS
from helpers.parity import parity, parity_module
from helpers.paths import SAMPLES
from helpers.tolerances import REFERENCE, SINGLE, check_close
from scipy import ndimage
from torch.nn import functional
from torchmetrics import functional as metrics
from torchmetrics import image as image_metrics
from torchmetrics import segmentation

import lossbench
from lossbench.catalog.conventions import CONVENTIONS
from lossbench.catalog.registry import builtin

CLASSES = 4
DiceCELoss = parity("monai.losses", "DiceCELoss")
DiceLoss = parity("monai.losses", "DiceLoss")
FocalLoss = parity("monai.losses", "FocalLoss")
GeneralizedDiceLoss = parity("monai.losses", "GeneralizedDiceLoss")
HausdorffDTLoss = parity("monai.losses", "HausdorffDTLoss")
MonaiTversky = parity("monai.losses", "TverskyLoss")
SoftclDiceLoss = parity("monai.losses", "SoftclDiceLoss")
SSIMLoss = parity("monai.losses", "SSIMLoss")
ConfusionMatrixMetric = parity("monai.metrics", "ConfusionMatrixMetric")
DiceMetric = parity("monai.metrics", "DiceMetric")
HausdorffDistanceMetric = parity("monai.metrics", "HausdorffDistanceMetric")
MAEMetric = parity("monai.metrics", "MAEMetric")
MeanIoU = parity("monai.metrics", "MeanIoU")
MonaiSSIM = parity("monai.metrics", "SSIMMetric")
MSEMetric = parity("monai.metrics", "MSEMetric")
PSNRMetric = parity("monai.metrics", "PSNRMetric")
RMSEMetric = parity("monai.metrics", "RMSEMetric")
SurfaceDiceMetric = parity("monai.metrics", "SurfaceDiceMetric")
SurfaceDistanceMetric = parity("monai.metrics", "SurfaceDistanceMetric")


# --- what is evaluated ----------------------------------------------------------------------------


class Data(NamedTuple):
    """Samples of one size, and how a run reads them."""

    pred: np.ndarray
    target: np.ndarray
    settings: dict[str, Any]

    @property
    def p(self) -> torch.Tensor:
        """Probabilities, (B, C, H, W)."""
        x = self.x
        if self.settings["pred_encoding"] == "labels":
            return functional.one_hot(x[:, 0].long(), CLASSES).movedim(-1, 1).double()
        if self.settings["pred_encoding"] != "logits":
            return x
        return x.softmax(1) if self.settings["task"] == "multiclass" else x.sigmoid()

    @property
    def x(self) -> torch.Tensor:
        """What is stored, (B, C, H, W)."""
        stored = torch.tensor(self.pred, dtype=torch.float64)
        if self.pred.dtype == np.uint8 and self.settings["pred_encoding"] == "probability":
            stored = stored / 255
        return stored[:, None] if stored.ndim == 3 else stored

    @property
    def y(self) -> torch.Tensor:
        """The target, (B, C, H, W) of 0 and 1."""
        if self.settings["task"] == "multiclass":
            return functional.one_hot(self.labels, CLASSES).movedim(-1, 1).double()
        target = torch.tensor(self.target, dtype=torch.float64)
        return target[:, None] if target.ndim == 3 else target

    @property
    def labels(self) -> torch.Tensor:
        return torch.tensor(self.target).long()

    @property
    def hard(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Hard masks, prediction first, (B, C, H, W)."""
        if self.settings["task"] == "multiclass":
            found = functional.one_hot(self.p.argmax(1), CLASSES).movedim(-1, 1)
        else:
            found = self.p >= 0.5
        return found.long(), self.y.long()


def binary(encoding: str, edges: bool) -> Data:
    """Blobs that overlap in part; with edges: false alarms only, both empty, nothing found."""
    random = np.random.default_rng(11)
    target = np.zeros((6, 9, 12), np.uint8)
    pred = np.zeros(target.shape)
    for place in range(6):
        target[place, 1 + place % 3 : 6, 2:9] = 1
        pred[place, 2:7, 3 : 8 + place % 4] = 1
    soft = np.clip(0.7 * pred + 0.3 * random.random(pred.shape), 0.02, 0.98)
    if edges:
        target[1], target[2] = 0, 0  # 1: false alarms only
        pred[2], soft[2] = 0, 0  # both are empty
        pred[3], soft[3] = 0, 0  # nothing is found
    stored = {
        "probability": soft,
        "bytes": np.round(255 * soft).astype(np.uint8),
        "mask": pred.astype(np.uint8),
        "logits": 3 * random.standard_normal(pred.shape) + 3 * (pred - 0.5),
    }[encoding]
    reading = "probability" if encoding == "bytes" else encoding
    settings = {"task": "binary", "pred_encoding": reading, "gt_encoding": "mask"}
    return Data(stored, target, settings)


def multiclass(encoding: str, edges: bool) -> Data:
    """Four classes; with edges, targets that lack some of them, and one that nobody has."""
    random = np.random.default_rng(12)
    target = random.integers(0, CLASSES, (4, 9, 12)).astype(np.uint8)
    if edges:
        target[target == 3] = 0  # class 3 is in no target
        target[1][target[1] == 2] = 0
        target[2] = 1
    logits = random.standard_normal((4, CLASSES, 9, 12)) + 2 * np.moveaxis(
        np.eye(CLASSES)[target], -1, 1
    )
    if edges:
        logits[:3, 3] -= 30  # nor predicted but in the last sample
        logits[2, 2] -= 30
    pred = logits if encoding == "logits" else logits.argmax(1).astype(np.uint8)
    settings = {"task": "multiclass", "pred_encoding": encoding, "gt_encoding": "labels"}
    return Data(pred, target, {**settings, "classes": CLASSES})


def multilabel(encoding: str, edges: bool) -> Data:
    """Two masks a sample that know nothing of each other."""
    first, second = binary(encoding, edges), binary(encoding, False)
    pred, target = (
        np.stack([a, np.roll(b, 2, 1)], 1)
        for a, b in ((first.pred, second.pred[::-1]), (first.target, second.target))
    )
    return Data(pred, target, {**first.settings, "task": "multilabel"})


def image(encoding: str, edges: bool) -> Data:
    random = np.random.default_rng(13)
    target = random.random((4, 3, 20, 24))
    pred = np.clip(target + 0.2 * random.standard_normal(target.shape), 0, 1)
    return Data(pred, target, {"task": "image", "pred_encoding": "image", "gt_encoding": "image"})


@cache
def data(kind: str) -> Data:
    """`binary mask edges`, `multiclass logits`, `image`…"""
    task, encoding, edges = (*kind.split(), "", "")[:3]
    return globals()[task](encoding, edges == "edges")


@cache
def reported(kind: str, losses: tuple[str, ...]) -> Any:
    """What `convention=all` makes of some losses."""
    given = data(kind)
    result = lossbench.evaluate(
        list(given.pred), list(given.target), list(losses), convention="all", **given.settings
    )
    assert not result.failed
    return result.conventions


# --- the tools, and what is written down of them --------------------------------------------------

Reference = Callable[[Data], Any]


def of_torch(function: Callable[..., Any]) -> Reference:
    return lambda d: function(d.x, d.y)


def by_mean(metric: Callable[[], Any], hard: bool = True) -> Reference:
    """A MONAI metric, fed all samples at once."""

    def value(d: Data) -> Any:
        computed = metric()
        computed(*(d.hard if hard else (d.x, d.y)))
        found = computed.aggregate()
        return found[0] if isinstance(found, list) else found

    return value


@cache
def smp(part: str) -> Any:
    """segmentation_models.pytorch's losses or metrics without the networks beside them."""
    if "segmentation_models_pytorch" not in sys.modules:
        spec = importlib.util.find_spec("segmentation_models_pytorch")
        if spec is None:
            pytest.skip("segmentation_models_pytorch is not installed")
        parent = types.ModuleType("segmentation_models_pytorch")
        parent.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["segmentation_models_pytorch"] = parent
    return import_module(f"segmentation_models_pytorch.{part}")


def smp_loss(name: str, **options: Any) -> Reference:
    """A loss of smp on probabilities, or on logits where it takes nothing else."""

    def value(d: Data) -> Any:
        mode = d.settings["task"]
        target = d.labels if mode == "multiclass" else d.y
        on_probabilities = {} if name in ("FocalLoss", "LovaszLoss") else {"from_logits": False}
        given = d.p if on_probabilities else d.x
        return getattr(smp("losses"), name)(mode=mode, **on_probabilities, **options)(given, target)

    return value


def smp_metric(name: str) -> Reference:
    def value(d: Data) -> Any:
        found = smp("metrics")
        counts = found.get_stats(*d.hard, mode="multilabel")
        return getattr(found, name)(*counts, reduction="macro-imagewise")

    return value


def smp_overlap_by_hand(alpha: float, beta: float, power: float = 1.0) -> Reference:
    """(Σ_c 1 − TI_c)^γ/C over the batch with Σ min(p, y); a class without target is 0."""

    def value(d: Data) -> float:
        p, y = d.p.movedim(1, 0).flatten(1), d.y.movedim(1, 0).flatten(1)
        both = torch.minimum(p, y).sum(1)
        bottom = both + alpha * (p.sum(1) - both) + beta * (y.sum(1) - both)
        loss = 1 - both / bottom.clamp(min=1e-7)
        return float((loss * (y.sum(1) > 0)).mean() ** power)

    return value


def one_vs_all_by_hand(alpha: float | None) -> Reference:
    """The mean over pixels and classes of the focal loss of each class by itself."""

    def value(d: Data) -> Any:
        entropy = functional.binary_cross_entropy_with_logits(d.x, d.y, reduction="none")
        focal = (1 - torch.exp(-entropy)) ** 2 * entropy
        return (focal if alpha is None else focal * (alpha * d.y + (1 - alpha) * (1 - d.y))).mean()

    return value


def each_sample_by_hand(score: Callable[..., float], empty: float) -> Reference:
    """A score of each mask from its counts, `empty` where it is 0/0; the mean of all masks."""

    def value(d: Data) -> float:
        return float(np.nanmean([over_counts(score, m, empty) for m in masks(d)]))

    return value


def masks(d: Data) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    pred, target = (side.numpy() for side in d.hard)
    for sample in zip(pred, target, strict=True):
        yield from zip(*sample, strict=True)


def by_sample(d: Data, score: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """The mean over samples, each the mean over the masks where a score is defined."""
    rows = np.reshape([score(*mask) for mask in masks(d)], (len(d.y), -1))
    defined = rows[~np.isnan(rows).all(1)]
    return float(np.nanmean(defined, axis=1).mean())


def over_counts(score: Callable[..., float], mask: Any, empty: float) -> float:
    pred, target = (side.astype(bool) for side in mask)
    counts = [(a & b).sum() for a, b in ((pred, target), (pred, ~target), (~pred, target))]
    try:
        return score(*map(int, counts), int((~pred & ~target).sum()))
    except ZeroDivisionError:
        return empty


SCORES = {
    "dice_score": lambda tp, fp, fn, tn: 2 * tp / (2 * tp + fp + fn),
    "fbeta": lambda tp, fp, fn, tn: 2 * tp / (2 * tp + fp + fn),
    "iou": lambda tp, fp, fn, tn: tp / (tp + fp + fn),
    "recall": lambda tp, fp, fn, tn: tp / (tp + fn),
    "precision": lambda tp, fp, fn, tn: tp / (tp + fp) if tp + fp or not fn else 0.0,
    "specificity": lambda tp, fp, fn, tn: tn / (tn + fp),
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (tp / (tp + fn) + tn / (tn + fp)) / 2,
    "mcc": lambda tp, fp, fn, tn: (tp * tn - fp * fn)
    / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
}  # fmt: skip


def pooled_by_hand(name: str) -> Reference:
    """Counts of the whole data set, the score of each class, their mean without undefined ones."""

    def value(d: Data) -> float:
        pred, target = (side.movedim(1, 0).flatten(1).numpy() for side in d.hard)
        classes = zip(pred, target, strict=True)
        return float(np.nanmean([over_counts(SCORES[name], each, math.nan) for each in classes]))

    return value


def both_sides_by_hand(d: Data) -> float:
    """Pooled IoU of background and foreground, or of all classes."""
    pred, target = d.hard
    if d.settings["task"] == "binary":
        pred, target = (torch.cat([1 - side, side], 1) for side in (pred, target))
    both, union = ((pred * target).sum((0, 2, 3)), (pred | target).sum((0, 2, 3)))
    return float((both / union).nanmean())


def nnunet_scores_by_hand(name: str) -> Reference:
    """evaluate_predictions: means over cases of each class, then of the foreground classes."""

    def value(d: Data) -> float:
        pred, target = d.hard
        first = d.settings["task"] == "multiclass"
        rows = [
            [
                over_counts(SCORES[name], (pred[b, c].numpy(), target[b, c].numpy()), math.nan)
                for c in range(first, pred.shape[1])
            ]
            for b in range(len(pred))
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return float(np.nanmean(np.nanmean(rows, 0)))

    return value


def nnunet_dice_by_hand(d: Data) -> Any:
    """MemoryEfficientSoftDiceLoss(smooth=1e-5), do_bg=False for classes that exclude each other."""
    first = d.settings["task"] == "multiclass"
    p, y = d.p[:, first:].flatten(2), d.y[:, first:].flatten(2)
    return -((2 * (p * y).sum(2) + 1e-5) / (p.sum(2) + y.sum(2) + 1e-5)).mean()


def entropy(d: Data) -> Any:
    """torch's cross-entropy of the logits of the task."""
    if d.settings["task"] == "multiclass":
        return functional.cross_entropy(d.x, d.labels)
    return functional.binary_cross_entropy_with_logits(d.x, d.y)


def mmseg_dice_by_hand(d: Data) -> Any:
    """DiceLoss(smooth=1, exponent=2) of mmseg 0.x: each class of each sample."""
    p, y = d.p.flatten(2), d.y.flatten(2)
    return (1 - (2 * (p * y).sum(2) + 1) / ((p**2 + y**2).sum(2) + 1)).mean()


def mmseg_tversky_by_hand(d: Data) -> Any:
    p, y = d.p.flatten(2), d.y.flatten(2)
    tp, fp, fn = (p * y).sum(2), (p * (1 - y)).sum(2), ((1 - p) * y).sum(2)
    return (1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1)).mean()


def medpy(name: str) -> Reference:
    """What MedPy returns where it catches a ZeroDivisionError, which is nan with numpy 2."""

    def value(d: Data) -> float:
        function = getattr(parity_module("medpy.metric.binary"), name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = np.array([function(*mask) for mask in masks(d)], np.float64)
        return float(np.where(np.isnan(found), name in ("dc", "jc"), found).mean())

    return value


def by_distance_maps(name: str) -> Reference:
    """MetricsReloaded 0.1 by its source: surfaces by erosion, distances from scipy's maps."""

    def of_masks(pred: np.ndarray, target: np.ndarray) -> float:
        sides = [side.astype(bool) for side in (pred, target)]
        ours, theirs = (side & ~ndimage.binary_erosion(side) for side in sides)
        if name == "boundary_iou":
            either = (ours | theirs).sum()
            return (ours & theirs).sum() / either if either else 1.0
        if not ours.any() or not theirs.any():
            both = not ours.any() and not theirs.any()
            return (0.0, 1.0)[name == "nsd"] if both else (math.nan, 0.0)[name == "nsd"]
        far = [ndimage.distance_transform_edt(~b)[a] for a, b in ((ours, theirs), (theirs, ours))]
        return {
            "hausdorff": lambda: max(map(np.max, far)),
            "hd95": lambda: max(np.percentile(each, 95) for each in far),
            "assd": lambda: np.concatenate(far).mean(),
            "masd": lambda: np.mean([each.mean() for each in far]),
            "nsd": lambda: (np.concatenate(far) <= 1).mean(),
        }[name]()

    return lambda d: by_sample(d, of_masks)


def surface_distance(name: str, *how: float) -> Reference:
    """The package, which has a name of numpy 1 in it; of two directions the mean."""

    def of_masks(pred: np.ndarray, target: np.ndarray) -> float:
        package = parity_module("surface_distance")
        sides = (side.astype(bool) for side in (target, pred))
        with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore"):
            patch.setattr(np, "Inf", np.inf, raising=False)
            apart = package.compute_surface_distances(*sides, (1, 1))
            return float(np.mean(getattr(package, name)(apart, *how)))

    return lambda d: by_sample(d, of_masks)


def kornia(function: Callable[[Any, Data], Any]) -> Reference:
    return lambda d: function(parity_module("kornia"), d)


def optax(name: str, function: Callable[[Any, Any, Data], Any]) -> Reference:
    """A loss of optax in float64; function gets the loss, jax.numpy and the data."""

    def value(d: Data) -> Any:
        losses, jax = parity_module("optax").losses, import_module("jax")
        jax.config.update("jax_enable_x64", True)
        return np.asarray(function(getattr(losses, name), jax.numpy.asarray, d))

    return value


def last(tensor: torch.Tensor) -> np.ndarray:
    """Channels last, as jax has them."""
    return tensor.movedim(1, -1).numpy()


# --- the table ------------------------------------------------------------------------------------


class Row(NamedTuple):
    """Convention, loss, on what, and what the tool says of it."""

    convention: str
    loss: str
    kind: str
    reference: Reference
    tolerance: float = REFERENCE


BINARY = metrics.classification


def of_classification(name: str, **options: Any) -> Reference:
    """A torchmetrics function of all pixels as one."""
    return lambda d: getattr(BINARY, f"binary_{name}")(d.p, d.y.long(), **options)


def segmented(metric: Any) -> Reference:
    def value(d: Data) -> Any:
        computed = metric(num_classes=d.p.shape[1])
        computed.update(*d.hard)
        return computed.compute()

    return value


def squared_hausdorff(d: Data) -> Any:
    """torchmetrics of images filled up to squares: of others its distance maps are wrong."""
    sides = [functional.pad(side, (0, 0, 0, side.shape[-1] - side.shape[-2])) for side in d.hard]
    several = d.settings["task"] == "multiclass"
    classes = sides[0].shape[1]
    return metrics.segmentation.hausdorff_distance(*sides, classes, not several).mean()


def one_hot_masks(metric: Any) -> Reference:
    """A torchmetrics function of hard masks, a value a sample; the mean of the defined ones."""
    return lambda d: metric(*(side.bool() for side in d.hard), num_classes=d.p.shape[1]).nanmean()


MONAI_SURFACES = {
    "hausdorff": HausdorffDistanceMetric,
    "hd95": partial(HausdorffDistanceMetric, percentile=95),
    "assd": partial(SurfaceDistanceMetric, symmetric=True),
    "masd": SurfaceDistanceMetric,
    "nsd": SurfaceDiceMetric,
}
ROWS = [
    Row("torch", "l1", "image", of_torch(functional.l1_loss)),
    Row("torch", "l2", "image", of_torch(functional.mse_loss)),
    Row("torch", "huber", "image", of_torch(functional.huber_loss)),
    Row("torch", "smooth_l1", "image", of_torch(functional.smooth_l1_loss)),
    Row("torch", "bce", "binary probability edges", of_torch(functional.binary_cross_entropy)),
    Row("torch", "bce", "binary mask edges", of_torch(functional.binary_cross_entropy)),
    Row("torch", "bce", "multilabel probability", of_torch(functional.binary_cross_entropy)),
    Row("torch", "bce_with_logits", "binary logits", entropy),
    Row("torch", "soft_margin", "binary logits",
        lambda d: functional.soft_margin_loss(d.x, 2 * d.y - 1)),
    Row("torch", "cross_entropy", "multiclass logits edges", entropy),
    Row("torch", "cross_entropy", "multiclass labels edges",
        lambda d: 100 * (d.p.argmax(1) != d.labels).double().mean()),  # log 0 is −100
    Row("torch", "nll", "multiclass logits", lambda d: functional.nll_loss(d.x, d.labels)),
    Row("torch", "kl", "multiclass logits edges",
        lambda d: functional.kl_div(d.x.log_softmax(1), d.y, reduction="sum") / d.x.numel()),
    Row("torch", "multilabel_soft_margin", "multilabel logits",
        lambda d: functional.multilabel_soft_margin_loss(
            *(side.movedim(1, -1).flatten(0, 2) for side in (d.x, d.y)))),

    Row("monai", "dice", "binary probability edges", lambda d: DiceLoss()(d.p, d.y)),
    Row("monai", "dice", "multiclass logits edges", lambda d: DiceLoss(softmax=True)(d.x, d.y)),
    Row("monai", "dice", "multilabel probability edges", lambda d: DiceLoss()(d.p, d.y)),
    Row("monai", "jaccard", "binary probability edges",
        lambda d: DiceLoss(jaccard=True)(d.p, d.y)),
    Row("monai", "jaccard", "multiclass logits edges",
        lambda d: DiceLoss(jaccard=True)(d.p, d.y)),
    Row("monai", "tversky", "binary probability edges", lambda d: MonaiTversky()(d.p, d.y)),
    Row("monai", "tversky", "multiclass logits edges", lambda d: MonaiTversky()(d.p, d.y)),
    Row("monai", "generalized_dice", "binary probability edges",
        lambda d: GeneralizedDiceLoss()(d.p, d.y), SINGLE),
    Row("monai", "generalized_dice", "multiclass logits edges",
        lambda d: GeneralizedDiceLoss()(d.p, d.y), SINGLE),
    Row("monai", "focal", "multiclass logits edges", lambda d: FocalLoss()(d.x, d.y), SINGLE),
    Row("monai", "binary_focal", "binary logits edges",
        lambda d: FocalLoss()(d.x, d.y), SINGLE),
    Row("monai", "dice_ce", "multiclass logits edges",
        lambda d: DiceCELoss(softmax=True)(d.x, d.y)),
    Row("monai", "dice_ce", "binary logits", lambda d: DiceCELoss(sigmoid=True)(d.x, d.y)),
    Row("monai", "dice_bce", "binary logits", lambda d: DiceCELoss(sigmoid=True)(d.x, d.y)),
    Row("monai", "dice_score", "binary mask edges", by_mean(DiceMetric)),
    Row("monai", "dice_score", "multiclass labels edges", by_mean(DiceMetric)),
    Row("monai", "iou", "binary mask edges", by_mean(MeanIoU)),
    Row("monai", "iou", "multiclass logits edges", by_mean(MeanIoU)),
    *(
        Row("monai", loss, "binary mask edges",
            by_mean(lambda name=name: ConfusionMatrixMetric(metric_name=name)))
        for loss, name in {
            "precision": "precision", "recall": "sensitivity", "specificity": "specificity",
            "fbeta": "f1 score", "balanced_accuracy": "balanced accuracy", "accuracy": "accuracy",
            "mcc": "matthews correlation coefficient",
        }.items()
    ),
    Row("monai", "l1", "image", by_mean(MAEMetric, hard=False)),
    Row("monai", "l2", "image", by_mean(MSEMetric, hard=False)),
    Row("monai", "rmse", "image", by_mean(RMSEMetric, hard=False)),
    Row("monai", "psnr", "image", by_mean(lambda: PSNRMetric(1.0), hard=False), SINGLE),
    Row("monai", "ssim", "image", by_mean(lambda: MonaiSSIM(2), hard=False), SINGLE),
    Row("monai", "ssim_loss", "image", lambda d: SSIMLoss(2)(d.x, d.y), SINGLE),
    Row("monai", "hausdorff_dt", "binary probability edges",
        lambda d: HausdorffDTLoss(include_background=True)(d.p, d.y), SINGLE),
    Row("monai", "hausdorff_dt", "multiclass logits edges",
        lambda d: HausdorffDTLoss()(d.p, d.y), SINGLE),
    Row("monai", "soft_cldice", "binary probability edges",
        lambda d: SoftclDiceLoss()(d.p, d.y)),

    *(
        Row("smp", loss, kind, reference)
        for kind in ("binary probability edges", "binary mask edges", "multiclass logits edges",
                     "multilabel probability edges")
        for loss, reference in (
            ("dice", smp_loss("DiceLoss")), ("dice", smp_overlap_by_hand(0.5, 0.5)),
            ("jaccard", smp_loss("JaccardLoss")), ("jaccard", smp_overlap_by_hand(1, 1)),
            ("tversky", smp_loss("TverskyLoss")), ("tversky", smp_overlap_by_hand(0.5, 0.5)),
            ("tversky(alpha=0.3, beta=0.7)", smp_loss("TverskyLoss", alpha=0.3, beta=0.7)),
            ("focal_tversky", smp_loss("TverskyLoss", gamma=0.75)),
            ("focal_tversky", smp_overlap_by_hand(0.5, 0.5, 0.75)),
            ("dice(smooth=2)", smp_loss("DiceLoss", smooth=1)),
            ("jaccard(smooth=1)", smp_loss("JaccardLoss", smooth=1)),
        )
    ),
    Row("smp", "focal", "multiclass logits edges", smp_loss("FocalLoss")),
    Row("smp", "focal", "multiclass logits edges", one_vs_all_by_hand(None)),
    Row("smp", "binary_focal", "binary logits edges", smp_loss("FocalLoss")),
    Row("smp", "binary_focal", "binary logits edges", one_vs_all_by_hand(None)),
    Row("smp", "bce", "binary logits edges",
        lambda d: smp("losses").SoftBCEWithLogitsLoss()(d.x, d.y)),
    Row("smp", "bce", "binary logits edges", entropy),
    Row("smp", "bce(label_smoothing=0.2)", "binary logits",
        lambda d: smp("losses").SoftBCEWithLogitsLoss(smooth_factor=0.1)(d.x, d.y)),
    Row("smp", "bce_with_logits", "multilabel logits", entropy),
    Row("smp", "cross_entropy", "multiclass logits edges", entropy),
    Row("smp", "cross_entropy(label_smoothing=0.1)", "multiclass logits edges",
        lambda d: smp("losses").SoftCrossEntropyLoss(smooth_factor=0.1)(d.x, d.labels)),
    Row("smp", "mcc_loss", "binary probability edges",
        lambda d: smp("losses").MCCLoss()(d.p, d.y)),
    Row("smp", "mcc_loss", "binary mask edges", lambda d: 1 - pooled_by_hand("mcc")(d)),
    *(
        Row("smp", "lovasz", kind,
            lambda d: smp("losses").LovaszLoss(d.settings["task"], per_image=True)(
                d.x.float(), d.labels), SINGLE)
        for kind in ("binary logits edges", "multiclass logits edges")
    ),
    *(
        Row("smp", loss, kind, reference)
        for kind in ("binary mask edges", "multiclass labels edges")
        for loss, name in {
            "dice_score": "f1_score", "iou": "iou_score", "recall": "sensitivity",
            "specificity": "specificity", "fbeta": "fbeta_score",
        }.items()
        for reference in (smp_metric(name), each_sample_by_hand(SCORES[loss], 1.0))
    ),
    Row("smp", "precision", "binary mask", smp_metric("positive_predictive_value")),
    Row("smp", "precision", "binary mask", each_sample_by_hand(SCORES["precision"], 1.0)),

    Row("torchmetrics", "dice_score", "binary mask edges", segmented(segmentation.DiceScore)),
    Row("torchmetrics", "dice_score", "multiclass labels edges",
        segmented(segmentation.DiceScore)),
    Row("torchmetrics", "iou", "binary mask edges",
        one_hot_masks(metrics.segmentation.mean_iou)),
    Row("torchmetrics", "iou", "multiclass labels edges",
        one_hot_masks(metrics.segmentation.mean_iou)),
    Row("torchmetrics", "generalized_dice", "multiclass labels",
        lambda d: 1 - segmented(segmentation.GeneralizedDiceScore)(d)),
    Row("torchmetrics", "generalized_dice", "multilabel mask",
        lambda d: 1 - segmented(segmentation.GeneralizedDiceScore)(d)),
    *(
        Row("torchmetrics", loss, "binary bytes edges", of_classification(name, **options))
        for loss, name, options in (
            ("precision", "precision", {}), ("recall", "recall", {}), ("fbeta", "f1_score", {}),
            ("specificity", "specificity", {}), ("accuracy", "accuracy", {}),
            ("mcc", "matthews_corrcoef", {}), ("kappa", "cohen_kappa", {}), ("auc", "auroc", {}),
            ("average_precision", "average_precision", {}),
        )
    ),
    Row("torchmetrics", "l1", "image", of_torch(metrics.mean_absolute_error)),
    Row("torchmetrics", "l2", "image", of_torch(metrics.mean_squared_error)),
    Row("torchmetrics", "rmse", "image",
        lambda d: metrics.mean_squared_error(d.x, d.y, squared=False)),
    Row("torchmetrics", "log_cosh", "image",
        lambda d: metrics.log_cosh_error(d.x.flatten(), d.y.flatten())),
    Row("torchmetrics", "kl", "multiclass logits",
        lambda d: metrics.kl_divergence(
            *(side.movedim(1, -1).flatten(0, 2) for side in (d.y, d.p)))),
    Row("torchmetrics", "psnr", "image",
        lambda d: image_metrics.PeakSignalNoiseRatio(data_range=1.0)(d.x, d.y)),
    Row("torchmetrics", "ssim", "image",
        lambda d: metrics.image.structural_similarity_index_measure(d.x, d.y, data_range=1.0)),
    Row("torchmetrics", "total_variation", "image",
        lambda d: metrics.image.total_variation(d.x, reduction="mean")),

    Row("kornia", "dice", "multiclass logits edges",
        kornia(lambda k, d: k.losses.dice_loss(d.x, d.labels, average="macro"))),
    Row("kornia", "generalized_dice", "multiclass logits edges",
        kornia(lambda k, d: k.losses.dice_loss(d.x, d.labels))),
    Row("kornia", "tversky(alpha=0.3, beta=0.7)", "multiclass logits edges",
        kornia(lambda k, d: k.losses.tversky_loss(d.x, d.labels, 0.3, 0.7))),
    Row("kornia", "focal", "multiclass logits edges",
        kornia(lambda k, d: k.losses.focal_loss(d.x, d.labels, None, reduction="mean"))),
    Row("kornia", "binary_focal", "binary logits edges",
        kornia(lambda k, d: k.losses.binary_focal_loss_with_logits(d.x, d.y, reduction="mean"))),
    Row("kornia", "lovasz", "binary logits edges",
        kornia(lambda k, d: k.losses.lovasz_hinge_loss(d.x, d.labels))),
    Row("kornia", "lovasz", "multiclass logits edges",
        kornia(lambda k, d: k.losses.lovasz_softmax_loss(d.x, d.labels))),
    Row("kornia", "iou", "multiclass labels edges",
        kornia(lambda k, d: k.metrics.mean_iou(d.x[:, 0].long(), d.labels, CLASSES).mean()),
        SINGLE),
    Row("kornia", "pseudo_huber", "image",
        kornia(lambda k, d: k.losses.charbonnier_loss(d.x, d.y, reduction="mean"))),
    Row("kornia", "psnr", "image", kornia(lambda k, d: k.metrics.psnr(d.x, d.y, 1.0))),
    Row("kornia", "ssim", "image", kornia(lambda k, d: k.metrics.ssim(d.x, d.y, 11).mean())),
    Row("kornia", "ssim_loss", "image", kornia(lambda k, d: k.losses.ssim_loss(d.x, d.y, 11))),
    Row("kornia", "total_variation", "image",
        kornia(lambda k, d: k.losses.total_variation(d.x, reduction="mean").mean())),

    *(
        Row("metrics-reloaded", loss, "binary mask edges",
            each_sample_by_hand(SCORES[loss], 1.0 if loss in ("dice_score", "fbeta") else math.nan))
        for loss in ("dice_score", "fbeta", "iou", "precision", "recall", "specificity",
                     "accuracy", "mcc")
    ),
    Row("metrics-reloaded", "balanced_accuracy", "binary mask",
        each_sample_by_hand(SCORES["balanced_accuracy"], math.nan)),
    *(
        Row("medpy", loss, kind, reference)
        for kind in ("binary mask edges", "multilabel mask edges")
        for loss, reference in (
            ("dice_score", medpy("dc")), ("iou", medpy("jc")), ("precision", medpy("precision")),
            ("recall", medpy("recall")), ("specificity", medpy("specificity")),
            ("dice_score", each_sample_by_hand(SCORES["dice_score"], 1.0)),
            ("recall", each_sample_by_hand(SCORES["recall"], 0.0)),
        )
    ),
    Row("surface-distance", "dice_score", "binary mask edges",
        each_sample_by_hand(SCORES["dice_score"], math.nan)),

    *(Row("nnunet", "dice", f"{kind} edges", nnunet_dice_by_hand)
      for kind in ("binary probability", "multiclass logits", "multilabel probability")),
    Row("nnunet", "dice_ce", "multiclass logits edges",
        lambda d: nnunet_dice_by_hand(d) + entropy(d)),
    Row("nnunet", "dice_bce", "multilabel logits edges",
        lambda d: nnunet_dice_by_hand(d) + entropy(d)),
    *(Row("nnunet", loss, f"{kind} edges", nnunet_scores_by_hand(loss))
      for loss in ("dice_score", "iou")
      for kind in ("binary mask", "multiclass labels", "multilabel mask")),

    *(Row("mmseg", "dice", f"{kind} edges", mmseg_dice_by_hand)
      for kind in ("binary probability", "multiclass logits", "multilabel probability")),
    Row("mmseg", "tversky", "multiclass logits edges", mmseg_tversky_by_hand),
    Row("mmseg", "cross_entropy", "multiclass logits edges", entropy),
    Row("mmseg", "bce", "binary logits edges", entropy),
    Row("mmseg", "bce_with_logits", "multilabel logits", entropy),
    Row("mmseg", "focal", "multiclass logits edges", one_vs_all_by_hand(0.5)),
    Row("mmseg", "binary_focal", "binary logits edges", one_vs_all_by_hand(0.5)),
    *(Row("mmseg", loss, f"{kind} edges", pooled_by_hand(loss))
      for loss in ("dice_score", "iou", "recall")
      for kind in ("binary mask", "multiclass labels", "multilabel mask")),
    Row("mmseg", "accuracy", "multiclass labels edges",
        lambda d: (d.p.argmax(1) == d.labels).double().mean()),
    *(Row(convention, "mean_iou", f"{kind} edges", both_sides_by_hand)
      for convention in ("mmseg", "cityscapes") for kind in ("binary mask", "multiclass labels")),
    Row("cityscapes", "iou", "multiclass labels edges", pooled_by_hand("iou")),

    Row("optax", "dice", "binary logits edges",
        optax("binary_dice_loss", lambda f, a, d: f(a(last(d.x)), a(last(d.y))).mean())),
    Row("optax", "dice", "multiclass logits edges",
        optax("dice_loss", lambda f, a, d: f(a(last(d.x)), a(last(d.y))).mean())),
    Row("optax", "tversky(alpha=0.3, beta=0.7)", "multiclass logits edges",
        optax("dice_loss", lambda f, a, d: f(a(last(d.x)), a(last(d.y)), alpha=0.3, beta=0.7)
              .mean())),
    *(Row("optax", loss, "image", optax(name, lambda f, a, d: f(a(d.x), a(d.y)).mean()))
      for loss, name in {"l2": "l2_loss", "huber": "huber_loss", "log_cosh": "log_cosh"}.items()),
    *(Row("optax", loss, "binary logits edges",
          optax(name, lambda f, a, d: f(a(d.x), a(d.y)).mean()))
      for loss, name in {"bce": "sigmoid_binary_cross_entropy",
                         "bce_with_logits": "sigmoid_binary_cross_entropy",
                         "binary_focal": "sigmoid_focal_loss"}.items()),
    Row("optax", "hinge", "binary logits edges",
        optax("hinge_loss", lambda f, a, d: f(a(d.x), a(2 * d.y - 1)).mean())),
    *(Row("optax", loss, "multiclass logits edges",
          optax(name, lambda f, a, d: f(a(last(d.x)), a(last(d.y))).mean()))
      for loss, name in {"cross_entropy": "softmax_cross_entropy",
                         "poly1": "poly_loss_cross_entropy"}.items()),
    Row("optax", "perceptron", "multiclass logits edges",
        optax("multiclass_perceptron_loss", lambda f, a, d: f(a(last(d.x)), a(d.target)).mean())),
    *(Row("monai", name, f"{kind}{edges}", by_mean(partial(metric, **({} if name != "nsd" else
          {"class_thresholds": [1.0] * judged}), include_background=whole)))
      for kind, judged, whole in (("binary mask", 1, True), ("multilabel mask", 2, True),
                                  ("multiclass labels", CLASSES - 1, False))
      for edges in ("", " edges") for name, metric in MONAI_SURFACES.items()),
    Row("torchmetrics", "hausdorff", "binary mask", squared_hausdorff),
    Row("torchmetrics", "hausdorff", "multiclass labels", squared_hausdorff),
    Row("torchmetrics", "hausdorff", "multilabel mask", squared_hausdorff),
    *(Row("medpy", name, f"{task} mask", medpy(function))
      for task in ("binary", "multilabel")
      for name, function in (("hausdorff", "hd"), ("hd95", "hd95"), ("assd", "assd"),
                             ("masd", "asd"))),
    *(Row("metrics-reloaded", name, f"{task} mask{edges}", by_distance_maps(name))
      for task in ("binary", "multilabel") for edges in ("", " edges")
      for name in ("hausdorff", "hd95", "assd", "masd", "nsd", "boundary_iou")),
    *(Row("surface-distance", name, f"{task} mask{edges}", surface_distance(function, *how))
      for task in ("binary", "multilabel") for edges in ("", " edges")
      for name, function, *how in (
          ("hausdorff", "compute_robust_hausdorff", 100),
          ("hd95", "compute_robust_hausdorff", 95),
          ("nsd", "compute_surface_dice_at_tolerance", 1))),
    *(Row("surface-distance", "masd", f"{task} mask",
          surface_distance("compute_average_surface_distance"))
      for task in ("binary", "multilabel")),
    Row("optax", "kl", "multiclass logits edges",
        optax("kl_divergence",
              lambda f, a, d: f(a(last(d.x.log_softmax(1))), a(last(d.y))).mean())),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.convention} {row.loss} {row.kind}")
def test_a_preset_reports_what_its_tool_does(row: Row) -> None:
    losses = tuple(dict.fromkeys(each.loss for each in ROWS if each.kind == row.kind))
    found = reported(row.kind, losses)[row.convention][row.loss]
    check_close(found.value, float(row.reference(data(row.kind))), row.tolerance, row[:3])


def test_every_claim_of_every_preset_is_tested() -> None:
    tested = {(row.convention, row.loss.partition("(")[0], row.kind.split()[0]) for row in ROWS}
    tested |= {("torchmetrics", name, "instances") for name in INSTANCES}  # test_panoptic.py
    for convention in CONVENTIONS.values():
        for rule in convention.rules:
            for loss in rule.losses.split():
                tasks = rule.tasks or builtin()[loss].tasks
                claims = {(convention.name, loss, task) for task in tasks}
                assert claims & tested, (convention.name, loss, tasks)


def test_presets_name_losses_tasks_and_options_that_there_are() -> None:
    for convention in CONVENTIONS.values():
        for rule in convention.rules:
            for loss in rule.losses.split():
                entry = lossbench.find_loss(loss)
                assert entry.name == loss
                assert set(rule.tasks) <= set(entry.tasks)
                for name, value in rule.options.items():
                    assert entry.options[name].accepts(value), (convention.name, loss, name)


# --- ignored and weighted pixels ------------------------------------------------------------------


def one(loss: str, pred: Any, target: Any, **settings: Any) -> tuple[float, float]:
    """Mean and pooled value of one loss."""
    found = lossbench.evaluate(pred, target, loss, **settings).aggregates[loss]
    return found["mean"], found["pooled"]


def test_torch_divides_by_all_pixels_where_they_have_weights() -> None:
    d, weight = data("binary probability"), np.random.default_rng(1).integers(0, 4, (6, 9, 12))
    wanted = functional.binary_cross_entropy(d.p, d.y, torch.tensor(weight)[:, None].double())
    found = one("bce", list(d.pred), list(d.target), convention="torch",
                inputs={"weight": list(weight.astype(float))}, **d.settings)[1]  # fmt: skip
    assert found == pytest.approx(float(wanted))


@pytest.mark.parametrize("convention", ["smp", "mmseg"])
def test_ignored_pixels_count_in_the_mean_of_smp_and_mmseg(convention: str) -> None:
    d = data("multiclass logits")
    target = d.target.copy()
    target[:, :3] = 255
    labels = torch.tensor(target).long()
    each = functional.cross_entropy(d.x, labels, ignore_index=255, reduction="none")
    settings = d.settings | {"ignore": 255, "convention": convention}
    found = one("cross_entropy", list(d.pred), list(target), **settings)[1]
    assert found == pytest.approx(float(each.mean()))  # all pixels, the ignored ones as 0
    assert float(each.mean()) < 0.8 * float(functional.cross_entropy(d.x, labels, ignore_index=255))


@pytest.mark.parametrize("loss", ["dice", "focal_tversky"])
def test_ignored_pixels_leave_the_overlaps_of_smp(loss: str) -> None:
    d = data("multiclass logits")
    target = d.target.copy()
    target[:, :3] = 255
    settings = d.settings | {"ignore": 255, "convention": "smp"}
    found = one(loss, list(d.pred), list(target), **settings)[1]
    gamma = {} if loss == "dice" else {"gamma": 0.75}
    tool = smp("losses").TverskyLoss  # with gamma 1 it is the Dice loss
    wanted = tool("multiclass", from_logits=False, ignore_index=255, **gamma)
    assert found == pytest.approx(float(wanted(d.p, torch.tensor(target).long())))


# --- options that came with the presets -----------------------------------------------------------


def alone(loss: str, kind: str) -> np.ndarray:
    """The values of one loss of each sample."""
    d = data(kind)
    result = lossbench.evaluate(list(d.pred), list(d.target), loss, **d.settings)
    return np.array(result.values[loss].samples)


@pytest.mark.parametrize(("loss", "alpha"), [("dice", 0.5), ("jaccard", 1.0)])
def test_elements_are_squared_as_in_nnunet_v1(loss: str, alpha: float) -> None:
    """SoftDiceLossSquared and get_tp_fp_fn_tn(square=True): Σ(py)², Σ(p(1−y))², Σ((1−p)y)²."""
    d = data("binary probability")
    tp, fp, fn = (
        (part**2).sum((1, 2, 3)) for part in (d.p * d.y, d.p * (1 - d.y), (1 - d.p) * d.y)
    )
    wanted = 1 - (tp + 0.3) / (tp + alpha * (fp + fn) + 0.3)
    smooth = 0.3 if loss == "jaccard" else 0.6
    found = alone(f"{loss}(squared=elements, smooth={smooth})", "binary probability")
    check_close(found, wanted, REFERENCE)


def test_the_dice_loss_of_mmseg_1_can_be_typed() -> None:
    """1 − 2a/(b + c), b = Σp² + 10⁻³ and c = Σy² + 10⁻³ over all classes of a sample."""
    d = data("multiclass logits edges")
    p, y = d.p.flatten(1), d.y.flatten(1)
    wanted = 1 - 2 * (p * y).sum(1) / ((p**2).sum(1) + (y**2).sum(1) + 2e-3)
    options = "class_weights=uniform, squared=true, smooth_nr=0, smooth_dr=0.002"
    check_close(alone(f"generalized_dice({options})", "multiclass logits edges"), wanted, REFERENCE)


@pytest.mark.parametrize("exponent", [0.5, 1, 2])
def test_an_exponent_applies_to_the_mean_of_the_classes_and_keeps_the_sign(exponent: float) -> None:
    kind = "multiclass logits"
    plain, minus = alone("dice", kind), alone("dice(negative=true)", kind)
    check_close(minus, plain - 1, REFERENCE)
    check_close(alone(f"dice(exponent={exponent})", kind), plain**exponent, REFERENCE)
    found = alone(f"dice(negative=true, exponent={exponent})", kind)
    check_close(found, -((1 - plain) ** exponent), REFERENCE)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", [[1, 0.5], [0, 1]]),  # in sample 1 class 2 is a false alarm
        ("absent=0", [[1, 0.5], [0, 0]]),
        ("absent=0.25", [[1, 0.5], [0, 0.25]]),
        ("absent=skip", [[1, 0.5], [0, math.nan]]),
        ("absent=skip, empty=0.75", [[1, 0.5], [0, 0.75]]),
    ],
)
def test_absent_is_the_value_of_a_class_that_the_target_lacks(
    options: str, wanted: list[list[float]]
) -> None:
    pred = np.array([[[[0, 0]], [[1, 0]]], [[[1, 0]], [[1, 0]]]], np.uint8)
    target = np.array([[[[1, 0]], [[1, 1]]], [[[1, 0]], [[0, 0]]]], np.uint8)
    loss = f"jaccard({options})"
    found = lossbench.evaluate(list(pred), list(target), loss, task="multilabel").values[loss]
    check_close(np.transpose(found.classes), wanted, 1e-12)
    check_close(found.samples, np.nanmean(wanted, 1), 1e-12)


def test_log_and_negative_exclude_each_other() -> None:
    d = data("binary probability")
    with pytest.raises(lossbench.SettingError, match="mutually exclusive"):
        lossbench.evaluate(list(d.pred), list(d.target), "dice(log=true, negative=true)")


def test_the_worst_negative_overlap_is_none_at_all() -> None:
    d = data("binary mask")
    pred = {f"{place}": each for place, each in enumerate(d.pred[:3])}
    target = {f"{place}": each for place, each in enumerate(d.target[:4])}
    result = lossbench.evaluate(pred, target, "dice(negative=true)", task="binary", missing="worst")
    assert result.values["dice(negative=true)"].samples[-1] == 0


# --- the vectors of the conventions ---------------------------------------------------------------

SOFT = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}
V5 = ([[0.9, 0.2, 0.4, 0.1]], [[1, 0, 1, 0]])
V1 = ([[1, 0], [0, 1]], [[1, 0], [1, 1]])
LOGITS = {**SOFT, "pred_encoding": "logits"}
V8 = ([[2.0, 0.1, -2.0]], [[0, 0, 1]])
V12 = (
    [[0.01, 0.03, 0.02, 0.02], [0.05, 0.12, 0.09, 0.07],
     [0.89, 0.85, 0.88, 0.91], [0.99, 0.97, 0.95, 0.97]],
    [[0] * 4, [0] * 4, [1] * 4, [1] * 4],
)  # fmt: skip
V4 = (np.pad(np.ones((2, 2)), ((6, 6), (6, 6))), np.pad(np.ones((4, 4)), ((5, 5), (5, 5))))


@pytest.mark.parametrize(
    ("loss", "pair", "convention", "wanted"),
    [
        ("dice_score", V1, "lossbench", 0.8),
        ("iou", V1, "lossbench", 0.666667),
        ("dice_score", V4, "lossbench", 0.4),
        ("iou", V4, "lossbench", 0.25),
        ("dice", V5, "lossbench", 0.277778),
        ("dice(smooth=1)", V5, "lossbench", 0.217391),
        ("dice(smooth=2)", V5, "lossbench", 0.178571),
        ("dice", V5, "optax", 0.178571),  # its s = 1 stands as 2s
        ("dice(smooth=1, squared=true)", V5, "lossbench", 0.104478),
        ("dice", V5, "mmseg", 0.104478),
        ("tversky(alpha=0.3, beta=0.7)", V5, "lossbench", 0.308511),
        ("tversky(alpha=0.7, beta=0.3)", V5, "lossbench", 0.244186),
        ("focal_tversky(alpha=0.3, beta=0.7)", V5, "lossbench", 0.413955),
        ("focal_tversky(alpha=0.3, beta=0.7)", V5, "smp", 0.413955),
        ("focal_tversky(alpha=0.3, beta=0.7, exponent=1.3333333333)", V5, "smp", 0.208462),
        ("binary_focal(alpha=none)", V8, "lossbench", 1.168438),
        ("binary_focal", V8, "monai", 1.168438),
        ("binary_focal", V8, "smp", 1.168438),
        ("binary_focal", V8, "optax", 1.168438),
        ("binary_focal", V8, "lossbench", 0.601316),
        ("binary_focal", V8, "kornia", 0.601316),
        ("binary_focal(alpha=0.75)", V8, "lossbench", 0.567123),
        ("dice", V12, "lossbench", 0.0632111),
        ("dice(squared=true)", V12, "lossbench", 0.0062495),
        ("dice(smooth_nr=2, smooth_dr=1)", V12, "lossbench", 0.0),
        ("jaccard", V12, "lossbench", 0.1189061),
        ("tversky(alpha=0.7, beta=0.3)", V12, "lossbench", 0.0589281),
        ("sensitivity_specificity", V12, "lossbench", 0.0625),
        ("jaccard(smooth=1)", V5, "lossbench", 0.303030),
        ("jaccard(smooth=1)", V5, "monai", 0.357143),
    ],
)  # fmt: skip
def test_vectors_of_one_sample(loss: str, pair: Any, convention: str, wanted: float) -> None:
    """V1, V4, V5, V7, V8, V12 and V13 of CONVENTIONS.md, which were computed independently."""
    pred, target = (np.array(side) for side in pair)
    settings = LOGITS if pair is V8 else SOFT
    found = one(loss, [pred.astype(float)], [target.astype(np.uint8)],
                convention=convention, **settings)[0]  # fmt: skip
    assert found == pytest.approx(wanted, abs=6e-7)


def counted(hits: int, alarms: int, misses: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a target of one row that have these counts."""
    pred = [1] * (hits + alarms) + [0] * misses
    target = [1] * hits + [0] * alarms + [1] * misses
    rest = [0] * (120 - len(pred))
    return tuple(np.array([row + rest], np.uint8) for row in (pred, target))  # type: ignore


def test_v11_tells_conventions_of_false_alarms_apart() -> None:
    """Three images with TP/FP/FN 90/10/10, 1/4/5 and 0/3/0."""
    pred, target = zip(*(counted(*row) for row in [(90, 10, 10), (1, 4, 5), (0, 3, 0)]),
                       strict=True)  # fmt: skip
    result = lossbench.evaluate(pred, target, "dice_score", task="binary", convention="all")
    found = {name: row["dice_score"].value for name, row in result.conventions.items() if row}
    assert found["lossbench"] == pytest.approx(0.360606, abs=6e-7)
    assert found["mmseg"] == pytest.approx(0.850467, abs=6e-7)
    assert found["monai"] == pytest.approx(0.540909, abs=6e-7)


def test_v14_tells_orders_of_the_mean_apart() -> None:
    """Three samples with class values [.2, –], [.4, .9], [.6, –]: Dice of 1, 1 and 3 hits…"""
    counts = [[(1, 8, 0), (0, 0, 0)], [(1, 3, 0), (9, 2, 0)], [(3, 4, 0), (0, 0, 0)]]
    pairs = [[counted(*each) for each in sample] for sample in counts]
    pred, target = ([np.stack([p[side] for p in sample]) for sample in pairs] for side in (0, 1))
    result = lossbench.evaluate(pred, target, "dice_score", task="multilabel", convention="all")
    found = {name: row["dice_score"] for name, row in result.conventions.items() if row}
    classes = np.array(result.values["dice_score"].classes)
    check_close(classes, [[0.2, 0.4, 0.6], [math.nan, 0.9, math.nan]], 1e-12)
    assert found["lossbench"].value == pytest.approx(0.483333, abs=6e-7)
    assert found["nnunet"].value == pytest.approx(0.65)
    assert found["nnunet"].aggregate == "class_mean"
    assert np.nanmean(classes) == pytest.approx(0.525)  # all cells: from the class columns


# --- one run, and all presets beside it -----------------------------------------------------------

FOLDERS = {
    task: [str(SAMPLES / task / role) for role in ("pred", "gt")]
    for task in ("binary", "multiclass", "image")
}


def test_what_is_typed_wins_over_the_preset_and_that_over_the_catalogue() -> None:
    def options(loss: str, **settings: Any) -> dict[str, Any]:
        run = lossbench.plan(*FOLDERS["binary"], loss, **settings)
        return run.columns[0].terms[0].options

    assert options("dice")["smooth"] == 0
    assert options("dice", convention="monai")["smooth"] == 1e-5
    assert options("dice(smooth=0)", convention="monai")["smooth"] == 0
    assert options("dice_score")["empty"] == "skip"
    assert options("dice_score", convention="medpy")["empty"] == 1
    assert options("dice_score", convention="medpy", empty="skip")["empty"] == "skip"
    assert options("dice_score", convention="medpy", empty=0)["empty"] == 0
    assert options("dice_score(empty=0.5)", convention="medpy", empty=0)["empty"] == 0.5


def test_a_preset_knows_the_task() -> None:
    """nnU-Net leaves the background out, which only a multiclass task has."""
    for task, wanted in (("multiclass", False), ("binary", True)):
        run = lossbench.plan(*FOLDERS[task], "dice", convention="nnunet")
        assert run.columns[0].terms[0].options["background"] is wanted


def test_gates_judge_the_convention_of_the_run() -> None:
    gate = "dice.mean < 0"
    for convention, passed in (("lossbench", False), ("all", False), ("nnunet", True)):
        result = lossbench.evaluate(*FOLDERS["binary"], "dice", gates=gate, convention=convention)
        assert [each.passed for each in result.decisions] == [passed]


def test_a_gate_finds_its_column_under_a_preset() -> None:
    run = lossbench.plan(*FOLDERS["binary"], "dice", gates="dice.max <= 1", convention="smp")
    assert [column.name for column in run.columns] == ["dice"]


def test_all_presets_are_one_pass_and_equal_settings_are_computed_once() -> None:
    run = lossbench.plan(*FOLDERS["binary"], ["iou", "bce"], convention="all")
    assert len(run.elsewhere) > 10
    assert len(set(run.terms)) == 5  # iou: plain, absent, empty; bce: plain, over


@pytest.mark.parametrize("kind", ["binary bytes", "multiclass logits", "multilabel logits",
                                  "binary logits", "image"])  # fmt: skip
def test_every_loss_has_a_row_of_all_presets(kind: str) -> None:
    d = data(kind)
    logits = d.settings["pred_encoding"] == "logits"
    losses = [
        entry.name
        for entry in builtin().values()
        if d.settings["task"] in entry.tasks and entry.name not in {"ms_ssim"} | DEEP | OTHERS
        if logits or "Logits" not in entry.inputs.values()
    ]
    if kind != "image":
        losses = [name for name in losses if not name.startswith("ssim")]  # too small for it
    d.settings.pop("convention", None)
    result = lossbench.evaluate(
        list(d.pred), list(d.target), losses, convention="all", **d.settings
    )
    rows = result.conventions
    assert list(rows) == list(CONVENTIONS)
    assert list(rows["lossbench"]) == losses
    for name in losses:
        mean = result.aggregates[name]["mean"]
        check_close(rows["lossbench"][name].value, mean, 0)


def test_an_expression_needs_all_its_losses_and_one_aggregate() -> None:
    loss = "seg = 0.5*dice + 0.5*bce"
    result = lossbench.evaluate(*FOLDERS["binary"], loss, convention="all")
    plain = lossbench.evaluate(*FOLDERS["binary"], loss, convention="smp")
    rows = result.conventions
    assert set(rows["smp"]) == {"seg"}
    assert rows["smp"]["seg"].value == plain.aggregates["seg"]["pooled"]
    assert rows["optax"]["seg"].aggregate == "mean"  # dice by the sample, bce by the pixel
    assert rows["torch"] == {}  # it has no Dice loss


def test_missing_predictions_count_in_every_row() -> None:
    d = data("binary mask")
    pred, target = ({str(n): each for n, each in enumerate(side)} for side in (d.pred, d.target))
    del pred["5"]
    result = lossbench.evaluate(pred, target, "dice_score", task="binary", missing="worst",
                                convention="all")  # fmt: skip
    rows = result.conventions
    assert rows["lossbench"]["dice_score"].value == result.aggregates["dice_score"]["mean"]
    assert rows["medpy"]["dice_score"].value == result.aggregates["dice_score"]["mean"]
    assert math.isnan(rows["mmseg"]["dice_score"].value)  # nothing is pooled with them


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_and_writes_a_row_for_each_preset(lossbench_command, tmp_path) -> None:
    file = tmp_path / "result.json"
    done = lossbench_command("eval", *FOLDERS["binary"], "-l", "dice", "-l", "bce", "--top", 0,
                             "--convention", "all", "-o", file)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "convention all" in done.stderr
    table = done.stdout.partition("\nconventions:")[2].splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in table[3:]}
    assert list(rows) == list(CONVENTIONS)
    written = json.loads(file.read_text())
    assert written["run"]["convention"] == "lossbench"
    assert rows["monai"] == [f"{written['conventions']['monai']['dice']['value']:.4f}", "mean"]
    assert rows["smp"][1::2] == ["pooled", "pooled"]
    assert rows["surface-distance"] == []
    monai = written["conventions"]["monai"]["dice"]
    assert monai["options"]["smooth"] == 1e-5
    assert monai["aggregate"] == "mean"
    assert (
        written["conventions"]["lossbench"]["dice"]["value"]
        == (written["aggregate"]["dice"]["mean"])
    )


def test_a_result_file_says_which_convention_it_is_of(lossbench_command, tmp_path) -> None:
    for name in ("lossbench", "monai"):
        file = tmp_path / f"{name}.json"
        done = lossbench_command(
            "eval", *FOLDERS["binary"], "-l", "dice", "--convention", name, "-o", file
        )
        assert ("convention monai" in done.stderr) == (name == "monai")
        written = json.loads(file.read_text())
        assert written["run"]["convention"] == written["run"]["settings"]["convention"] == name
        assert "conventions" not in written
        smooth = written["run"]["losses"][0]["options"]["smooth"]
        assert smooth == (1e-5 if name == "monai" else 0)


def test_a_dry_run_says_which_convention_it_would_be(lossbench_command) -> None:
    done = lossbench_command("eval", *FOLDERS["binary"], "--dry-run", "--convention", "smp")
    assert "convention smp" in done.stdout.splitlines()[0]
    assert [*done.stdout.partition("--convention")[2].split()][:2] == ["smp", "flag"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("monia", "'monai'"), ("Torch", "'torch'"), ("al", "'all'"),
     ("", "convention is lossbench, torch"), ("[red]", "convention is lossbench, torch"),
     ("nn-unet", "'nnunet'")],
)  # fmt: skip
def test_an_unknown_convention_offers_the_nearest(lossbench_command, name, nearest) -> None:
    done = lossbench_command("eval", "no/pred", "no/gt", "--convention", name)
    assert done.returncode == 2
    assert repr(name) in done.stderr
    assert nearest in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_manual_page_says_what_other_tools_have(lossbench_command) -> None:
    page = " ".join(lossbench_command("explain", "iou").stdout.split())
    section = page.partition("conventions elsewhere")[2]
    assert "monai MeanIoU: absent=skip" in section
    assert "cityscapes evalPixelLevelSemanticLabeling: reports pooled" in section
    assert "nnunet evaluate_predictions on multiclass: background=false;" in section
    agreeing = section.partition("as here")[2]
    assert "metrics-reloaded (intersection_over_union)" in agreeing
    assert "conventions elsewhere" not in lossbench_command("explain", "entropy").stdout
