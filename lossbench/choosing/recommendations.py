"""Which loss? Rules from figures of the files to losses, and the losses of usual problems.

`RULES` is the table that `lossbench inspect` applies and that docs/inspect.md shows. A rule holds
where its figure reaches its limit; a template such as `{figure}` takes the numbers of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

SMALLEST_SIGMA = 1.0  # pixels, of a weight map


@dataclass(frozen=True)
class Recommendation:
    """A loss, why, the figure that it rests on, and a source."""

    loss: str
    why: str
    figure: str
    source: str


class Advice(NamedTuple):
    """A loss that a rule recommends."""

    expression: str
    why: str
    source: str


@dataclass(frozen=True)
class LossRule:
    """Losses for the tasks whose files have a figure of at least, or at most, a limit.

    Attributes:
        name: of the rule.
        tasks: on which it holds.
        figure: its name among the figures of an inspection; "" holds on every set of the tasks.
        text: the figure for people, with its value as `{figure}`.
        limit: the figure from which the rule holds.
        losses: what it recommends.
        at_most: whether it holds up to the limit, in place of from the limit on.
        until: a second limit, up to which a rule with a lower limit holds.
    """

    name: str
    tasks: tuple[str, ...]
    figure: str
    text: str
    limit: float
    losses: tuple[Advice, ...]
    at_most: bool = False
    until: float | None = None

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Whether the figures reach the limit."""
        if not self.figure:
            return True
        value = figures.get(self.figure)
        if value is None:
            return False
        if self.at_most:
            return value <= self.limit
        return self.limit <= value and (self.until is None or value <= self.until)

    @property
    def condition(self) -> str:
        """The condition for people."""
        if not self.figure:
            return "always"
        if "{figure}" not in self.text:
            return self.text
        text = self.text.replace("{figure}", "…")
        sign = "≤" if self.at_most else "≥"
        until = f", ≤ {self.until:g}" if self.until is not None else ""
        return f"{text} {sign} {self.limit:g}{until}"


MASKS = ("binary", "multiclass", "multilabel")
FOREGROUNDS = ("binary", "multilabel")
DICE = "Milletari et al. 2016, V-Net"
RELOADED = "Maier-Hein et al. 2024, Metrics reloaded"

