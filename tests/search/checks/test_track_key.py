"""The key `track`: a tracker, or a list of them."""

import pytest

from search.checks.load_sweep import checked
from search.study.resolved_sweep import differences, resolved
from tests.search.refused import SWEEP, the_problem


@pytest.mark.parametrize(
    ("written", "names"),
    [("mlflow", ("mlflow",)), (["wandb", "tensorboard"], ("wandb", "tensorboard")), ([], ())],
)
def test_it_names_one_or_several(written, names):
    sweep = checked({**SWEEP, "track": written}, "sweep.yaml")
    assert sweep.track == names
    assert resolved(sweep)["track"] == list(names)
    assert checked(SWEEP, "sweep.yaml").track == ()


def test_a_run_goes_on_with_other_trackers():
    one, other = (checked({**SWEEP, "track": names}, "sweep.yaml") for names in ([], "mlflow"))
    assert differences(one, other) == []


def test_another_word_or_one_that_comes_twice_is_refused():
    assert "did you mean tensorboard?" in the_problem(track="tensorbord")
    assert "wandb" in the_problem(track=["mlflow", "wb"])
    assert "there are: tensorboard, mlflow, wandb" in the_problem(track=3)
    assert "mlflow comes twice" in the_problem(track=["mlflow", "mlflow"])
