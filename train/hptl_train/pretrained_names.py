"""VGG-19's parameters by name: torchvision's names or ours, and whether they are VGG-19's.

torchvision counts places in two sequences, in which a convolution and its rectifier take two
places and a pool one:

    features.0   conv1_1      features.5   conv2_1      ...   features.34   conv5_4
    features.2   conv1_2      features.7   conv2_2
    classifier.0, classifier.3, classifier.6                  fc6, fc7, fc8
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from hptl_deploy.errors import UsageError
from hptl_train.networks.layers import BLOCKS, GROUPS, NETWORKS, TRUNK

_PARAMETER = re.compile(
    r"(?:(?P<prefix>.+)\.)?(?P<layer>features\.\d{1,3}|classifier\.\d|conv\d_\d|fc\d)\."
    r"(?P<kind>weight|bias)"
)
_FEATURES = re.compile(r"(?:.+\.)?features\.(\d{1,3})\.(?:weight|bias)")
_STATISTICS = re.compile(r"(?:.+\.)?features\.\d{1,3}\.running_\w+")
_SIBLINGS = {"VGG-11": (1, 1, 2, 2, 2), "VGG-13": (2, 2, 2, 2, 2), "VGG-16": (2, 2, 3, 3, 3)}
"""Convolutions per block of VGG-19's smaller relations (Simonyan and Zisserman, table 1)."""
_FOURTH = TRUNK.index("conv3_4")
"""The first layer of the trunk that VGG-16 lacks."""
_LONGEST_WORDS = 200


def our_names(found: Mapping[str, Tensor], where: str) -> dict[str, str]:
    """The file's name of each parameter by ours, for the one VGG-19 that `found` holds.

    Names may stand behind any prefix (`module.`, `model.`), the same for all. Raises
    UsageError when `found` is another network's, holds several, lacks a tensor of
    omega_t1, or has a gap in its trunk.
    """
    _check_kind(found, where)
    matches = {name: match for name in found if (match := _PARAMETER.fullmatch(name))}
    layers = {name: _our_layer(match["layer"]) for name, match in matches.items()}
    needed = GROUPS["omega_t1"]
    prefixes = {matches[name]["prefix"] for name, layer in layers.items() if layer in needed}
    if not prefixes:
        some = ", ".join(clean(name) for name in list(found)[:3]) or "no tensors at all"
        raise UsageError(
            f"{where}: holds no layer of omega_t1 under torchvision's names (features.0.weight) or "
            f"ours (conv1_1.weight); found {some}"
        )
    if len(prefixes) > 1:
        several = ", ".join(sorted(clean(prefix or "(none)") for prefix in prefixes))
        raise UsageError(f"{where}: holds several networks, under the prefixes {several}")
    names: dict[str, str] = {}
    for name, layer in layers.items():
        own = f"{layer}.{matches[name]['kind']}"
        if layer is None or matches[name]["prefix"] not in prefixes:
            continue
        if own in names:
            raise UsageError(f"{where}: holds {own} twice, as {names[own]} and as {name}")
        names[own] = name
    _check_whole(names, where)
    return names


def may_be_vgg16(names: Mapping[str, str]) -> bool:
    """Whether the trunk in `names` ends where VGG-16 still has the same layers."""
    return _last(names) < _FOURTH


def layers_of(parameters: Sequence[str]) -> list[str]:
    """The layers that own `parameters`, each once."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))


def clean(text: str) -> str:
    """A stranger's words on one line, short, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= _LONGEST_WORDS else line[:_LONGEST_WORDS] + " ..."


def _check_kind(found: Mapping[str, Tensor], where: str) -> None:
    """Refuse what is recognisably another network."""
    places = {int(match[1]): name for name in found if (match := _FEATURES.fullmatch(name))}
    normalised = [name for name in found if _STATISTICS.fullmatch(name)]
    # Behind features.0, a convolution, comes its normalisation: one number per channel.
    normalised += [places[1]] if 1 in places and found[places[1]].ndim == 1 else []
    if normalised:
        raise UsageError(
            f"{where}: is a VGG with batch normalisation ({clean(normalised[0])}), without which "
            "its convolutions mean nothing; this VGG-19 has none",
            hint="Take vgg19's weights, not vgg19_bn's",
        )
    for name in found:
        layer = name.split(".")[-2:-1]
        owners = [key for key, layers in NETWORKS.items() if layer and layer[0] in layers]
        if owners and "vgg19" not in owners:
            raise UsageError(
                f"{where}: holds {clean(name)}, a layer of an FCN; expected VGG-19's weights"
            )
    if strange := sorted(set(places) - set(_indices(BLOCKS))):
        kin = [name for name, blocks in _SIBLINGS.items() if set(places) <= set(_indices(blocks))]
        raise UsageError(
            f"{where}: is {kin[0] if kin else 'another network'}: it has a layer at "
            f"features.{strange[0]}, where VGG-19 has none; expected VGG-19's weights"
        )


def _check_whole(names: Mapping[str, str], where: str) -> None:
    """Raise UsageError unless omega_t1 is there, and the trunk as far as it goes has no gap."""
    needed = [f"{layer}.{kind}" for layer in GROUPS["omega_t1"] for kind in ("weight", "bias")]
    if missing := [name for name in needed if name not in names]:
        raise UsageError(
            f"{where}: lacks {', '.join(missing)}; expected the weights and biases of conv1_1, "
            "conv1_2, conv2_1 and conv2_2 at least, which omega_t1 needs"
        )
    present = layers_of(list(names))
    gap = [layer for layer in TRUNK[: _last(names)] if layer not in present]
    if gap:
        sibling = ", as VGG-16 does" if gap[0] == TRUNK[_FOURTH] else ""
        raise UsageError(
            f"{where}: lacks {gap[0]} and holds {TRUNK[_last(names)]}{sibling}; expected VGG-19's "
            "layers without a gap"
        )


def _last(names: Mapping[str, str]) -> int:
    return max(TRUNK.index(layer) for layer in layers_of(list(names)) if layer in TRUNK)


def _indices(blocks: Sequence[int]) -> list[int]:
    places, place = [], 0
    for count in blocks:
        places += [place + 2 * number for number in range(count)]
        place += 2 * count + 1
    return places


_TORCHVISION = {
    **{f"features.{i}": name for i, name in zip(_indices(BLOCKS), TRUNK, strict=True)},
    "classifier.0": "fc6",
    "classifier.3": "fc7",
    "classifier.6": "fc8",
}


def _our_layer(layer: str) -> str | None:
    return _TORCHVISION.get(layer, layer if layer in NETWORKS["vgg19"] else None)