RULES = (
    LossRule(
        "task",
        FOREGROUNDS,
        "",
        "",
        0,
        (
            Advice("dice", "the overlap itself, whatever the size of the object", DICE),
            Advice(
                "0.5*dice + 0.5*bce",
                "overlap with the smooth gradient of cross-entropy, the usual start for training",
                "Isensee et al. 2021, nnU-Net",
            ),
        ),
    ),
    LossRule(
        "task",
        ("multiclass",),
        "",
        "",
        0,
        (
            Advice("dice", "the overlap of each class, whatever its size", DICE),
            Advice(
                "0.5*dice + 0.5*cross_entropy",
                "overlap with the smooth gradient of cross-entropy, the usual start for training",
                "Isensee et al. 2021, nnU-Net",
            ),
        ),
    ),
    LossRule(
        "task",
        ("image",),
        "",
        "",
        0,
        (
            Advice(
                "l1",
                "sharper than the squared error, which averages possible details",
                "Zhao et al. 2017, Loss functions for image restoration",
            ),
            Advice("charbonnier", "the absolute error, smooth at zero", "Lai et al. 2017, LapSRN"),
            Advice(
                "psnr",
                "for comparison with published restoration results; blind to structure",
                "Horé & Ziou 2010, PSNR vs. SSIM",
            ),
            Advice(
                "lpips",
                (
                    "follows human judgement where textures may differ pixel by pixel, as in "
                    "super-resolution and synthesis"
                ),
                "Zhang et al. 2018, LPIPS",
            ),
        ),
    ),
    LossRule(
        "task",
        ("instances",),
        "",
        "",
        0,
        (
            Advice(
                "panoptic_quality",
                "each object counts once, found or not, and how well it fits",
                "Kirillov et al. 2019, Panoptic segmentation",
            ),
            Advice(
                "recognition_quality",
                "tells missed objects from loose outlines",
                "Kirillov et al. 2019, Panoptic segmentation",
            ),
        ),
    ),
    LossRule(
        "task",
        ("detection",),
        "",
        "",
        0,
        (
            Advice(
                "average_precision_boxes",
                "the number to report for detections",
                "Lin et al. 2014, COCO",
            ),
            Advice(
                "average_recall_boxes",
                "tells missed objects from wrong scores",
                "Lin et al. 2014, COCO",
            ),
        ),
    ),
    LossRule(
        "task",
        ("vectors",),
        "",
        "",
        0,
        (
            Advice(
                "cosine",
                "the angle, as embeddings are compared",
                "Schroff et al. 2015, FaceNet",
            ),
            Advice(
                "triplet",
                "ranks a positive before a negative by a margin; needs --input negative=DIR",
                "Schroff et al. 2015, FaceNet",
            ),
            Advice(
                "contrastive",
                "pairs with --input same=DIR: close together, or a margin apart",
                "Hadsell et al. 2006",
            ),
            Advice(
                "info_nce",
                "picks the partner among all samples, for training with large batches",
                "Oord et al. 2018, CPC",
            ),
        ),
    ),
    LossRule(
        "task",
        ("scores",),
        "",
        "",
        0,
        (
            Advice(
                "gan_nonsaturating(side=generator)",
                "keeps a gradient while the discriminator wins",
                "Goodfellow et al. 2014",
            ),
            Advice(
                "lsgan",
                "penalises samples by their distance from the decision, with steadier gradients",
                "Mao et al. 2017, LSGAN",
            ),
            Advice(
                "wgan",
                "follows the quality of samples during training; add wgan_gp with gradient norms",
                "Arjovsky et al. 2017, WGAN",
            ),
            Advice(
                "gan_hinge",
                "the usual choice for large image generators",
                "Lim & Ye 2017, Geometric GAN",
            ),
        ),
    ),
    LossRule(
        "task",
        ("records",),
        "",
        "",
        0,
        (
            Advice(
                "faster_rcnn",
                "anchors: objectness and box regression together",
                "Ren et al. 2015, Faster R-CNN",
            ),
        ),
    ),
    LossRule(
        "imbalance",
        FOREGROUNDS,
        "imbalance",
        "pixels of background to foreground {figure} to 1",
        5,
        (
            Advice(
                "tversky(alpha=0.3, beta=0.7)",
                (
                    "missed foreground counts more than false alarms, which dominate where "
                    "background prevails ({figure} to 1)"
                ),
                "Salehi et al. 2017, Tversky loss",
            ),
            Advice(
                "binary_focal(gamma=2)",
                "easy background, {figure} pixels for each of the foreground, loses its weight",
                "Lin et al. 2017, Focal loss",
            ),
            Advice(
                "bce(pos_weight={figure})",
                "gives foreground and background the same total weight",
                "Xie & Tu 2015, HED",
            ),
        ),
    ),
    LossRule(
        "imbalance",
        ("multiclass",),
        "imbalance",
        "pixels of the largest to the smallest class {figure} to 1",
        5,
        (
            Advice(
                "tversky(alpha=0.3, beta=0.7)",
                "missed pixels of small classes count more than false alarms ({figure} to 1)",
                "Salehi et al. 2017, Tversky loss",
            ),
            Advice(
                "focal(gamma=2)",
                "easy pixels of large classes lose their weight",
                "Lin et al. 2017, Focal loss",
            ),
            Advice(
                "cross_entropy(class_weights=median_frequency)",
                "median frequency / frequency as weights: {weights}",
                "Eigen & Fergus 2015",
            ),
            Advice(
                "generalized_dice",
                "weights the overlap of a class by 1 / its squared size",
                "Sudre et al. 2017, Generalised Dice",
            ),
        ),
    ),
    LossRule(
        "thin",
        MASKS,
        "thinness",
        "length to width of objects narrower than 3 % of the image {figure} to 1",
        8,
        (
            Advice(
                "cldice",
                (
                    "a break in a line {figure} times as long as wide costs a skeleton, and few "
                    "pixels of area"
                ),
                "Shit et al. 2021, clDice",
            ),
            Advice(
                "boundary",
                (
                    "weighs errors by their distance from the edge, since in thin objects most "
                    "pixels are edge"
                ),
                "Kervadec et al. 2019, Boundary loss",
            ),
            Advice(
                "nsd(tolerance=1)",
                "overlap falls steeply with a shift of one pixel; this score allows it",
                "Nikolov et al. 2018",
            ),
        ),
    ),
    LossRule(
        "many",
        MASKS,
        "objects",
        "objects in an image (median) {figure}",
        8,
        (
            Advice(
                "panoptic_quality",
                (
                    "with --task instances each object counts once: a sum of pixels hides missed "
                    "small ones among {figure}"
                ),
                "Kirillov et al. 2019, Panoptic segmentation",
            ),
            Advice(
                "recognition_quality",
                "with --task instances: F1 of found objects, {figure} of them in an image",
                "Kirillov et al. 2019, Panoptic segmentation",
            ),
        ),
    ),
    LossRule(
        "tiny",
        MASKS,
        "object_size",
        "median area of an object {figure} of the image",
        0.002,
        (
            Advice(
                "focal_tversky(alpha=0.3, beta=0.7, gamma=0.75)",
                "hard, small objects ({figure} of the image) keep a gradient",
                "Abraham & Khan 2019, Focal Tversky",
            ),
            Advice(
                "betti_error",
                "counts components, of which overlap hides the small ones",
                "Hu et al. 2019",
            ),
        ),
        at_most=True,
    ),
    LossRule(
        "touching",
        (*FOREGROUNDS, "instances"),
        "touching",
        "objects of an image within 2 pixels of another (mean) {figure}",
        1,
        (
            Advice(
                "bce(weight_map=unet(w0=10, sigma={sigma}))",
                (
                    "narrow gaps between objects get weight; sigma is the median gap of "
                    "neighbours, {gap} pixels, and one"
                ),
                "Ronneberger et al. 2015, U-Net",
            ),
            Advice(
                "segmentation_quality",
                "with --task instances: objects that are joined match nothing",
                "Kirillov et al. 2019, Panoptic segmentation",
            ),
        ),
    ),
    LossRule(
        "soft",
        MASKS,
        "softness",
        "pixels between 0 and 1 in the truth {figure}",
        0.001,
        (
            Advice(
                "dice(intersection=min)",
                (
                    "with the product p·y the Dice loss of a perfect soft prediction is not 0; "
                    "with the minimum it is"
                ),
                "Wang et al. 2023, Soft Dice for soft labels",
            ),
            Advice(
                "brier",
                "a proper score of levels, least where they are the true ones",
                "Brier 1950",
            ),
            Advice(
                "l1",
                "mean absolute error of levels, as matting reports it",
                "Rhemann et al. 2009",
            ),
        ),
    ),
    LossRule(
        "raters",
        MASKS,
        "levels",
        "distinct levels of a soft truth {figure}",
        3,
        (
            Advice(
                "kl",
                (
                    "so few levels are the votes of raters: a distribution, whose own entropy is "
                    "no error"
                ),
                "Kohl et al. 2018, Probabilistic U-Net",
            ),
            Advice("js", "the same, symmetric and bounded", "Lin 1991"),
        ),
        until=8,
    ),
    LossRule(
        "calibration",
        MASKS,
        "graded_predictions",
        "predictions are probabilities",
        1,
        (
            Advice(
                "ece",
                "whether 0.9 means nine of ten, which overlap does not tell",
                "Guo et al. 2017, On calibration",
            ),
        ),
    ),
    LossRule(
        "few_classes",
        ("multiclass", "multilabel"),
        "present",
        "mean share of the classes in an image {figure}",
        0.5,
        (
            Advice(
                "dice(absent=skip)",
                (
                    "an image has {figure} of the classes: a few false pixels of an absent one "
                    "cost a whole 1 otherwise"
                ),
                RELOADED,
            ),
            Advice("iou(absent=skip)", "the same for the score", RELOADED),
        ),
        at_most=True,
    ),
    LossRule(
        "spacing",
        MASKS,
        "anisotropy",
        "largest to smallest spacing of voxels {figure}",
        1.5,
        (
            Advice(
                "hd95",
                (
                    "in mm: a voxel is {figure} times as long along one axis, so distances in "
                    "voxels have no unit"
                ),
                "Taha & Hanbury 2015",
            ),
            Advice("assd", "the mean of the same distances, in mm", "Taha & Hanbury 2015"),
            Advice(
                "nsd(tolerance=2)",
                "the share of the surface within 2 mm",
                "Nikolov et al. 2018",
            ),
        ),
    ),
    LossRule(
        "small_boxes",
        ("detection",),
        "small_boxes",
        "boxes below 32² pixels {figure}",
        0.25,
        (
            Advice(
                "giou",
                "small boxes seldom overlap at first: it has a gradient without overlap",
                "Rezatofighi et al. 2019, GIoU",
            ),
            Advice(
                "ciou",
                "adds the distance of centres and the shape of boxes",
                "Zheng et al. 2020, DIoU and CIoU",
            ),
            Advice(
                "average_precision_boxes(area=small)",
                "the average precision of {figure} of the objects, which that of all hides",
                "Lin et al. 2014, COCO",
            ),
        ),
    ),
    LossRule(
        "structure",
        ("image",),
        "narrowest",
        "shortest side of a picture {figure} pixels",
        11,
        (
            Advice(
                "ssim",
                "structure in windows of 11 pixels, where the squared error behind PSNR sees none",
                "Wang et al. 2004, SSIM",
            ),
            Advice(
                "0.16*l1 + 0.84*ssim_loss",
                "contrast of edges from one, colour and brightness from the other",
                "Zhao et al. 2017, Loss functions for image restoration",
            ),
        ),
    ),
    LossRule(
        "scales",
        ("image",),
        "narrowest",
        "shortest side of a picture {figure} pixels",
        176,
        (
            Advice(
                "ms_ssim",
                "five scales, less bound to one viewing distance",
                "Wang et al. 2003, MS-SSIM",
            ),
        ),
    ),
)


