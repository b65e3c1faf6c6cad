"""Conventions of other tools: option settings per loss, and nothing that computes.

A preset replaces defaults of the catalogue where a tool has different ones; explicit options take
precedence. A rule without options states that the tool agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lossbench.errors import SettingError, did_you_mean

DEFAULT = "lossbench"
ALL = "all"
# Mean over samples; value of all pixels together; mean over the classes' means.
Aggregate = Literal["mean", "pooled", "class_mean"]


@dataclass(frozen=True)
class Rule:
    """How a tool computes some losses.

    Attributes:
        losses: names in the catalogue, separated by blanks.
        tool: name in the tool.
        options: defaults that the tool replaces.
        aggregate: number that the tool reports for many samples.
        tasks: tasks on which the tool has the loss; empty for all.
        note: differences that options cannot express.
    """

    losses: str
    tool: str
    options: Mapping[str, Any] = field(default_factory=dict)
    aggregate: Aggregate = "mean"
    tasks: Sequence[str] = ()
    note: str = ""

    @property
    def changes(self) -> bool:
        """Whether the tool reports a number other than the mean with default options."""
        return bool(self.options or self.note or self.aggregate != "mean")


@dataclass(frozen=True)
class Convention:
    """A preset: a tool, with a rule for each of its losses."""

    name: str
    summary: str
    rules: Sequence[Rule] = ()

    def rule(self, loss: str, task: str | None) -> Rule | None:
        """The rule for a loss on a task; None if the tool has no such loss."""
        return next((rule for rule in self.rules_for(loss) if fits(rule, task)), None)

    def rules_for(self, loss: str) -> Iterator[Rule]:
        """The rules for a loss, on all tasks."""
        return (rule for rule in self.rules if loss in rule.losses.split())

    def defaults(self, task: str | None) -> dict[str, Mapping[str, Any]]:
        """Options with changed defaults, by loss."""
        return {
            loss: rule.options
            for rule in reversed(self.rules)
            if fits(rule, task)
            for loss in rule.losses.split()
        }


def fits(rule: Rule, task: str | None) -> bool:
    """Whether a rule applies to a task; for an unknown task, only general rules apply."""
    return not rule.tasks or task in rule.tasks


def find(name: str) -> Convention:
    """The preset with a name; an unknown name is an error with a suggestion."""
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise SettingError(
            f"no convention is called {name!r}{did_you_mean(str(name), (*CONVENTIONS, ALL))};"
            f" there are {', '.join(CONVENTIONS)}, and all"
        )
    return CONVENTIONS[name]


ONE_CLASS = ("binary", "multilabel")
S = 1e-5  # smoothing of overlaps in MONAI and nnU-Net


CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(
            DEFAULT,
            "the catalogue as `lossbench explain` states it: the mean over samples of the mean over"
            " each sample's defined classes",
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
                    note="with class weights, divides by their sum for labels, as here, but by the"
                    " number of pixels for soft targets",
                ),
                Rule("nll", "NLLLoss", aggregate="pooled"),
                Rule(
                    "kl",
                    "KLDivLoss",
                    {"over": "classes"},
                    "pooled",
                    ("multiclass",),
                    note="with the default reduction='mean'; 'batchmean' with one pixel per row is"
                    " over=valid",
                ),
                Rule(
                    "multilabel_soft_margin", "MultiLabelSoftMarginLoss", {"over": "all"}, "pooled"
                ),
            ),
        ),
        Convention(
            "monai",
            "MONAI 1.6: losses constructed without arguments, and metrics over samples",
            (
                Rule("dice", "DiceLoss", {"smooth": S}, note="batch=True is pooled"),
                Rule(
                    "jaccard",
                    "DiceLoss(jaccard=True)",
                    {"smooth": S / 2},
                    note="adds s to twice the overlap and to twice the union; batch=True is pooled",
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
                    note="0 if every sample is skipped",
                ),
                Rule("iou", "MeanIoU", {"absent": "skip"}, note="0 if every sample is skipped"),
                Rule(
                    "precision recall specificity fbeta balanced_accuracy mcc accuracy",
                    "ConfusionMatrixMetric",
                    {},
                    "pooled",
                    ("binary",),
                    note="with several classes, averages the counts of all classes first; precision"
                    " is undefined for an empty prediction",
                ),
                Rule("hausdorff", "HausdorffDistanceMetric"),
                Rule(
                    "hd95",
                    "HausdorffDistanceMetric(percentile=95)",
                    {"one_empty": "undefined"},
                    note="a missed object is skipped, which improves the mean",
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
                    note="with several classes, pools the pixels of all, background included",
                ),
            ),
        ),
        Convention(
            "smp",
            "segmentation_models.pytorch 0.5 and later: losses over the batch (here: all samples),"
            " metrics per image",
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
                    note="its gamma is exponent, applied to the mean over classes",
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
                    note="with reduction='macro-imagewise'; without a reduction, one value per"
                    " image and class",
                ),
                Rule(
                    "precision",
                    "metrics.precision",
                    {"empty": 1.0},
                    note="also 1 where only the prediction is empty",
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
                    note="a class absent from a target gets the largest weight in the batch",
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
                    note="allow_unknown_preds_category=True is void=both",
                ),
                Rule("l1 l2 rmse", "MeanAbsoluteError, MeanSquaredError", aggregate="pooled"),
                Rule("log_cosh", "LogCoshError", aggregate="pooled"),
                Rule(
                    "hausdorff",
                    "segmentation.HausdorffDistance",
                    note="distances are wrong for images that are not square; two empty masks are"
                    " an error",
                ),
                Rule("kl", "KLDivergence", {}, "pooled", ("multiclass",)),
                Rule("psnr", "PeakSignalNoiseRatio", aggregate="pooled"),
                Rule(
                    "ssim",
                    "StructuralSimilarityIndexMeasure",
                    {"border": "reflect"},
                    note="data_range defaults to the range of the batch",
                ),
                Rule(
                    "total_variation",
                    "TotalVariation(reduction='mean')",
                    {"reduction": "sum"},
                    note="the default adds all samples",
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
                    "the default average='micro' is generalized_dice(class_weights=uniform)",
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
                    "ignored pixels count in the mean; α weights classes from 1 on, 1−α class 0",
                ),
                Rule(
                    "binary_focal",
                    "binary_focal_loss_with_logits",
                    {"over": "all"},
                    "pooled",
                    note="older versions multiply both terms by α",
                ),
                Rule("lovasz", "lovasz_hinge_loss", tasks=("binary",), note="of logits"),
                Rule("lovasz", "lovasz_softmax_loss", {"classes": "all"}, "mean", ("multiclass",)),
                Rule(
                    "iou",
                    "metrics.mean_iou",
                    {"empty": 1.0},
                    "mean",
                    ("multiclass",),
                    "the caller takes the mean over classes",
                ),
                Rule("pseudo_huber", "charbonnier_loss", aggregate="pooled"),
                Rule("psnr", "metrics.psnr", aggregate="pooled"),
                Rule("ssim", "metrics.ssim", {"border": "reflect"}),
                Rule("ssim_loss", "ssim_loss", {"border": "reflect", "half": True}),
                Rule(
                    "total_variation",
                    "total_variation(reduction='mean')",
                    {"apart": True},
                    note="the default is reduction=sum per channel",
                ),
            ),
        ),
        Convention(
            "metrics-reloaded",
            "MetricsReloaded: BinaryPairwiseMeasures of one mask",
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
                    "a missed object is skipped, which improves the mean",
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
            "MedPy 0.5: metric.binary of one mask",
            (
                Rule("dice_score iou", "dc, jc", {"empty": 1.0}, "mean", ONE_CLASS),
                Rule(
                    "hausdorff assd",
                    "hd, assd",
                    tasks=ONE_CLASS,
                    note="an empty mask is an error; up to 0.4, assd is masd",
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
            "DeepMind's surface-distance of one mask: surfaces halfway between pixels, weighted by"
            " length or area",
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
                    "returns the two directions separately",
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
            "nnU-Net v2: losses as in training, scores as in evaluation, without background",
            (
                Rule(
                    "dice",
                    "MemoryEfficientSoftDiceLoss",
                    {"smooth": S, "negative": True, "background": False},
                    "mean",
                    ("multiclass",),
                    "pooled with batch_dice, as in 2-D plans",
                ),
                Rule(
                    "dice",
                    "MemoryEfficientSoftDiceLoss",
                    {"smooth": S, "negative": True},
                    "mean",
                    ONE_CLASS,
                    "pooled with batch_dice, as in 2-D plans; v1 could square true positives, false"
                    " positives and false negatives: squared=elements",
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
            "MMSegmentation: losses, and IoUMetric over the whole data set",
            (
                Rule(
                    "dice",
                    "DiceLoss",
                    {"smooth": 1.0, "squared": True},
                    note="as before 1.0; since then, one coefficient for all classes:"
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
                    note="avg_non_ignore=True is over=valid; with class weights, divides by the"
                    " number of pixels",
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
                    "of logits; ignored pixels count in the mean",
                ),
                Rule(
                    "dice_score iou recall",
                    "IoUMetric",
                    {},
                    "pooled",
                    note="the background of a binary task is a class as well; a class ignored by"
                    " reduce_zero_label has no false positives, so its IoU is the recall",
                ),
                Rule("mean_iou accuracy", "IoUMetric", {}, "pooled"),
            ),
        ),
        Convention(
            "cityscapes",
            "cityscapesScripts: pixel-level evaluation over the whole data set",
            (Rule("iou mean_iou", "evalPixelLevelSemanticLabeling", {}, "pooled"),),
        ),
        Convention(
            "optax",
            "optax 0.2: losses with their defaults, one value per sample or element",
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
