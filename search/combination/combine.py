"""Combines the networks that a run kept, and scores each combination as trials are scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from search.checks.open_datasets import open_dataset
from search.combination import wise_ft
from search.combination.groups import (
    Candidate,
    Group,
    check_kept,
    check_validated,
    fewest,
    groups,
    possible_methods,
)
from search.errors import SteppeError
from search.reproduce.model_files import device_here
from search.reproduce.recorded_trial import EndedRun, ended_run
from search.run import lease, manifest
from search.run.checkpoints import read_weights
from search.run.combinations import read_combination, write_combination
from search.run.run_folder import WEIGHTS, RunFolder
from search.study.plan import StudyPlan
from search.sweep.search_keys import WISE_FT
from training.combining import State, barrier, greedy, interpolated, pooled, uniform
from training.evaluation import Evaluation, Part, Score
from training.scorer import Scorer


def combine(
    run: str,
    methods: Sequence[str] = (),
    top: int | None = None,
    across: str | None = None,
    root: Path | None = None,
) -> None:
    """Writes the combinations of every study of a run that are not there yet.

    methods: of COMBINATIONS; all that the run has, without any. top: how many candidates of
    each study, the best ones; None: all. across: `algorithms` combines the studies that differ in
    nothing else, `seeds` those of all seeds. root: where the images lie now, if they have moved.

    Raises SteppeError if there is nothing to combine, if a driver works on the run, or if weights
    or images are not those of the run.
    """
    ended = ended_run(run, root)
    methods = list(methods) or possible_methods(ended.sweep, across)
    check_validated(methods, across)
    found = list(groups(ended, across, top))
    check_kept(ended, methods)
    opened: dict[str, DomainDataset] = {}
    most = max(len(group.candidates) for group in found)
    if top is not None and most < top:
        raise SteppeError(
            f"--top {top} leaves no network out, as none of the combinations has more than {most} "
            "candidates; remove it"
        )
    # So that no driver begins meanwhile, whose trials would change what is kept.
    with lease.Lease(ended.folder, on_loss=lambda: None) as held:
        for group in found:
            _combine(ended, group, methods, top, opened, held)


def _combine(
    ended: EndedRun,
    group: Group,
    methods: Sequence[str],
    top: int | None,
    opened: dict[str, DomainDataset],
    held: lease.Lease,
) -> None:
    """Writes the combinations of a group. opened: datasets by name; a missing one is added."""
    candidates = tuple(candidate.trial for candidate in group.candidates)
    bench: Bench | None = None
    for method in methods:
        name = group.name(method, top)
        there = read_combination(ended.folder, name)
        if len(there) and all(known == candidates for known in there["candidates"]):
            print(f"{name}: done before", flush=True)
            continue
        if bench is None and len(candidates) >= fewest(method):
            if (dataset := group.study.dataset) not in opened:
                opened[dataset] = dataset_of(ended, group.studies[0])
            bench = Bench(ended.folder, group, opened[dataset])
        rows = _rows(group, method, top, bench if len(candidates) >= fewest(method) else None)
        held.check()
        write_combination(ended.folder, rows)
        print(f"{name}: {_sentence(rows[0])}", flush=True)


class Bench:
    """The candidates of a group with what scores them.

    With `across: seeds` each seed has splits of its own, and a scorer.
    """

    def __init__(self, folder: RunFolder, group: Group, dataset: DomainDataset) -> None:
        self._folder = folder
        self._group = group
        first = group.candidates[0].spec
        seeds = {plan.study.seed: plan for plan in group.studies}
        if group.across != "seeds":
            seeds = {first.study.seed: first.plan}
        device = device_here(first.run.device).type
        self.scorers = [
            Scorer(replace(first.run, seed=seed, device=device), dataset) for seed in seeds
        ]
        self.scorer = self.scorers[0]

    @property
    def in_splits(self) -> list[Part]:
        """The in splits of what is held out, by domain, whose accuracy is reported."""
        parts = [p for p in self.scorer.parts if (p.role, p.split) == ("held_out", "in")]
        return sorted(parts, key=lambda part: part.domain.name)

    def states(self, trials: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """The kept weights of trials, each read when its turn comes."""
        kinds = _kinds(self.scorer.network.state_dict())
        for trial in trials:
            state = _weights(self._folder, trial)
            if _kinds(state) != kinds:
                raise _damaged(self._folder, trial, "they are not of the run's model")
            if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
                raise _damaged(self._folder, trial, "they hold numbers that are not finite")
            yield state

    def soup(self, trials: Sequence[str]) -> dict[str, Tensor]:
        """The state dict of the mean of these members, whose order matters to the last bit."""
        mean = uniform(self.states(trials), self.scorer.parameters)
        return self.scorer.with_statistics(mean.state())

    @cached_property
    def zero_shot(self) -> State:
        """The weights that the networks began with."""
        return wise_ft.zero_shot(self._folder, self.scorer)

    def on_the_way(self, trial: str, alpha: float) -> dict[str, Tensor]:
        """The weights between zero-shot and those of a trial."""
        (trained,) = self.states([trial])
        return interpolated(self.zero_shot, trained, alpha)

    def wise_ft(self, trial: str) -> dict[str, Any]:
        """The columns of WiSE-FT from zero-shot to a trial."""
        (trained,) = self.states([trial])
        return wise_ft.columns(
            self.zero_shot,
            trained,
            lambda state: _numbers(self.scorer.scores(state, _reported), mixed=False),
        )

    def greedy(self, trials: Sequence[str]) -> list[str]:
        """The members of the greedy soup of ranked candidates."""
        _, tried = greedy(self.states(trials), self.scorer.parameters, self._pooled)
        return [trial for trial, one in zip(trials, tried, strict=True) if one.accepted]

    def scores(self, method: str, trials: Sequence[str]) -> list[tuple[Score, ...]]:
        """What validates, and the held-out domain's splits, once for each scorer."""
        if method == "ensemble":
            return [s.ensemble_scores(self.states(trials), _reported) for s in self.scorers]
        state = self.soup(trials)
        return [scorer.scores(state, _reported) for scorer in self.scorers]

    @cached_property
    def barrier(self) -> float:
        """The largest barrier between the best candidate and another, pooled validation."""
        best, *others = self._group.candidates
        end, found = self._end(best), []
        for other in others:
            middle = uniform(self.states([best.trial, other.trial]), self.scorer.parameters)
            found.append(barrier((end, self._end(other)), self._pooled(middle.state())))
        return max(found)

    def _end(self, candidate: Candidate) -> float:
        if candidate.spec.study.seed == self.scorer.run.seed:
            return candidate.pooled
        (state,) = self.states([candidate.trial])  # its tables are of other splits
        return pooled(self.scorer.scores(state, _validates))

    def _pooled(self, state: Mapping[str, Tensor]) -> float:
        return pooled(self.scorer.scores(self.scorer.with_statistics(state), _validates))


