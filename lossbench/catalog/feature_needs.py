"""What losses require of networks: which network, layers and weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lossbench.catalog.columns import Term
from lossbench.errors import SettingError, did_you_mean
from lossbench.networks.architectures import (
    DISTS_LAYERS,
    LPIPS,
    LPIPS_LAYERS,
    NETWORKS,
    SEEDED,
    Recipe,
)


def required_features(term: Term) -> tuple[Recipe, tuple[str, ...]] | None:
    """Recipe and layers of the features that a loss compares; None for other losses."""
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
    """Weight files that a loss reads: of its network, and of its own parameters."""
    required = required_features(term)
    if required is None or required[0].network == SEEDED:
        return []
    forms, network = term.entry.forms, required[0].network
    heads = [f"lpips_{term.options['network']}"] if "Calibrated" in forms else []
    return [network, *heads, *(["dists"] if "Textures" in forms else [])]


def all_layers(terms: Iterable[Term]) -> dict[tuple[str, Recipe], set[str]]:
    """Layers that all losses together require, by role and recipe."""
    layers: dict[tuple[str, Recipe], set[str]] = {}
    for term in terms:
        required = required_features(term)
        if required is not None:
            for role in ("pred", term.options.get("against", "target")):
                layers.setdefault((role, required[0]), set()).update(required[1])
    return layers


def check_layers(name: str, options: Mapping[str, Any]) -> None:
    """Reject a layer that the network does not have, and a wrong number of weights."""
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
        raise SettingError(f"{name}: layers is empty; choose from {', '.join(network.layers)}")
    weights = options.get("weights")
    if weights is not None and len(weights) != len(layers):
        raise SettingError(
            f"{name}: weights has {len(weights)} numbers, layers has {len(layers)} names"
        )
