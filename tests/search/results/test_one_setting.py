import pandas as pd
import pytest

from search.results.selection import METHODS, select
from tests.search.tiny_study import study_row, tiny

ONCE = "training-domain-per-dataset"
NO_SETTING = "no setting completed in all 2 studies"


def studies_of(*validations, algorithm="ERM", states=None):
    """A study per entry, held-out domains h0, h1, ...; trial n of each has the setting lr = n."""
    trials, evaluations = [], []
    for place, values in enumerate(validations):
        own, scores = tiny([{0: (value, value)} for value in values], states and states[place])
        study = study_row("D", algorithm, f"h{place}", 0)
        names = {name: f"{study['study']}.{number}" for number, name in enumerate(own["trial"])}
        trials.append(own.assign(**study, trial=own["trial"].map(names)))
        evaluations.append(
            scores.assign(
                study=study["study"],
                trial=scores["trial"].map(names),
                domain=scores["domain"].replace("h", f"h{place}"),
            )
        )
    return pd.concat(trials, ignore_index=True), pd.concat(evaluations, ignore_index=True)


def test_one_setting_is_the_best_on_average_over_all_studies():
    frames = studies_of([0.9, 0.6, 0.1], [0.1, 0.5, 0.8])
    each = select(*frames, ["training-domain"])
    assert list(each["number"]) == [0, 2]
    once = select(*frames, [ONCE])
    assert list(once["number"]) == [1, 1]
    assert list(once["hp_lr"]) == [1, 1]
    assert list(once["validation"]) == [pytest.approx(0.55)] * 2
    assert list(once["candidates"]) == [3, 3]


def test_a_setting_that_failed_somewhere_is_no_candidate():
    states = [["completed", "completed"], ["failed", "completed"]]
    once = select(*studies_of([0.9, 0.1], [0.9, 0.1], states=states), [ONCE])
    assert list(once["number"]) == [1, 1]
    assert list(once["candidates"]) == [1, 1]
    assert list(once["failed"]) == [0, 1]


def test_settings_are_known_by_their_values_and_not_by_their_numbers():
    trials, evaluations = studies_of([0.9, 0.1], [0.2, 0.8])
    second = trials["held_out"] == "h1"
    trials.loc[second, "hp_lr"] = [1, 0]  # in the other order
    once = select(trials, evaluations, [ONCE])
    assert list(once["number"]) == [0, 1]
    assert list(once["hp_lr"]) == [0, 0]


@pytest.mark.parametrize(
    ("states", "reasons"),
    [
        ([["completed", "failed"], ["failed", "completed"]], [NO_SETTING, NO_SETTING]),
        ([["completed", "completed"], ["failed", "failed"]], [NO_SETTING, "all 2 trials failed"]),
    ],
)
def test_without_a_setting_for_all_no_study_has_one(states, reasons):
    once = select(*studies_of([0.5, 0.6], [0.5, 0.6], states=states), [ONCE])
    assert list(once["reason"]) == reasons
    assert once["trial"].isna().all()


def test_equal_settings_are_counted_and_the_largest_number_wins():
    once = select(*studies_of([0.25, 0.5, 0.75], [0.75, 0.5, 0.25]), [ONCE])
    assert list(once["number"]) == [2, 2]
    assert list(once["ties"]) == [2, 2]


def test_every_algorithm_and_dataset_has_a_setting_of_its_own():
    first, other = studies_of([0.9, 0.1]), studies_of([0.1, 0.9], algorithm="SAM")
    trials, evaluations = (
        pd.concat(both, ignore_index=True) for both in zip(first, other, strict=True)
    )
    once = select(trials, evaluations, [ONCE])
    assert list(once["number"]) == [0, 1]


def test_a_study_that_was_asked_for_and_has_no_trial_leaves_no_setting_for_all():
    missing = study_row("D", "ERM", "h9", 0)
    once = select(*studies_of([0.5]), [ONCE], [missing])
    assert list(once["reason"]) == ["no trial has finished", NO_SETTING]


def test_methods_asked_for_together_choose_as_alone():
    frames = studies_of([0.9, 0.6, 0.1], [0.1, 0.5, 0.8])
    together = select(*frames, METHODS)
    assert list(together["method"].unique()) == list(METHODS)
    for method in METHODS:
        own = together[together["method"] == method].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, select(*frames, [method, method]))
