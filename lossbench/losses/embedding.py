"""Embedding losses: distances between vectors that should be close, or far apart."""

from __future__ import annotations

import torch

from lossbench.errors import InputError
from lossbench.interface.annotations import Gallery, Label, PerSample, Positive, Vector
from lossbench.interface.stable_math import ratio, where
from lossbench.losses import loss
from lossbench.views.vectors import TripletSums, cosine_of, direction, distance, non_zero

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["vectors"]}


@loss(
    use="metric learning, re-identification",
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
    """Triplet loss: the positive should be closer than the negative by a margin.

    max(d(a, p) - d(a, n) + margin, 0), d(x, y) = ‖x - y‖_p; anchor a = PRED, positive p = GT,
    negative n = role `negative`.

    Args:
        margin: how much farther the negative should be.
        p: order of the norm.
        squared: use squared distances, as in FaceNet.
        swap: measure the negative's distance from the positive if that is smaller (Balntas et al.
            2016).

    Returns:
        Loss per sample, (B,), 0 or more.

    Note:
        torch adds 1e-6 to every difference.
    """
    to_negative = distance(pred, negative, p, squared)
    if swap:
        to_negative = torch.minimum(to_negative, distance(target, negative, p, squared))
    return (distance(pred, target, p, squared) - to_negative + margin).clamp(min=0)


@loss(
    use="siamese networks: similar and dissimilar pairs",
    sources=["Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping"],
    example="contrastive(margin=2)",
)
def contrastive(pred: Vector, target: Vector, same: Label, *, margin: Positive = 1.0) -> PerSample:
    """Contrastive loss: similar pairs close together, dissimilar pairs a margin apart.

    ½·[s·d² + (1 - s)·max(margin - d, 0)²], d the Euclidean distance of PRED and GT; s = 1 for a
    similar pair and 0 for a dissimilar one, role `same`.

    Args:
        margin: distance beyond which a dissimilar pair has loss 0.

    Returns:
        Loss per sample, (B,), 0 or more.
    """
    if ((same != 0) & (same != 1)).any():
        invalid = float(same[(same != 0) & (same != 1)][0])
        raise InputError(
            f"contains {invalid:g}; expected 1 for a similar pair, 0 for a dissimilar one",
            kind="mismatch",
            role="same",
        )
    gap = (margin - distance(pred, target)).clamp(min=0)
    return (same * distance(pred, target, squared=True) + (1 - same) * gap * gap) / 2


@loss(
    use="directions of embeddings, regardless of their length",
    range=(0, 2),
    aliases=["cosine_distance", "cosine_embedding"],
    sources=["torch.nn.CosineEmbeddingLoss"],
)
def cosine(pred: Vector, target: Vector) -> PerSample:
    """Cosine distance: one minus the cosine of the angle.

    1 - a·b / (‖a‖·‖b‖).

    Returns:
        Loss per sample, (B,), in [0, 2]; undefined where a vector is zero.

    Note:
        torch.nn.CosineEmbeddingLoss uses this for similar pairs; for a zero vector it gives 1.
    """
    return 1 - cosine_of(pred, target)


@loss(
    use="contrastive learning: each vector should identify its partner among all samples",
    sources=["van den Oord et al. 2018, Contrastive Predictive Coding"],
    example="info_nce(temperature=0.1)",
)
def info_nce(
    pred: Vector, target: Vector, gallery: Gallery, *, temperature: Positive = 0.07
) -> PerSample:
    """InfoNCE: cross-entropy of identifying the partner among all samples of the run.

    -log(exp(cos(a_i, b_i)/τ) / Σ_j exp(cos(a_i, b_j)/τ)), a = PRED, b = GT, j over all samples.

    Args:
        temperature: τ.

    Returns:
        Loss per sample, (B,), 0 or more; undefined where either vector of the pair is zero.

    Note:
        One direction only, PRED to GT. In training, j runs over the batch. A zero partner is not a
        candidate. The value depends on all samples of the run, so shards cannot be merged.
    """
    similarity = direction(pred) @ direction(gallery.target).T / temperature
    similarity = similarity.where(non_zero(gallery.target), -torch.inf)
    partner = similarity.gather(1, gallery.rows[:, None])[:, 0]
    defined = non_zero(pred) & non_zero(target)
    total = similarity.logsumexp(1).where(defined, 0.0)
    return (total - partner.where(defined, 0.0)).where(defined, torch.nan)


@loss(
    use="metric learning on a labelled set",
    sources=["Schroff et al. 2015, FaceNet", "Hermans et al. 2017, In Defense of the Triplet Loss"],
    example="triplet_mining(mining=batch_all, margin=0.2)",
)
def triplet_mining(mined: TripletSums) -> PerSample:
    """Triplet loss of one labelled set, over triplets mined from it.

    mean max(d(a, p) - d(a, n) + margin, 0) over the triplets of anchor a, with p of the same label
    and n of another; PRED contains vectors, GT labels.

    Returns:
        Loss per sample as the anchor, (B,), 0 or more; undefined where the anchor has no triplet:
        no other sample of its label, no sample of another label, or no semihard negative.

    Note:
        The pooled value is the mean over all triplets of the run, as Hermans et al. define
        batch_all; for batch_hard it is the mean over anchors.
    """
    return ratio(mined.loss, where(mined.active > 0, mined.active, mined.triplets))
