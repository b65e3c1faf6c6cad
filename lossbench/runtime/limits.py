"""Limits to what a small file may become in memory."""

from __future__ import annotations

from typing import Any

ALWAYS = 1 << 30  # bytes that any file may have once it is unpacked
TIMES = 500  # a larger file may be this many times its packed size: a mask compresses well
GREATEST_YAML = 100_000  # values, those that stand for an alias counted each time


def greatest_size(packed: int) -> int:
    """The greatest size in bytes that a file may have once it is unpacked."""
    return max(ALWAYS, TIMES * packed)


def swollen(size: int, packed: int) -> str:
    """What is wrong with a file that exceeds `greatest_size`, as the end of a sentence."""
    return f"unpacks to {size:,} bytes from {packed:,}; if that is right, unpack it beforehand"


def is_too_large(root: Any) -> bool:
    """Whether a YAML node has too many values once its aliases are written out, or has no end."""
    sizes = dict[int, float]()  # by identity; of a node that is being counted: infinity
    stack = [root]
    while stack:
        node = stack[-1]
        parts = [] if isinstance(node.value, str) else node.value
        flat = [part for each in parts for part in (each if isinstance(each, tuple) else (each,))]
        if id(node) not in sizes:
            sizes[id(node)] = float("inf")
            stack += [part for part in flat if id(part) not in sizes]
            continue
        stack.pop()
        sizes[id(node)] = 1 + sum(sizes[id(part)] for part in flat)
    return sizes[id(root)] > GREATEST_YAML
