"""The vocabulary of a loss's signature: forms of inputs, types of options, kinds of results.

The string in an annotation is the attribute of `Input`, or of `SampleBatch`, with that form.

B samples, C classes (each against the rest) or channels, N elements: pixels, or cells of a table of
distinct value pairs. K classes of a pixel sum to one; a binary task has two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:  # of torch or of NumPy, whose operators are the same; see `stable_math`
    from torch import Tensor

    Array: TypeAlias = Tensor
else:
    Array = Any

Probability = Annotated[Array, "probability"]  # (B, C, N) in [0, 1]; 0 or 1 for label maps
Distribution = Annotated[Array, "distribution"]  # (B, K, N) summing to 1 over the K classes
Shares = Annotated[Array, "shares"]  # (B, K, N) the same, also of numbers that have another sum
LogProbability = Annotated[Array, "log_probability"]  # (B, K, N), −100 to 0
Logits = Annotated[Array, "logit"]  # (B, C, N); probabilities are rejected
Stored = Annotated[Array, "stored"]  # (B, C, N) numbers as stored in the file
Decision = Annotated[Array, "half"]  # (B, C, N) 0 or 1: p ≥ ½, or the most likely class

# Properties of prediction and target together, or of the sample.
Difference = Annotated[Array, "difference"]  # (B, C, N) prediction − target
Weight = Annotated[Array, "weight"]  # (B, C or 1, N) number of pixels an element stands for
PositiveWeight = Annotated[Array, "positive"]  # (B, C or 1, N) role `pos_weight`, default 1
Mass = Annotated[Array | None, "mass"]  # (B, C, N) fraction of the pixel in a class; None: 1

# Images, in which the position of a pixel is known: *space is (height, width) or (depth, …).
Image = Annotated[Array, "image"]  # (B, C, *space)
Valid = Annotated[Array, "valid"]  # (B, C or 1, *space), whether a pixel counts
Spacing = Annotated[tuple[float, ...] | None, "spacing"]  # size of a pixel along each axis

# Inputs other than images.
Vector = Annotated[Array, "vector"]  # (B, D)
Scores = Annotated[Array, "scores"]  # (B, N) numbers, flattened
Label = Annotated[Array, "label"]  # (B,) one number per sample
Tensors = Annotated[Mapping[str, Array], "tensors"]  # by name, each (B, …) as in the file

# Types of options with restricted values, which are checked when expressions are resolved.
NonNegative = Annotated[float, "0 or more"]
Positive = Annotated[float, "more than 0"]
Share = Annotated[float, "0 to 1"]
Percent = Annotated[float, "0 to 100"]
Count = Annotated[int, "1 or more"]
NetworkName = Annotated[str, "a network such as vgg16"]
LossCall = Annotated[str, "a loss such as binary_focal(gamma=1)"]
WeightMap = Annotated[str, "a call such as unet(w0=10, sigma=5)"]


class BinaryLogs(NamedTuple):
    """Logarithms log p and log(1 − p), each (B, C, N), computed from logits where possible."""

    yes: Array
    no: Array


LogPair = Annotated[BinaryLogs, "log_pair"]
OneVsRest = Annotated[BinaryLogs, "one_vs_rest"]  # the sigmoid of each logit, also on multiclass


class Chances(NamedTuple):
    """Probability of every outcome and its logarithm, each (O, B, C, N).

    On multiclass tasks a class of a pixel is one outcome (O = 1); a binary label has two: yes and
    no.
    """

    chance: Array
    log: Array


Outcomes = Annotated[Chances, "outcomes"]


class Gathered(NamedTuple):
    """The vectors of all M samples of a run, and the rows of the batch's B samples among them."""

    pred: Array  # (M, D)
    target: Array  # (M, D), or (M, 1) labels
    rows: Array  # (B,)


Gallery = Annotated[Gathered, "gallery"]


class PerPixel(NamedTuple):
    """Contribution of each element (B, C, N), and its mass, the weight of the element in the mean.

    Without a mass every element counts 1; a mass sums to 1 over the classes of a pixel.
    """

    value: Array
    mass: Array | None = None


RootMean = Annotated[PerPixel, "root of the mean"]
Decibels = Annotated[PerPixel, "−10·log10 of the mean"]
PerClass = Annotated[Array, "per_class"]  # (B, C), nan where undefined
PerSample = Annotated[Array, "per_sample"]  # (B,), nan where undefined
