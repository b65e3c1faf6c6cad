"""Losses that judge each pixel, and each label of a multilabel task, as one yes or no."""

from lossbench.losses import loss
from lossbench.views.forms import LogPair, NonNegative, PerPixel, Probability, Share


@loss(
    family="binary",
    tasks=["binary", "multilabel"],
    aliases=["log_loss", "binary_cross_entropy", "logistic_loss"],
    sources=["torch.nn.BCELoss", "torch.nn.BCEWithLogitsLoss"],
    example="bce(pos_weight=3, label_smoothing=0.1)",
)
def bce(
    pred: LogPair,
    target: Probability,
    *,
    pos_weight: NonNegative = 1.0,
    label_smoothing: Share = 0.0,
) -> PerPixel:
    """Binary cross-entropy.

    mean −[w⁺·y·log p + (1−y)·log(1−p)], with logarithms never below −100.

    Args:
        pred: log p and log(1−p), each of shape (B, C, N); overflow-free where logits are read.
        target: y in [0, 1], hard or soft, shape (B, C, N).
        pos_weight: w⁺, a factor on the positive part; the mean still divides by the elements.
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε/2.

    Returns:
        The cross-entropy of each element, shape (B, C, N), in [0, 100·max(1, w⁺)].

    Note:
        A hard mask as prediction is a probability of 0 or 1: each wrong pixel costs 100. With a
        role `weight` the mean divides by Σw, where torch's BCELoss(weight) divides by N.
    """
    smoothed = target + label_smoothing * (0.5 - target)
    return PerPixel(-(pos_weight * smoothed * pred.yes + (1 - smoothed) * pred.no))