class UseCase(NamedTuple):
    """A usual problem, with the task and the losses that serve it."""

    name: str
    task: str
    training: tuple[str, ...]
    scores: tuple[str, ...]
    source: str


USE_CASES = (
    UseCase(
        "classification, one label",
        "multiclass",
        ("cross_entropy", "cross_entropy(label_smoothing=0.1)", "poly1"),
        ("accuracy", "balanced_accuracy", "ece"),
        "Szegedy et al. 2016",
    ),
    UseCase(
        "classification, rare classes",
        "multiclass",
        ("focal(gamma=2)", "cross_entropy(class_weights=auto)"),
        ("balanced_accuracy", "mcc"),
        "Lin et al. 2017, Focal loss",
    ),
    UseCase(
        "classification, several labels",
        "multilabel",
        ("bce", "binary_focal"),
        ("average_precision", "auc"),
        "Lin et al. 2017, Focal loss",
    ),
    UseCase("knowledge distillation", "multiclass", ("kl", "js"), ("kl",), "Hinton et al. 2015"),
    UseCase(
        "segmentation of a foreground",
        "binary",
        ("0.5*dice + 0.5*bce", "lovasz"),
        ("dice_score", "iou"),
        "Milletari et al. 2016, V-Net",
    ),
    UseCase(
        "segmentation of street scenes",
        "multiclass",
        ("cross_entropy(class_weights=median_frequency)", "ohem_cross_entropy", "lovasz"),
        ("mean_iou", "boundary_iou"),
        "Cordts et al. 2016, Cityscapes",
    ),
    UseCase(
        "medical segmentation",
        "multiclass",
        ("0.5*dice + 0.5*cross_entropy", "generalized_dice"),
        ("dice_score", "hd95", "nsd"),
        "Isensee et al. 2021, nnU-Net",
    ),
    UseCase(
        "lesions, tumours: small against background",
        "binary",
        ("focal_tversky(alpha=0.3, beta=0.7)", "unified_focal"),
        ("dice_score", "recall"),
        "Abraham & Khan 2019, Focal Tversky",
    ),
    UseCase(
        "vessels, roads, cracks: thin",
        "binary",
        ("0.5*dice + 0.5*soft_cldice", "boundary"),
        ("cldice", "betti_error"),
        "Shit et al. 2021, clDice",
    ),
    UseCase(
        "cells: touching objects",
        "binary",
        ("bce(weight_map=unet(w0=10, sigma=5))",),
        ("panoptic_quality", "recognition_quality"),
        "Ronneberger et al. 2015, U-Net",
    ),
    UseCase(
        "instance segmentation",
        "instances",
        ("mask_rcnn",),
        ("panoptic_quality", "average_precision_boxes(iou_type=segm)"),
        "He et al. 2017, Mask R-CNN",
    ),
    UseCase(
        "panoptic segmentation",
        "instances",
        ("0.5*dice + 0.5*cross_entropy",),
        ("panoptic_quality", "segmentation_quality", "recognition_quality"),
        "Kirillov et al. 2019, Panoptic segmentation",
    ),
    UseCase(
        "salient objects",
        "binary",
        ("bce", "ssim_loss", "jaccard"),
        ("fbeta(beta=0.5477)", "l1"),
        "Qin et al. 2019, BASNet",
    ),
    UseCase(
        "matting: soft masks",
        "binary",
        ("l1", "dice(intersection=min)"),
        ("l1", "l2"),
        "Rhemann et al. 2009",
    ),
    UseCase(
        "detection",
        "detection",
        ("faster_rcnn", "giou", "ciou"),
        ("average_precision_boxes", "average_recall_boxes"),
        "Ren et al. 2015, Faster R-CNN",
    ),
    UseCase(
        "depth, heat maps: regression",
        "image",
        ("huber", "smooth_l1", "log_cosh"),
        ("rmse", "l1"),
        "Girshick 2015, Fast R-CNN",
    ),
    UseCase(
        "restoration, denoising",
        "image",
        ("charbonnier", "0.16*l1 + 0.84*ssim_loss", "total_variation"),
        ("psnr", "ssim"),
        "Zhao et al. 2017",
    ),
    UseCase(
        "super-resolution",
        "image",
        ("l1", "perceptual"),
        ("psnr", "ssim", "lpips"),
        "Ledig et al. 2017, SRGAN",
    ),
    UseCase(
        "style transfer",
        "image",
        ("content_style", "gram"),
        ("content", "lpips"),
        "Gatys et al. 2016",
    ),
    UseCase(
        "translation of images, paired",
        "image",
        ("l1", "lsgan"),
        ("lpips", "ssim"),
        "Isola et al. 2017, pix2pix",
    ),
    UseCase(
        "translation of images, unpaired",
        "image",
        ("cycle", "identity", "lsgan"),
        ("cycle",),
        "Zhu et al. 2017, CycleGAN",
    ),
    UseCase(
        "generation of images",
        "scores",
        ("gan_nonsaturating(side=generator)", "wgan_gp", "gan_hinge"),
        ("gan_minimax",),
        "Gulrajani et al. 2017, WGAN-GP",
    ),
    UseCase(
        "face recognition, retrieval",
        "vectors",
        ("triplet", "triplet_mining", "contrastive"),
        ("cosine",),
        "Schroff et al. 2015, FaceNet",
    ),
    UseCase(
        "self-supervised embeddings",
        "vectors",
        ("info_nce",),
        ("cosine",),
        "Oord et al. 2018, CPC",
    ),
)


