"""The objective is a setting's mean over seeds."""

from itertools import count

import pandas as pd
import pytest

from search.cli.status import print_status
from search.driver import suggestions
from search.driver.seed_means import SPREAD, means, optimistic_means
from search.driver.study_record import UNTRAINED
from search.results.selection import ranked, select
from search.run import tables
from search.run.run_folder import RunFolder
from search.run.storage import SweepStorage
from tests.search.play import finish, open_ledger, record, rows, small_sweep, stored
from tests.search.refused import the_problem
from tests.search.tiny_study import tiny

OVER = {"objective_over": "seeds", "trials": 6}
# Setting -> its values with seeds 5, 0 and 7. The third is best with the first seed, the second in
# the mean; the last ones are far behind with each.
VALUES = [(0.6, 0.5, 0.55), (0.8, 0.7, 0.75), (0.81, 0.6, 0.7), (0.7, 0.6, 0.6), (0.5,), (0.4,)]
SEEDS = (5, 0, 7)


def study(seed):
    return f"RotatedDigits.mlp.SAGM.0.{seed}"


def made_up(spec):
    # A trial that should not be trained has no value.
    return VALUES[spec.number][SEEDS.index(spec.study.seed)]


def play(sweep, folder, value=made_up, most=None):
    """What is trained, in order: numbers and seeds."""
    ledger, trained = open_ledger(sweep, folder), []
    record(sweep, folder)
    while most is None or len(trained) < most:
        if (spec := ledger.next()) is None:
            assert all(record.done for record in ledger.records.values())
            break
        trained.append((spec.number, spec.study.seed))
        found = value(spec)
        end = (found,) if isinstance(found, float) else (0.1, found)
        finish(ledger, folder, spec, *end, passes=90.0)
    return trained


def without_times(folder):
    return {
        name: {key: str(row[key]) for key in row if key not in ("started", "finished")}
        for name, row in rows(folder).items()
    }


@pytest.mark.parametrize("objective", ["training-domain", "leave-one-domain-out"])
def test_the_mean_decides_and_what_cannot_win_is_not_trained_again(folder, capsys, objective):
    sweep = small_sweep(seeds=SEEDS, search={**OVER, "objective": objective})
    trained = play(sweep, folder)
    assert trained[:3] == [(0, 5), (0, 0), (0, 7)]  # a mean to beat
    assert trained[3:8] == [(number, 5) for number in range(1, 6)]
    assert trained[8:] == [(2, 0), (1, 0), (1, 7)]  # of 10 that could follow
    table = rows(folder)
    assert len(table) == 3 * 6
    assert sum(row["passes"] for row in table.values()) == 90 * len(trained)  # of 18 trials
    ended = table[f"{study(0)}.4"]
    assert (ended["state"], ended["steps"], ended["passes"]) == ("pruned", 0, 0)
    assert "could not win after seed 5" in ended["reason"]
    for own in zip(*(stored(folder)[study(seed)] for seed in SEEDS), strict=True):
        assert own[0].params == own[1].params == own[2].params
    print_status(folder.uri)
    said_ = capsys.readouterr().out
    known = ("18 of 18 trials ended", "complete", "0 wait for the seed", "7 ended untrained")
    assert all(text in said_ for text in (*known, "untrained ┃"))


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_driver_killed_at_any_moment_leaves_the_same_tables(folder, sampler, monkeypatch):
    """Each trial by a driver of its own; some die between the records of one decision."""
    sweep = small_sweep(seeds=SEEDS, search={**OVER, "sampler": sampler})

    def value(spec):
        return "diverged" if spec.number == 3 else made_up(spec)

    alone = RunFolder(folder.path("alone"))
    whole = play(sweep, alone, value)
    calls, deaths, trained = count(), 0, []

    def dying(place, name):
        real = getattr(place, name)

        def attempt(*given, **named):
            if next(calls) % 7 == 6:
                raise KeyboardInterrupt
            return real(*given, **named)

        monkeypatch.setattr(place, name, attempt)

    dying(suggestions.Suggestions, "_start")
    dying(tables, "write_trial")
    dying(SweepStorage, "set_trial_state_values")
    for _ in range(80):
        try:
            new = play(sweep, folder, value, most=1)
        except KeyboardInterrupt:
            deaths += 1
            continue
        trained += new
        if not new:
            break
    assert deaths > 8
    assert without_times(folder) == without_times(alone)
    assert set(trained) <= set(whole)


def test_a_run_grows_by_a_seed(folder):
    """What is there stays; the best settings so far are trained with the new seed."""
    first = play(small_sweep(seeds=SEEDS[:2], search=OVER), folder)
    before = without_times(folder)
    more = play(small_sweep(seeds=SEEDS, search=OVER), folder)
    assert not {*first} & {*more}
    assert {seed for _, seed in more} == {7}
    assert more[0] == (1, 7)
    after = without_times(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) == 18


