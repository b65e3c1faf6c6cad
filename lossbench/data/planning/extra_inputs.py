"""The inputs that losses name: read as the side that they resemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.probe import probe_files


def plan_roles(plan: Plan, pairs: Sequence[Pair], forms: Mapping[str, str]) -> Plan:
    """Add the roles that losses name to a plan.

    Scores are any numbers of any shape. A role `target_…` is read as the ground truth is, any other
    role as predictions are; its own files tell how the numbers are stored.

    Args:
        plan: the plan of the two sides.
        pairs: the files.
        forms: role -> the form in which a loss wants it.
    """
    readings = [
        _reading(plan, pairs, role, form)
        for role, form in forms.items()
        if role in pairs[0].sources
    ]
    return replace(plan, roles=tuple(readings))


def _reading(plan: Plan, pairs: Sequence[Pair], role: str, form: str) -> InputEncoding:
    """How one role is read."""
    if form == "Scores":
        return InputEncoding(role, "scores", probe_files(pairs, role).dtype)
    like = plan.target if role.startswith("target_") else plan.pred
    if like.is_hard:
        return replace(like, role=role, ignore=())
    probe = probe_files(pairs, role)
    return replace(
        like,
        role=role,
        dtype=probe.dtype,
        scale=probe.scale(role) if like.definition.is_scaled else 1.0,
        ignore=(),
        places=probe.places or like.places,
    )
