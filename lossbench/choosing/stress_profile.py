"""The profile of errors: which kinds there are, and how far from an edge; how alike two are."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossbench.choosing.stress_pictures import Picture
from lossbench.choosing.stress_truth import DISTANCES, FULL, Form, Truth
from lossbench.data.formats.stored_array import StoredArray
from lossbench.runtime.array_types import AnyArray, BoolArray, FloatArray

SCALES = (0.7, 1.4, 2.8, 5.6)  # Gaussians between which the details of a picture lie


def error_profile(form: Form, truth: Truth, prediction: Any) -> FloatArray:
    """How much error of each kind an image has; parts add up over images.

    Of masks: false, missed and confused amounts, each by the distance from the nearest edge of the
    truth. Of pictures: the squared error at each scale, the detail that is gained and lost at each
    scale, and how far the mean of each channel is off.
    """
    stored = prediction.array if isinstance(prediction, StoredArray) else prediction
    if truth.picture:
        return _of_picture(truth.picture, truth.valid, stored)
    maps = zip(_maps(form, truth, stored), truth.bands, strict=True)
    amounts: FloatArray = np.sum([_of_map(truth, each, bands) for each, bands in maps], axis=0)
    return amounts


def likeness(one: FloatArray, other: FloatArray) -> float:
    """1 for equal profiles, 0 for profiles without a common kind of error (Bray and Curtis)."""
    total = float((one + other).sum())
    return 1 - float(np.abs(one - other).sum()) / total if total else 1.0


def _maps(
    form: Form, truth: Truth, stored: AnyArray
) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """False, missed and confused amounts of each pixel in each map."""
    task, first = form.plan.task, truth.maps[0]
    if task in ("binary", "multilabel"):
        planes = stored[None] if task == "binary" else stored
        changes = planes / FULL - form.planes_of(truth)
        return [(each.clip(0, None), (-each).clip(0, None), 0 * each) for each in changes]
    foreground = first.labels != first.background
    if stored.ndim > first.labels.ndim:
        kept = np.take_along_axis(stored, first.labels[None], 0)[0] / FULL
        empty = stored[first.background] / FULL
        false = np.where(foreground, 0, 1 - kept)
        missed = np.where(foreground, empty, 0)
        return [(false, missed, np.where(foreground, (1 - kept - empty).clip(0, None), 0))]
    predicted = stored != first.background
    confused = predicted & foreground & _differs(form, first.labels, stored)
    return [(1.0 * (predicted & ~foreground), 1.0 * (~predicted & foreground), 1.0 * confused)]


def _differs(form: Form, labels: AnyArray, stored: AnyArray) -> AnyArray:
    """Where labels differ; the numbers of instances do not count, only which pixels they share."""
    if form.plan.task != "instances":
        return np.asarray(labels != stored)
    pairs, counts = np.unique(
        np.stack([labels.ravel(), stored.ravel().astype(np.int64)]), axis=1, return_counts=True
    )
    partner = dict[int, int]()
    for at in np.argsort(-counts, kind="stable"):
        own, other = pairs[:, at].tolist()
        if other not in partner.values():
            partner.setdefault(own, other)
    expected = np.vectorize(lambda each: partner.get(each, -1), otypes=[np.int64])
    return np.asarray(expected(labels) != stored)


def _of_map(
    truth: Truth, amounts: tuple[FloatArray, FloatArray, FloatArray], bands: AnyArray
) -> FloatArray:
    """Amounts of three kinds by distance from the edge of the foreground."""
    valid = np.ones(bands.shape, bool) if truth.valid is None else truth.valid
    count = len(DISTANCES) + 1
    kept = bands[valid]
    return np.concatenate([np.bincount(kept, each[valid], minlength=count) for each in amounts])


def _of_picture(picture: Picture, valid: BoolArray | None, stored: AnyArray) -> FloatArray:
    """Error and detail at each scale, and offsets of channels, all as shares of the range."""
    size = picture.high - picture.low
    own, other = (array.astype(np.float64) / size for array in (picture.stored, stored))
    parts = [_power(band, valid) for band in _bands(other - own)]
    for before, after in zip(_bands(own)[:-1], _bands(other)[:-1], strict=True):
        change = _power(after, valid) - _power(before, valid)
        parts += [max(change, 0.0), max(-change, 0.0)]
    for channel in other - own:
        offset = float(channel.mean() if valid is None else channel[valid].mean())
        parts += [max(offset, 0.0) ** 2, max(-offset, 0.0) ** 2]
    return np.sqrt(parts)


def _power(band: FloatArray, valid: BoolArray | None) -> float:
    kept = band if valid is None else band[:, valid]
    return float((kept**2).mean())


def _bands(channels: FloatArray) -> list[FloatArray]:
    """The details between Gaussians, finest first, and what is left."""
    from scipy import ndimage

    bands, left = list[FloatArray](), channels
    for sigma in SCALES:
        smooth = np.stack(
            [ndimage.gaussian_filter(each, sigma, mode="nearest") for each in channels]
        )
        bands.append(left - smooth)
        left = smooth
    return [*bands, left]
