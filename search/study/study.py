"""A study, the search for one setting apart from every other, and the studies of a sweep."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import datasets
from datasets import DATASETS
from datasets.domain_dataset import members
from search.space.ranges import Range, different_settings
from search.sweep.per_dataset import DatasetSweep, by_dataset
from search.sweep.schema import Sweep

_COLUMNS = ("dataset", "model", "algorithm", "held_out", "seed")

# Leaves room for a trial's number and an ending in the 255 bytes of a file's name.
MAX_BYTES = 230

_DIGEST = 10
_LIKE_A_DIGEST = re.compile(rf".*-[0-9a-f]{{{_DIGEST}}}", re.DOTALL | re.IGNORECASE)
_FAMILIES = ("timm", "open_clip")  # of models.FAMILIES, which needs torch
_IN_FAMILY = re.compile(rf"({'|'.join(_FAMILIES)})/[A-Za-z0-9_+-]+")


@dataclass(frozen=True)
class Study:
    """The search for one (dataset, model, algorithm, held-out domain, seed).

    held_out: the domain, or the name of a set of them (datasets.domain_dataset.set_name).
    in_earlier_run: its run is of a commit in which different names could have the same `id`.
    """

    dataset: str
    model: str
    algorithm: str
    held_out: str
    seed: int
    in_earlier_run: bool = field(default=False, compare=False)

    @cached_property  # a driver asks for it thousands of times for each trial
    def id(self) -> str:
        """Its name in files, tables and storages: `RotatedDigits.cnn.DISAM+SAGM.75.0`.

        It has ASCII letters, digits, `_`, `+`, `-` and dots, and depends on this study alone. Two
        studies never have the same, even if case is ignored: a name that would be ambiguous gets
        a digest.
        """
        if self.in_earlier_run:
            names = (self.dataset, self.model, self.algorithm, self.held_out)
            return ".".join([*map(_plain, names), str(self.seed)])
        parts = (_first(self.dataset), _model(self.model), _named(self.algorithm))
        whole = ".".join([*parts, _domain(self.dataset, self.held_out), str(self.seed)])
        if len(whole) <= MAX_BYTES:
            return whole
        return f"{whole[: MAX_BYTES - _DIGEST - 1]}-{_digest(whole)}"

    @property
    def title(self) -> str:
        """Its name as tables print it, with every name as it is written."""
        return title_of(self.columns)

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in tables."""
        return {name: getattr(self, name) for name in _COLUMNS}


def title_of(row: Mapping[Any, Any]) -> str:
    """The `title` of the study that a row of a table is of."""
    return ".".join(str(row[name]) for name in _COLUMNS)


def studies(sweep: Sweep) -> tuple[Study, ...]:
    """All studies of a sweep, by dataset, algorithm, held-out domain and seed.

    In the order of the file. A file that lists what is held out, as a run's does, is read without
    opening a dataset.
    """
    return tuple(
        Study(dataset, sweep.model.name, algorithm, domain, seed, sweep.in_earlier_run)
        for dataset, one in by_dataset(sweep).items()
        for algorithm in sweep.algorithms
        for domain in held_out_domains(one)
        for seed in sweep.seeds
    )


def held_out_domains(sweep: DatasetSweep) -> tuple[str, ...]:
    """What is held out of a dataset, domains and sets; each domain, in its order, for `all`.

    Of a dataset that has only some domains to be held out, `all` is these.
    """
    if sweep.held_out == "all":
        about = datasets.describe(sweep.dataset.name, sweep.dataset.root)
        return about.held_out or about.domains
    return sweep.held_out


def fewest_sources(sweep: DatasetSweep) -> int:
    """The number of source domains that the largest set of held-out domains leaves."""
    domains = datasets.describe(sweep.dataset.name, sweep.dataset.root).domains
    return len(domains) - max(len(members(name)) for name in held_out_domains(sweep))


def trials_per_study(asked: int, space: Mapping[str, Range]) -> int:
    """Trials of a study: as many as are asked for, but no more than its space has settings."""
    # A setting gives the same run again, as the seed is the same.
    most = different_settings(space)
    return asked if most is None else min(asked, most)


def previous_study(study: Study, seeds: Sequence[int]) -> Study | None:
    """The study whose best settings this one tries; None for the first seed."""
    place = seeds.index(study.seed)
    return replace(study, seed=seeds[place - 1]) if place else None


def max_settings(first: int, factor: int | None, place: int) -> int:
    """The most settings that the study of a seed tries.

    ceil(first / factor^place), with `first` trials in the first seed's study and the seed's place
    in the sweep from 0; `first` without a factor.
    """
    return first if factor is None else math.ceil(first / factor**place)


def max_trials(
    first: Mapping[Study, int], seeds: Sequence[int], factor: int | None
) -> dict[Study, int]:
    """The most trials of each study. first: what each would have with the first seed."""
    return {
        study: max_settings(trials, factor, seeds.index(study.seed))
        for study, trials in first.items()
    }


def _domain(dataset: str, name: str) -> str:
    """Known datasets have distinct domains; folders of a user's own may differ in case only.

    Of a set `art_painting+sketch`, but of folders, which may have such a name, with a digest.
    """
    entry = DATASETS.get(dataset)
    domains = entry.description.domains if entry else ()
    if len(members(name)) > 1 and set(members(name)) <= set(domains):
        return "+".join(map(_plain, members(name)))
    known = {_plain(d).lower(): d for d in reversed(domains)}
    plain = _plain(name)
    same = known.get(plain.lower())
    if same is not None:
        return plain if name == same else _with_digest(name)
    return _named(name) if name == name.lower() else _with_digest(name)


def _model(name: str) -> str:
    if _IN_FAMILY.fullmatch(name) and not _LIKE_A_DIGEST.fullmatch(name):
        return _plain(name)
    return (
        _with_digest(name) if name.startswith(tuple(f"{f}_" for f in _FAMILIES)) else _named(name)
    )


def _first(name: str) -> str:
    """The first part of an id begins with a letter or digit: a dot would hide the file."""
    if re.match(r"[A-Za-z0-9]", name):
        return _named(name)
    return f"x{_with_digest(name)}"


def _named(name: str) -> str:
    unambiguous = _plain(name) == name and not _LIKE_A_DIGEST.fullmatch(name)
    return name if unambiguous else _with_digest(name)


def _with_digest(name: str) -> str:
    return f"{_plain(name)}-{_digest(name)}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_+-]", "_", name)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
