"""A soup as files, for use in plain PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.combination.combine import Bench, dataset_of
from search.combination.groups import groups
from search.errors import SteppeError
from search.reproduce.model_files import Model, card, place_of, write_model
from search.reproduce.recorded_trial import ended_run, one_name, plain
from search.run.combinations import read_combinations
from search.run.run_folder import RunFolder
from search.study.study import title_of
from search.sweep.search_keys import COMBINATIONS, WISE_FT


def is_combination(name: str | None) -> bool:
    """Whether a name is of a combination, as `combine` prints it, and not of a trial or study."""
    ending = "" if name is None else name.rpartition(".")[2]
    return any(ending == method or ending.startswith(f"{method}-") for method in COMBINATIONS)


def export(
    run: str, name: str, output: Path | None, predicted: bool, root: Path | None = None
) -> bool:
    """Writes a soup, made again of its members; True if its accuracy is the table's.

    name: that of the combination, or enough of its end. output, predicted, root: as in
    `reproduce.export`. Raises SteppeError if there is no such soup, or nothing can be written.
    """
    ended = ended_run(run, root)
    row = _row(ended.folder, name)
    name = row["combination"]
    if row["method"] == "ensemble":
        raise SteppeError(
            f"{name} is {len(row['members'])} networks, which one folder does not hold; export its "
            f"members, such as {row['members'][0]}, and add their logits up"
        )
    if row["reason"]:
        raise SteppeError(f"there is no model of {name}: {row['reason']}")
    top = None if row["top"] is None else int(row["top"])
    group = next(
        found
        for found in groups(ended, row["across"], top)
        if found.name(row["method"], top) == name
    )
    if tuple(candidate.trial for candidate in group.candidates) != row["candidates"]:
        raise SteppeError(
            f"the kept networks have changed since {name} was made; run "
            f"`python -m search combine {ended.folder.uri}` again"
        )
    place = place_of(name, output)
    dataset = dataset_of(ended, group.studies[0])
    between = row["method"] == WISE_FT
    how = f"the mean of {len(row['members'])} networks"
    if between:
        how = f"alpha {row['alpha']:g} between zero-shot and {row['members'][0]}"
    print(f"{name}: {how}")
    bench = Bench(ended.folder, group, dataset)
    scored = [
        {
            "domain": part.domain.name,
            "role": part.role,
            "split": part.split,
            "accuracy": accuracy,
            "count": len(part.indices),
        }
        for part, accuracy in zip(
            bench.in_splits, row["accuracies"] or [row["accuracy"]], strict=True
        )
    ]
    study = group.study
    columns = ("dataset", "algorithm", "held_out", "seed")
    trained = {
        "trial": name,
        **{column: getattr(study, column) for column in columns},
        "fingerprint": dataset.fingerprint,
        "method": row["method"],
        "members": list(row["members"]),
    }
    about = card(ended.folder, group.studies[0], bench.scorer.run, trained, scored)
    model = Model(name, None, bench.scorer.run, group.studies[0], scored, about)
    members = row["members"]
    state = bench.on_the_way(members[0], row["alpha"]) if between else bench.soup(members)
    return write_model(place, model, dataset, state, predicted)


def _row(folder: RunFolder, name: str) -> dict[str, Any]:
    """The first row of the one combination that is called so, or ends in it.

    A domain may be given as tables print it, or as names of files have it.
    """
    found = read_combinations(folder)
    titles = {str(row["combination"]): _title(row) for row in found.to_dict("records")}
    if not titles:
        raise SteppeError(
            f"{folder.uri} has no combinations; `python -m search combine {folder.uri}` makes them"
        )
    full = one_name(name, titles, f"there is no combination {name} in {folder.uri}")
    return plain(found[found["combination"] == full].iloc[0])


def _title(row: Mapping[Any, Any]) -> str:
    """The name of a combination with what tables print of its study."""
    study, name = str(row["study"]), str(row["combination"])
    return title_of(row) + name.removeprefix(study) if name.startswith(f"{study}.") else name
