"""Any model of timm (Wightman 2019, PyTorch Image Models) as a featurizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import pretrained
from models.checkpoints import Checkpoint, Taken
from models.downloads import from_hugging_face, from_url
from models.entry import Colours, Shape
from models.family import without_chance
from models.weight_files import contents

FILES = ("model.safetensors", "pytorch_model.bin")


@cache
def names() -> Sequence[str]:
    """Names of all models."""
    import timm

    return tuple(timm.list_models())


@cache
def published(name: str) -> Sequence[str]:
    """Tags of the model's weights, its own choice first."""
    import timm

    # (A dot stands before the tag, and nowhere else in a name.)
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    default = _config(name).tag
    return tuple(sorted(tags, key=lambda tag: tag != default))


def colours(name: str, weights: str | None) -> Colours:
    """How the model with these weights wants photographs."""
    config = _config(name, weights)
    return Colours(tuple(config.mean), tuple(config.std))


def featurizer(
    name: str, shape: Shape, weights: str | None, load: bool
) -> tuple[nn.Module, Taken | None]:
    """The model without its classifier, from which timm returns pooled features [N, width].

    Position embeddings are resampled to the images' size, as timm does it.
    """
    import timm

    model, config = f"timm/{name}", _config(name, weights)
    options: dict[str, Any] = {"num_classes": 0}
    if config.fixed_input_size:
        options["img_size"] = shape[1:]
    if weights is None or not load:
        known = weights if weights in published(name) else None
        return without_chance(timm.create_model(_tagged(name, known), **options)), None
    file = pretrained.check(model, weights, published(name))
    # timm knows layouts of its own for its published weights, heads and all.
    taken: Taken | None = None
    overlay: dict[str, Any] = {"custom_load": False}
    if file is None:
        what = f"the weights {weights!r} of model {model!r}"
        overlay["state_dict"] = contents(_published_file(config, what))
    else:
        path, part = file
        what = f"weights of model {model!r} in {path}"
        with torch.device("meta"):
            own = timm.create_model(name, **options).state_dict()
        found = Checkpoint(contents(path), own, path).find(what, part, resampled=True)
        state, taken = pretrained.sound(found.state, own, found.taken, what)
        state = _without_head(state, config.classifier or ())
        # So timm takes them for weights of just this model, and refuses others.
        overlay |= {"state_dict": state, "num_classes": 0, "label_offset": 0}
    try:
        network: nn.Module = timm.create_model(
            _tagged(name, None if file else weights),
            pretrained=True,
            pretrained_cfg_overlay=overlay,
            **options,
        )
    except (RuntimeError, KeyError, ValueError) as error:
        if file is not None and (found.missing or found.strange):
            raise ValueError(found.misfit(what)) from error
        reason = " ".join(str(error).split())[:400]
        raise ValueError(f"the {what.removeprefix('the ')} do not fit: {reason}") from error
    network.pretrained_cfg.pop("state_dict", None)  # type: ignore[operator, union-attr]
    return without_chance(network), taken


def _config(name: str, weights: str | None = None) -> Any:
    """What timm knows of the weights; of its own choice of them, where they are a file or None."""
    import timm

    known = weights is not None and weights in published(name)
    return timm.models.get_pretrained_cfg(f"{name}.{weights}" if known else name)


def _tagged(name: str, tag: str | None) -> str:
    return name if tag is None else f"{name}.{tag}"


def _published_file(config: Any, what: str) -> Path:
    if config.hf_hub_id:
        files = [config.hf_hub_filename] if config.hf_hub_filename else FILES
        return from_hugging_face(config.hf_hub_id, files, what)
    return from_url(config.url, what)


def _without_head(state: dict[str, Tensor], heads: str | Sequence[str]) -> dict[str, Tensor]:
    roots = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    return {key: value for key, value in state.items() if not key.startswith(roots)}