def recommend(task: str, figures: Mapping[str, float], weights: str = "") -> list[Recommendation]:
    """The losses of every rule that holds, each loss once; rules of figures come first."""
    rules = [rule for rule in RULES if task in rule.tasks and rule.holds(figures)]
    by_loss = dict[str, Recommendation]()
    for rule in sorted(rules, key=lambda each: not each.figure):
        for each in _filled(rule, task, figures, weights):
            by_loss.setdefault(each.loss, each)
    return list(by_loss.values())


def _filled(
    rule: LossRule, task: str, figures: Mapping[str, float], weights: str
) -> Iterator[Recommendation]:
    """The losses of a rule with the numbers of the files."""
    value, gap = figures.get(rule.figure, 0.0), figures.get("gap", 0.0)
    numbers = {
        "figure": f"{value:.3g}" if value < 1000 else f"{value:.0f}",
        "weights": weights,
        "gap": f"{gap:.3g}",
        "sigma": f"{max(SMALLEST_SIGMA, gap + 1):.3g}",
    }
    text = rule.text.format(**numbers) if rule.figure else f"the task is {task}"
    limit = f" (limit {rule.limit:g})" if "{figure}" in rule.text else ""
    for each in rule.losses:
        yield Recommendation(
            each.expression.format(**numbers), each.why.format(**numbers), text + limit, each.source
        )


def as_rows(rules: Sequence[LossRule] = RULES) -> list[list[str]]:
    """The table of rules for people: task, condition, losses, source."""
    return [
        [
            ", ".join(rule.tasks),
            rule.condition,
            ", ".join(
                each.expression.replace("{figure}", "…").replace("{sigma}", "…")
                for each in rule.losses
            ),
            "; ".join(dict.fromkeys(each.source for each in rule.losses)),
        ]
        for rule in rules
    ]


@dataclass(frozen=True)
class UseCases:
    """The table of usual problems and their losses."""

    rows: tuple[UseCase, ...] = USE_CASES

    def as_json(self) -> dict[str, Any]:
        """Every problem with its losses."""
        return {"use_cases": [each._asdict() for each in self.rows]}

    def as_tables(self) -> Iterator[tuple[str, list[str], list[list[str]], tuple[int, ...]]]:
        """Title, headings, rows and left columns of the table."""
        rows = [
            [each.name, each.task, ", ".join(each.training), ", ".join(each.scores), each.source]
            for each in self.rows
        ]
        yield (
            "use cases",
            ["use case", "task", "training", "scores", "source"],
            rows,
            tuple(range(5)),
        )
