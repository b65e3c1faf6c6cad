"""Losses of the difference d = p − y between two images, probability maps or float maps."""

from lossbench.losses import loss
from lossbench.views.forms import Difference, PerPixel


@loss(
    family="regression",
    tasks=["binary", "multiclass", "multilabel", "image"],
    aliases=["mae"],
    sources=["torch.nn.L1Loss"],
    example="l1(reduction=sum)",
)
def l1(difference: Difference) -> PerPixel:
    """Mean absolute error.

    mean |d|, with d = p − y over the valid elements: every pixel of every class or channel.

    Args:
        difference: p − y, shape (B, C, N).

    Returns:
        |d| for each element, shape (B, C, N), 0 or more.

    Note:
        8-bit images are compared in [0, 1], so that one grey level is 1/255.
    """
    return PerPixel(difference.abs())


@loss(
    family="regression",
    tasks=["binary", "multiclass", "multilabel", "image"],
    aliases=["mse", "quadratic"],
    sources=["torch.nn.MSELoss"],
    example="l2(reduction=sum)",
)
def l2(difference: Difference) -> PerPixel:
    """Mean squared error.

    mean d², with d = p − y over the valid elements: every pixel of every class or channel.

    Args:
        difference: p − y, shape (B, C, N).

    Returns:
        d² for each element, shape (B, C, N), 0 or more.

    Note:
        optax's `l2_loss` is half of this.
    """
    return PerPixel(difference**2)
