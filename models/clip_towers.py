"""The image towers of CLIP and its kin (Radford et al. 2021), from open_clip, as featurizers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models import pretrained
from models.checkpoints import Checkpoint, Taken
from models.downloads import from_hugging_face, from_url
from models.family import Family, without_chance
from models.network import Colours, Shape
from models.weight_files import contents

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
OPENAI = Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# open_clip builds both towers; this is the least text tower, made to be thrown away.
NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
TOWER = "visual."


def names() -> Sequence[str]:
    """Names of all models."""
    import open_clip

    return tuple(open_clip.list_models())


def published(name: str) -> Sequence[str]:
    """Tags of the weights that the model may start from."""
    import open_clip

    return tuple(open_clip.list_pretrained_tags_by_model(name))


def colours(name: str, weights: str | None) -> Colours:
    """How the model with these weights wants photographs."""
    config = _tag(name, weights)
    if "mean" not in config:
        return OPENAI
    return Colours(tuple(config["mean"]), tuple(config["std"]))


def featurizer(
    name: str, shape: Shape, weights: str | None, load: bool
) -> tuple[nn.Module, Taken | None]:
    """The image tower with its projection into the space that it shares with texts, not normalised.

    Position embeddings are resampled to the images' size, as open_clip does it. The activation is
    the one that published weights were trained with (QuickGELU for OpenAI's).
    """
    import open_clip

    model = f"open_clip/{name}"
    config = copy.deepcopy(open_clip.get_model_config(name))
    vision, size = config["vision_cfg"], shape[1] if shape[1] == shape[2] else shape[1:]
    vision |= {"patch_dropout": 0.0, "output_tokens": False, "timm_model_pretrained": False}
    of_timm = bool(vision.get("timm_model_name"))
    made_for = vision.get("image_size", 224)
    if not of_timm:
        vision["image_size"] = size
    quick = config.get("quick_gelu", False) or bool(
        weights in published(name) and _tag(name, weights).get("quick_gelu")
    )
    clip = open_clip.CLIP(config["embed_dim"], vision, NO_TEXT, quick)
    taken = None
    if weights is not None and load:
        file = pretrained.check(model, weights, published(name))
        path, part = file or (
            _published_file(_tag(name, weights), f"the weights {weights!r} of model {model!r}"),
            None,
        )
        found = _load(clip, path, part, f"weights of model {model!r} in {path}")
        taken = found if file else None
    if of_timm and size != made_for and hasattr(clip.visual, "set_input_size"):
        clip.visual.set_input_size(size)
    return without_chance(clip.visual), taken


def _tag(name: str, weights: str | None) -> dict[str, Any]:
    """What open_clip knows of the weights; of the model's first, where they are a file or None."""
    import open_clip

    tags = published(name)
    tag = weights if weights in tags else next(iter(tags), "")
    return dict(open_clip.get_pretrained_cfg(name, tag))


def _published_file(config: dict[str, Any], what: str) -> Path:
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    if repository:
        return from_hugging_face(repository, [file] if file else FILES, what)
    return from_url(config["url"], what)


def _load(clip: Any, path: Path, part: str | None, what: str) -> Taken:
    """The image tower's part of a file of the whole model, or of the tower alone."""
    from open_clip.model import resize_pos_embed

    def resize(state: dict[str, Tensor]) -> None:
        whole = {TOWER + key: tensor for key, tensor in state.items()}
        resize_pos_embed(whole, clip)
        state.update({key.removeprefix(TOWER): tensor for key, tensor in whole.items()})

    own = clip.visual.state_dict()
    checkpoint = Checkpoint(contents(path), own, path)
    state, taken = pretrained.fit(own, checkpoint, what, part, resize)
    clip.visual.load_state_dict(state)
    return taken


FAMILY = Family(
    package="open_clip",
    extra="clip",
    sentence="The image tower of any model of open_clip: CLIP, SigLIP, EVA, ...",
    names=names,
    published=published,
    colours=colours,
    featurizer=featurizer,
)
