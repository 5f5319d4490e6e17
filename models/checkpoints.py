"""A network's weights in a checkpoint, under whatever a training script has wrapped them in.

All tensors are named by their place in the file, and the network is looked for under any prefix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from models.weight_files import held, some

Key = tuple[str, ...]

# Parts of names that DataParallel and DDP, torch.compile, FSDP, activation checkpointing and
# Lightning's Fabric put before or between a network's own.
WRAPPERS = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
}
# What a network may have behind its features, by the first part of the name: classifiers, and the
# projections of self-supervised training.
HEADS = {
    "classifier",
    "contrastive_head",
    "fc",
    "head",
    "head_dist",
    "heads",
    "last_linear",
    "linear",
    "mlp_head",
    "predictor",
    "proj_head",
    "projection_head",
    "projector",
    "prototypes",
}
# Counts that are kept beside weights: of swa_utils.AveragedModel, and of thop.
COUNTS = {"n_averaged", "num_batches_tracked", "total_ops", "total_params"}
# Where one checkpoint has both, the first is the network and the second helps to train it: as in
# official evaluations of MoCo v1 to v3 and BYOL; of MIRO, the network that it started from.
CHOICES = (
    ("encoder_q", "encoder_k"),
    ("base_encoder", "momentum_encoder"),
    ("online_encoder", "target_encoder"),
    ("online_network", "target_network"),
    ("backbone", "backbone_momentum"),
    ("backbone", "momentum_backbone"),
    ("encoder", "momentum_encoder"),
    ("featurizer", "pre_featurizer"),
)
# The official evaluations of DINO and iBOT take the teacher; elsewhere a student may be wanted.
TEACHERS = {"dino_loss", "ibot_loss"}
# Names that tell which library a network is of.
LIBRARIES = {
    "patch_embeddings": "Hugging Face transformers",
    "embedder.embedder": "Hugging Face transformers",
    "encoder.stages": "Hugging Face transformers",
    "blocks.0.attn.qkv": "timm, whose models are called timm/NAME",
    "encoder_layer_0": "torchvision",
    "transformer.resblocks": "CLIP, whose image towers are called open_clip/NAME",
}


@dataclass(frozen=True)
class Taken:
    """What was taken from a file of weights, as a run's manifest has it.

    file       its path
    under      what stands before the network's own names in it; empty if nothing does
    wrappers   parts of names that were passed over, of `WRAPPERS`
    left_out   parts of the file that are not the network's features -> number of their tensors
    converted  data types of the file that became the network's -> number of tensors
    """

    file: Path
    under: str = ""
    wrappers: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    converted: Mapping[str, int] = field(default_factory=dict)

    def dotted(self, name: str) -> str:
        """A name of the network's as it is in the file, but for wrappers."""
        return f"{self.under}.{name}" if self.under else name

    def __str__(self) -> str:
        under = f" under {self.under}" if self.under else ""
        without = f", without {some(self.left_out)}" if self.left_out else ""
        return f"{self.file}{under}{without}"


@dataclass(frozen=True)
class Found:
    """A network in a file.

    state     its tensors by the network's own names, its counts and what `HEADS` are left out
    missing   names of the network's that are not there
    strange   names of the file, in the same state dict, that the network lacks
    taken     for the manifest
    own       number of the network's tensors
    """

    state: Mapping[str, Tensor]
    missing: Sequence[str]
    strange: Sequence[str]
    taken: Taken
    own: int

    def misfit(self, what: str) -> str:
        """Why it does not fit, with names of both sides. what: the weights."""
        under = f" under {self.taken.under}" if self.taken.under else ""
        there = self.own - len(self.missing)
        of_file = f"unexpected: {some(self.strange)}" if self.strange else ""
        of_model = f"missing: {some(self.missing)}" if self.missing else ""
        names = " ".join(self.strange)
        library = next((has for part, has in LIBRARIES.items() if part in names), None)
        return (
            f"the {what} do not fit: {there} of the model's {self.own} tensors are in it{under}; "
            + "; ".join(filter(None, (of_model, of_file)))
            + (f"; the names look like those of {library}" if library and self.missing else "")
        )


