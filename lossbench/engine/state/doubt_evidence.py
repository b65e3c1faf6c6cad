"""Evidence for doubts: gathered from the pairs of a batch, packed and restored with its results."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.formats.boxes import Detections, count_objects, joined
from lossbench.data.loading.glance import Glance
from lossbench.data.loading.sample import Sample
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Away, Source
from lossbench.results.doubts.evidence import SUMS, DoubtEvidence
from lossbench.runtime.array_types import AnyArray, IntArray

OUTSIDE = 0.1  # share of its size by which a box reaches beyond its picture, at least
FIELDS = ("pred", "target", "counts")  # arrays of a glance
FACTS = ("shape", "pred_hash", "target_hash", "is_flat", "is_off", "objects", "colours")


def gather(
    plan: Plan, pairs: Sequence[Pair], samples: Sequence[Sample], tables: Any
) -> DoubtEvidence:
    """The evidence of some pairs that were read, in their order, and of their tables."""
    evidence = DoubtEvidence(len(samples), sum(map(_is_same, pairs)))
    for pair, sample in zip(pairs, samples, strict=True):
        if sample.glance:
            evidence.glances[pair.id] = sample.glance
        for note in sample.notes:
            evidence.add_note(note.text, note.file)
    if plan.task == "detection":
        _add_boxes(evidence, [cast(Detections, each.pixels) for each in samples], len(plan.names))
    if plan.task not in ("binary", "multiclass", "multilabel"):
        return evidence
    counts = [each.counts for each in evidence.glances.values() if each.counts is not None]
    if tables is not None:
        evidence.add_counts(_class_counts(plan, tables), plan.known_labels)
    elif counts:
        evidence.add_counts(np.stack(counts), plan.known_labels)
    return evidence


def _is_same(pair: Pair) -> bool:
    """Whether a prediction and its ground truth are one file."""
    sides = pair.sources["pred"], pair.sources["target"]
    return any(map(_is_one, *sides)) and len(sides[0]) == len(sides[1])


def _is_one(pred: Source, target: Source) -> bool:
    if not (isinstance(pred, str) and isinstance(target, str)):
        return pred is target or (isinstance(pred, Away) and pred == target)
    try:
        one, other = os.stat(pred), os.stat(target)
    except OSError:
        return pred == target
    return pred == target or (bool(one.st_ino) and os.path.samestat(one, other))


def _add_boxes(evidence: DoubtEvidence, samples: Sequence[Detections], classes: int) -> None:
    """Add what the boxes of some pictures show."""
    pred, target = ([getattr(each, side) for each in samples] for side in ("pred", "target"))
    corners, counts = joined(pred).corners, list(map(len, pred))
    sample = np.repeat(np.arange(len(samples)), counts)
    extent = np.array([each.extent for each in pred]).reshape(-1, 2)[sample]
    is_unit = ((corners >= 0) & (corners <= 1)).all(1)
    beyond = np.maximum(-corners[:, :2], corners[:, 2:] - extent)
    is_outside = (beyond > OUTSIDE * (corners[:, 2:] - corners[:, :2])).any(1) & extent.all(1)
    evidence.boxes += len(corners)
    evidence.unit_boxes += int(is_unit.sum())
    evidence.unit_files += len(np.unique(sample[is_unit]))
    evidence.outside += int(is_outside.sum())
    evidence.outside_files += len(np.unique(sample[is_outside]))
    evidence.farthest = max(evidence.farthest, float(joined(target).corners.max(initial=0)))
    most = count_objects(target, classes).max(1, initial=0)
    evidence.objects.update(most.tolist())


def _class_counts(plan: Plan, tables: Any) -> IntArray:
    """True, predicted and valid pixels of each class (n, 3, K) in tables of counts."""
    rows, columns = plan.target.levels, plan.pred.levels
    if isinstance(tables, tuple):
        return np.stack([_sparse_counts(plan, each) for each in tables])
    if plan.task == "multiclass":
        whole = tables.astype(np.int64)
        true, own = whole.sum(2), whole.sum(1)
        return _stacked(true, own, np.broadcast_to(true.sum(1, keepdims=True), true.shape))
    whole = tables.reshape(len(tables), -1, rows, columns)
    true = whole[:, :, 1].sum(2, dtype=np.int64)
    own = whole[..., _cut(plan) :].sum((2, 3), dtype=np.int64)
    return _foreground(plan, true, own, whole.sum((2, 3), dtype=np.int64))


def _sparse_counts(plan: Plan, cells: Cells) -> IntArray:
    """The same (3, K) of the cells of one pair."""
    row, column = np.divmod(cells.places, plan.pred.levels)
    if plan.task == "multiclass":
        length, counts = len(plan.names), cells.counts.sum(0)
        true, own = (np.bincount(each, counts, length).astype(np.int64) for each in (row, column))
        return np.stack([true, own, np.full(length, counts.sum())])
    is_true = row >= (1 if plan.target.is_hard else plan.threshold * plan.target.scale)
    sums = [cells.counts[:, where].sum(1) for where in (is_true, column >= _cut(plan))]
    counts = _foreground(plan, *(each[None] for each in (*sums, cells.counts.sum(1))))
    first: IntArray = counts[0]
    return first


def _foreground(plan: Plan, true: IntArray, own: IntArray, valid: IntArray) -> IntArray:
    """Counts of foregrounds (n, C); a binary task has the background as its first class."""
    if plan.task == "binary":
        true, own, valid = (
            np.concatenate(pair, 1)
            for pair in ((valid - true, true), (valid - own, own), (valid, valid))
        )
    return _stacked(true, own, valid)


def _stacked(*rows: IntArray) -> IntArray:
    return np.stack(rows, 1)


def _cut(plan: Plan) -> int:
    """The first code of predictions that is foreground."""
    return 1 if plan.pred.is_hard else int(np.ceil(plan.threshold * plan.pred.scale))


def pack(evidence: DoubtEvidence) -> AnyArray:
    """Evidence as bytes, compressed."""
    state: dict[str, Any] = {name: getattr(evidence, name) for name in (*SUMS, "farthest")}
    state |= {"objects": sorted(evidence.objects.items()), "notes": evidence.notes}
    state["glances"] = {
        id: [getattr(each, name) for name in FACTS] for id, each in evidence.glances.items()
    }
    arrays = {"class_files": evidence.class_files, "class_pixels": evidence.class_pixels}
    for number, each in enumerate(evidence.glances.values()):
        fields = {name: getattr(each, name) for name in FIELDS}
        arrays |= {f"{number}/{name}": array for name, array in fields.items() if array is not None}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    target = io.BytesIO()
    np.savez_compressed(target, **cast(Any, arrays))
    return np.frombuffer(target.getvalue(), np.uint8)


def unpack(packed: AnyArray) -> DoubtEvidence:
    """Restore packed evidence."""
    with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(arrays["state"].tobytes())
    evidence = DoubtEvidence(
        **{name: state[name] for name in (*SUMS, "farthest")},
        class_files=arrays["class_files"],
        class_pixels=arrays["class_pixels"],
        objects=Counter(dict(state["objects"])),
        notes=state.get("notes", {}),
    )
    for number, (id, facts) in enumerate(state["glances"].items()):
        fields = {name: arrays.get(f"{number}/{name}") for name in FIELDS}
        own = dict(zip(FACTS, facts, strict=True))
        evidence.glances[id] = Glance(
            **{**fields, **own, "shape": tuple(own["shape"]), "colours": tuple(own["colours"])}
        )
    return evidence
