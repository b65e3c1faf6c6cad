"""What a discriminator says of generated and of real samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lossbench.errors import InputError, SettingError
from lossbench.interface.annotations import Scores
from lossbench.interface.sample_batch import Input
from lossbench.interface.stable_math import logarithm


@dataclass(frozen=True, eq=False)
class DiscriminatorOutputs:
    """Outputs of a discriminator as they are stored, of generated and of real samples, (B, N)."""

    fake: Tensor
    real: Tensor

    @classmethod
    def of(
        cls, pred: Input, target: Input, d_fake: Scores | None, d_real: Scores | None
    ) -> DiscriminatorOutputs:
        """PRED and GT, or the roles `d_fake` and `d_real` where these are given."""
        for role, given, side in (("d_fake", d_fake, pred), ("d_real", d_real, target)):
            if given is None and side.task != "scores":
                raise SettingError(
                    f"PRED and GT are no outputs of a discriminator here: --input {role}=DIR"
                )
        return cls(
            pred.scores if d_fake is None else d_fake, target.scores if d_real is None else d_real
        )


def log_chances(outputs: Tensor, logits: bool, role: str) -> tuple[Tensor, Tensor]:
    """log D and log(1 − D), each (B, N).

    Raises:
        InputError: they are to be probabilities, and are not.
    """
    if logits:
        return _log_sigmoid(outputs), _log_sigmoid(-outputs)
    low, high = outputs.detach().aminmax()
    if low < 0 or high > 1:
        raise InputError(
            f"holds {float(low if low < 0 else high):.4g}, outside the probabilities 0 to 1;"
            " leave out logits=false where these are logits",
            kind="mismatch",
            role=role,
        )
    return logarithm(outputs), logarithm(1 - outputs)


def _log_sigmoid(x: Tensor) -> Tensor:
    """Without the rounding of vectors against their ends."""
    return x.clamp(max=0) - (-x.abs()).exp().log1p()
