"""Which part of a model trains: all of it, its linear head, or the head and a little more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from models.entry import nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.network import Network

# The numbers of each with their defaults: RoBERTa's in Hu et al. 2021, table 9.
TUNINGS: dict[str, dict[str, float]] = {
    "full": {},
    "head": {},
    "lora": {"lora_rank": 8, "lora_alpha": 8.0},
}


def hyperparameters(tuning: str) -> dict[str, float]:
    """The numbers of a tuning with their defaults. Raises ValueError for an unknown name."""
    if tuning not in TUNINGS:
        near = nearest(tuning, TUNINGS)
        hint = f"; did you mean {near!r}?" if near else ";"
        raise ValueError(f"unknown tuning: {tuning!r}{hint} there are: {', '.join(TUNINGS)}")
    return dict(TUNINGS[tuning])


def check(network: Network, tuning: str) -> None:
    """Raises ValueError if the model cannot be tuned so; it may be on the meta device."""
    from models import lora

    if tuning == "lora" and next(lora.places(network.featurizer), None) is None:
        raise ValueError("lora adapts the matrices of attention, and the model has none")


def tune(network: Network, tuning: str, values: Mapping[str, float]) -> None:
    """Leaves only the parameters that train with `requires_grad`; new ones are drawn as torch does.

    values: of `hyperparameters`, by name; those that are left out have their defaults.

    Raises ValueError if the tuning is unknown, a number is out of range, or lora finds no
    attention.
    """
    numbers = hyperparameters(tuning) | dict(values)
    for name in numbers.keys() - hyperparameters(tuning).keys():
        raise ValueError(f"tuning {tuning} has no number {name!r}")
    check(network, tuning)
    from models import lora
    from models.network import Frozen

    layers: nn.Sequential = network.featurizer  # type: ignore[assignment]
    if tuning == "head":
        layers[0] = Frozen(layers[0])
    elif tuning == "lora":
        rank, alpha = numbers["lora_rank"], numbers["lora_alpha"]
        if rank < 1 or rank != int(rank):
            raise ValueError(f"lora_rank must be a whole number from 1, but got {rank}")
        if not alpha > 0:
            raise ValueError(f"lora_alpha must be above 0, but got {alpha}")
        lora.adapt(layers[0], int(rank), alpha)


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of the model as it was before it was tuned, with what LoRA learned in it."""
    state: dict[str, Tensor] = {}
    for key, tensor in network.state_dict().items():
        path, low_rank, pair = key.partition(".parametrizations.")
        if not low_rank:
            state[key.replace(".0.frozen.", ".0.")] = tensor
        elif pair.endswith(".original"):
            name = pair.removesuffix(".original")
            state[f"{path}.{name}"] = getattr(network.get_submodule(path), name).detach()
    return state


def resting(network: nn.Module) -> frozenset[str]:
    """Names in `plain_state` of the parameters that training leaves as they are."""
    return frozenset(
        name.replace(".0.frozen.", ".0.")
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad and ".parametrizations." not in name
    )
