"""What losses ask of networks: which network, which layers, which weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lossbench.errors import SettingError, did_you_mean
from lossbench.networks.architectures import (
    DISTS_LAYERS,
    LPIPS,
    LPIPS_LAYERS,
    NETWORKS,
    SEEDED,
    Recipe,
)

if TYPE_CHECKING:
    from lossbench.catalog.columns import Term


def needed(term: Term) -> tuple[Recipe, tuple[str, ...]] | None:
    """Which features a loss compares; None where it compares none."""
    options, forms = term.options, term.entry.forms
    if "Features" in forms:
        return Recipe(options["network"]), tuple(options["layers"])
    if "Calibrated" in forms:
        network = LPIPS[options["network"]]
        return Recipe(network), LPIPS_LAYERS[network]
    if "Textures" in forms:
        return Recipe(options["network"], "blur", options["shorter"]), DISTS_LAYERS
    return None


def parameters(term: Term) -> list[str]:
    """The files that a loss reads: of its network, and of its own numbers."""
    asked = needed(term)
    if asked is None or asked[0].network == SEEDED:
        return []
    forms, network = term.entry.forms, asked[0].network
    own = [f"lpips_{term.options['network']}"] if "Calibrated" in forms else []
    return [network, *own, *(["dists"] if "Textures" in forms else [])]


def together(terms: Iterable[Term]) -> dict[tuple[str, Recipe], set[str]]:
    """The layers that all losses need of each role, by role and recipe."""
    found: dict[tuple[str, Recipe], set[str]] = {}
    for term in terms:
        asked = needed(term)
        if asked is not None:
            for role in ("pred", term.options.get("against", "target")):
                found.setdefault((role, asked[0]), set()).update(asked[1])
    return found


def check_layers(name: str, options: Mapping[str, Any]) -> None:
    """Refuse a layer that the network lacks, and weights that are not one a layer."""
    if "layers" not in options:
        return
    network, layers = NETWORKS[options["network"]], options["layers"]
    for layer in layers:
        if layer not in network.layers:
            raise SettingError(
                f"{name}: {network.name} has no layer {layer!r}"
                f"{did_you_mean(layer, network.layers)};"
                f" it has {', '.join(network.layers)}"
            )
    if not layers:
        raise SettingError(f"{name}: layers names at least one of {', '.join(network.layers)}")
    weights = options.get("weights")
    if weights is not None and len(weights) != len(layers):
        raise SettingError(
            f"{name}: weights has {len(weights)} numbers, layers has {len(layers)} names"
        )