def test_what_a_dead_driver_was_to_end_goes_on_if_it_may_win_in_the_grown_run(folder, monkeypatch):
    values = {(0, 5): 0.6, (0, 0): 0.5, (0, 7): "diverged", (1, 5): 0.5}
    real = SweepStorage.set_trial_state_values

    def dies(storage, trial_id, *given, **named):
        if UNTRAINED in storage.get_trial(trial_id).user_attrs:
            raise KeyboardInterrupt
        return real(storage, trial_id, *given, **named)

    def sweep(seeds):
        return small_sweep(seeds=seeds, search={**OVER, "trials": 2})

    def value(spec):
        return values[spec.number, spec.study.seed]

    with monkeypatch.context() as patched:
        patched.setattr(SweepStorage, "set_trial_state_values", dies)
        with pytest.raises(KeyboardInterrupt):
            play(sweep(SEEDS[:2]), folder, value)
    assert play(sweep(SEEDS), folder, value, most=1) == [(0, 7)]
    for _ in range(2):  # the second driver hands out again what the first was killed with
        spec = open_ledger(sweep(SEEDS), folder).next()
        assert (spec.number, spec.study.seed) == (1, 0)


def test_a_spent_budget_leaves_what_waits_for_a_larger_one(folder):
    def sweep(budget):
        return small_sweep(seeds=SEEDS, search={**OVER, "budget": budget})

    trained = play(sweep({"passes": 500}), folder)
    assert len(trained) == 6  # the first setting with all seeds
    assert len(rows(folder)) == 6  # nothing ended for lack of hope
    trained += play(sweep({}), folder)
    alone = RunFolder(folder.path("alone"))
    assert trained == play(sweep({}), alone)
    assert without_times(folder) == without_times(alone)


def scores(held_out, seed, values):
    """The tables of a study; None for a trial that was ended untrained."""
    states = ["pruned" if value is None else "completed" for value in values]
    validations = [{0: (value, value)} for value in values]
    trials, evaluations = tiny(validations, states, held_out=held_out, seed=seed)
    return trials, evaluations.dropna(subset="accuracy")


def test_each_held_out_domain_has_one_setting_for_all_its_seeds():
    frames = [
        scores("h0", 0, [0.6, 0.8, 0.81, 0.9]),
        scores("h0", 1, [0.5, 0.7, 0.6, None]),
        scores("h1", 0, [0.6, 0.5, 0.4, 0.3]),
        scores("h1", 1, [0.6, 0.6, 0.9, None]),
    ]
    trials, evaluations = (
        pd.concat(parts, ignore_index=True) for parts in zip(*frames, strict=True)
    )
    alone = select(trials, evaluations)
    assert list(alone["number"]) == [3, 1, 0, 2]
    chosen = select(trials, evaluations, over_seeds=["golden"])
    assert list(chosen["number"]) == [1, 1, 2, 2]
    assert list(chosen["validation"]) == pytest.approx([0.75, 0.75, 0.65, 0.65])
    studies = alone[["sweep", "study", "dataset", "model", "algorithm", "held_out", "seed"]]
    order = ranked("training-domain", trials, evaluations, studies.to_dict("records"), ["golden"])
    assert list(order["number"]) == [1, 2, 0] * 2 + [2, 0, 1] * 2
    # No label of a held-out domain plays a part.
    evaluations.loc[evaluations["role"] == "held_out", "accuracy"] = evaluations["step"] + 0.1
    pd.testing.assert_series_equal(
        select(trials, evaluations, over_seeds=["golden"])["number"], chosen["number"]
    )


def test_means_are_compared_without_what_a_seed_adds_to_all():
    values = {0: [0.5, 0.8], 1: [0.6]}  # the second seed is the easier one
    assert means(values) == pytest.approx({0: 0.5, 1: 0.6})
    end = optimistic_means(values, 2)
    assert end[0] == pytest.approx(0.5)
    assert end[1] == pytest.approx(0.6 + 2 * SPREAD * 0.5**0.5)
    assert means({}) == optimistic_means({}, 3) == {}


@pytest.mark.parametrize(
    ("search", "key"),
    [
        ({"seed_reduction": 2}, "search.seed_reduction"),
        ({"share": "seeds"}, "search.share"),
        ({"terminator": "stagnation"}, "search.terminator"),
        ({"study_budget": {"passes": 10}}, "search.study_budget"),
        ({"budget": {"trials": 5}}, "search.budget.trials"),
        ({"scheduler": "freeze-thaw"}, "search.scheduler: freeze-thaw"),
        ({"keep_weights": "best"}, "search.keep_weights: best"),
        ({"objective": ["training-domain", "worst-source-domain"]}, "needs one objective"),
    ],
)
def test_what_does_not_go_with_it_is_refused(search, key):
    found = the_problem(search={"objective_over": "seeds", **search})
    assert "objective_over" in found
    assert key in found


def test_one_seed_has_no_mean():
    found = the_problem(search={"objective_over": "seeds"}, seeds=[0])
    assert "search.objective_over" in found
    assert "there is one seed" in found
