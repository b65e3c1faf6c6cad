"""One hash a pair over its id and its ground truth; their sum tells two sets of pairs apart."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from lossbench.data.arrays.byte_histogram import histogram
from lossbench.data.counting.joint_histogram import CountTable
from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.formats.boxes import Boxes, joined
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray, IntArray

BYTES = 16
MODULUS = 1 << 8 * BYTES


def hash_truth(pair: Pair, shape: tuple[int, ...], content: bytes) -> int:
    """The hash of a pair whose ground truth has a shape, and a content from a function below."""
    listed = sorted(pair.segments.get("target", {}).items())
    start = f"{pair.id}\0{shape}\0{listed}\0".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(start + content, digest_size=BYTES).digest())


def class_counts(table: IntArray) -> bytes:
    """The pixels of each class: the same where they are counted and where they are kept."""
    return table.astype("<i8").tobytes()


def counts_of_table(plan: Plan, table: CountTable | Cells) -> IntArray:
    """The valid pixels of each channel and class of the ground truth, in the table of a pair."""
    columns = plan.pred.levels
    if not isinstance(table, Cells):
        counts: IntArray = table.reshape(-1, columns).sum(1)
        return counts
    rows = np.zeros((len(table.counts), plan.target.levels), np.int64)
    np.add.at(rows.T, table.places // columns, table.counts.T)
    return rows.ravel()


def counts_of_pixels(classes: int, codes: AnyArray, weight: AnyArray) -> IntArray:
    """The same of class indices (C, N) and weights, which are 0 where pixels are not valid."""
    rows = list(codes)
    if weight.strides[-1] or not weight.flat[0]:  # not one weight for all pixels
        valid = weight != 0
        if len(valid) > len(codes):  # a weight of each class, and one code
            valid = valid.any(0)[None]
        valid = np.broadcast_to(valid, codes.shape)
        rows = [row[some] for row, some in zip(codes, valid, strict=True)]
    return np.concatenate([_count(row, classes) for row in rows])


def _count(codes: AnyArray, classes: int) -> IntArray:
    if codes.dtype == np.uint8 and classes <= 1 << 8:
        return histogram(codes)[:classes]
    return np.bincount(codes, minlength=classes)


def checksum(array: AnyArray) -> bytes:
    """A checksum of numbers in the order of their axes."""
    return f"{array.dtype.str} {zlib.crc32(np.ascontiguousarray(array).data)}".encode()


def checksum_of_tensors(tensors: Mapping[str, AnyArray]) -> bytes:
    """A checksum of tensors by name."""
    return b"\0".join(
        f"{name} {tensor.shape} ".encode() + checksum(tensor)
        for name, tensor in sorted(tensors.items())
    )


def checksums_of_boxes(sides: Sequence[Boxes]) -> list[bytes]:
    """A checksum of the boxes of each sample in any order."""
    boxes, lengths = joined(sides), [len(each) for each in sides]
    facts = boxes.area, boxes.of_class, boxes.crowd
    table = np.column_stack([boxes.corners, *facts]).astype(np.float64)
    sample = np.repeat(np.arange(len(sides)), lengths)
    rows = table[np.lexsort((*table.T, sample))]
    stops = np.cumsum(lengths).tolist()
    return [
        checksum(rows[stop - length : stop]) for stop, length in zip(stops, lengths, strict=True)
    ]
