"""Later seeds try the best settings of the seeds before them."""

import optuna
import pytest

from search.cli.status import print_status
from search.report.reported_run import read
from search.results import load, summary
from search.run import tables
from search.run.run_folder import RunFolder
from tests.search.play import (
    carry_out,
    counts,
    finish,
    open_ledger,
    play,
    play_out,
    play_through_deaths,
    record,
    rows,
    small_sweep,
    stored,
)

REDUCED = {"trials": 5, "seed_reduction": 2}


def study(seed, held_out="0"):
    return f"RotatedDigits.mlp.SAGM.{held_out}.{seed}"


def params(folder, seed, held_out="0"):
    return [trial.params for trial in stored(folder)[study(seed, held_out)]]


def ranked(folder, seed, held_out="0"):
    completed = [t for t in stored(folder)[study(seed, held_out)] if t.value is not None]
    return [trial.params for trial in sorted(completed, key=lambda t: t.value, reverse=True)]


def test_a_setting_earns_its_second_and_third_seed(folder):
    sweep = small_sweep(seeds=[3, 1, 2], held_out=["0", "75"], search=REDUCED)
    sweep = sweep.of_earlier_run(names=False)  # each held-out domain draws settings of its own
    ledger = open_ledger(sweep, folder)
    assert ledger.left == 2 * (5 + 3 + 2)
    assert len(play_out(ledger, folder)) == 20
    assert ledger.left == 0
    for held_out in ("0", "75"):
        first = ranked(folder, 3, held_out)
        assert params(folder, 1, held_out) == first[:3]
        assert params(folder, 2, held_out) == first[:2]
    assert params(folder, 1, "0") != params(folder, 1, "75")


def test_a_later_seed_waits_for_the_one_before_and_holds_nobody_up(folder):
    sweep = small_sweep(seeds=[0, 1], held_out=["0", "75"], search=REDUCED)
    ledger = open_ledger(sweep, folder)
    handed = [ledger.next() for _ in range(10)]
    assert {spec.study.seed for spec in handed} == {0}
    assert ledger.next() is None  # all that may begin is at work
    assert ledger.left == 6
    last = handed.pop()
    for spec in handed:
        finish(ledger, folder, spec, 0.5)
    begun = ledger.next()  # that of the domain whose first seed is done
    assert (begun.study.seed, begun.study.held_out) == (1, "0")
    assert last.study.held_out == "75"
    finish(ledger, folder, last, 0.5)
    finish(ledger, folder, begun, 0.5)
    assert len(play_out(ledger, folder)) == 5
    assert all(record.done for record in ledger.records.values())


def test_a_later_seed_takes_what_there_is(folder):
    """Two of five completed; one setting is not earned twice."""
    space = {"lr": {"choice": [0.001, 0.002]}, "rho": 0.05, "alpha": 0.001}
    space |= {"weight_decay": 0, "dropout": 0}
    sweep = small_sweep(seeds=[0, 1], search={**REDUCED, "space": space})
    assert open_ledger(sweep, folder).left == 2 + 1
    sweep = small_sweep(seeds=[0, 1], search=REDUCED)
    other = RunFolder(folder.path("other"))
    ledger = open_ledger(sweep, other)
    for number in range(5):
        if number in (1, 3):
            play(sweep, other, 1, ledger)
        else:
            ledger.fail(ledger.next(), "no")
    assert ledger.left == 2
    assert len(play_out(ledger, other)) == 2
    assert params(other, 1) == ranked(other, 0)


@pytest.mark.parametrize("end", ["diverged", "failed", "pruned"])
def test_without_a_completed_trial_the_later_seeds_end_and_say_why(folder, end, capsys):
    sweep = small_sweep(seeds=[0, 1, 2], search={"trials": 2, "seed_reduction": 2})
    ledger = open_ledger(sweep, folder)
    record(sweep, folder)
    for _ in range(2):
        spec = ledger.next()
        if end == "failed":
            ledger.fail(spec, "no")
        elif end == "pruned":
            ledger.prune(spec)
        else:
            finish(ledger, folder, spec, 0.4, end)
    for now in (ledger, open_ledger(sweep, folder)):
        assert (now.left, now.next()) == (0, None)
        assert all(record.done for record in now.records.values())
    found = load(folder.uri)
    tables.write_selection(folder, found.selection)
    assert not found.unfinished
    reasons = {row["seed"]: row["reason"] for row in found.selection.to_dict("records")}
    assert "seed 0 completed no trial" in reasons[1]
    assert "seed 1 completed no trial" in reasons[2]
    assert read(folder.uri).planned == 2
    print_status(folder.uri)
    said_ = capsys.readouterr().out
    assert "2 of 2 trials ended" in said_
    assert "complete" in said_


