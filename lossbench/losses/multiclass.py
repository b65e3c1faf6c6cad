"""Losses that judge the probability of a pixel's one class among several."""

from lossbench.losses import loss
from lossbench.views.forms import Distribution, LogProbability, PerPixel, Share


@loss(
    family="multiclass",
    tasks=["binary", "multiclass"],
    aliases=["categorical_cross_entropy", "sparse_cross_entropy", "pixel_ce", "softmax_loss"],
    sources=["torch.nn.CrossEntropyLoss"],
    example="cross_entropy(label_smoothing=0.1, class_weights=auto)",
)
def cross_entropy(
    pred: LogProbability, target: Distribution, *, label_smoothing: Share = 0.0
) -> PerPixel:
    """Cross-entropy between the target's class and the predicted class probabilities.

    −Σ_x w_x·Σ_c w_c·ỹ_c·log p_c / Σ_x w_x·Σ_c w_c·y_c over the pixels x, ỹ the smoothed target.

    Args:
        pred: log p_c, never below −100, shape (B, C, N); a log-softmax where logits are read.
        target: y_c, summing to 1 over the classes, from labels, one-hot or soft, shape (B, C, N).
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε/C.

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).

    Note:
        On a binary task the background is the second class, so the value equals `bce`. With class
        weights torch divides by Σ w_c·y_c for labels and by N for soft targets; here always the
        former. A class column is the class's share over its pixels; smoothing moves ε/C of every
        pixel into every share.
    """
    smoothed = target + label_smoothing * (1 / target.shape[1] - target)
    return PerPixel(-smoothed * pred, mass=target)
