"""The layers of a featurizer by name, and what they make of a batch: its stem and its stages."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from models.torch_private import version

STEM = "stem"

# Where a featurizer has its stem and its stages, in the order in which they are looked for.
STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("maxpool", ("layer1", "layer2", "layer3", "layer4")),  # ResNet of torchvision and timm
    ("avgpool", ("layer1", "layer2", "layer3", "layer4")),  # ResNet of CLIP
    ("stem", ("s1", "s2", "s3", "s4")),  # RegNet of timm
    ("stem", tuple(f"trunk_output.block{n}" for n in range(1, 5))),  # RegNet of torchvision
    ("stem", tuple(f"stages.{n}" for n in range(4))),  # ConvNeXt of timm
    ("features.0", tuple(f"features.{n}" for n in (1, 3, 5, 7))),  # ConvNeXt of torchvision
    ("patch_embed", tuple(f"layers.{n}" for n in range(4))),  # Swin of timm
)
# Where a vision transformer has its patches and its blocks: torchvision, open_clip, timm.
TRANSFORMERS = (
    ("conv_proj", "encoder.layers"),
    ("conv1", "transformer.resblocks"),
    ("patch_embed", "blocks"),
)


def layers(featurizer: nn.Module) -> dict[str, nn.Module]:
    """The stem, then the last layer of each stage, by name; each gives a map for each sample.

    featurizer: of a Network. A ResNet has maxpool and layer1 to layer4; a transformer its patches
    and the last block of each quarter (blocks 2, 5, 8 and 11 of 12); a network that is a sequence
    its ReLUs. Other models of timm have the layers that timm itself calls features.

    Raises ValueError if none of these is there.
    """
    network = _inner(featurizer)
    for stem, stages in STAGES:
        if all(_has(network, path) for path in (stem, *stages)):
            return _named(network, stem, stages)
    for stem, blocks in TRANSFORMERS:
        if _has(network, stem) and _has(network, blocks):
            names = [name for name, _ in network.get_submodule(blocks).named_children()]
            ends = [len(names) * quarter // 4 - 1 for quarter in range(1, 5)]
            chosen = dict.fromkeys(f"{blocks}.{names[end]}" for end in ends if end >= 0)
            return _named(network, stem, chosen)
    if isinstance(network, nn.Sequential):
        found = [name for name, module in network.named_children() if isinstance(module, nn.ReLU)]
    else:
        found = [str(entry["module"]) for entry in _features_of_timm(network)]
    if len(found) < 2 or not all(_has(network, path) for path in found):
        raise ValueError("the model has no layers whose feature maps are known by name")
    return _named(network, found[0], found[1:])


class FeatureMaps:
    """What layers of a featurizer make of a batch, as it goes through with gradients or `always`.

    It keeps the maps of one pass: take them after each. A compiled featurizer must be compiled
    after this is made.
    """

    def __init__(self, featurizer: nn.Module, stem: bool = True, always: bool = False) -> None:
        chosen = layers(featurizer)
        self.names = tuple(name for name in chosen if stem or name != STEM)
        self._always = always
        self._seen: dict[str, Tensor] = {}
        network = _inner(featurizer)
        for name in self.names:
            layer = chosen[name]
            # timm's own word for maps [N, H, W, C]: of Swin's stages, and of some patches.
            last = "NHWC" in (getattr(own, "output_fmt", None) for own in (layer, network))
            layer.register_forward_hook(partial(self._keep, name, last))

    def _keep(
        self, name: str, last: bool, module: nn.Module, inputs: object, output: Tensor
    ) -> None:
        if self._always or torch.is_grad_enabled():
            first = output.ndim == 2 or (output.ndim == 4 and not last)
            self._seen[name] = output if first else output.movedim(-1, 1)

    def take(self) -> tuple[Tensor, ...]:
        """The maps [N, channels, ...] of the last pass, in order; they are kept no longer.

        None of them after a pass without gradients.
        """
        seen, self._seen = self._seen, {}
        return tuple(seen[name] for name in self.names if name in seen)


def _inner(featurizer: nn.Module) -> nn.Module:
    """The network in a featurizer, without the dropout behind it and a library's wrapping."""
    inner = next(featurizer.children()) if isinstance(featurizer, nn.Sequential) else featurizer
    trunk = getattr(inner, "trunk", None)  # of a tower that open_clip has from timm
    return trunk if isinstance(trunk, nn.Module) else inner


def _has(network: nn.Module, path: str) -> bool:
    try:
        network.get_submodule(path)
    except AttributeError:
        return False
    return True


def _named(network: nn.Module, stem: str, stages: Iterable[str]) -> dict[str, nn.Module]:
    return {
        STEM: network.get_submodule(stem),
        **{path: network.get_submodule(path) for path in stages},
    }


def _features_of_timm(network: nn.Module) -> list[dict[str, object]]:
    known = getattr(network, "feature_info", None) or []
    return list(getattr(known, "info", known))


def check(network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raises ValueError if a Network gives no feature maps by name.

    network: one to throw away, such as models.outline. shape: (C, H, W) of the images.
    """
    featurizer = network.get_submodule("featurizer")
    seen: list[tuple[str, object, int]] = []

    def see(name: str, module: nn.Module, inputs: object, output: object) -> None:
        seen.append((name, output, version(output) if isinstance(output, Tensor) else 0))

    for name, layer in layers(featurizer).items():
        layer.register_forward_hook(partial(see, name))
    device = next(featurizer.parameters()).device
    with torch.no_grad():
        featurizer.eval()(torch.empty(1, *shape, device=device))
    for name, output, before in seen:
        if not isinstance(output, Tensor) or version(output) != before:
            raise ValueError(f"the model's layer {name} gives no feature map that stays as it is")
