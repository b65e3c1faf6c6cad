"""Curves and calibration of probabilities of several classes, of which a pixel has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from lossbench.choosing.thresholds_calibration import (
    Reliability,
    best_temperature,
    clip_levels,
    make_reliability,
)
from lossbench.choosing.thresholds_counts import Elements, Spectrum, make_steps
from lossbench.choosing.thresholds_curves import Curves, make_curves
from lossbench.choosing.thresholds_sums import MOST_PIXELS, LevelSums
from lossbench.data.loading.sample import Pixels
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.batch_reader import read_batches
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.errors import InputError, PairError, mismatch
from lossbench.runtime.array_types import FloatArray

MOST_KEPT = 1 << 24  # logarithms; with more, files are read again for each step of the temperature


class LogShares(NamedTuple):
    """What the likelihood of one sample depends on."""

    logs: FloatArray  # (K, N) log p of each class
    of_target: FloatArray  # (N,) Σ y log p
    weight: FloatArray  # (N,) Σ y, weighted

    def slope_and_curvature(self, beta: float) -> tuple[float, float]:
        """Both of the negative log-likelihood of softmax(β log p)."""
        shares = np.exp(beta * (self.logs - self.logs.max(0)))
        shares /= shares.sum(0)
        mean = (shares * self.logs).sum(0)
        spread = (shares * self.logs**2).sum(0) - mean**2
        slope = (self.weight * (mean - self.of_target)).sum()
        return float(slope), float((self.weight * spread).sum())


class ClassDigest(NamedTuple):
    """What a sample adds to the sums."""

    of_classes: tuple[FloatArray, Spectrum]  # each class against the rest
    of_likeliest: tuple[FloatArray, Spectrum]  # the likeliest class, and whether it is correct
    logs: LogShares


def class_elements(plan: Plan, pixels: Pixels) -> Elements:
    """Probabilities and truth of every class, each (K, N)."""
    pred = pixels.pred.astype(np.float64)
    if plan.pred.is_logits:
        pred = np.exp(pred - pred.max(0))
        pred /= pred.sum(0)
    target = pixels.target
    if plan.target.is_hard and len(target) == 1 < len(pred):
        target = target == np.arange(len(pred))[:, None]
    return Elements(pred, target.astype(np.float64), pixels.weight[:1].astype(np.float64))


def digest_sample(plan: Plan, pixels: Pixels) -> ClassDigest | InputError:
    """Everything that is needed of a sample; an error if its probabilities are no distribution."""
    far = pixels.sums.get("pred")
    if far is not None:
        return mismatch(
            f"holds probabilities of several classes that sum to {far:.4g} in a pixel; calibration"
            " reads them as a distribution, which sums to 1: save a softmax, or give"
            " --pred-encoding logits for logits, or --task multilabel for classes that are"
            " independent",
            "pred",
        )
    elements = class_elements(plan, pixels)
    pred, target, weight = elements
    likeliest = pred.argmax(0)[None]
    correct = np.take_along_axis(target, likeliest, 0)
    certain = Elements(np.take_along_axis(pred, likeliest, 0), correct, weight)
    every, first = (make_steps(each, is_graded=False) for each in (elements, certain))
    logs = np.log(clip_levels(pred, plan.pred))
    shares = target.sum(0)
    of_target = (target * logs).sum(0) / np.where(shares > 0, shares, 1.0)
    return ClassDigest(
        (every.levels, every.spectrum),
        (first.levels, first.spectrum),
        LogShares(logs, of_target, weight[0] * shares),
    )


class ClassPass:
    """Sums over the samples of a run with probabilities of several classes."""

    def __init__(self, run: RunSpec, start_method: str | None) -> None:
        self.run, self.start_method = run, start_method
        self.evaluated, self.failed = 0, list[PairError]()
        self.of_classes = LevelSums(2 * len(run.plan.names), MOST_PIXELS)
        self.of_likeliest = LevelSums(2, MOST_PIXELS)
        self.kept: list[LogShares] | None = []

    def read(self) -> None:
        """Read every pair, and add it."""
        numbers = 0
        for pairs, batch, digests in self._batches():
            self.failed += batch.errors
            for index, each in zip(batch.indices, digests, strict=True):
                if isinstance(each, InputError):
                    each.located("pred", label(pairs[index].sources["pred"][0]))
                    self.failed.append(PairError.of(each, pairs[index].id))
                    continue
                self.evaluated += 1
                for sums, (levels, spectrum) in (
                    (self.of_classes, each.of_classes),
                    (self.of_likeliest, each.of_likeliest),
                ):
                    sums.add(levels, np.concatenate(spectrum[:2]))
                numbers += each.logs.logs.size
                if numbers > MOST_KEPT:
                    self.kept = None
                elif self.kept is not None:
                    self.kept.append(each.logs)
        self.of_classes.join()
        self.of_likeliest.join()

    def _batches(
        self,
    ) -> Iterator[tuple[Sequence[Pair], LoadedBatch, list[ClassDigest | InputError]]]:
        plan = self.run.plan

        def digest(batch: LoadedBatch) -> list[ClassDigest | InputError]:
            return [digest_sample(plan, cast(Pixels, each)) for each in batch.pixels]

        return read_batches(self.run, digest, self.start_method)

    def _log_shares(self) -> Iterator[LogShares]:
        """Those of every sample, read again."""
        for _, _, digests in self._batches():
            yield from (each.logs for each in digests if isinstance(each, ClassDigest))

    def slope_and_curvature(self, beta: float) -> tuple[float, float]:
        """Both of the negative log-likelihood of all pixels; files are read again if they must."""
        samples = self._log_shares() if self.kept is None else self.kept
        slopes, curvatures = zip(*(x.slope_and_curvature(beta) for x in samples), strict=True)
        return sum(slopes), sum(curvatures)

    @property
    def rounded(self) -> dict[str, bool]:
        """By what follows from levels, whether more of them occur than are kept apart."""
        return {
            "areas": self.of_classes.is_rounded,
            "calibration": self.of_likeliest.is_rounded,
        }

    def curves(self, thresholds: FloatArray) -> tuple[Curves, Sequence[Curves]]:
        """The curves of all classes together, and of each class against the rest."""
        levels = self.of_classes.levels
        positive, negative = self.of_classes.numbers.reshape(2, len(self.run.plan.names), -1)
        together = make_curves(levels, positive.sum(0), negative.sum(0), thresholds)
        sides = zip(positive, negative, strict=True)
        return together, [make_curves(levels, *each, thresholds) for each in sides]

    def reliability(self) -> Reliability:
        """The reliability of the likeliest class, and the temperature of the distribution."""
        sides = self.of_likeliest.numbers[:1], self.of_likeliest.numbers[1:]
        spectrum = Spectrum(*sides, *sides)
        temperature = best_temperature(self.slope_and_curvature) if self.evaluated else np.nan
        return make_reliability(self.of_likeliest.levels, spectrum, temperature)
