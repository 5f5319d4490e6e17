"""What a ledger makes of a storage that a dead driver left behind."""

from collections import Counter
from collections.abc import Callable
from unittest.mock import Mock, patch

import optuna
import pytest

from search.driver import cleanup, suggestions
from search.driver.ledger import Ledger
from search.driver.pruning import RungPruner
from search.driver.study_record import REASON, StudyRecord, state_of
from search.errors import SteppeError
from search.run.checkpoints import TrialCheckpoints
from search.run.storage import JOURNAL
from search.study import samplers
from tests.search.play import (
    counts,
    finish,
    open_ledger,
    play,
    quality,
    rows,
    said,
    small_sweep,
    states,
    stored,
)

ASHA = {"scheduler": "asha", "grace_steps": 10}


def crash(
    ledger: Ledger, do: Callable[[], object], owner: object, name: str, dies: object = None
) -> None:
    """The driver dies as it comes to `owner.name`, and with it all that it had in memory."""
    killed = patch.object(owner, name, dies or Mock(side_effect=KeyboardInterrupt))
    with killed, pytest.raises(KeyboardInterrupt):
        do()
    ledger.__dict__.clear()


# Reports that come again.


def test_reports_that_come_again_count_once_and_only_the_newest_decides(folder):
    """The driver dies after it recorded a report and before it asked the pruner about it."""
    sweep = small_sweep(search={"trials": 2, **ASHA, "reduction_factor": 2})
    ledger = open_ledger(sweep, folder)
    good, other = ledger.next(), ledger.next()
    for step in (10, 20):
        ledger.report(good, said(step, 0.9))
    # Ahead at 10, behind at 20: the report that prunes is the one at 20.
    assert not ledger.report(other, said(10, 0.95))
    crash(ledger, lambda: ledger.report(other, said(20, 0.8)), RungPruner, "prune")

    resumed = open_ledger(sweep, folder)
    assert [resumed.next(), resumed.next()] == [good, other]
    before = folder.read_bytes("optuna.journal")
    assert not resumed.report(other, said(10, 0.1))  # known: neither recorded nor judged anew
    assert folder.read_bytes("optuna.journal") == before
    assert resumed.report(other, said(20, 0.8))
    assert stored(folder)[other.study.id][1].intermediate_values == {10: 0.95, 20: 0.8}


@pytest.mark.parametrize("stopped", [True, False])
def test_what_the_pruner_said_stands_when_the_driver_died_before_it_was_done(
    folder, monkeypatch, stopped
):
    """By the time the trial comes to that step again, others may have come further."""
    sweep = small_sweep(search={"trials": 1, **ASHA})
    ledger = open_ledger(sweep, folder)
    monkeypatch.setattr(RungPruner, "prune", lambda *_: stopped)
    assert ledger.report(ledger.next(), said(10, 0.5)) is stopped

    resumed = open_ledger(sweep, folder)
    adopted = resumed.next()
    monkeypatch.setattr(RungPruner, "prune", lambda *_: not stopped)
    assert resumed.report(adopted, said(10, 0.5)) is stopped
    assert resumed.report(adopted, said(20, 0.5)) is not stopped  # that is news


# What a driver finds that comes after one that was killed.


def check_whole(sweep, folder, expected):
    """All trials have ended, each counted once, in the storage, the tables and the ledger."""
    ledger = open_ledger(sweep, folder)
    assert ledger.left == 0
    assert ledger.next() is None
    trials = [trial for study in stored(folder).values() for trial in study]
    assert Counter(map(state_of, trials)) == expected
    assert all(trial.state.is_finished() for trial in trials)
    assert Counter(row["state"] for row in rows(folder).values()) == expected
    assert sum((Counter(c) for c in counts(ledger).values()), Counter()) == expected
    assert len(trials) == len(rows(folder)) == sweep.search.trials * len(sweep.algorithms)