def _rows(group: Group, method: str, top: int | None, bench: Bench | None) -> list[dict[str, Any]]:
    """The rows of a combination: one, or one for each seed of `across: seeds`."""
    plan, candidates = group.studies[0], [c.trial for c in group.candidates]
    row = {
        **plan.columns,
        "study": group.study.id,
        "algorithm": group.study.algorithm,
        "combination": group.name(method, top),
        "method": method,
        "across": group.across,
        "top": top,
        "candidates": candidates,
        "members": [],
        "passes": sum(candidate.passes for candidate in group.candidates),
    }
    if bench is None:
        count = "the only network" if candidates else "no network"
        return [{**row, "reason": f"{count} that was kept; it takes {fewest(method)}"}]
    if method == WISE_FT:
        best = candidates[:1]
        return [{**row, "members": best, "networks": 1, **bench.wise_ft(best[0])}]
    members = bench.greedy(candidates) if method == "greedy" else candidates
    row |= {"members": members, "networks": len(members) if method == "ensemble" else 1}
    if method != "ensemble":
        row["barrier"] = bench.barrier
    return [
        {**row, "seed": scorer.run.seed, **_numbers(scores, group.across == "seeds")}
        for scorer, scores in zip(bench.scorers, bench.scores(method, members), strict=True)
    ]


def _numbers(scores: Sequence[Score], mixed: bool) -> dict[str, Any]:
    """The accuracies of a row. mixed: nothing validates, as every image trained some member."""
    held_out = [score for score in scores if score.role == "held_out"]
    domains = sorted({score.domain for score in held_out})
    inside = {score.domain: score.accuracy for score in held_out if score.split == "in"}
    found: dict[str, Any] = {
        "accuracy": fmean(inside.values()),
        "accuracy_all": fmean(
            pooled([score for score in held_out if score.domain == domain]) for domain in domains
        ),
    }
    if len(domains) > 1:
        found["accuracies"] = [inside[domain] for domain in domains]
    if not mixed:
        source = Evaluation(0, tuple(scores), 0.0)
        found |= {"validation": source.validation, "pooled": pooled(source.source_out())}
    return found


def _validates(part: Part) -> bool:
    return part.role == "source" and part.split == "out"


def _reported(part: Part) -> bool:
    return part.role == "held_out" or _validates(part)


def _kinds(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    return {name: (tensor.shape, tensor.is_floating_point()) for name, tensor in state.items()}


def _weights(folder: RunFolder, trial: str) -> dict[str, Tensor]:
    try:
        return read_weights(folder, trial)
    except FileNotFoundError:
        raise SteppeError(
            f"the weights of {trial}, {WEIGHTS}/{trial}.safetensors or what they share with "
            f"others, are no longer in {folder.uri}; put them back, or `combine` anew"
        ) from None
    except SafetensorError as error:
        raise _damaged(folder, trial, error) from error


def _damaged(folder: RunFolder, trial: str, why: object) -> SteppeError:
    return SteppeError(
        f"the kept weights of {trial}, {folder.path(WEIGHTS)}/{trial}.safetensors, are damaged "
        f"({why}); delete the file, and the trial is no candidate"
    )


def dataset_of(run: EndedRun, plan: StudyPlan) -> DomainDataset:
    """The dataset of a study. Raises SteppeError if its images are not those of the run."""
    found = open_dataset(plan.dataset)
    known = manifest.fingerprints(run.folder).get(plan.dataset.name, found.fingerprint)
    if known != found.fingerprint:
        raise SteppeError(
            f"the images of {plan.dataset.name} are not those of {run.folder.uri} (fingerprint "
            f"{found.fingerprint[:12]} here, {known[:12]} there); give their folder with --root"
        )
    return found


def _sentence(row: Mapping[str, Any]) -> str:
    if row.get("reason"):
        return str(row["reason"])
    count = f"{len(row['members'])} of {len(row['candidates'])} networks"
    if "validation" not in row:
        return f"{count}, held-out accuracy {row['accuracy']:.4f}"
    numbers = f"validation {row['validation']:.4f}, held-out accuracy {row['accuracy']:.4f}"
    if row["method"] == WISE_FT:
        return f"alpha {row['alpha']:g} between zero-shot and {row['members'][0]}, {numbers}"
    return f"{count}, {numbers}"
