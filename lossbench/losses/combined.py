"""Combinations with a name: each function returns the expression that it stands for.

They are called before anything is computed, so that nothing here imports torch.
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


def mixed(share: float | None, first: str, second: str) -> Expression:
    """m·first + (1−m)·second, or their sum."""
    return f"{first} + {second}" if share is None else f"{share} * {first} + {1 - share} * {second}"


@loss(
    family="combined",
    use="the usual training loss of medical segmentation with several classes",
    tasks=["binary", "multiclass"],
    sources=["Isensee et al. 2021, nnU-Net", "monai.losses.DiceCELoss"],
    example="dice_ce(mix=0.3, smooth=1)",
)
def dice_ce(
    *, mix: Share | None = 0.5, smooth: NonNegative = 0.0, label_smoothing: Share = 0.0
) -> Expression:
    """Dice loss and cross-entropy.

    m·dice + (1−m)·cross_entropy.

    Args:
        mix: m, the share of the Dice loss; none adds the two as they are.
        smooth: s of the Dice loss, added above and below.
        label_smoothing: ε of the cross-entropy.

    Returns:
        The expression, 0 or more.

    Note:
        MONAI's DiceCELoss and nnU-Net add the two, mix=none: twice this.
    """
    return mixed(mix, f"dice(smooth={smooth})", f"cross_entropy(label_smoothing={label_smoothing})")


@loss(
    family="combined",
    use="the usual training loss of medical masks",
    tasks=["binary", "multilabel"],
    sources=["Milletari et al. 2016, V-Net", "torch.nn.BCELoss"],
    example="dice_bce(mix=0.3, smooth=1)",
)
def dice_bce(
    *, mix: Share | None = 0.5, smooth: NonNegative = 0.0, label_smoothing: Share = 0.0
) -> Expression:
    """Dice loss and binary cross-entropy.

    m·dice + (1−m)·bce.

    Args:
        mix: m, the share of the Dice loss; none adds the two as they are.
        smooth: s of the Dice loss, added above and below.
        label_smoothing: ε of the cross-entropy.

    Returns:
        The expression, 0 or more.
    """
    return mixed(mix, f"dice(smooth={smooth})", f"bce(label_smoothing={label_smoothing})")


@loss(
    family="combined",
    use="small organs, trading misses against false alarms by one number",
    tasks=["binary", "multilabel"],
    range=(None, None),
    sources=["Taghanaki et al. 2019"],
    example="combo(alpha=0.7, beta=0.4)",
)
def combo(*, alpha: Share = 0.5, beta: Share = 0.5, smooth: NonNegative = 0.0) -> Expression:
    """Combo loss: weighted cross-entropy less the Dice coefficient.

    α·mean −[β·y·log p + (1−β)·(1−y)·log(1−p)] − (1−α)·(2I + s)/(P + Y + s).

    Args:
        alpha: α, the share of the cross-entropy.
        beta: β, above ½ misses cost more than false alarms.
        smooth: s of the Dice coefficient, added above and below.

    Returns:
        The expression; a good prediction is negative, −(1−α) at best.
    """
    return (
        f"{alpha} * binary_focal(alpha={beta}, gamma=0) - {1 - alpha} * (1 - dice(smooth={smooth}))"
    )


@loss(
    family="combined",
    use="strongly imbalanced medical masks",
    tasks=["binary", "multilabel"],
    sources=["Yeung et al. 2022"],
    example="unified_focal(mix=0.3)",
)
def unified_focal(*, mix: Share = 0.5, delta: Share = 0.6, gamma: Share = 0.5) -> Expression:
    """Unified focal loss: the asymmetric focal and focal Tversky losses.

    λ·asymmetric_focal(δ, γ) + (1−λ)·asymmetric_focal_tversky(δ, γ).

    Args:
        mix: λ, the share of the cross-entropy part.
        delta: δ, the weight of positives, and of misses.
        gamma: γ, how much the background loses and the foreground gains.

    Returns:
        The expression, 0 or more.
    """
    given = f"delta={delta}, gamma={gamma}"
    return f"{mix} * asymmetric_focal({given}) + {1 - mix} * asymmetric_focal_tversky({given})"


@loss(
    family="binary",
    use="data sets in which one side of the mask is rare",
    tasks=["binary", "multilabel"],
    sources=["Panchapagesan et al. 2016", "torch.nn.BCEWithLogitsLoss"],
    example="weighted_bce(label_smoothing=0.1)",
)
def weighted_bce(*, label_smoothing: Share = 0.0) -> Expression:
    """Binary cross-entropy with both sides of equal weight over the data set.

    mean −[w⁺·y·log p + (1−y)·log(1−p)], with w⁺ = #neg/#pos over all ground truth.

    Args:
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε/2.

    Returns:
        The expression bce(pos_weight=auto); an error where no ground truth has a positive pixel.

    Note:
        A weight of your own is `bce(pos_weight=3)`. `balanced_bce` weighs by each sample.
    """
    return f"bce(pos_weight=auto, label_smoothing={label_smoothing})"


@loss(
    family="divergence",
    use="comparing two soft segmentations of which neither is the truth",
    tasks=["binary", "multiclass", "multilabel"],
    sources=["Jeffreys 1946"],
    example="symmetric_kl",
)
def symmetric_kl() -> Expression:
    """Mean of the Kullback–Leibler divergences both ways: half of `jeffreys`.

    ½·(KL(y‖p) + KL(p‖y)).

    Returns:
        The expression 0.5·jeffreys, 0 or more.

    Note:
        Some tutorials call this Jensen–Shannon; that is `js`.
    """
    return "0.5 * jeffreys"


@loss(
    family="structure",
    use="training restoration for structure in place of single pixels",
    tasks=["binary", "multiclass", "multilabel", "image"],
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
    half: bool = False,
) -> Expression:
    """One minus the structural similarity index.

    1 − ssim, with the options of `ssim`.

    Args:
        window: width of a window in pixels.
        sigma: width of the Gaussian in pixels.
        data_range: largest minus smallest value that an image can have; 1 for 8-bit images.
        k1: keeps the light of dark windows apart from 0/0.
        k2: keeps the contrast of flat windows apart from 0/0.
        border: as for `ssim`.
        half: half of it, in [0, 1].

    Returns:
        The expression 1 − ssim(…), in [0, 2].

    Note:
        kornia's `ssim_loss` is half of this, half=true, with a reflected border.
    """
    given = f"window={window}, sigma={sigma}, data_range={data_range}, k1={k1}, k2={k2}"
    difference = f"1 - ssim({given}, border={border})"
    return f"0.5 * ({difference})" if half else difference


@loss(
    family="detection",
    use="training a detector: what an object is, and where",
    tasks=["detection"],
    sources=["Girshick 2015, Fast R-CNN"],
    example="detection(alpha=0.3, cls=binary_focal(gamma=1), box=ciou)",
)
def detection(*, alpha: Share = 0.5, cls: LossCall = "bce", box: LossCall = "giou") -> Expression:
    """Detection loss: a classification loss of scores and a loss of boxes.

    α·cls + (1−α)·box.

    Args:
        alpha: α, the share of the classification.
        cls: a loss of probabilities, such as bce or binary_focal(gamma=1): the score of a detection
            against whether it is an object, and 0 against 1 for an object that was missed.
        box: a loss of boxes, such as iou_box, giou, diou or ciou(unmatched=all).

    Returns:
        The expression, 0 or more.

    Note:
        A detection is an object where the loss of boxes matches it: of its class, best score first,
        from an IoU of ½ on.
    """
    return f"{alpha} * ({cls}) + {1 - alpha} * ({box})"


@loss(
    family="deep",
    use="thin structures such as roads and membranes, whose breaks are few pixels",
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
    """Topology-aware loss: a pixel loss and the difference of deep features of the masks.

    pixel_loss + μ·Σ_n Σ_m ‖l_n^m(y) − l_n^m(p)‖² / (M_n·H_n·W_n) over the M_n maps of layer n.

    Args:
        mu: μ, the share of the features.
        layers: n, by name.
        network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded to try things out.
        pixel_loss: any loss of the task, such as bce or dice(smooth=1).

    Returns:
        The expression, 0 or more.

    Note:
        Mask and probability map are compared as grey pictures: the second part is `perceptual`.
    """
    deep = f"perceptual(network={network}, layers=[{', '.join(layers)}])"
    return f"{pixel_loss} + {mu} * {deep}"


@loss(
    family="deep",
    use="style transfer: the content of one picture in the style of another",
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
    """Content and style loss: near one picture in what it shows, near another in texture.

    α·content(p, role content) + β·style(p, role style) + γ·total_variation(p).

    Args:
        alpha: α of the content.
        beta: β of the style.
        gamma: γ of the total variation.
        style: gram compares Gram matrices, features the features themselves, for which both
            pictures must have one size.
        network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded to try things out.
        content_layers: what content compares.
        style_layers: what style compares.

    Returns:
        The expression, 0 or more.

    Note:
        Role content is the ground truth where it is not given; role style is needed and may be of
        any size: --input style=DIR. The content is half a sum of squares, as Gatys has it.
    """
    kind = {"gram": "gram", "features": "perceptual"}[style]
    parts = [(alpha, "content", "content", content_layers), (beta, kind, "style", style_layers)]
    terms = [
        f"{factor} * {name}(network={network}, layers=[{', '.join(layers)}], against={role})"
        for factor, name, role, layers in parts
    ]
    return " + ".join([*terms, *([f"{gamma} * total_variation"] if gamma else [])])
