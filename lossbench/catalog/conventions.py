"""What other tools would report: one table of option settings, and nothing that computes.

A preset replaces defaults of the catalogue where a tool has others; what a user writes wins over
it. A rule without options says that the tool agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lossbench.errors import SettingError, did_you_mean

DEFAULT = "lossbench"
ALL = "all"
# Over samples; over all pixels as one; of the means of each class.
Aggregate = Literal["mean", "pooled", "class_mean"]


@dataclass(frozen=True)
class Rule:
    """How a tool computes some losses.

    Attributes:
        losses: names of the catalogue, with blanks between.
        tool: what it is called there.
        options: defaults that it replaces.
        aggregate: which number of many samples the tool reports.
        tasks: where it applies; nowhere else does the tool have it. Empty: everywhere.
        note: what options cannot say.
    """

    losses: str
    tool: str
    options: Mapping[str, Any] = field(default_factory=dict)
    aggregate: Aggregate = "mean"
    tasks: Sequence[str] = ()
    note: str = ""

    @property
    def changes(self) -> bool:
        """Whether the tool reports another number than the mean of the defaults."""
        return bool(self.options or self.note or self.aggregate != "mean")


@dataclass(frozen=True)
class Convention:
    """A preset: a tool, and a rule for each loss that it has."""

    name: str
    summary: str
    rules: Sequence[Rule] = ()

    def rule(self, loss: str, task: str | None) -> Rule | None:
        """The rule for a loss on a task; None where the tool has no such loss."""
        return next((rule for rule in self.rules_for(loss) if fits(rule, task)), None)

    def rules_for(self, loss: str) -> Iterator[Rule]:
        """The rules for a loss, on whichever task."""
        return (rule for rule in self.rules if loss in rule.losses.split())

    def defaults(self, task: str | None) -> dict[str, Mapping[str, Any]]:
        """Loss -> the options whose defaults are others."""
        return {
            loss: rule.options
            for rule in reversed(self.rules)
            if fits(rule, task)
            for loss in rule.losses.split()
        }


def fits(rule: Rule, task: str | None) -> bool:
    """Whether a rule applies to a task; of a task yet unknown only the general ones do."""
    return not rule.tasks or task in rule.tasks


def find(name: str) -> Convention:
    """The preset of this name; an unknown name is an error that offers the nearest."""
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise SettingError(
            f"no convention is called {name!r}{did_you_mean(str(name), (*CONVENTIONS, ALL))};"
            f" there are {', '.join(CONVENTIONS)}, and all"
        )
    return CONVENTIONS[name]


ONE_CLASS = ("binary", "multilabel")
S = 1e-5  # what MONAI and nnU-Net add to overlaps


CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(
            DEFAULT,
            "the catalogue as `lossbench explain` states it: the mean over samples, each the mean"
            " over its defined classes",
        ),
        Convention(
            "torch",
            "losses of torch.nn, over all samples as one batch",
            (
                Rule("l1", "L1Loss", aggregate="pooled"),
                Rule("l2", "MSELoss", aggregate="pooled"),
                Rule("huber", "HuberLoss", aggregate="pooled"),
                Rule("smooth_l1", "SmoothL1Loss", aggregate="pooled"),
                Rule("bce", "BCELoss", {"over": "all"}, "pooled", ONE_CLASS),
                Rule("bce_with_logits", "BCEWithLogitsLoss", {"over": "all"}, "pooled"),
                Rule("soft_margin", "SoftMarginLoss", aggregate="pooled"),
                Rule(
                    "cross_entropy",
                    "CrossEntropyLoss",
                    aggregate="pooled",
                    note="with class weights it divides by their sum for labels, as here, and by"
                    " the pixels for soft targets",
                ),
                Rule("nll", "NLLLoss", aggregate="pooled"),
                Rule(
                    "kl",
                    "KLDivLoss",
                    {"over": "classes"},
                    "pooled",
                    ("multiclass",),
                    note="with reduction='mean', its default; 'batchmean' of one pixel a row is"
                    " over=valid",
                ),
                Rule(
                    "multilabel_soft_margin", "MultiLabelSoftMarginLoss", {"over": "all"}, "pooled"
                ),
            ),
        ),
        Convention(
            "monai",
            "MONAI 1.6: losses as they are constructed without arguments, and metrics over samples",
            (
                Rule("dice", "DiceLoss", {"smooth": S}, note="batch=True is pooled"),
                Rule(
                    "jaccard",
                    "DiceLoss(jaccard=True)",
                    {"smooth": S / 2},
                    note="it adds s to twice the overlap and to twice the union; batch=True is"
                    " pooled",
                ),
                Rule("tversky", "TverskyLoss", {"smooth": S}, note="batch=True is pooled"),
                Rule(
                    "generalized_dice",
                    "GeneralizedDiceLoss",
                    {"smooth": S, "fallback": 0.0},
                    note="batch=True is pooled",
                ),
                Rule(
                    "focal",
                    "FocalLoss",
                    {"one_vs_all": True, "over": "classes"},
                    "pooled",
                    ("multiclass",),
                    note="of logits; use_softmax=True is one_vs_all=false, over=classes",
                ),
                Rule("binary_focal", "FocalLoss", {"alpha": None}, "pooled", note="of logits"),
                Rule("dice_ce", "DiceCELoss", {"mix": None, "smooth": S}, tasks=("multiclass",)),
                Rule(
                    "dice_ce dice_bce", "DiceCELoss", {"mix": None, "smooth": S}, tasks=("binary",)
                ),
                Rule(
                    "dice_score",
                    "DiceMetric",
                    {"absent": "skip"},
                    note=("0 where every sample is skipped"),
                ),
                Rule("iou", "MeanIoU", {"absent": "skip"}, note="0 where every sample is skipped"),
                Rule(
                    "precision recall specificity fbeta balanced_accuracy mcc accuracy",
                    "ConfusionMatrixMetric",
                    {},
                    "pooled",
                    ("binary",),
                    note="of several classes it averages the counts of all classes first;"
                    " precision is undefined where nothing is predicted",
                ),
                Rule("hausdorff", "HausdorffDistanceMetric"),
                Rule(
                    "hd95",
                    "HausdorffDistanceMetric(percentile=95)",
                    {"one_empty": "undefined"},
                    note="a missed object is skipped, so that it improves the mean",
                ),
                Rule("assd", "SurfaceDistanceMetric(symmetric=True)"),
                Rule("masd", "SurfaceDistanceMetric", {"directed": True}),
                Rule("nsd", "SurfaceDiceMetric", note="use_subvoxels=True is surface=subpixel"),
                Rule("l1", "MAEMetric"),
                Rule("l2", "MSEMetric"),
                Rule("rmse", "RMSEMetric"),
                Rule("psnr", "PSNRMetric"),
                Rule("ssim", "SSIMMetric"),
                Rule("ssim_loss", "SSIMLoss"),
                Rule("hausdorff_dt", "HausdorffDTLoss"),
                Rule(
                    "soft_cldice",
                    "SoftclDiceLoss",
                    {"smooth": 1.0, "eps": 1e-4},
                    tasks=("binary",),
                    note="of several classes it adds the pixels of all up, the background's too",
                ),
            ),
        ),
        Convention(
            "smp",
            "segmentation_models.pytorch 0.5 and later: losses over the batch, here all samples,"
            " and metrics per image",
            (
                Rule(
                    "dice",
                    "DiceLoss",
                    {"intersection": "min", "absent": 0.0},
                    "pooled",
                    note="its s is smooth=2s",
                ),
                Rule("jaccard", "JaccardLoss", {"intersection": "min", "absent": 0.0}, "pooled"),
                Rule("tversky", "TverskyLoss", {"intersection": "min", "absent": 0.0}, "pooled"),
                Rule(
                    "focal_tversky",
                    "TverskyLoss(gamma=0.75)",
                    {"intersection": "min", "absent": 0.0, "gamma": 1.0, "exponent": 0.75},
                    "pooled",
                    note="its gamma is exponent: the power of the mean over classes",
                ),
                Rule(
                    "focal",
                    "FocalLoss",
                    {"one_vs_all": True, "over": "classes"},
                    "pooled",
                    ("multiclass",),
                    "of logits",
                ),
                Rule("binary_focal", "FocalLoss", {"alpha": None}, "pooled"),
                Rule(
                    "bce bce_with_logits",
                    "SoftBCEWithLogitsLoss",
                    {"over": "all"},
                    "pooled",
                    note="smooth_factor=ε is label_smoothing=2ε",
                ),
                Rule(
                    "cross_entropy",
                    "SoftCrossEntropyLoss",
                    {"over": "all"},
                    "pooled",
                    ("multiclass",),
                ),
                Rule("mcc_loss", "MCCLoss", {"smooth": 1e-5}, "pooled", ("binary",)),
                Rule(
                    "lovasz",
                    "LovaszLoss(per_image=True)",
                    tasks=("binary", "multiclass"),
                    note="by default it sorts the pixels of the whole batch",
                ),
                Rule(
                    "dice_score iou recall specificity fbeta",
                    "metrics.*_score",
                    {"empty": 1.0},
                    note="reduction='macro-imagewise'; without a reduction the values of each"
                    " image and class",
                ),
                Rule(
                    "precision",
                    "metrics.precision",
                    {"empty": 1.0},
                    note="also 1 where nothing is predicted but something is to be found",
                ),
            ),
        ),
        Convention(
            "torchmetrics",
            "torchmetrics 1.9: segmentation metrics over samples, the others over all pixels",
            (
                Rule("dice_score", "segmentation.DiceScore"),
                Rule(
                    "iou",
                    "segmentation.MeanIoU",
                    note="classification.JaccardIndex is pooled, and 0 where undefined",
                ),
                Rule(
                    "generalized_dice",
                    "1 − segmentation.GeneralizedDiceScore",
                    {"empty": 1.0},
                    note="a class that a target lacks takes its largest weight in the batch",
                ),
                Rule(
                    "precision recall specificity fbeta",
                    "classification.Binary…",
                    {"empty": 0.0},
                    "pooled",
                    ("binary",),
                ),
                Rule(
                    "accuracy mcc kappa auc average_precision",
                    "classification.Binary…",
                    {},
                    "pooled",
                    ("binary",),
                ),
                Rule(
                    "panoptic_quality segmentation_quality recognition_quality",
                    "detection.PanopticQuality",
                    aggregate="pooled",
                    note="with allow_unknown_preds_category=True it is void=both",
                ),
                Rule("l1 l2 rmse", "MeanAbsoluteError, MeanSquaredError", aggregate="pooled"),
                Rule("log_cosh", "LogCoshError", aggregate="pooled"),
                Rule(
                    "hausdorff",
                    "segmentation.HausdorffDistance",
                    note="its distances are wrong where images are not square; two empty masks are"
                    " an error",
                ),
                Rule("kl", "KLDivergence", {}, "pooled", ("multiclass",)),
                Rule("psnr", "PeakSignalNoiseRatio", aggregate="pooled"),
                Rule(
                    "ssim",
                    "StructuralSimilarityIndexMeasure",
                    {"border": "reflect"},
                    note="data_range is the range of the batch unless it is given",
                ),
                Rule(
                    "total_variation",
                    "TotalVariation(reduction='mean')",
                    {"reduction": "sum"},
                    note="its default adds all samples",
                ),
            ),
        ),
        Convention(
            "kornia",
            "kornia 0.9: losses over the batch",
            (
                Rule(
                    "dice",
                    "dice_loss(average='macro')",
                    {"absent": "skip"},
                    "mean",
                    ("multiclass",),
                    "its default, average='micro', is generalized_dice(class_weights=uniform)",
                ),
                Rule(
                    "generalized_dice",
                    "dice_loss",
                    {"class_weights": "uniform"},
                    "mean",
                    ("multiclass",),
                ),
                Rule("tversky", "tversky_loss", {"absent": "skip"}, "mean", ("multiclass",)),
                Rule(
                    "focal",
                    "focal_loss(alpha=None)",
                    {"over": "classes"},
                    "pooled",
                    ("multiclass",),
                    "ignored pixels count in its mean; α weighs the classes from 1 on, 1−α class 0",
                ),
                Rule(
                    "binary_focal",
                    "binary_focal_loss_with_logits",
                    {"over": "all"},
                    "pooled",
                    note="older versions multiply both sides by α",
                ),
                Rule("lovasz", "lovasz_hinge_loss", tasks=("binary",), note="of logits"),
                Rule("lovasz", "lovasz_softmax_loss", {"classes": "all"}, "mean", ("multiclass",)),
                Rule(
                    "iou",
                    "metrics.mean_iou",
                    {"empty": 1.0},
                    "mean",
                    ("multiclass",),
                    "it leaves the mean over classes to the caller",
                ),
                Rule("pseudo_huber", "charbonnier_loss", aggregate="pooled"),
                Rule("psnr", "metrics.psnr", aggregate="pooled"),
                Rule("ssim", "metrics.ssim", {"border": "reflect"}),
                Rule("ssim_loss", "ssim_loss", {"border": "reflect", "half": True}),
                Rule(
                    "total_variation",
                    "total_variation(reduction='mean')",
                    {"apart": True},
                    note="its default is reduction=sum of each channel",
                ),
            ),
        ),
        Convention(
            "metrics-reloaded",
            "MetricsReloaded's BinaryPairwiseMeasures of one mask",
            (
                Rule("dice_score", "dsc", {"empty": 1.0}, "mean", ONE_CLASS),
                Rule("fbeta", "fbeta", {"empty": 1.0}, "mean", ONE_CLASS),
                Rule("iou", "intersection_over_union", {}, "mean", ONE_CLASS),
                Rule(
                    "hausdorff hd95 assd masd",
                    "measured_hausdorff_distance, …_perc, measured_average_distance, measured_masd",
                    {"both_empty": 0.0, "one_empty": "undefined"},
                    "mean",
                    ONE_CLASS,
                    "a missed object is skipped, so that it improves the mean",
                ),
                Rule("nsd", "normalised_surface_distance", {"empty": 1.0}, "mean", ONE_CLASS),
                Rule(
                    "boundary_iou",
                    "boundary_iou",
                    {"dilation": 1.0, "empty": 1.0},
                    "mean",
                    ONE_CLASS,
                ),
                Rule(
                    "precision recall specificity accuracy balanced_accuracy mcc",
                    "positive_predictive_values, recall, …",
                    {},
                    "mean",
                    ("binary",),
                ),
            ),
        ),
        Convention(
            "medpy",
            "MedPy 0.5's metric.binary of one mask",
            (
                Rule("dice_score iou", "dc, jc", {"empty": 1.0}, "mean", ONE_CLASS),
                Rule(
                    "hausdorff assd",
                    "hd, assd",
                    tasks=ONE_CLASS,
                    note="an empty mask is an error; up to 0.4 its assd is masd",
                ),
                Rule(
                    "hd95",
                    "hd95",
                    {"pooled": True},
                    "mean",
                    ONE_CLASS,
                    "an empty mask is an error",
                ),
                Rule(
                    "masd",
                    "asd",
                    {"directed": True},
                    "mean",
                    ONE_CLASS,
                    "an empty mask is an error",
                ),
                Rule(
                    "precision recall specificity",
                    "precision, recall, specificity",
                    {"empty": 0.0},
                    "mean",
                    ONE_CLASS,
                ),
            ),
        ),
        Convention(
            "surface-distance",
            "DeepMind's surface-distance of one mask: surfaces halfway between pixels, weighed by"
            " their length or area",
            (
                Rule("dice_score", "compute_dice_coefficient", tasks=ONE_CLASS),
                Rule(
                    "hausdorff hd95",
                    "compute_robust_hausdorff",
                    {"surface": "subpixel", "rule": "weighted", "both_empty": "infinite"},
                    "mean",
                    ONE_CLASS,
                ),
                Rule(
                    "masd",
                    "compute_average_surface_distance",
                    {"surface": "subpixel"},
                    "mean",
                    ONE_CLASS,
                    "it gives the two directions apart",
                ),
                Rule(
                    "nsd",
                    "compute_surface_dice_at_tolerance",
                    {"surface": "subpixel"},
                    "mean",
                    ONE_CLASS,
                ),
            ),
        ),
        Convention(
            "nnunet",
            "nnU-Net v2: losses as it trains, scores as it evaluates, the background left out",
            (
                Rule(
                    "dice",
                    "MemoryEfficientSoftDiceLoss",
                    {"smooth": S, "negative": True, "background": False},
                    "mean",
                    ("multiclass",),
                    "with batch_dice, its plan for 2-D, it is pooled",
                ),
                Rule(
                    "dice",
                    "MemoryEfficientSoftDiceLoss",
                    {"smooth": S, "negative": True},
                    "mean",
                    ONE_CLASS,
                    "with batch_dice, its plan for 2-D, it is pooled; v1 could square hits, false"
                    " alarms and misses: squared=elements",
                ),
                Rule(
                    "dice_ce",
                    "DC_and_CE_loss",
                    {"mix": None, "smooth": S},
                    "mean",
                    ("multiclass",),
                ),
                Rule("dice_bce", "DC_and_BCE_loss", {"mix": None, "smooth": S}, tasks=ONE_CLASS),
                Rule(
                    "dice_score iou",
                    "evaluate_predictions",
                    {"background": False},
                    "class_mean",
                    ("multiclass",),
                    "undefined where a class is in no mask of any sample",
                ),
                Rule("dice_score iou", "evaluate_predictions", {}, "class_mean", ONE_CLASS),
            ),
        ),
        Convention(
            "mmseg",
            "MMSegmentation: its losses, and IoUMetric over the whole data set",
            (
                Rule(
                    "dice",
                    "DiceLoss",
                    {"smooth": 1.0, "squared": True},
                    note="as before 1.0; since then one coefficient of all classes:"
                    " generalized_dice(class_weights=uniform, squared=true, smooth_nr=0,"
                    " smooth_dr=0.002)",
                ),
                Rule(
                    "tversky",
                    "TverskyLoss",
                    {"alpha": 0.3, "beta": 0.7, "smooth": 1.0},
                ),
                Rule(
                    "cross_entropy",
                    "CrossEntropyLoss",
                    {"over": "all"},
                    "pooled",
                    note="avg_non_ignore=True is over=valid; class weights divide by the pixels",
                ),
                Rule(
                    "bce bce_with_logits",
                    "CrossEntropyLoss(use_sigmoid=True)",
                    {"over": "all"},
                    "pooled",
                    ONE_CLASS,
                ),
                Rule(
                    "binary_focal", "FocalLoss", {"alpha": 0.5, "over": "all"}, "pooled", ONE_CLASS
                ),
                Rule(
                    "focal",
                    "FocalLoss",
                    {"alpha": 0.5, "one_vs_all": True, "over": "classes"},
                    "pooled",
                    ("multiclass",),
                    "of logits; ignored pixels count in its mean",
                ),
                Rule(
                    "dice_score iou recall",
                    "IoUMetric",
                    {},
                    "pooled",
                    note="the background of a binary task is a class as well; a class ignored by"
                    " reduce_zero_label loses its false positives, so that IoU is recall there",
                ),
                Rule("mean_iou accuracy", "IoUMetric", {}, "pooled"),
            ),
        ),
        Convention(
            "cityscapes",
            "cityscapesScripts' pixel-level evaluation over the whole data set",
            (Rule("iou mean_iou", "evalPixelLevelSemanticLabeling", {}, "pooled"),),
        ),
        Convention(
            "optax",
            "optax 0.2: losses with their defaults, one value a sample or element",
            (
                Rule(
                    "dice",
                    "losses.dice_loss",
                    {"smooth": 2.0},
                    note="smooth=s is smooth=2s",
                ),
                Rule("tversky", "losses.dice_loss(alpha=…, beta=…)", {"smooth": 1.0}),
                Rule("l2", "losses.l2_loss", {"half": True}, "pooled"),
                Rule("huber log_cosh", "losses.huber_loss, log_cosh", aggregate="pooled"),
                Rule(
                    "bce bce_with_logits",
                    "losses.sigmoid_binary_cross_entropy",
                    aggregate="pooled",
                ),
                Rule("binary_focal", "losses.sigmoid_focal_loss", {"alpha": None}, "pooled"),
                Rule("hinge", "losses.hinge_loss", aggregate="pooled"),
                Rule(
                    "cross_entropy", "losses.softmax_cross_entropy", {}, "pooled", ("multiclass",)
                ),
                Rule("perceptron", "losses.multiclass_perceptron_loss", aggregate="pooled"),
                Rule(
                    "poly1",
                    "losses.poly_loss_cross_entropy",
                    {"epsilon": 2.0},
                    "pooled",
                    ("multiclass",),
                ),
                Rule("kl", "losses.kl_divergence", {}, "pooled", ("multiclass",)),
            ),
        ),
    )
}
