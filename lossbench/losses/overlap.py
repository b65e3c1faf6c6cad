"""Region overlap, with I = Σpy, P = Σp and Y = Σy over the valid pixels of one class."""

from torch import Tensor

from lossbench.losses import loss
from lossbench.views.forms import NonNegative, PerClass
from lossbench.views.overlap import Overlap
from lossbench.views.sums import logarithm, ratio


def smoothed(
    top: Tensor, bottom: Tensor, smooth: float, above: float | None, below: float | None
) -> Tensor:
    """A coefficient with its smoothing: one number for both sides unless they are set apart."""
    return ratio(
        top + (smooth if above is None else above), bottom + (smooth if below is None else below)
    )


def as_loss(coefficient: Tensor, log: bool) -> Tensor:
    """1 − c, or −log c clamped at 100."""
    return -logarithm(coefficient) if log else 1 - coefficient


@loss(
    family="overlap",
    tasks=["binary", "multiclass", "multilabel"],
    range=(0, 1),
    sources=["Milletari et al. 2016, V-Net", "Dice 1945"],
    example="dice(smooth=1, squared=true)",
)
def dice(
    overlap: Overlap,
    *,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    log: bool = False,
) -> PerClass:
    """Dice loss: one minus twice the overlap over the sum of both areas.

    1 − (2·I + s) / (P + Y + s), with I = Σpy, P = Σp, Y = Σy over the valid pixels of one class.

    Args:
        overlap: soft overlap sums, each field of shape (B, C).
        smooth: s ≥ 0, added above and below; 0 leaves the plain coefficient.
        smooth_nr: s above, where it differs.
        smooth_dr: s below, where it differs.
        log: −log of the coefficient, clamped at 100, in place of one minus it.

    Returns:
        Loss per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask and nothing is added below. With smooth_nr > smooth_dr it can be negative.

    Note:
        segmentation_models.pytorch and optax put 2s where this has s above and 2s below, so theirs
        is this with twice the s. nnU-Net reports the coefficient with a minus sign.
    """
    coefficient = smoothed(
        2 * overlap.both, overlap.pred + overlap.target, smooth, smooth_nr, smooth_dr
    )
    return as_loss(coefficient, log)


@loss(
    family="overlap",
    tasks=["binary", "multiclass", "multilabel"],
    range=(0, 1),
    aliases=["iou_loss", "soft_iou"],
    sources=["Jaccard 1912", "Rahman & Wang 2016"],
    example="jaccard(smooth=1)",
)
def jaccard(
    overlap: Overlap,
    *,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    log: bool = False,
) -> PerClass:
    """Jaccard loss: one minus the intersection over the union.

    1 − (I + s) / (P + Y − I + s), with I = Σpy, P = Σp, Y = Σy over the valid pixels of one class.

    Args:
        overlap: soft overlap sums, each field of shape (B, C).
        smooth: s ≥ 0, added above and below; 0 leaves the plain coefficient.
        smooth_nr: s above, where it differs.
        smooth_dr: s below, where it differs.
        log: −log of the coefficient, clamped at 100, in place of one minus it.

    Returns:
        Loss per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask and nothing is added below.

    Note:
        MONAI's DiceLoss(jaccard=True) adds s above and below to 2·I and to twice the union: it is
        this with s/2.
    """
    union = overlap.pred + overlap.target - overlap.both
    return as_loss(smoothed(overlap.both, union, smooth, smooth_nr, smooth_dr), log)


@loss(
    family="overlap",
    tasks=["binary", "multiclass", "multilabel"],
    range=(0, 1),
    sources=["Salehi et al. 2017", "Tversky 1977"],
    example="tversky(alpha=0.3, beta=0.7)",
)
def tversky(
    overlap: Overlap,
    *,
    alpha: NonNegative = 0.5,
    beta: NonNegative = 0.5,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    log: bool = False,
) -> PerClass:
    """Tversky loss: overlap in which false alarms and misses weigh differently.

    1 − (I + s) / (I + α·FP + β·FN + s), with I = Σpy, FP = Σp(1−y), FN = Σ(1−p)y over the valid
    pixels of one class.

    Args:
        overlap: soft overlap sums, each field of shape (B, C).
        alpha: α ≥ 0, the weight of false positives.
        beta: β ≥ 0, the weight of false negatives.
        smooth: s ≥ 0, added above and below; 0 leaves the plain coefficient.
        smooth_nr: s above, where it differs.
        smooth_dr: s below, where it differs.
        log: −log of the coefficient, clamped at 100, in place of one minus it.

    Returns:
        Loss per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask and nothing is added below.

    Note:
        α weighs false positives as in Salehi et al. and MONAI; many Keras snippets swap the two.
        α = β = ½ with s is `dice` with 2s; α = β = 1 is `jaccard`.
    """
    false_positive = overlap.pred - overlap.both
    false_negative = overlap.target - overlap.both
    bottom = overlap.both + alpha * false_positive + beta * false_negative
    return as_loss(smoothed(overlap.both, bottom, smooth, smooth_nr, smooth_dr), log)
