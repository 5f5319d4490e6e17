"""A sweep with two objectives, one of which sees the held-out domain, from file to front."""

from __future__ import annotations

import json

import pytest

from search import results
from search.run import tables
from search.run.checkpoints import WEIGHTS
from search.run.run_folder import MANIFEST
from tests.search.play import launched, rows, small_sweep, stored

SWEEP = small_sweep(
    algorithms=["SAM", "SAM+SWAD"],
    held_out=["75"],
    training={"steps": 24, "evaluate_every": 4},
    search={
        "trials": 3,
        "sampler": "nsgaii",
        "objective": ["worst-source-domain", "oracle-best-step"],
        "allow_oracle": True,
        "keep_weights": "best",
        "space": {"lr": {"log_uniform": [1e-2, 5e-2]}, "weight_decay": 0, "dropout": 0},
        "first_trials": [{"lr": 0.03}],
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return launched(SWEEP, tmp_path_factory.mktemp("objectives"))


def scores(evaluations, trial, step, role):
    """Accuracies on the out splits, of the averaged weights where the step has such."""
    at = evaluations[(evaluations["trial"] == trial) & (evaluations["step"] == step)]
    if (at["weights"] == "average").any():
        at = at[at["weights"] == "average"]
    return at.loc[(at["role"] == role) & (at["split"] == "out"), "accuracy"]


def test_both_values_are_of_the_evaluation_that_the_first_objective_chose(folder):
    evaluations = tables.read_evaluations(folder)
    told = {
        f"{study}.{trial.number}": trial for study, all_ in stored(folder).items() for trial in all_
    }
    assert len(told) == len(rows(folder)) == 6
    for trial, row in rows(folder).items():
        assert row["state"] == "completed"
        values = [row["objective"], row["objective_2"]]
        assert told[trial].values == values
        sources = scores(evaluations, trial, row["best_step"], "source")
        held_out = scores(evaluations, trial, row["best_step"], "held_out")
        assert (len(sources), len(held_out)) == (5, 1)
        assert values == [sources.min(), held_out.item()]
        if "SWAD" in trial:
            continue
        steps = evaluations.loc[evaluations["trial"] == trial, "step"].unique()
        worst = {step: scores(evaluations, trial, step, "source").min() for step in steps}
        assert row["best_step"] == min(step for step in steps if worst[step] == max(worst.values()))


def test_the_held_out_domain_is_scored_as_the_objective_needs_it_and_selection_finds_it(folder):
    evaluations = tables.read_evaluations(folder)
    own = evaluations[~evaluations["trial"].str.contains("SWAD")]
    seen = own[(own["role"] == "held_out") & (own["split"] == "out")]
    assert len(seen) == 3 * 6
    assert not own.duplicated(["trial", "step", "domain", "split"]).any()
    found = results.load(folder.root)
    for method in ("training-domain", "worst-source-domain", "last-step", "oracle-best-step"):
        chosen = results.select(found, method)
        sam = chosen[chosen["algorithm"] == "SAM"]
        # The oracle's step may be one at which only the out split was needed.
        assert sam["accuracy"].notna().all() or method == "oracle-best-step"


def test_the_run_says_that_its_search_saw_the_held_out_domain(folder):
    (why,) = json.loads(folder.read_bytes(MANIFEST))["saw_held_out"]
    assert why.startswith("search.objective: oracle-best-step: ")
    for table in results.summary(results.load(folder.root)).tables:
        assert any(why in note for note in table.notes)


def test_the_weights_of_the_best_trial_by_the_first_objective_stay(folder):
    found = rows(folder)
    for algorithm in SWEEP.algorithms:
        own = [row for row in found.values() if row["algorithm"] == algorithm]
        best = max(own, key=lambda row: (row["objective"], row["number"]))
        assert f"{best['trial']}.safetensors" in folder.list(WEIGHTS)
    assert len(folder.list(WEIGHTS)) == 2
    assert not results.pareto(results.load(folder.root)).empty
