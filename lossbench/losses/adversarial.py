"""Adversarial losses: discriminator outputs of generated and real samples; cycle consistency.

Args:
    side: which network's loss.
    logits: whether the stored outputs are logits, whose sigmoid is D, or D itself.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from lossbench.errors import InputError, SettingError, sized
from lossbench.interface.annotations import (
    Difference,
    Image,
    NonNegative,
    PerSample,
    Scores,
    Weight,
)
from lossbench.interface.stable_math import ratio, total
from lossbench.losses import loss
from lossbench.views.discriminator import DiscriminatorOutputs, log_chances

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["scores", "image"]}


@loss(
    use="GANs as originally defined",
    range=(None, None),
    aliases=["gan"],
    sources=["Goodfellow et al. 2014, Generative Adversarial Nets"],
    example="gan_minimax(side=generator)",
)
def gan_minimax(
    outputs: DiscriminatorOutputs,
    *,
    side: Literal["discriminator", "generator"] = "discriminator",
    logits: bool = True,
) -> PerSample:
    """Minimax GAN loss of the discriminator or the generator.

    Discriminator: -[mean log D(x) + mean log(1 - D(G(z)))]; generator: mean log(1 - D(G(z))).

    Returns:
        Loss per sample, (B,). Discriminator: 0 or more, and 2·log 2 = 1.386 where it cannot tell
        generated from real (D = ½); generator: 0 or less.

    Note:
        Generated and real outputs are averaged separately and then added. A library that averages
        the two terms reports half of this.
    """
    _, no = log_chances(outputs.fake, logits, "pred")
    if side == "generator":
        return no.mean(-1)
    yes, _ = log_chances(outputs.real, logits, "target")
    return -(yes.mean(-1) + no.mean(-1))


@loss(
    use="GANs whose generator gets useful gradients from the start",
    sources=["Goodfellow et al. 2014, Generative Adversarial Nets"],
    example="gan_nonsaturating(side=generator)",
)
def gan_nonsaturating(
    outputs: DiscriminatorOutputs,
    *,
    side: Literal["discriminator", "generator"] = "discriminator",
    logits: bool = True,
) -> PerSample:
    """Non-saturating GAN loss of the discriminator or the generator.

    Discriminator: -[mean log D(x) + mean log(1 - D(G(z)))]; generator: -mean log D(G(z)).

    Returns:
        Loss per sample, (B,), 0 or more; log 2 for the generator where D = ½.
    """
    yes, no = log_chances(outputs.fake, logits, "pred")
    if side == "generator":
        return -yes.mean(-1)
    real, _ = log_chances(outputs.real, logits, "target")
    return -(real.mean(-1) + no.mean(-1))


@loss(
    use="least-squares GANs; CycleGAN, pix2pixHD",
    sources=["Mao et al. 2017, Least Squares Generative Adversarial Networks"],
    example="lsgan(side=generator)",
)
def lsgan(
    outputs: DiscriminatorOutputs,
    *,
    side: Literal["discriminator", "generator"] = "discriminator",
    a: float = 0.0,
    b: float = 1.0,
    c: float = 1.0,
) -> PerSample:
    """Least-squares GAN loss of the discriminator or the generator.

    Discriminator: ½·mean (D(x) - b)² + ½·mean (D(G(z)) - a)²; generator: ½·mean (D(G(z)) - c)².

    Args:
        a: the discriminator's target for generated samples.
        b: the discriminator's target for real samples.
        c: the generator's target for generated samples.

    Returns:
        Loss per sample, (B,), 0 or more.
    """
    if side == "generator":
        return _square(outputs.fake - c) / 2
    return _square(outputs.real - b) / 2 + _square(outputs.fake - a) / 2


@loss(
    use="Wasserstein GANs; the critic's loss is minus its distance estimate",
    range=(None, None),
    sources=["Arjovsky et al. 2017, Wasserstein GAN"],
    example="wgan(side=generator)",
)
def wgan(
    outputs: DiscriminatorOutputs, *, side: Literal["discriminator", "generator"] = "discriminator"
) -> PerSample:
    """Wasserstein GAN loss of the critic or the generator.

    Critic: mean D(G(z)) - mean D(x); generator: -mean D(G(z)).

    Returns:
        Loss per sample, (B,), of either sign.
    """
    fake = outputs.fake.mean(-1)
    return -fake if side == "generator" else fake - outputs.real.mean(-1)


@loss(
    use="Wasserstein GANs with a gradient penalty",
    range=(None, None),
    sources=["Gulrajani et al. 2017, Improved Training of Wasserstein GANs"],
    example="wgan_gp(lambda_=5)",
)
def wgan_gp(
    outputs: DiscriminatorOutputs, gradient_norm: Scores, *, lambda_: NonNegative = 10.0
) -> PerSample:
    """Wasserstein GAN critic loss with gradient penalty.

    mean D(G(z)) - mean D(x) + λ·mean (‖∇D‖ - 1)², with the norms from role `gradient_norm`.

    Args:
        lambda_: λ, the weight of the gradient penalty.

    Returns:
        Loss per sample, (B,), of either sign.

    Note:
        The generator's loss is `wgan(side=generator)`.
    """
    low = gradient_norm.detach().min()
    if low < 0:
        raise InputError(
            f"contains {float(low):.4g}; a norm cannot be negative",
            kind="mismatch",
            role="gradient_norm",
        )
    critic = outputs.fake.mean(-1) - outputs.real.mean(-1)
    return critic + lambda_ * _square(gradient_norm - 1)


@loss(
    use="GANs with a hinge loss; SAGAN, BigGAN, SPADE",
    range=(None, None),
    sources=["Lim and Ye 2017, Geometric GAN"],
    example="gan_hinge(side=generator)",
)
def gan_hinge(
    outputs: DiscriminatorOutputs, *, side: Literal["discriminator", "generator"] = "discriminator"
) -> PerSample:
    """Hinge GAN loss of the discriminator or the generator.

    Discriminator: mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))); generator: -mean D(G(z)).

    Returns:
        Loss per sample, (B,); 0 or more for the discriminator, either sign for the generator.
    """
    if side == "generator":
        return -outputs.fake.mean(-1)
    real, fake = (1 - outputs.real).clamp(min=0), (1 + outputs.fake).clamp(min=0)
    return real.mean(-1) + fake.mean(-1)


@loss(
    use="translation to another domain and back; CycleGAN",
    tasks=["image"],
    aliases=["cycle_consistency"],
    sources=["Zhu et al. 2017, Unpaired Image-to-Image Translation"],
    example="cycle(weight=5)",
)
def cycle(
    difference: Difference,
    elements: Weight,
    pred_back: Image,
    target_back: Image,
    *,
    weight: NonNegative = 10.0,
) -> PerSample:
    """Cycle consistency: translation to the other domain and back should be lossless.

    λ·(mean |F(G(x)) - x| + mean |G(F(y)) - y|); PRED = F(G(x)), GT = x, role `pred_back` = G(F(y)),
    role `target_back` = y.

    Args:
        weight: λ.

    Returns:
        Loss per sample, (B,), 0 or more; undefined where GT has no valid pixel.
    """
    return weight * (
        _mean_of_valid(difference, elements)
        + _difference(pred_back, target_back, "pred_back").abs().mean((1, 2))
    )


@loss(
    use="translation that leaves images of the target domain unchanged; CycleGAN",
    tasks=["image"],
    sources=["Zhu et al. 2017, Unpaired Image-to-Image Translation"],
    example="identity(weight=2)",
)
def identity(
    pred: Image,
    target: Image,
    elements: Weight,
    pred_back: Image | None,
    target_back: Image,
    identity_pred: Image | None,
    identity_back: Image | None,
    *,
    weight: NonNegative = 5.0,
) -> PerSample:
    """Identity loss: images already in the target domain should stay unchanged.

    λ·(mean |F(x) - x| + mean |G(y) - y|); F(x) = PRED or role `identity_pred`, x = GT, G(y) = role
    `pred_back` or `identity_back`, y = role `target_back`.

    Args:
        identity_pred: replaces PRED, so that one run can compute `cycle` and this loss.
        identity_back: replaces `pred_back`.
        weight: λ.

    Returns:
        Loss per sample, (B,), 0 or more; undefined where GT has no valid pixel.
    """
    forward = pred if identity_pred is None else identity_pred
    backward = pred_back if identity_back is None else identity_back
    if backward is None:
        raise SettingError(
            "identity needs the role pred_back or identity_back: --input pred_back=DIR"
        )
    return weight * (
        _mean_of_valid(_difference(forward, target, "identity_pred"), elements)
        + _difference(
            backward, target_back, "pred_back" if identity_back is None else "identity_back"
        )
        .abs()
        .mean((1, 2))
    )


def _square(x: Tensor) -> Tensor:
    """Mean square of each row."""
    return (x * x).mean(-1)


def _mean_of_valid(difference: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of |difference| over all elements of each sample."""
    weight = weight.expand_as(difference)
    return ratio(total(difference.abs(), weight).sum(-1), weight.sum((1, 2)))


def _difference(pred: Tensor, target: Tensor, role: str) -> Tensor:
    """Difference (B, C, N) of two images of the same size."""
    if pred.shape != target.shape:
        size, other = (f"{sized(x.shape[2:])} with {x.shape[1]} channels" for x in (pred, target))
        raise InputError(f"is {size}, but its counterpart is {other}", kind="size", role=role)
    return (pred - target).flatten(2)
