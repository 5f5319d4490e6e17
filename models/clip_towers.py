"""CLIP and its kin (Radford et al. 2021), from open_clip: image towers, and what texts embed as."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import pretrained
from models.checkpoints import Checkpoint, Taken
from models.downloads import from_hugging_face, from_url
from models.entry import Colours, Shape
from models.family import without_chance
from models.weight_files import contents, some

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
OPENAI = Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# open_clip builds both towers; this is the least text tower, made to be thrown away.
NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
# And this the least image tower.
NO_IMAGES = {"image_size": 8, "patch_size": 8, "width": 8, "head_width": 8, "layers": 1}
TOWER = "visual."
# What a file of the whole model has beside it, at its top or in one part.
BESIDE = {
    *("text", "transformer", "token_embedding", "positional_embedding", "ln_final"),
    *("text_projection", "logit_scale", "logit_bias"),
}
AT_ONCE = 64  # sentences


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
    clip = open_clip.CLIP(config["embed_dim"], vision, NO_TEXT, _quick(name, weights))
    taken = None
    if weights is not None and load:
        file = pretrained.check(model, weights, published(name))
        path, part = file or (_published(name, weights), None)
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


def _quick(name: str, weights: str | None) -> bool:
    """Whether the weights were trained with QuickGELU."""
    import open_clip

    if open_clip.get_model_config(name).get("quick_gelu", False):
        return True
    return weights in published(name) and bool(_tag(name, weights).get("quick_gelu"))


def _published(name: str, weights: str) -> Path:
    config, what = _tag(name, weights), f"the weights {weights!r} of model 'open_clip/{name}'"
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    if repository:
        return from_hugging_face(repository, [file] if file else FILES, what)
    return from_url(config["url"], what)


def _load(clip: Any, path: Path, part: str | None, what: str) -> Taken:
    """The image tower's part of a file of the whole model, or of the tower alone.

    That the text tower is no part of it goes without saying.
    """
    from open_clip.model import resize_pos_embed

    def resize(state: dict[str, Tensor]) -> None:
        whole = {TOWER + key: tensor for key, tensor in state.items()}
        resize_pos_embed(whole, clip)
        state.update({key.removeprefix(TOWER): tensor for key, tensor in whole.items()})

    own = clip.visual.state_dict()
    checkpoint = Checkpoint(contents(path), own, path)
    state, taken = pretrained.fit(own, checkpoint, what, part, resize)
    clip.visual.load_state_dict(state)
    others = {n: c for n, c in taken.left_out.items() if n.rpartition(".")[2] not in BESIDE}
    return replace(taken, left_out=others)


def embed(name: str, weights: str, sentences: Sequence[str]) -> tuple[Tensor, float]:
    """Embeddings [n, width] of sentences, not normalised, and the logarithm of CLIP's temperature.

    Raises ValueError if the weights have no text tower, or a sentence is too long for it;
    ModuleNotFoundError and FileNotFoundError if its tokenizer is not there.
    """
    import open_clip

    model = f"open_clip/{name}"
    config = copy.deepcopy(open_clip.get_model_config(name))
    text = config["text_cfg"] | {"output_tokens": False}
    if text.get("hf_model_name"):
        raise ValueError(
            f"model {model!r} has a text tower of the library transformers, which Steppe does not "
            "load; choose a model whose towers are both open_clip's, or head: linear"
        )
    clip = open_clip.CustomTextCLIP(config["embed_dim"], NO_IMAGES, text, _quick(name, weights))
    file = pretrained.check(model, weights, published(name))
    path, part = file or (_published(name, weights), None)
    what = f"weights of model {model!r} in {path}"
    own = clip.text.state_dict()
    checkpoint = Checkpoint(contents(path), own, path)
    found = checkpoint.find(what, part, resampled=True)
    # Beside the text tower, or among its tensors where these have no prefix.
    beside = tuple(p for p in found.taken.under.split(".") if p not in ("", "text"))
    log_scale = checkpoint.tensors.get((*beside, "logit_scale"))
    if found.missing or log_scale is None or log_scale.numel() != 1:
        missing = found.missing or ["logit_scale"]
        raise ValueError(
            f"the {what} have no text tower that fits: missing: {some(missing)}; give weights of "
            "the whole model, or head: linear"
        )
    state, _ = pretrained.sound({key: found.state[key] for key in own}, own, found.taken, what)
    try:
        clip.text.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the {what} do not fit the text tower: {reason}") from error
    tokens = _tokens(name, sentences)
    with torch.inference_mode():
        embedded = [clip.text.eval()(chunk) for chunk in torch.split(tokens, AT_ONCE)]
    return torch.cat(embedded).clone(), float(log_scale)


def _tokens(name: str, sentences: Sequence[str]) -> Tensor:
    import open_clip

    model = f"open_clip/{name}"
    try:
        tokenizer = open_clip.get_tokenizer(name)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"the tokenizer of model {model!r} needs {error.name}, which is not installed: "
            f"pip install {error.name}"
        ) from error
    except Exception as error:  # whatever the network, the hub or the disk has against it
        reason = " ".join(str(error).split())[:300]
        raise FileNotFoundError(f"cannot get the tokenizer of model {model!r}: {reason}") from error
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        for sentence in sentences:  # it would be cut off without a word
            count = len(tokenizer.encode(sentence)) + 2
            if count > tokenizer.context_length:
                raise ValueError(
                    f"the text {sentence!r} has {count} tokens, and model {model!r} takes "
                    f"{tokenizer.context_length}; shorten model.prompts"
                )
    tokens: Tensor = tokenizer(list(sentences))
    return tokens
