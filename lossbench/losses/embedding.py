"""Losses of embeddings: how far vectors are apart that belong together, or do not."""

from __future__ import annotations

import torch

from lossbench.errors import InputError
from lossbench.interface.annotations import Gallery, Label, PerSample, Positive, Vector
from lossbench.interface.stable_math import ratio
from lossbench.losses import loss
from lossbench.views.vectors import TripletSums, cosine_of, defined, direction, distance


@loss(
    family="embedding",
    use="metric learning, re-identification",
    tasks=["vectors"],
    aliases=["triplet_margin"],
    sources=["Schroff et al. 2015, FaceNet", "torch.nn.TripletMarginLoss"],
    example="triplet(margin=0.2, squared=true)",
)
def triplet(
    pred: Vector,
    target: Vector,
    negative: Vector,
    *,
    margin: float = 1.0,
    p: Positive = 2.0,
    squared: bool = False,
    swap: bool = False,
) -> PerSample:
    """Triplet loss: the positive should be nearer than the negative, by a margin.

    max(d(a, p) - d(a, n) + margin, 0), d(x, y) = ‖x - y‖_p; anchor a = PRED, positive p = GT,
    negative n = role `negative`.

    Args:
        pred: anchors, shape (B, D).
        target: positives, shape (B, D).
        negative: negatives, shape (B, D).
        margin: by which the negative should be farther.
        p: the norm.
        squared: of squared distances, as FaceNet has it.
        swap: measure the negative from the positive where that is nearer (Balntas et al. 2016).

    Returns:
        Loss per sample, shape (B,), from 0.

    Note:
        torch adds 1e-6 to every difference.
    """
    away = distance(pred, negative, p, squared)
    if swap:
        away = torch.minimum(away, distance(target, negative, p, squared))
    return (distance(pred, target, p, squared) - away + margin).clamp(min=0)


@loss(
    family="embedding",
    use="siamese networks: pairs that are alike or not",
    tasks=["vectors"],
    sources=["Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping"],
    example="contrastive(margin=2)",
)
def contrastive(pred: Vector, target: Vector, same: Label, *, margin: Positive = 1.0) -> PerSample:
    """Contrastive loss: pairs of a kind together, others a margin apart.

    ½·[s·d² + (1 - s)·max(margin - d, 0)²], d the Euclidean distance of PRED and GT; s = 1 for a
    pair of one kind and 0 for others, role `same`.

    Args:
        pred: vectors, shape (B, D).
        target: vectors, shape (B, D).
        same: 1 or 0, shape (B,).
        margin: from which distance on a pair of two kinds costs nothing.

    Returns:
        Loss per sample, shape (B,), from 0.
    """
    if ((same != 0) & (same != 1)).any():
        found = float(same[(same != 0) & (same != 1)][0])
        raise InputError(
            f"holds {found:g}; expected 1 for a pair of one kind, 0 for others",
            kind="mismatch",
            role="same",
        )
    away = distance(pred, target)
    apart = (margin - away).clamp(min=0)
    return (same * distance(pred, target, squared=True) + (1 - same) * apart * apart) / 2


@loss(
    family="embedding",
    use="directions of embeddings, whatever their length",
    tasks=["vectors"],
    range=(0, 2),
    aliases=["cosine_distance", "cosine_embedding"],
    sources=["torch.nn.CosineEmbeddingLoss"],
    example="cosine",
)
def cosine(pred: Vector, target: Vector) -> PerSample:
    """Cosine distance: one minus the cosine of the angle.

    1 - a·b / (‖a‖·‖b‖).

    Args:
        pred: vectors, shape (B, D).
        target: vectors, shape (B, D).

    Returns:
        Loss per sample, shape (B,), in [0, 2]; undefined where a vector is zero.

    Note:
        torch.nn.CosineEmbeddingLoss has this for pairs that are alike; of a zero vector it makes 1.
    """
    return 1 - cosine_of(pred, target)


@loss(
    family="embedding",
    use="contrastive learning: each vector should find its own partner among all",
    tasks=["vectors"],
    sources=["van den Oord et al. 2018, Contrastive Predictive Coding"],
    example="info_nce(temperature=0.1)",
)
def info_nce(
    pred: Vector, target: Vector, gallery: Gallery, *, temperature: Positive = 0.07
) -> PerSample:
    """InfoNCE: cross-entropy of finding the own partner among all samples of the run.

    -log(exp(cos(a_i, b_i)/τ) / Σ_j exp(cos(a_i, b_j)/τ)), a = PRED, b = GT, j over all samples.

    Args:
        pred: vectors, shape (B, D).
        target: their partners, shape (B, D).
        gallery: all vectors of the run.
        temperature: τ.

    Returns:
        Loss per sample, shape (B,), from 0; undefined where either vector of the pair is zero.

    Note:
        In one direction, PRED to GT; of a batch in training it is over that batch. A partner of
        zeros is no candidate. It is a value of the run, so that shards of it do not add up.
    """
    likeness = direction(pred) @ direction(gallery.target).T / temperature
    likeness = likeness.where(defined(gallery.target), -torch.inf)
    own = likeness.gather(1, gallery.place[:, None])[:, 0]
    known = defined(pred) & defined(target)
    every = likeness.logsumexp(1).where(known, 0.0)
    return (every - own.where(known, 0.0)).where(known, torch.nan)


@loss(
    family="embedding",
    use="metric learning on a labelled set",
    tasks=["vectors"],
    sources=[
        "Schroff et al. 2015, FaceNet",
        "Hermans et al. 2017, In Defense of the Triplet Loss",
    ],
    example="triplet_mining(mining=batch_all, margin=0.2)",
)
def triplet_mining(mined: TripletSums) -> PerSample:
    """Triplet loss of one labelled set, over the triplets that it has.

    mean max(d(a, p) - d(a, n) + margin, 0) over the triplets of an anchor a, p of its label and n
    of another; PRED holds vectors, GT labels.

    Args:
        mined: sums over the triplets of each anchor, shape (B,).

    Returns:
        Loss per sample as the anchor, shape (B,), from 0; undefined where it has no triplet: no
        other sample of its label, none of another, or none that is semihard.

    Note:
        The pooled value is the mean over all triplets of the run, as Hermans et al. define
        batch_all; that of batch_hard is the mean over anchors.
    """
    return ratio(mined.loss, mined.active.where(mined.active > 0, mined.triplets))