def test_what_earned_a_seed_is_not_stopped_on_it(folder):
    pruned = {"scheduler": "asha", "grace_steps": 10, "sampler": "random"}
    sweep = small_sweep(seeds=[0, 1], search={"trials": 6, "seed_reduction": 2, **pruned})
    ledger = open_ledger(sweep, folder)
    ended = {0: [], 1: []}
    while (spec := ledger.next()) is not None:
        level = 0.9 - 0.1 * spec.number
        at = carry_out(ledger, folder, spec, lambda step, level=level: level)
        ended[spec.study.seed].append(at)
    assert any(ended[0])
    assert ended[1]
    assert not any(ended[1])


def test_a_driver_killed_at_any_moment_leaves_the_same_settings(folder, monkeypatch):
    """Each trial by a driver of its own; one dies while it queues what a later seed tries."""
    sweep = small_sweep(seeds=[0, 1, 2], search=REDUCED)
    alone = RunFolder(folder.path("alone"))
    play_out(open_ledger(sweep, alone), alone)
    queue = optuna.Study.enqueue_trial
    died = []

    def dying(of, setting, **options):
        queue(of, setting, **options)
        if of.study_name == study(1) and len(died) < 2:
            died.append(setting)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "enqueue_trial", dying)
        ledger = play_through_deaths(sweep, folder, attempts=30)
    assert len(died) == 2
    for seed in (0, 1, 2):
        assert params(folder, seed) == params(alone, seed)
    assert counts(ledger) == {"SAGM": {"completed": 2}}  # of the last seed
    assert len(rows(folder)) == 5 + 3 + 2


def test_status_knows_how_many_settings_a_later_seed_tries(folder, capsys):
    sweep = small_sweep(seeds=[0, 1], search={"trials": 4, "seed_reduction": 2})
    ledger = open_ledger(sweep, folder)
    record(sweep, folder)
    play(sweep, folder, 1, ledger)
    for _ in range(2):
        ledger.fail(ledger.next(), "no")
    print_status(folder.uri)
    assert "3 of 6 trials ended" in capsys.readouterr().out
    ledger.fail(ledger.next(), "no")
    print_status(folder.uri)
    assert "4 of 5 trials ended" in capsys.readouterr().out


def test_the_tables_say_how_many_settings_each_seed_tried(folder):
    space = {"lr": {"choice": [1e-4, 1e-3, 1e-2, 0.1]}, "weight_decay": 0, "dropout": 0}
    sweep = small_sweep(
        algorithms=["ERM"],
        seeds=[0, 1],
        search={"trials": 4, "sampler": "grid", "seed_reduction": 2, "space": space},
    )
    record(sweep, folder)
    play_out(open_ledger(sweep, folder), folder)
    found = load(folder.uri)
    for by in ("held-out", "method"):
        for table in summary(found, by=by, methods=["training-domain-per-dataset"]).tables:
            (note,) = [note for note in table.notes if "tries again" in note]
            assert "(most in a study: seed 0 4, seed 1 2)" in note
            assert "leave out the luck of the search" in note


def test_a_first_seed_that_goes_on_with_a_larger_budget_gives_its_best_to_the_later_ones(
    folder, capsys
):
    """Each study ends after two trials at first; then they have all that they may."""

    def spend(study_budget):
        sweep = small_sweep(seeds=[0, 1, 2], search={**REDUCED, "study_budget": study_budget})
        record(sweep, folder)
        ledger = open_ledger(sweep, folder)
        seeds = [spec.study.seed for spec in play_out(ledger, folder, passes=100)]
        assert all(record.done for record in ledger.records.values())
        ledger.cleanup.delete_leftovers()
        print_status(folder.uri)
        out = capsys.readouterr().out
        assert out.endswith("complete\n")
        assert ("studies that have spent their search.study_budget: 3" in out) == bool(study_budget)
        return seeds

    assert spend({"passes": 150}) == [0, 0, 1, 1, 2, 2]
    early = params(folder, 1)
    assert early == ranked(folder, 0)
    again = spend({})
    assert again == sorted(again)  # later seeds wait again
    best = ranked(folder, 0)
    assert len(best) == 5
    assert params(folder, 1) == early + [setting for setting in best[:3] if setting not in early]
    assert all(setting in params(folder, 2) for setting in ranked(folder, 1)[:2])
    assert spend({}) == []
