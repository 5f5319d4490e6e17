"""Sibling studies tell each other of their best settings."""

import pytest

from search.driver import queued_settings, suggestions
from tests.search.play import (
    finish,
    open_ledger,
    play_out,
    play_through_deaths,
    quality,
    small_sweep,
    stored,
)

LR = {"lr": {"log_uniform": [1e-5, 3.2e-4]}, "rho": {"log_uniform": [0.01, 0.3]}}
NINE = {"trials": 10, "sampler": "random", "space": {**LR, "weight_decay": 0, "dropout": 0}}


def siblings(**changes):
    """Their draws differ, as in a run of an earlier commit, so that they have news to tell."""
    return small_sweep(seeds=[0, 1], **changes).of_earlier_run(names=False)


def values(spec):
    """Seed 0 finds what is good elsewhere, too; domain 75 does better than domain 0."""
    bonus = 0.2 * (spec.study.held_out == "75") + 0.1 * spec.study.seed
    return quality(spec.values) / 2 + bonus


def played(folder, **search):
    sweep = siblings(held_out=["0", "75"], search={**NINE, **search})
    play_out(open_ledger(sweep, folder), folder, values)
    return stored(folder)


def taken(trials):
    return [trial for trial in trials if queued_settings.FROM in trial.user_attrs]


def test_by_default_nothing_is_shared(folder):
    assert not any(taken(trials) for trials in played(folder).values())


@pytest.mark.parametrize("kind", ["seeds", "domains"])
def test_a_study_tries_the_best_of_its_siblings_early_and_few(folder, kind):
    found = played(folder, share=kind)
    for name, trials in found.items():
        shared = taken(trials)
        assert len(shared) == queued_settings.max_shared(10) == 2
        assert all(trial.number >= queued_settings.min_completed(10) - 1 for trial in shared)
        for trial in shared:
            origin, _, number = trial.user_attrs[queued_settings.FROM].rpartition(".")
            assert origin != name
            # What a study was told by a sibling is that sibling's own setting.
            earlier = found[origin][int(number)]
            assert (earlier.params, earlier.state.name) == (trial.params, "COMPLETE")
            assert [t.params for t in trials].count(trial.params) == 1
            same_domain = origin.split(".")[3] == name.split(".")[3]
            assert same_domain or kind == "domains"
    if kind == "domains":
        origins = {
            t.user_attrs[queued_settings.FROM] for trials in found.values() for t in taken(trials)
        }
        assert len({origin.split(".")[3] for origin in origins}) == 2


def test_studies_of_other_algorithms_and_with_too_few_results_are_no_siblings(folder):
    sweep = siblings(algorithms=["SAM", "ASAM"], search={**NINE, "share": "seeds"})
    ledger = open_ledger(sweep, folder)
    handed = [ledger.next() for _ in range(12)]
    for spec in handed[:8]:  # two of each study: not enough to tell the good from the lucky
        finish(ledger, folder, spec, quality(spec.values))
    handed += [ledger.next() for _ in range(4)]
    assert not any(taken(trials) for trials in stored(folder).values())
    for spec in handed[8:]:
        finish(ledger, folder, spec, quality(spec.values))
    play_out(ledger, folder)
    for name, trials in stored(folder).items():
        for trial in taken(trials):
            assert trial.user_attrs[queued_settings.FROM].split(".")[2] == name.split(".")[2]
    assert any(taken(trials) for trials in stored(folder).values())


def test_what_was_decided_outlives_a_driver_that_dies_before_it_asks(folder, monkeypatch):
    """Every trial by a driver of its own, the first of them killed between offer and question."""
    sweep = siblings(search={**NINE, "share": "seeds"})
    ask, died = queued_settings.queue_shared, []

    def dying(record, *rest):
        before = len(taken(record.optuna.get_trials()))
        ask(record, *rest)
        if len(taken(record.optuna.get_trials())) > before:
            died.append(record.study.id)
            raise KeyboardInterrupt

    monkeypatch.setattr(suggestions, "queue_shared", dying)
    play_through_deaths(sweep, folder, attempts=60)
    for name, trials in stored(folder).items():
        assert len(trials) == 10
        assert len(taken(trials)) == died.count(name) == 2
