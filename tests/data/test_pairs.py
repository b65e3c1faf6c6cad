"""Pairs in little memory are the pairs that were put in."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench.data.pairing.pairs import Pair, Pairs
from lossbench.runtime.string_list import StringList

# Names of files may hold bytes that are no text, which Python writes as lone surrogates.
NAMES = st.text(st.characters(exclude_categories=[]), max_size=12)


@given(st.lists(NAMES))
def test_texts_are_what_was_appended(texts: list[str]) -> None:
    kept = StringList()
    for text in texts:
        kept.append(text)
    assert [kept[place] for place in range(len(kept))] == texts


@given(st.lists(st.tuples(NAMES, NAMES, st.lists(NAMES, min_size=1, max_size=3)), unique_by=lambda
                each: each[0]), st.data())  # fmt: skip
def test_pairs_are_what_was_appended(rows: list[Any], data: st.DataObject) -> None:
    pairs = [Pair(name, {"pred": (pred,), "target": tuple(more)}) for name, pred, more in rows]
    kept = Pairs(pairs)
    assert list(kept) == pairs
    assert list(kept.named()) == [pair.id for pair in pairs]
    start, stop = sorted(data.draw(st.integers(0, len(pairs))) for _ in range(2))
    assert kept[start:stop] == pairs[start:stop]
    assert pickle.loads(pickle.dumps(kept[start:stop])) == pairs[start:stop]
    ordered = sorted(pairs, key=lambda pair: pair.id)
    assert kept.sorted() == ordered
    assert kept.sorted()[start:stop] == ordered[start:stop]
    odd = range(1, len(pairs), 2)
    assert kept.sorted().without(odd) == [p for p in ordered if pairs.index(p) not in odd]


@given(st.lists(st.sampled_from("abcd")))
def test_ids_that_come_more_than_once_are_found(names: list[str]) -> None:
    found = list(Pairs(Pair(name, {}) for name in names).sorted().repeated())
    places = {name: [at for at, each in enumerate(names) if each == name] for name in names}
    assert found == [places[name] for name in sorted(places) if len(places[name]) > 1]


def test_arrays_and_segments_are_kept() -> None:
    array = np.zeros((2, 2))
    segments = {"target": {7: (1, False)}}
    kept = Pairs([Pair("a", {"pred": (array,)}), Pair("b", {"pred": ("b.png",)}, segments)])
    assert kept[0].sources["pred"][0] is array
    assert kept[0].segments == {}
    assert kept[-1].segments == segments
    assert pickle.loads(pickle.dumps(kept[1:])) == [kept[1]]
    with pytest.raises(IndexError):
        kept[2]
