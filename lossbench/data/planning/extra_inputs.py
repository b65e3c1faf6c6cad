"""How the inputs are read that losses ask for by name: as the side that they resemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.probe import probe_files


def plan_roles(plan: Plan, pairs: Sequence[Pair], forms: Mapping[str, str]) -> Plan:
    """The plan with a reading for each role that losses name.

    Scores are any numbers of any shape. What is called `target_…` is read as the ground truth is,
    everything else as predictions are; its own files tell how the numbers are stored.

    Args:
        plan: of the two sides.
        pairs: the files.
        forms: by role, the form that a loss wants it in.
    """
    found = [
        _reading(plan, pairs, role, form)
        for role, form in forms.items()
        if role in pairs[0].sources
    ]
    return replace(plan, roles=tuple(found))


def _reading(plan: Plan, pairs: Sequence[Pair], role: str, form: str) -> InputEncoding:
    if form == "Scores":
        return InputEncoding(role, "scores", probe_files(pairs, role).dtype)
    like = plan.target if role.startswith("target_") else plan.pred
    if like.is_hard:
        return replace(like, role=role, ignore=())
    seen = probe_files(pairs, role)
    return replace(
        like,
        role=role,
        dtype=seen.dtype,
        scale=seen.scale(role) if like.definition.is_scaled else 1.0,
        ignore=(),
        places=seen.places or like.places,
    )
