"""Named combinations: each function returns the expression that the name stands for.

The functions are called before anything is computed, so this module does not import torch.

Args:
    mix: m, the weight of the Dice loss; none adds the two unweighted, which is twice the value of
        mix=0.5.
    smooth: s of the Dice loss, added to numerator and denominator.
    label_smoothing: ε of the cross-entropy.
    network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded (random weights, for trials).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lossbench.losses import Expression, loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossbench.interface.annotations import (
        Count,
        LossCall,
        NetworkName,
        NonNegative,
        Positive,
        Share,
    )


def mixed(mix: float | None, first: str, second: str) -> Expression:
    """The expression m·first + (1−m)·second, or their sum."""
    return f"{first} + {second}" if mix is None else f"{mix} * {first} + {1 - mix} * {second}"


@loss(
    use="the standard training loss for medical segmentation with several classes",
    tasks=["binary", "multiclass"],
    sources=["Isensee et al. 2021, nnU-Net", "monai.losses.DiceCELoss"],
    example="dice_ce(mix=0.3, smooth=1)",
)
def dice_ce(
    *, mix: Share | None = 0.5, smooth: NonNegative = 0.0, label_smoothing: Share = 0.0
) -> Expression:
    """Weighted sum of Dice loss and cross-entropy.

    m·dice + (1−m)·cross_entropy.

    Returns:
        The expression, 0 or more.
    """
    return mixed(mix, f"dice(smooth={smooth})", f"cross_entropy(label_smoothing={label_smoothing})")


@loss(
    use="the standard training loss for medical masks",
    tasks=["binary", "multilabel"],
    sources=["Milletari et al. 2016, V-Net", "torch.nn.BCELoss"],
    example="dice_bce(mix=0.3, smooth=1)",
)
def dice_bce(
    *, mix: Share | None = 0.5, smooth: NonNegative = 0.0, label_smoothing: Share = 0.0
) -> Expression:
    """Weighted sum of Dice loss and binary cross-entropy.

    m·dice + (1−m)·bce.

    Returns:
        The expression, 0 or more.
    """
    return mixed(mix, f"dice(smooth={smooth})", f"bce(label_smoothing={label_smoothing})")


@loss(
    use="small organs; one number trades false negatives against false positives",
    tasks=["binary", "multilabel"],
    range=(None, None),
    sources=["Taghanaki et al. 2019"],
    example="combo(alpha=0.7, beta=0.4)",
)
def combo(*, alpha: Share = 0.5, beta: Share = 0.5, smooth: NonNegative = 0.0) -> Expression:
    """Combo loss: weighted cross-entropy minus the Dice coefficient.

    α·mean −[β·y·log p + (1−β)·(1−y)·log(1−p)] − (1−α)·(2I + s)/(P + Y + s).

    Args:
        alpha: α, the weight of the cross-entropy.
        beta: β; above ½, false negatives cost more than false positives.
        smooth: s of the Dice coefficient, added to numerator and denominator.

    Returns:
        The expression; negative for good predictions, −(1−α) at best.
    """
    return (
        f"{alpha} * binary_focal(alpha={beta}, gamma=0) - {1 - alpha} * (1 - dice(smooth={smooth}))"
    )


@loss(
    use="strongly imbalanced medical masks",
    tasks=["binary", "multilabel"],
    sources=["Yeung et al. 2022"],
    example="unified_focal(mix=0.3)",
)
def unified_focal(*, mix: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5) -> Expression:
    """Unified focal loss: asymmetric focal loss plus asymmetric focal Tversky loss.

    λ·asymmetric_focal(δ, γ) + (1−λ)·asymmetric_focal_tversky(δ, γ).

    Args:
        mix: λ, the weight of the cross-entropy part.
        delta: δ, the weight of positives and of false negatives.
        gamma: γ, how strongly the background is suppressed and the foreground enhanced.

    Returns:
        The expression, 0 or more.
    """
    options = f"delta={delta}, gamma={gamma}"
    return f"{mix} * asymmetric_focal({options}) + {1 - mix} * asymmetric_focal_tversky({options})"


@loss(
    family="binary",
    use="data sets in which foreground or background is rare",
    tasks=["binary", "multilabel"],
    sources=["Panchapagesan et al. 2016", "torch.nn.BCEWithLogitsLoss"],
    example="weighted_bce(label_smoothing=0.1)",
)
def weighted_bce(*, label_smoothing: Share = 0.0) -> Expression:
    """Binary cross-entropy with positives and negatives balanced over the data set.

    mean −[w⁺·y·log p + (1−y)·log(1−p)], with w⁺ = #neg/#pos over all ground truth.

    Args:
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε/2.

    Returns:
        The expression bce(pos_weight=auto); an error if no ground truth has a positive pixel.

    Note:
        Use `bce(pos_weight=3)` to set the weight, `balanced_bce` to balance each sample.
    """
    return f"bce(pos_weight=auto, label_smoothing={label_smoothing})"


@loss(
    family="divergence",
    use="comparing two soft segmentations neither of which is the ground truth",
    sources=["Jeffreys 1946"],
)
def symmetric_kl() -> Expression:
    """Mean of the Kullback–Leibler divergences in both directions: half of `jeffreys`.

    ½·(KL(y‖p) + KL(p‖y)).

    Returns:
        The expression 0.5·jeffreys, 0 or more.

    Note:
        Some tutorials call this the Jensen–Shannon divergence, which is `js`.
    """
    return "0.5 * jeffreys"


@loss(
    family="structure",
    use="training restoration for structure rather than single pixels",
    tasks=["image", "binary", "multiclass", "multilabel"],
    range=(0, 2),
    sources=["Wang et al. 2004"],
    example="ssim_loss(data_range=1)",
)
def ssim_loss(
    *,
    window: Count = 11,
    sigma: Positive = 1.5,
    data_range: Positive = 1.0,
    k1: Positive = 0.01,
    k2: Positive = 0.03,
    border: Literal["inside", "reflect"] = "inside",
    precision: Literal["fast", "double"] = "fast",
    half: bool = False,
) -> Expression:
    """One minus the structural similarity index.

    1 − ssim, with the options of `ssim`.

    Args:
        window: width of a window in pixels.
        sigma: standard deviation of the Gaussian in pixels.
        data_range: largest minus smallest possible value of an image; 1 for 8-bit images.
        k1: stabilises the luminance term in dark windows.
        k2: stabilises the contrast term in flat windows.
        border: as for `ssim`.
        precision: as for `ssim`.
        half: half of the loss, in [0, 1].

    Returns:
        The expression 1 − ssim(…), in [0, 2].
    """
    options = f"window={window}, sigma={sigma}, data_range={data_range}, k1={k1}, k2={k2}"
    dissimilarity = f"1 - ssim({options}, border={border}, precision={precision})"
    return f"0.5 * ({dissimilarity})" if half else dissimilarity


@loss(
    family="detection",
    use="training a detector: classification and localisation",
    tasks=["detection"],
    sources=["Girshick 2015, Fast R-CNN"],
    example="detection(alpha=0.3, cls=binary_focal(gamma=1), box=ciou)",
)
def detection(*, alpha: Share = 0.5, cls: LossCall = "bce", box: LossCall = "giou") -> Expression:
    """Detection loss: a classification loss of the scores and a loss of the boxes.

    α·cls + (1−α)·box.

    Args:
        alpha: α, the weight of the classification.
        cls: a loss of probabilities, such as bce or binary_focal(gamma=1). It compares the score of
            each detection with 1 if the detection matches an object and 0 if not; a missed object
            is a score of 0 against 1.
        box: a loss of boxes, such as iou_box, giou, diou or ciou(unmatched=all).

    Returns:
        The expression, 0 or more.

    Note:
        Detections match objects as in the loss of boxes: same class, best score first, IoU of at
        least ½.
    """
    return f"{alpha} * ({cls}) + {1 - alpha} * ({box})"


@loss(
    family="deep",
    use="thin structures such as roads and membranes, whose breaks are only a few pixels",
    tasks=["binary"],
    sources=["Mosinska et al. 2018"],
    example="topology(mu=0.1, network=tiny_seeded)",
)
def topology(
    *,
    mu: NonNegative = 0.1,
    layers: Sequence[str] = ("relu1_2", "relu2_2", "relu3_4"),
    network: NetworkName = "vgg19",
    pixel_loss: LossCall = "bce",
) -> Expression:
    """Topology-aware loss: a pixel loss plus a distance between deep features of the masks.

    pixel_loss + μ·Σ_n Σ_m ‖l_n^m(y) − l_n^m(p)‖² / (M_n·H_n·W_n) over the M_n maps of layer n.

    Args:
        mu: μ, the weight of the features.
        layers: names of the layers n.
        pixel_loss: any loss of the task, such as bce or dice(smooth=1).

    Returns:
        The expression, 0 or more.

    Note:
        Mask and probability map are compared as grey images: the second term is `perceptual`.
    """
    deep = f"perceptual(network={network}, layers=[{', '.join(layers)}])"
    return f"{pixel_loss} + {mu} * {deep}"


@loss(
    family="deep",
    use="style transfer: the content of one image in the style of another",
    tasks=["image"],
    sources=["Gatys et al. 2016", "Johnson et al. 2016"],
    example="content_style(network=tiny_seeded, beta=100)",
)
def content_style(
    *,
    alpha: NonNegative = 1.0,
    beta: NonNegative = 1e3,
    gamma: NonNegative = 0.0,
    style: Literal["gram", "features"] = "gram",
    network: NetworkName = "vgg19",
    content_layers: Sequence[str] = ("relu4_2",),
    style_layers: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
) -> Expression:
    """Content and style loss: close to one image in content, to another in texture.

    α·content(p, role content) + β·style(p, role style) + γ·total_variation(p).

    Args:
        alpha: α, the weight of the content.
        beta: β, the weight of the style.
        gamma: γ, the weight of the total variation.
        style: gram compares Gram matrices; features compares the features themselves and needs both
            images to have the same size.
        content_layers: layers of the content term.
        style_layers: layers of the style term.

    Returns:
        The expression, 0 or more.

    Note:
        Role content defaults to the ground truth; role style is required and may have any size:
        --input style=DIR. The content term is half a sum of squares, as in Gatys et al.
    """
    style_loss = {"gram": "gram", "features": "perceptual"}[style]
    terms = [
        f"{factor} * {name}(network={network}, layers=[{', '.join(layers)}], against={role})"
        for factor, name, role, layers in (
            (alpha, "content", "content", content_layers),
            (beta, style_loss, "style", style_layers),
        )
    ]
    return " + ".join([*terms, *([f"{gamma} * total_variation"] if gamma else [])])
