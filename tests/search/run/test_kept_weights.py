"""With `keep_weights` the models that it names stay in the run, and no other."""

from __future__ import annotations

import pytest
import torch

from search.driver.ledger import Ledger
from search.run import tables
from search.run.checkpoints import (
    WEIGHTS,
    keep_only_weights,
    kept_weights,
    read_weights,
    write_weights,
)
from search.run.run_folder import RunFolder
from tests.search.play import finish, open_ledger, small_sweep
from tests.search.reproduce.recorded import network, sam_sweep, scores, train


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_the_last_ones_are_the_iterate_whose_scores_are_in_the_tables(folder, averaging):
    """Of the best ones an export shows it."""
    sweep = sam_sweep(training={"averaging": averaging}, search={"keep_weights": "last"})
    decay = {"ema_decay": 0.5} if averaging == "ema" else {}
    (spec,) = train(sweep, folder, {"lr": 3.0, **decay})  # its best step is not the last
    table = tables.read_evaluations(folder).query("step == 30 and split == 'out'")
    last = table[(table["weights"] == "iterate") & (table["role"] == "source")]
    found = scores(network(read_weights(folder, spec.trial)))
    assert {domain: found[domain] for domain in last["domain"]} == dict(
        zip(last["domain"], last["accuracy"], strict=True)
    )


def kept(folder: RunFolder) -> list[str]:
    return [file.removesuffix(".safetensors") for file in folder.list(WEIGHTS)]


def end(ledger: Ledger, sweep, folder: RunFolder, value: float) -> str:
    spec = ledger.next()
    write_weights(folder, spec.trial, {"w": torch.zeros(1)})
    finish(ledger, folder, spec, value)
    return spec.trial


@pytest.mark.parametrize(
    ("keep", "left"), [("all", [0, 1, 2, 4]), ("best", [2]), (2, [2, 4]), (3, [1, 2, 4])]
)
def test_those_of_all_completed_trials_stay_or_of_the_best_and_of_equals_the_later(
    folder, keep, left
):
    sweep = small_sweep(search={"trials": 6, "keep_weights": keep})
    ledger = open_ledger(sweep, folder)
    names = [end(ledger, sweep, folder, value) for value in (0.4, 0.5, 0.6)]
    failed = ledger.next()
    write_weights(folder, failed.trial, {"w": torch.zeros(1)})
    ledger.fail(failed, "its worker process died")
    before = kept(folder)
    assert failed.trial not in before
    write_weights(folder, ledger.next().trial, {"w": torch.zeros(1)})  # it dies before its row
    ledger = open_ledger(sweep, folder)  # a resume knows what is kept
    assert kept(folder) == before
    names += [failed.trial, end(ledger, sweep, folder, 0.5)]
    assert kept(folder) == [names[number] for number in left]


def test_what_does_not_train_is_stored_once_for_all_trials(folder):
    sweep = sam_sweep(
        model={"name": "mlp", "weights": None, "tuning": "head"},
        training={"steps": 10},
        search={"keep_weights": "all"},
    )
    names = [spec.trial for spec in train(sweep, folder, {"lr": 0}, {"lr": 0.01}, {"lr": 0.02})]
    assert kept_weights(folder) == names
    assert len(kept(folder)) == 4
    states = [read_weights(folder, name) for name in names]
    for state in states:
        network(state)  # takes it
    same = [name for name in states[0] if torch.equal(states[0][name], states[2][name])]
    assert same == [name for name in states[0] if name.startswith("featurizer")]
    keep_only_weights(folder, names[:1])
    assert read_weights(folder, names[0]).keys() == states[0].keys()
    keep_only_weights(folder, [])
    assert kept(folder) == []