def test_a_trial_that_was_handed_out_is_handed_out_again_before_anything_new(folder):
    sweep = small_sweep(algorithms=["ERM", "SAM"], search={"trials": 2})
    ledger = open_ledger(sweep, folder)
    before = [ledger.next() for _ in range(3)]
    resumed = open_ledger(sweep, folder)
    assert resumed.left == 4
    after = [resumed.next() for _ in range(4)]
    # By study, and in each as they were.
    assert after[:3] == [before[0], before[2], before[1]]
    assert after[3] not in before
    for spec in after:
        finish(resumed, folder, spec, 0.5)
    check_whole(sweep, folder, {"completed": 4})


@pytest.mark.parametrize(
    ("sampler", "done"),
    [
        ("gp", 1),  # which takes as long as all others
        *((name, done) for name in ("tpe", "cmaes", "random", "qmc", "grid") for done in (0, 1, 2)),
    ],
)
def test_a_driver_that_died_while_asking_is_no_loss(folder, sampler, done):
    """After the trial was made, with none, one or two of its parameters suggested."""
    ranges = {"choice": [0.01, 0.02, 0.03, 0.04]}
    if sampler != "grid":
        ranges = {"log_uniform": [0.01, 0.04]}
    space = {"lr": ranges, "rho": ranges, "alpha": ranges, "weight_decay": 0, "dropout": 0}
    sweep = small_sweep(search={"trials": 7, "sampler": sampler, "space": space})
    play(sweep, folder, 5)
    ledger, asked = open_ledger(sweep, folder), []

    def suggest(trial, name, range_):
        if len(asked) == done:
            raise KeyboardInterrupt
        value = samplers.suggest(trial, name, range_)
        if name in space and isinstance(space[name], dict):
            asked.append((name, value))
        return value

    crash(ledger, ledger.next, suggestions, "suggest", suggest)
    assert states(stored(folder)["RotatedDigits.mlp.SAGM.0.0"])[-1] in ("RUNNING", "WAITING")
    resumed = open_ledger(sweep, folder)
    assert resumed.left == 2
    adopted = resumed.next()
    assert adopted.number == 5
    assert [(name, adopted.values[name]) for name, _ in asked] == asked
    assert adopted.values.keys() == {*space, "batch_size"}
    finish(resumed, folder, adopted, quality(adopted.values))
    play(sweep, folder, 1, resumed)
    check_whole(sweep, folder, {"completed": 7})
    if sampler != "gp":  # which comes back to a corner of so small a space by itself
        settings = [tuple(sorted(t.params.items())) for t in stored(folder)[adopted.study.id]]
        assert len(set(settings)) == 7


def test_a_driver_that_died_while_queueing_the_first_settings_queues_the_rest(folder):
    sweep = small_sweep(search={"trials": 4, "first_trials": [{"rho": 0.1}, {"rho": 0.2}]})
    ledger = open_ledger(sweep, folder)
    queue = optuna.Study.enqueue_trial

    def once(study, setting, **options):
        if study.get_trials(deepcopy=False):
            raise KeyboardInterrupt
        queue(study, setting, **options)

    crash(ledger, ledger.next, optuna.Study, "enqueue_trial", once)
    rhos = [spec.values["rho"] for spec in play(sweep, folder, 4)]
    assert rhos[:3] == [0.05, 0.1, 0.2]
    check_whole(sweep, folder, {"completed": 4})


def test_a_trial_that_had_reported_goes_on_from_its_checkpoint(folder):
    sweep = small_sweep(search={"trials": 1})
    ledger = open_ledger(sweep, folder)
    spec = ledger.next()
    TrialCheckpoints(folder, spec).write({"step": 10})
    ledger.report(spec, said(10, 0.5))
    ledger.report(spec, said(20, 0.6))
    resumed = open_ledger(sweep, folder)
    adopted = resumed.next()
    assert adopted == spec
    assert TrialCheckpoints(folder, adopted).read() == {"step": 10}
    for step, best in ((10, 0.5), (20, 0.6), (30, 0.7)):
        resumed.report(adopted, said(step, best))
    finish(resumed, folder, adopted, 0.7)
    (trial,) = stored(folder)[spec.study.id]
    assert trial.intermediate_values == {10: 0.5, 20: 0.6, 30: 0.7}
    check_whole(sweep, folder, {"completed": 1})


