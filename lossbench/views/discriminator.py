"""Discriminator outputs of generated and real samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lossbench.errors import InputError, SettingError
from lossbench.interface.annotations import Scores
from lossbench.interface.sample_batch import Input
from lossbench.interface.stable_math import logarithm


@dataclass(frozen=True, eq=False)
class DiscriminatorOutputs:
    """Discriminator outputs as stored, of generated and real samples, (B, N)."""

    fake: Tensor
    real: Tensor

    @classmethod
    def of(
        cls, pred: Input, target: Input, d_fake: Scores | None, d_real: Scores | None
    ) -> DiscriminatorOutputs:
        """Outputs from PRED and GT, or from the roles `d_fake` and `d_real` if present."""
        for role, scores, default in (("d_fake", d_fake, pred), ("d_real", d_real, target)):
            if scores is None and default.task != "scores":
                raise SettingError(
                    f"PRED and GT are not discriminator outputs on this task: --input {role}=DIR"
                )
        return cls(
            pred.scores if d_fake is None else d_fake, target.scores if d_real is None else d_real
        )


def log_chances(outputs: Tensor, logits: bool, role: str) -> tuple[Tensor, Tensor]:
    """Logarithms log D and log(1 − D), each (B, N).

    Raises:
        InputError: outputs that should be probabilities are outside [0, 1].
    """
    if logits:
        return _log_sigmoid(outputs), _log_sigmoid(-outputs)
    low, high = outputs.detach().aminmax()
    if low < 0 or high > 1:
        raise InputError(
            f"holds {float(low if low < 0 else high):.4g}, outside the probabilities 0 to 1; if"
            " these are logits, omit logits=false",
            kind="mismatch",
            role=role,
        )
    return logarithm(outputs), logarithm(1 - outputs)


def _log_sigmoid(x: Tensor) -> Tensor:
    """Log-sigmoid; torch's own rounds differently at the end of a vector."""
    return x.clamp(max=0) - (-x.abs()).exp().log1p()
