"""The words of a loss's signature: in which form an input comes, and what a result still needs.

The name in an annotation is the attribute of `Input`, or of `SampleBatch`, that holds the form.

B samples, C classes (each against the rest) or channels, N elements: pixels, or cells of a table of
distinct value pairs. K classes of a pixel sum to one; a binary task has two of those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from torch import Tensor

Probability = Annotated[Tensor, "probability"]  # (B, C, N) in [0, 1]; of labels 0 or 1
Distribution = Annotated[Tensor, "distribution"]  # (B, K, N) summing to 1 over the K classes
LogProbability = Annotated[Tensor, "log_probability"]  # (B, K, N), −100 to 0
Logits = Annotated[Tensor, "logit"]  # (B, C, N); probabilities are refused
Stored = Annotated[Tensor, "stored"]  # (B, C, N) numbers as they are in the file
Decision = Annotated[Tensor, "half"]  # (B, C, N) 0 or 1: p ≥ ½, or the most likely class

# Of both sides, or of the sample.
Difference = Annotated[Tensor, "difference"]  # (B, C, N) prediction − target
Weight = Annotated[Tensor, "weight"]  # (B, C or 1, N) how many pixels an element stands for
PositiveWeight = Annotated[Tensor, "positive"]  # (B, C or 1, N) role `pos_weight`, 1 without it
Mass = Annotated[Tensor | None, "mass"]  # (B, C, N) what a class is of its pixel; None: all of it

# Pixels in their places, *space being height and width, or depth before them.
Image = Annotated[Tensor, "image"]  # (B, C, *space)
Valid = Annotated[Tensor, "valid"]  # (B, C or 1, *space), whether a pixel counts
Spacing = Annotated[tuple[float, ...] | None, "spacing"]  # the size of a pixel along every axis

# Of what is no picture.
Vector = Annotated[Tensor, "vector"]  # (B, D)
Scores = Annotated[Tensor, "scores"]  # (B, N) numbers of any shape in one row
Label = Annotated[Tensor, "label"]  # (B,) one number a sample
Tensors = Annotated[Mapping[str, Tensor], "tensors"]  # by name, each (B, …) as in the file

# Options that are no number whatever: the names are checked where expressions are.
NonNegative = Annotated[float, "0 or more"]
Positive = Annotated[float, "more than 0"]
Share = Annotated[float, "0 to 1"]
Percent = Annotated[float, "0 to 100"]
Count = Annotated[int, "1 or more"]
NetworkName = Annotated[str, "a network such as vgg16"]
LossCall = Annotated[str, "a loss such as binary_focal(gamma=1)"]
WeightMap = Annotated[str, "a call such as unet(w0=10, sigma=5)"]


class BinaryLogs(NamedTuple):
    """log p and log(1 − p), each (B, C, N), from logits where there are logits."""

    yes: Tensor
    no: Tensor


LogPair = Annotated[BinaryLogs, "log_pair"]
OneVsRest = Annotated[BinaryLogs, "one_vs_rest"]  # a sigmoid of each logit, of several classes too


class Chances(NamedTuple):
    """Every outcome's probability and its logarithm, each (O, B, C, N).

    A class of a pixel is one outcome (O = 1), a label of its own has two: yes and no.
    """

    chance: Tensor
    log: Tensor


Outcomes = Annotated[Chances, "outcomes"]


class Gathered(NamedTuple):
    """The vectors of all samples of a run, and which of them are the B at hand."""

    pred: Tensor  # (M, D)
    target: Tensor  # (M, D), or (M, 1) labels
    place: Tensor  # (B,) rows


Gallery = Annotated[Gathered, "gallery"]


class PerPixel(NamedTuple):
    """What each element contributes (B, C, N), and how much of one pixel it is in the mean.

    Without a mass every element counts one; a mass sums to one over the classes of a pixel.
    """

    value: Tensor
    mass: Tensor | None = None


RootMean = Annotated[PerPixel, "root of the mean"]
Decibels = Annotated[PerPixel, "−10·log10 of the mean"]
PerClass = Annotated[Tensor, "per_class"]  # (B, C), nan where undefined
PerSample = Annotated[Tensor, "per_sample"]  # (B,), nan where undefined
