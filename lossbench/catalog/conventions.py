"""Conventions of other tools: option settings per loss, and nothing that computes.

A preset replaces defaults of the catalogue where a tool has different ones; explicit options take
precedence, in the tool's meaning. A rule without options states that the tool agrees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import dedent
from typing import Any

from lossbench.catalog.grammar import parse_call

DEFAULT = "lossbench"
ALL = "all"
# Mean over samples; value of all pixels together; mean over the classes' means.
AGGREGATES = ("mean", "pooled", "class_mean")
MEANINGS = "meanings"  # name, among the defaults of losses, of what a tool means by their options
MEANING = re.compile(
    r"(?P<option>\w+): (?:(?P<factor>[\d.]+)·)?(?P<target>\w+)(?:=(?P<value>\w+))?"
)


@dataclass(frozen=True)
class Meaning:
    """What an option of a tool is among the options of the catalogue."""

    option: str  # of the tool
    target: str  # of the catalogue; empty where no option can express it
    factor: float = 1.0  # of its value
    value: str | None = None  # which the tool's option always has here

    @classmethod
    def parse(cls, text: str) -> Meaning:
        """`smooth: 2·smooth`, `gamma: exponent`, `reduction: reduction=sum` or `alpha: by_class`.

        The last one says that the tool's number is a list of one number a class.
        """
        match = MEANING.fullmatch(text.strip())
        if match is None:
            raise ValueError(text)
        target = "" if match["target"] == "by_class" else match["target"]
        return cls(match["option"], target, float(match["factor"] or 1), match["value"])

    def __str__(self) -> str:
        factor = f"{self.factor:g}·" if self.factor != 1 else ""
        here = f"{self.target}={self.value or factor + self.option}" if self.target else "a list"
        return f"{self.option} is {here}"

    def of(self, value: Any) -> Any:
        """The value among the options of the catalogue."""
        if self.value is not None:
            return self.value
        if isinstance(value, list):
            return [self.of(each) for each in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.factor * value if is_number and self.factor != 1 else value


@dataclass(frozen=True)
class Rule:
    """How a tool computes some losses."""

    losses: str  # names in the catalogue, separated by blanks
    tool: str  # name in the tool
    options: Mapping[str, Any]  # defaults that the tool replaces
    aggregate: str  # number that the tool reports for many samples
    tasks: Sequence[str]  # tasks on which the tool has the losses; empty for all
    note: str  # differences that options cannot express
    meanings: Sequence[Meaning] = ()  # of options that the tool means otherwise

    @classmethod
    def parse(cls, row: str) -> Rule:
        """The rule in a row: losses(options) | tool [| aggregate, tasks [| note [| meanings]]]."""
        cells = [" ".join(cell.split()) for cell in row.split("|")]
        losses, tool, scope, note, meanings = [*cells, "", "", ""][:5]
        losses, bracket, options = losses.partition("(")
        aggregate = next((word for word in scope.split() if word in AGGREGATES), "mean")
        tasks = [word for word in scope.split() if word not in AGGREGATES]
        settings = parse_call(f"options{bracket}{options}").options
        of_options = tuple(map(Meaning.parse, filter(None, meanings.split(","))))
        return cls(losses.strip(), tool, settings, aggregate, tasks, note, of_options)

    @property
    def changes(self) -> bool:
        """Whether the tool reports a number other than the mean with default options."""
        return bool(self.options or self.note or self.meanings or self.aggregate != "mean")

    def fits(self, task: str | None) -> bool:
        """Whether the rule applies to a task; for an unknown task, only general rules apply."""
        return not self.tasks or task in self.tasks


@dataclass(frozen=True)
class Convention:
    """A preset: a tool, with a table of its losses, one rule a row."""

    name: str
    summary: str
    table: str = ""

    @cached_property
    def rules(self) -> Sequence[Rule]:
        """The rows of the table; a continued row is indented."""
        return [Rule.parse(row) for row in re.findall(r"^\S.*(?:\n .*)*", dedent(self.table), re.M)]

    def rule(self, loss: str, task: str | None) -> Rule | None:
        """The rule for a loss on a task; None if the tool has no such loss."""
        return next((rule for rule in self.rules_for(loss) if rule.fits(task)), None)

    def rules_for(self, loss: str) -> Iterator[Rule]:
        """The rules for a loss, on all tasks."""
        return (rule for rule in self.rules if loss in rule.losses.split())

    def defaults(self, task: str | None) -> dict[str, Mapping[str, Any]]:
        """Options with changed defaults, by loss; under MEANINGS what the tool means by others."""
        rules = {
            loss: rule
            for rule in reversed(self.rules)
            if rule.fits(task)
            for loss in rule.losses.split()
        }
        meanings = {loss: rule.meanings for loss, rule in rules.items() if rule.meanings}
        options = {loss: rule.options for loss, rule in rules.items()}
        return {**options, **({MEANINGS: meanings} if meanings else {})}


PRESETS = (
    Convention(
        DEFAULT,
        "the catalogue as `lossbench explain` states it: the mean over samples of the mean over"
        " each sample's defined classes",
    ),
    Convention(
        "torch",
        "losses of torch.nn, over all samples as one batch",
        """
        l1 | L1Loss | pooled
        l2 | MSELoss | pooled
        huber | HuberLoss | pooled
        smooth_l1 | SmoothL1Loss | pooled
        bce(over=all) | BCELoss | pooled binary multilabel
        bce_with_logits(over=all) | BCEWithLogitsLoss | pooled
        soft_margin | SoftMarginLoss | pooled
        cross_entropy | CrossEntropyLoss | pooled | with class weights, divides by their sum for
            labels, as here, but by the number of pixels for soft targets
        nll | NLLLoss | pooled
        kl(over=classes) | KLDivLoss | pooled multiclass | with the default reduction='mean';
            'batchmean' with one pixel per row is over=valid
        multilabel_soft_margin(over=all) | MultiLabelSoftMarginLoss | pooled
        """,
    ),
    Convention(
        "monai",
        "MONAI 1.6: losses constructed without arguments, and metrics over samples",
        """
        dice(smooth=1e-05) | DiceLoss | | batch=True is pooled
        jaccard(smooth=5e-06) | DiceLoss(jaccard=True) | | adds s to twice the overlap and to twice
            the union; batch=True is pooled | smooth: 0.5·smooth, smooth_nr: 0.5·smooth_nr,
            smooth_dr: 0.5·smooth_dr
        tversky(smooth=1e-05) | TverskyLoss | | batch=True is pooled
        generalized_dice(smooth=1e-05, fallback=0.0) | GeneralizedDiceLoss | | batch=True is pooled
        focal(one_vs_all=true, over=classes) | FocalLoss | pooled multiclass | of logits;
            use_softmax=True is one_vs_all=false, over=classes
        binary_focal(alpha=none) | FocalLoss | pooled | of logits
        dice_ce(mix=none, smooth=1e-05) | DiceCELoss | multiclass
        dice_ce dice_bce (mix=none, smooth=1e-05) | DiceCELoss | binary
        dice_score(absent=skip) | DiceMetric | | 0 if every sample is skipped
        iou(absent=skip) | MeanIoU | | 0 if every sample is skipped
        precision recall specificity fbeta balanced_accuracy mcc accuracy | ConfusionMatrixMetric |
            pooled binary | with several classes, averages the counts of all classes first;
            precision is undefined for an empty prediction
        hausdorff | HausdorffDistanceMetric
        hd95(one_empty=undefined) | HausdorffDistanceMetric(percentile=95) | | a missed object is
            skipped, which improves the mean
        assd | SurfaceDistanceMetric(symmetric=True)
        masd(directed=true) | SurfaceDistanceMetric
        nsd | SurfaceDiceMetric | | use_subvoxels=True is surface=subpixel
        l1 | MAEMetric
        l2 | MSEMetric
        rmse | RMSEMetric
        psnr | PSNRMetric
        ssim | SSIMMetric
        ssim_loss | SSIMLoss
        hausdorff_dt | HausdorffDTLoss
        soft_cldice(smooth=1.0, eps=0.0001) | SoftclDiceLoss | binary | with several classes, pools
            the pixels of all, background included
        """,
    ),
    Convention(
        "smp",
        "segmentation_models.pytorch 0.5 and later: losses over the batch (here: all samples),"
        " metrics per image",
        """
        dice(intersection=min, absent=0.0) | DiceLoss | pooled | | smooth: 2·smooth
        jaccard(intersection=min, absent=0.0) | JaccardLoss | pooled
        tversky(intersection=min, absent=0.0) | TverskyLoss | pooled
        focal_tversky(intersection=min, absent=0.0, gamma=1.0, exponent=0.75) |
            TverskyLoss(gamma=0.75) | pooled | applied to the mean over classes | gamma: exponent
        focal(one_vs_all=true, over=classes) | FocalLoss | pooled multiclass | of logits
        binary_focal(alpha=none) | FocalLoss | pooled
        bce bce_with_logits (over=all) | SoftBCEWithLogitsLoss | pooled | its smooth_factor is
            label_smoothing | label_smoothing: 2·label_smoothing
        cross_entropy(over=all) | SoftCrossEntropyLoss | pooled multiclass
        mcc_loss(smooth=1e-05) | MCCLoss | pooled binary
        lovasz | LovaszLoss(per_image=True) | binary multiclass | by default it sorts the pixels of
            the whole batch
        dice_score iou recall specificity fbeta (empty=1.0) | metrics.*_score | | with
            reduction='macro-imagewise'; without a reduction, one value per image and class
        precision(empty=1.0) | metrics.precision | | also 1 where only the prediction is empty
        """,
    ),
    Convention(
        "torchmetrics",
        "torchmetrics 1.9: segmentation metrics over samples, the others over all pixels",
        """
        dice_score | segmentation.DiceScore
        iou | segmentation.MeanIoU | | classification.JaccardIndex is pooled, and 0 where undefined
        generalized_dice(empty=1.0) | 1 − segmentation.GeneralizedDiceScore | | a class absent from
            a target gets the largest weight in the batch
        precision recall specificity fbeta (empty=0.0) | classification.Binary… | pooled binary
        accuracy mcc kappa auc average_precision | classification.Binary… | pooled binary
        panoptic_quality segmentation_quality recognition_quality | detection.PanopticQuality |
            pooled | allow_unknown_preds_category=True is void=both
        l1 l2 rmse | MeanAbsoluteError, MeanSquaredError | pooled
        log_cosh | LogCoshError | pooled
        hausdorff | segmentation.HausdorffDistance | | distances are wrong for images that are not
            square; two empty masks are an error
        kl | KLDivergence | pooled multiclass
        psnr | PeakSignalNoiseRatio | pooled
        ssim(border=reflect) | StructuralSimilarityIndexMeasure | | data_range defaults to the range
            of the batch
        total_variation(reduction=sum) | TotalVariation(reduction='mean') | | the default adds all
            samples | reduction: reduction=sum
        """,
    ),
    Convention(
        "kornia",
        "kornia 0.9: losses over the batch",
        """
        dice(absent=skip) | dice_loss(average='macro') | multiclass | the default average='micro' is
            generalized_dice(class_weights=uniform)
        generalized_dice(class_weights=uniform) | dice_loss | multiclass
        tversky(absent=skip) | tversky_loss | multiclass
        focal(over=classes) | focal_loss(alpha=None) | pooled multiclass | ignored pixels count in
            the mean; α weights classes from 1 on, 1−α class 0 | alpha: by_class
        binary_focal(over=all) | binary_focal_loss_with_logits | pooled | older versions multiply
            both terms by α
        lovasz | lovasz_hinge_loss | binary | of logits
        lovasz(classes=all) | lovasz_softmax_loss | multiclass
        iou(empty=1.0) | metrics.mean_iou | multiclass | the caller takes the mean over classes
        pseudo_huber | charbonnier_loss | pooled
        psnr | metrics.psnr | pooled
        ssim(border=reflect) | metrics.ssim
        ssim_loss(border=reflect, half=true) | ssim_loss
        total_variation(apart=true) | total_variation(reduction='mean') | | the default is
            reduction=sum per channel
        """,
    ),
    Convention(
        "metrics-reloaded",
        "MetricsReloaded: BinaryPairwiseMeasures of one mask",
        """
        dice_score(empty=1.0) | dsc | binary multilabel
        fbeta(empty=1.0) | fbeta | binary multilabel
        iou | intersection_over_union | binary multilabel
        hausdorff hd95 assd masd (both_empty=0.0, one_empty=undefined) |
            measured_hausdorff_distance, …_perc, measured_average_distance, measured_masd | binary
            multilabel | a missed object is skipped, which improves the mean
        nsd(empty=1.0) | normalised_surface_distance | binary multilabel
        boundary_iou(dilation=1.0, empty=1.0) | boundary_iou | binary multilabel
        precision recall specificity accuracy balanced_accuracy mcc | positive_predictive_values,
            recall, … | binary
        """,
    ),
    Convention(
        "medpy",
        "MedPy 0.5: metric.binary of one mask",
        """
        dice_score iou (empty=1.0) | dc, jc | binary multilabel
        hausdorff assd | hd, assd | binary multilabel | an empty mask is an error; up to 0.4, assd
            is masd
        hd95(pooled=true) | hd95 | binary multilabel | an empty mask is an error
        masd(directed=true) | asd | binary multilabel | an empty mask is an error
        precision recall specificity (empty=0.0) | precision, recall, specificity | binary
            multilabel
        """,
    ),
    Convention(
        "surface-distance",
        "DeepMind's surface-distance of one mask: surfaces halfway between pixels, weighted by"
        " length or area",
        """
        dice_score | compute_dice_coefficient | binary multilabel
        hausdorff hd95 (surface=subpixel, rule=weighted, both_empty=infinite) |
            compute_robust_hausdorff | binary multilabel
        masd(surface=subpixel) | compute_average_surface_distance | binary multilabel | returns the
            two directions separately
        nsd(surface=subpixel) | compute_surface_dice_at_tolerance | binary multilabel
        """,
    ),
    Convention(
        "nnunet",
        "nnU-Net v2: losses as in training, scores as in evaluation, without background",
        """
        dice(smooth=1e-05, negative=true, background=false) | MemoryEfficientSoftDiceLoss |
            multiclass | pooled with batch_dice, as in 2-D plans
        dice(smooth=1e-05, negative=true) | MemoryEfficientSoftDiceLoss | binary multilabel | pooled
            with batch_dice, as in 2-D plans; v1 could square true positives, false positives and
            false negatives: squared=elements
        dice_ce(mix=none, smooth=1e-05) | DC_and_CE_loss | multiclass
        dice_bce(mix=none, smooth=1e-05) | DC_and_BCE_loss | binary multilabel
        dice_score iou (background=false) | evaluate_predictions | class_mean multiclass | undefined
            where a class is in no mask of any sample
        dice_score iou | evaluate_predictions | class_mean binary multilabel
        """,
    ),
    Convention(
        "mmseg",
        "MMSegmentation: losses, and IoUMetric over the whole data set",
        """
        dice(smooth=1.0, squared=true) | DiceLoss | | as before 1.0; since then, one coefficient for
            all classes: generalized_dice(class_weights=uniform, squared=true, smooth_nr=0,
            smooth_dr=0.002)
        tversky(alpha=0.3, beta=0.7, smooth=1.0) | TverskyLoss
        cross_entropy(over=all) | CrossEntropyLoss | pooled | avg_non_ignore=True is over=valid;
            with class weights, divides by the number of pixels
        bce bce_with_logits (over=all) | CrossEntropyLoss(use_sigmoid=True) | pooled binary
            multilabel
        binary_focal(alpha=0.5, over=all) | FocalLoss | pooled binary multilabel
        focal(alpha=0.5, one_vs_all=true, over=classes) | FocalLoss | pooled multiclass | of logits;
            ignored pixels count in the mean
        dice_score iou recall | IoUMetric | pooled | the background of a binary task is a class as
            well; a class ignored by reduce_zero_label has no false positives, so its IoU is the
            recall
        mean_iou accuracy | IoUMetric | pooled
        """,
    ),
    Convention(
        "cityscapes",
        "cityscapesScripts: pixel-level evaluation over the whole data set",
        """
        iou mean_iou | evalPixelLevelSemanticLabeling | pooled
        """,
    ),
    Convention(
        "optax",
        "optax 0.2: losses with their defaults, one value per sample or element",
        """
        dice(smooth=2.0) | losses.dice_loss | | | smooth: 2·smooth
        tversky(smooth=1.0) | losses.dice_loss(alpha=…, beta=…)
        l2(half=true) | losses.l2_loss | pooled
        huber log_cosh | losses.huber_loss, log_cosh | pooled
        bce bce_with_logits | losses.sigmoid_binary_cross_entropy | pooled
        binary_focal(alpha=none) | losses.sigmoid_focal_loss | pooled
        hinge | losses.hinge_loss | pooled
        cross_entropy | losses.softmax_cross_entropy | pooled multiclass
        perceptron | losses.multiclass_perceptron_loss | pooled
        poly1(epsilon=2.0) | losses.poly_loss_cross_entropy | pooled multiclass
        kl | losses.kl_divergence | pooled multiclass
        """,
    ),
)
CONVENTIONS = {each.name: each for each in PRESETS}