class Checkpoint:
    """The tensors of a file by their place in it.

    content: of the file (weight_files.contents).
    own: the network's tensors, or such as have their shapes.
    path: of the file.
    children: names of the network's layers in order, by which a Sequential of them counts.

    Raises ValueError if it holds no named tensors.
    """

    def __init__(
        self, content: object, own: Mapping[str, Tensor], path: Path, children: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.own = {tuple(name.split(".")): tensor for name, tensor in own.items()}
        self.needed = {key for key in self.own if key[-1] not in COUNTS} or set(self.own)
        self.positions = {name: str(i) for i, name in enumerate(children)}
        self.roots = set(content) if isinstance(content, Mapping) else set()
        placed = list(_tensors(content))
        if not placed:
            raise ValueError(
                f"cannot read weights from {path}: it must be a state dict, a mapping from names "
                f"to tensors, or a checkpoint with one, but it holds {held(content) or 'nothing'}"
            )
        passed_over = WRAPPERS - {part for key in self.own for part in key}
        short = [tuple(part for part in key if part not in passed_over) for _, key, _ in placed]
        # Where passing over would make one name of two, all stay as they are.
        self.passed_over = passed_over if len(set(short)) == len(short) else set()
        self.tensors: dict[Key, Tensor] = {}
        self.state_dict: dict[Key, Key] = {}  # which one of the file's a tensor is in
        self.wrapped: dict[Key, set[str]] = {}
        self.written: dict[Key, str] = {}
        for (within, key, tensor), without in zip(placed, short, strict=True):
            name = without if self.passed_over else key
            self.tensors[name] = tensor
            self.state_dict[name] = within
            self.wrapped[name] = self.passed_over & set(key)
            self.written[name] = ".".join(key)

    def find(self, what: str, part: str | None = None, resampled: bool = False) -> Found:
        """The network's weights.

        what: the weights, for messages.
        part: the prefix under which they are to be looked for; None for any.
        resampled: the network may have tensors of other shapes, which are brought to its own.

        Returns: the one that fits; else the one that has most of the network's names.

        Raises ValueError if the network is there more than once, with different numbers, or
        `part` is not in the file.
        """
        wanted = tuple(p for p in (part or "").split(".") if p and p not in self.passed_over)
        counts: Counter[tuple[Key, bool]] = Counter()
        numbered = {self._numbered(key) for key in self.needed} if self.positions else set()
        for key in self.tensors:
            if key[: len(wanted)] != wanted:
                continue
            for length in range(len(wanted), len(key)):
                counts[key[:length], False] += key[length:] in self.needed
                counts[key[:length], True] += key[length:] in numbered
        if not counts:
            raise ValueError(
                f"the {what} have no part {part!r}; there are: "
                f"{some(dict.fromkeys(key[0] for key in self.tensors), 10)}"
            )
        whole = [self._found(*place) for place, n in counts.items() if n == len(self.needed)]
        fits = [found for found in whole if self._fits(found, resampled)]
        if not fits:
            named = [place for place in counts if not place[1] or counts[place] == len(self.needed)]
            best = max(named, key=lambda place: (counts[place], -len(place[0])))
            if counts[best] == 0:  # nothing: the file's largest state dict
                sizes = Counter(w for k, w in self.state_dict.items() if k[: len(wanted)] == wanted)
                best = sizes.most_common(1)[0][0], False
            return self._found(*best)
        fits = [found for found in fits if not found.strange] or fits
        fits = self._preferred(fits)
        if len(fits) > 1:
            places = " and ".join(found.taken.under or "no prefix" for found in fits)
            raise ValueError(
                f"the {what} hold the model {len(fits)} times, with different numbers: under "
                f"{places}; choose one, as in weights: {self.path}#{fits[-1].taken.under}"
            )
        return fits[0]

    def _numbered(self, key: Key) -> Key:
        return (self.positions.get(key[0], key[0]), *key[1:])

    def _found(self, under: Key, numbered: bool) -> Found:
        depth = len(under)
        names = {self._numbered(key) if numbered else key: key for key in self.own}
        inside = [key for key in self.tensors if key[:depth] == under]
        matched = [key for key in inside if key[depth:] in names]
        same = {self.state_dict[key] for key in matched or inside}
        state, strange = {}, []
        left_out: Counter[str] = Counter()
        for key, tensor in self.tensors.items():
            own = key[depth:]
            if key[:depth] == under and own in names:
                state[".".join(names[own])] = tensor
                continue
            common = next((i for i, p in enumerate(under) if key[i : i + 1] != (p,)), depth)
            head = bool(own) and own[0] in HEADS
            if key[:depth] == under and self.state_dict[key] in same and not head:
                if key[-1] in COUNTS:
                    continue
                strange.append(self.written[key])
                state[".".join(own)] = tensor
            else:
                left_out[".".join(key[: common + 1])] += 1
        missing = [
            ".".join(key) for key in self.own if key in self.needed and ".".join(key) not in state
        ]
        wrappers = sorted({part for key in matched for part in self.wrapped[key]})
        if not strange and missing:
            strange = [self.written[key] for key in inside if key not in matched]
        taken = Taken(self.path, ".".join(under), wrappers, dict(left_out))
        return Found(state, missing, strange, taken, len(self.needed))

    def _fits(self, found: Found, resampled: bool) -> bool:
        """Whether it is this network and no larger one of the same names."""
        return resampled or (
            not found.strange
            and all(
                found.state[name].shape == self.own[tuple(name.split("."))].shape
                for name in map(".".join, self.needed)
            )
        )

    def _preferred(self, fits: list[Found]) -> list[Found]:
        """Without those that are the same again, or that only help to train another."""
        places = {found.taken.under: found for found in fits}
        pairs = (*CHOICES, ("teacher", "student")) if self.roots & TEACHERS else CHOICES
        for under in list(places):
            parts = under.split(".")
            for chosen, helper in pairs:
                better = ".".join(chosen if part == helper else part for part in parts)
                if better != under and better in places:
                    del places[under]
                    break
        different: list[Found] = []
        for found in places.values():
            if not any(self._same(found, other) for other in different):
                different.append(found)
        return different

    def _same(self, one: Found, other: Found) -> bool:
        names = [".".join(key) for key in self.needed]
        return all(torch.equal(one.state[name], other.state[name]) for name in names)


def _tensors(content: object, within: Key = ()) -> Iterable[tuple[Key, Key, Tensor]]:
    """(place of the mapping that holds it, its own place, tensor) of all named tensors."""
    if isinstance(content, (list, tuple)) and any(isinstance(x, Mapping) for x in content):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        place = (*within, *str(name).split("."))
        if isinstance(value, Tensor):
            yield within, place, value
        else:
            yield from _tensors(value, place)