@pytest.mark.parametrize("end", ["completed", "pruned", "diverged", "failed"])
@pytest.mark.parametrize("cut", ["before tell", "in tell", "after tell"])
def test_a_trial_that_had_written_its_row_is_not_run_again(folder, end, cut):
    sweep = small_sweep(search={"trials": 2, **ASHA})
    ledger = open_ledger(sweep, folder)
    good, spec = ledger.next(), ledger.next()
    ledger.report(good, said(10, 0.9))
    ledger.report(spec, said(10, 0.3))
    TrialCheckpoints(folder, spec).write({"step": 10})

    owner, name = {
        "before tell": (StudyRecord, "end"),
        "in tell": (optuna.Study, "tell"),
        "after tell": (cleanup, "delete_checkpoints"),
    }[cut]
    reason = None if end == "completed" else "for a reason"
    ending = {
        "pruned": lambda: ledger.prune(spec),
        "failed": lambda: ledger.fail(spec, reason),
    }.get(end, lambda: finish(ledger, folder, spec, 0.3, end, reason=reason))
    crash(ledger, ending, owner, name)
    row = rows(folder)[spec.trial]

    resumed = open_ledger(sweep, folder)
    assert resumed.left == 1
    assert counts(resumed) == {"SAGM": {end: 1}}
    assert resumed.next() == good
    finish(resumed, folder, good, 0.9)
    assert resumed.next() is None
    trial = stored(folder)[good.study.id][1]
    assert state_of(trial) == end
    if end == "completed":
        assert trial.value == 0.3
    else:
        assert trial.user_attrs[REASON] == row["reason"]
    after = rows(folder)[spec.trial]
    assert (after["state"], after["finished"]) == (row["state"], row["finished"])
    check_whole(sweep, folder, dict(Counter([end, "completed"])))


def test_what_a_resumed_ledger_counts_is_what_the_first_one_did(folder):
    sweep = small_sweep(algorithms=["ERM", "SAM"], search={"trials": 3})
    ledger = open_ledger(sweep, folder)
    for value in (0.5, 0.7, 0.6):
        finish(ledger, folder, ledger.next(), value)
    ledger.fail(ledger.next(), "no")
    for opened in (ledger, open_ledger(sweep, folder)):
        assert counts(opened) == {"ERM": {"completed": 2}, "SAM": {"completed": 1, "failed": 1}}
        known = [(record.asked, record.best) for record in opened.records.values()]
        assert known == [(2, 0.6), (2, 0.7)]


@pytest.mark.parametrize("ended", [1, 3], ids=["parts", "merged"])
def test_a_journal_that_is_older_than_the_tables_is_refused_and_left(folder, ended):
    sweep = small_sweep(search={"trials": 3})
    ledger = open_ledger(sweep, folder)
    old = folder.read_bytes(JOURNAL)
    for value in (0.5, 0.7, 0.6)[:ended]:
        finish(ledger, folder, ledger.next(), value)
        if value == 0.5 and ended > 1:
            old = folder.read_bytes(JOURNAL)
    folder.write_bytes(JOURNAL, old)
    unknown = r"SAGM\.0\.0\.0 has ended" if ended == 1 else r"SAGM\.0\.0\.1 has ended"
    with pytest.raises(SteppeError, match=rf"journal is older .*{unknown}.*put the newest copy"):
        open_ledger(sweep, folder)
    assert folder.read_bytes(JOURNAL) == old
