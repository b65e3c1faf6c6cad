"""The words of a loss's signature: in which form an input comes, and what a result still needs.

The name in an annotation is the attribute of `Side`, or of `Values`, that holds the form.

B samples, C classes (each against the rest) or channels, N elements: pixels, or cells of a table of
distinct value pairs.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from torch import Tensor

Probability = Annotated[Tensor, "probability"]  # (B, C, N) in [0, 1]; of labels 0 or 1
Distribution = Annotated[Tensor, "distribution"]  # (B, K, N) summing to 1 over the K classes
LogProbability = Annotated[Tensor, "log_probability"]  # (B, K, N), −100 to 0
Difference = Annotated[Tensor, "difference"]  # (B, C, N) prediction − target
Weight = Annotated[Tensor, "weight"]  # (B, C or 1, N) how many pixels an element stands for


# Options that are no number whatever: the names are checked where expressions are.
NonNegative = Annotated[float, "0 or more"]
Share = Annotated[float, "0 to 1"]


class Pair(NamedTuple):
    """log p and log(1 − p), each (B, C, N), from logits where there are logits."""

    yes: Tensor
    no: Tensor


LogPair = Annotated[Pair, "log_pair"]


class PerPixel(NamedTuple):
    """What each element contributes (B, C, N), and how much of one pixel it is in the mean.

    Without a mass every element counts one; a mass sums to one over the classes of a pixel.
    """

    value: Tensor
    mass: Tensor | None = None


PerClass = Annotated[Tensor, "per_class"]  # (B, C), nan where undefined
PerSample = Annotated[Tensor, "per_sample"]  # (B,), nan where undefined
