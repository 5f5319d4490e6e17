from itertools import islice

import optuna
import pytest

from search.driver.termination import STOPPED, StudyStop, shares, stops, trials_without_gain
from search.run import storage
from search.run.run_folder import TRIALS, RunFolder
from search.study.samplers import grace_trials
from tests.search.play import finish, open_ledger, said, small_sweep, stored

SEARCH = {"trials": 6, "sampler": "random", "terminator": "stagnation", "patience": 2}
ERM, SAM, SAGM = (f"RotatedDigits.mlp.{name}.0.0" for name in ("ERM", "SAM", "SAGM"))


def sweep_with(**search):
    return small_sweep(algorithms=["ERM", "SAM", "SAGM"], search={**SEARCH, **search})


def carry_on(sweep, folder, curves, most=99):
    """Completes trials one after the other with `curves[algorithm](number)`; how many per study."""
    ledger = open_ledger(sweep, folder)
    for spec in islice(iter(ledger.next, None), most):
        finish(ledger, folder, spec, curves[spec.study.algorithm](spec.number))
    return {study: len(trials) for study, trials in stored(folder).items()}


def stops_in(folder):
    studies = storage.open_for_reading(folder).get_all_studies()
    return stops(study.user_attrs for study in studies)


def flat(number):
    return 0.5


def rising(number):
    return 0.1 + 0.01 * number


ONE_IS_FLAT = {"ERM": flat, "SAM": rising, "SAGM": rising}
ALL_ARE_FLAT = dict.fromkeys(ONE_IS_FLAT, flat)


def test_a_study_that_no_longer_improves_leaves_its_trials_to_the_others_in_turn(folder):
    assert carry_on(sweep_with(), folder, ONE_IS_FLAT) == {ERM: 3, SAM: 8, SAGM: 7}
    assert open_ledger(sweep_with(), folder).left == 0
    assert sorted(folder.list(TRIALS)) == sorted(f"{s}.parquet" for s in (ERM, SAM, SAGM))


def test_where_all_stop_the_rest_is_not_spent(folder):
    sweep = sweep_with()
    assert carry_on(sweep, folder, ALL_ARE_FLAT) == {ERM: 3, SAM: 3, SAGM: 3}
    ledger = open_ledger(sweep, folder)
    assert (ledger.left, ledger.next()) == (0, None)
    assert all(record.done for record in ledger.records.values())


@pytest.mark.parametrize("killed_after", range(1, 18, 2))
def test_a_resumed_sweep_stops_and_shares_as_an_undisturbed_one(folder, killed_after):
    carry_on(sweep_with(), folder, ONE_IS_FLAT, most=killed_after)
    assert carry_on(sweep_with(), folder, ONE_IS_FLAT) == {ERM: 3, SAM: 8, SAGM: 7}


def test_a_decision_is_not_taken_back_when_a_trial_at_work_turns_out_better(folder):
    sweep = sweep_with()
    ledger = open_ledger(sweep, folder)
    trials = [ledger.next() for _ in range(12)]
    erm = [spec for spec in trials if spec.study.id == ERM]
    for spec in erm[:3]:
        finish(ledger, folder, spec, 0.5)
    assert ledger.next().study.id != ERM  # it has fewer at work, and would be next
    finish(ledger, folder, erm[3], 0.9)
    for opened in (ledger, open_ledger(sweep, folder)):
        record = opened.records[ERM]
        assert (record.asked, record.max_trials, record.full) == (4, 4, True)
        assert sum(record.max_trials for record in opened.records.values()) == 18
    assert record.done
    assert record.optuna.user_attrs == {
        STOPPED: {"order": 0, "study": ERM, "trials": 4, "patience": 2}
    }


def test_what_counts_is_the_first_best_among_all_that_came_to_an_end(folder):
    ledger = open_ledger(small_sweep(search={"trials": 9}), folder)
    (record,) = ledger.records.values()

    def since(startup=0):
        return trials_without_gain(record.optuna.get_trials(), startup)

    finish(ledger, folder, ledger.next(), 0.7)
    assert since() == 0
    finish(ledger, folder, ledger.next(), 0.7)
    assert since() == 1
    pruned = ledger.next()
    ledger.report(pruned, said(10, 0.9))
    ledger.prune(pruned)
    assert since() == 2
    ledger.fail(ledger.next(), "no")
    ledger.next()
    assert since() == 2
    assert since(startup=2) == 1
    assert since(startup=9) == 0
    finish(ledger, folder, ledger.next(), 0.8)
    assert since() == 0


def test_of_two_objectives_a_trial_is_better_that_none_exceeds_in_both():
    study = optuna.create_study(directions=["maximize"] * 2)
    for values, expected in (
        ((0.5, 0.5), 0),
        ((0.5, 0.5), 1),
        ((0.6, 0.1), 0),
        ((0.4, 0.4), 1),
        ((0.55, 0.1), 2),
        ((0.55, 0.2), 0),
    ):
        study.tell(study.ask(), values)
        assert trials_without_gain(study.get_trials(), 0) == expected


def test_no_study_is_stopped_before_its_sampler_has_suggested_by_what_it_saw(folder):
    sweep = sweep_with(trials=9, sampler="tpe")
    assert grace_trials(sweep.search) == 4
    assert set(carry_on(sweep, folder, ALL_ARE_FLAT).values()) == {4 + 2}


def test_shares_go_round_and_no_study_is_given_more_than_it_can_have():
    own = dict.fromkeys("abcd", 10)
    endless = dict.fromkeys("abcd")
    stops = [StudyStop(0, "a", 4)]
    assert shares(own, endless, stops) == {"a": 4, "b": 12, "c": 12, "d": 12}
    assert shares(own, {**endless, "b": 10, "c": 11}, stops) == {"a": 4, "b": 10, "c": 11, "d": 15}
    # What was given is given on.
    stops.append(StudyStop(1, "c", 9))
    assert shares(own, endless, stops) == {"a": 4, "b": 14, "c": 9, "d": 13}
    assert sum(shares(own, endless, stops).values()) == 40
    stops += [StudyStop(2, "b", 14), StudyStop(3, "d", 12)]
    assert shares(own, endless, stops) == {"a": 4, "b": 14, "c": 9, "d": 12}


def test_more_trials_are_more_patience_and_a_study_that_was_stopped_goes_on(folder):
    few = sweep_with(trials=4, patience=None)
    carry_on(few, folder, ONE_IS_FLAT)
    assert open_ledger(few, folder).left == 0
    more = sweep_with(trials=12, patience=None)
    grown = carry_on(more, folder, ONE_IS_FLAT)
    large = RunFolder(f"{folder.root}-large")
    assert carry_on(more, large, ONE_IS_FLAT) == grown == {ERM: 7, SAM: 15, SAGM: 14}
    assert [s.trials for s in stops_in(large)] == [s.trials for s in stops_in(folder)] == [7]


def test_with_studies_that_a_run_had_not_each_keeps_the_trials_that_it_had(folder):
    carry_on(sweep_with(), folder, {"ERM": flat, "SAM": rising, "SAGM": flat})
    had = {study: len(trials) for study, trials in stored(folder).items()}
    assert had == {ERM: 3, SAM: 12, SAGM: 3}
    more = small_sweep(algorithms=["ERM", "SAM", "SAGM", "VREx"], search=SEARCH)
    grown = carry_on(more, folder, {"VREx": rising})
    assert grown == {**had, ERM.replace("ERM", "VREx"): 9}
