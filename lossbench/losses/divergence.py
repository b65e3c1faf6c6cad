"""Divergences between the target and predicted distributions of a pixel.

Multiclass tasks compare K classes; on binary and multilabel tasks every label compares (p, 1−p)
with (y, 1−y). Logarithms are natural.
"""

from __future__ import annotations

from lossbench.interface.annotations import (
    Array,
    Chances,
    Difference,
    Mass,
    Outcomes,
    PerPixel,
    Share,
)
from lossbench.interface.stable_math import logarithm
from lossbench.losses import loss


def divergence(q: Array, log_q: Array, log_r: Array) -> Array:
    """Divergence Σ q·(log q − log r) over the outcomes."""
    return (q * (log_q - log_r)).sum(0)


def log_mixture(pred: Chances, target: Chances, alpha: float) -> Array:
    """Logarithm of the mixture α·p + (1−α)·y."""
    if alpha == 1:
        return pred.log
    return logarithm(alpha * pred.chance + (1 - alpha) * target.chance)


@loss(
    use="calibration and sharpness of probabilities in one number",
    range=(0, 2),
    sources=["Brier 1950", "sklearn.metrics.brier_score_loss"],
    example="brier(reduction=sum)",
    revision=2,
)
def brier(difference: Difference, mass: Mass) -> PerPixel:
    """Brier score: squared error of probabilities.

    mean (p−y)², summed over the classes of a multiclass task.

    Returns:
        (p−y)² of each class, (B, C, N); at most 1 per label, 2 summed over classes.

    Note:
        Called a score, but lower is better. On binary and multilabel tasks it equals `l2`.
    """
    return PerPixel(difference**2, mass)


@loss(
    use="the uncertainty of soft ground truth, independent of any prediction",
    better=None,
    sources=["Shannon 1948", "scipy.stats.entropy"],
    example="entropy(reduction=sum)",
    revision=2,
)
def entropy(target: Outcomes, mass: Mass) -> PerPixel:
    """Entropy of the target: the lower bound of the cross-entropy.

    mean −Σ_c y_c·log y_c; cross-entropy is this plus `kl`.

    Returns:
        Contribution of each class, (B, C, N), 0 or more; 0 for hard targets.
    """
    return PerPixel(-(target.chance * target.log).sum(0), mass)


@loss(
    use="soft ground truth, such as several raters or a teacher network",
    aliases=["kl_divergence", "relative_entropy"],
    sources=["Kullback & Leibler 1951", "torch.nn.KLDivLoss"],
    example="kl(reduction=sum)",
    revision=2,
)
def kl(pred: Outcomes, target: Outcomes, mass: Mass) -> PerPixel:
    """Kullback–Leibler divergence KL(target ‖ prediction).

    mean Σ_c y_c·(log y_c − log p_c).

    Returns:
        Contribution of each class, (B, C, N); the sum over classes is 0 or more.

    Note:
        For hard targets this is the cross-entropy.
    """
    return PerPixel(divergence(target.chance, target.log, pred.log), mass)


@loss(
    use="comparing two distributions neither of which is the ground truth",
    sources=["Jeffreys 1946"],
    example="jeffreys(reduction=sum)",
    revision=2,
)
def jeffreys(pred: Outcomes, target: Outcomes, mass: Mass) -> PerPixel:
    """Jeffreys divergence: sum of both Kullback–Leibler divergences.

    mean KL(y‖p) + KL(p‖y) = mean Σ_c (y_c − p_c)·(log y_c − log p_c).

    Returns:
        Contribution of each class, (B, C, N), 0 or more.

    Note:
        Hard targets have log 0 = −100, so the value measures how far p is from certainty.
    """
    terms = (target.chance - pred.chance) * (target.log - pred.log)
    return PerPixel(terms.sum(0), mass)


@loss(
    use="comparing two distributions with a bounded measure",
    aliases=["jensen_shannon"],
    sources=["Lin 1991", "scipy.spatial.distance.jensenshannon"],
    example="js(reduction=sum)",
    revision=2,
)
def js(pred: Outcomes, target: Outcomes, mass: Mass) -> PerPixel:
    """Jensen–Shannon divergence: both distributions against their mean.

    mean ½·KL(y‖m) + ½·KL(p‖m), with m = (y + p)/2.

    Returns:
        Contribution of each class, (B, C, N); the sum over classes is in [0, log 2].

    Note:
        scipy's jensenshannon is the square root of this.
    """
    log_mean = log_mixture(pred, target, 0.5)
    first = divergence(target.chance, target.log, log_mean)
    return PerPixel((first + divergence(pred.chance, pred.log, log_mean)) / 2, mass)


@loss(
    use="distributions with zeros, for which kl becomes very large",
    aliases=["skew_divergence"],
    sources=["Lee 1999"],
    example="alpha_kl(alpha=0.9)",
    revision=2,
)
def alpha_kl(pred: Outcomes, target: Outcomes, mass: Mass, *, alpha: Share = 0.5) -> PerPixel:
    """Skew divergence: KL of the target against its mixture with the prediction.

    mean KL(y ‖ α·p + (1−α)·y).

    Args:
        alpha: α in [0, 1], the weight of the prediction; 1 is `kl`, 0 always gives 0.

    Returns:
        Contribution of each class, (B, C, N); the sum over classes is 0 or more.
    """
    log_mean = log_mixture(pred, target, alpha)
    return PerPixel(divergence(target.chance, target.log, log_mean), mass)


@loss(
    use="a family of divergences from js to symmetric_kl",
    sources=["Nielsen 2010"],
    example="alpha_js(alpha=0.9)",
    revision=2,
)
def alpha_js(pred: Outcomes, target: Outcomes, mass: Mass, *, alpha: Share = 0.5) -> PerPixel:
    """Skewed Jensen–Shannon divergence.

    mean ½·KL(y ‖ α·p + (1−α)·y) + ½·KL(p ‖ α·y + (1−α)·p).

    Args:
        alpha: α in [0, 1], the weight of the other distribution; ½ is `js`, 1 is `symmetric_kl`.

    Returns:
        Contribution of each class, (B, C, N); the sum over classes is 0 or more.
    """
    first = divergence(target.chance, target.log, log_mixture(pred, target, alpha))
    second = divergence(pred.chance, pred.log, log_mixture(target, pred, alpha))
    return PerPixel((first + second) / 2, mass)
