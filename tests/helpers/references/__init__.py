"""What every loss should give, by something that we did not write or by hand."""

from helpers.references import binary, combined, divergence, multiclass, overlap, regression, scores
from helpers.references.common import Row

REFERENCES: dict[str, list[Row]] = {
    name: rows
    for family in (binary, combined, divergence, multiclass, overlap, regression, scores)
    for name, rows in family.REFERENCES.items()
}
