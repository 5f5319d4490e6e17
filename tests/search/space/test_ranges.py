import optuna
import pytest

from search.space.ranges import (
    Choice,
    Fixed,
    Interval,
    contains,
    extremes,
    parse_range,
    plain,
    text,
)
from search.study.samplers import suggest

WRITTEN = [
    ({"uniform": [0, 0.5]}, Interval(0, 0.5), "0 .. 0.5"),
    ({"log_uniform": [0.01, 0.3]}, Interval(0.01, 0.3, log=True), "log 0.01 .. 0.3"),
    ({"int_uniform": [1, 5]}, Interval(1, 5, whole=True), "1 .. 5 whole"),
    ({"log_int": [8, 45]}, Interval(8, 45, log=True, whole=True), "log 8 .. 45 whole"),
    ({"choice": [0, 0.1, "half"]}, Choice((0, 0.1, "half")), "one of 0, 0.1, half"),
    (0.05, Fixed(0.05), "0.05"),
]
RANGES = [range_ for _, range_, _ in WRITTEN]


@pytest.mark.parametrize(("written", "range_", "shown"), WRITTEN)
def test_every_kind_of_range_is_read_written_back_and_shown_in_a_few_characters(
    written, range_, shown
):
    assert parse_range(written) == range_
    assert parse_range(plain(range_)) == range_
    assert text(range_) == shown


def test_numbers_that_yaml_took_for_text_are_numbers():
    assert parse_range({"log_uniform": ["1e-5", "1e-3"]}) == Interval(1e-5, 1e-3, log=True)
    assert parse_range("1e-5") == Fixed(1e-5)
    assert parse_range({"choice": ["1e-5", "7"]}) == Choice((1e-5, 7))


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"uniform": [0.3, 0.1]}, r"low end 0.3 is above .* 0.1; write {uniform: \[0.1, 0.3\]}"),
        ({"uniform": [0.3, 0.3]}, "for a constant, write 0.3 alone"),
        ({"log_uniform": [0, 1]}, r"above 0, but its low end is 0; .*{uniform: \[0, 1\]}"),
        ({"log_int": [-1, 4]}, r"low end is -1; .*{int_uniform: \[-1, 4\]}"),
        ({"int_uniform": [1, 2.5]}, "must be whole, but got 2.5"),
        ({"uniform": [0, float("inf")]}, "finite"),
        ({"uniform": [0, "nan"]}, "finite"),
        ({"uniform": [0, "much"]}, "a number is needed, but got 'much'"),
        ({"uniform": [0, True]}, "a number is needed, but got True"),
        ({"uniform": [0, 1, 2]}, "got 3 values"),
        ({"uniform": 1}, r"write {uniform: \[low, high\]}"),
        ({"choice": []}, "at least one value"),
        ({"choice": [0.1, 0.2, "1e-1"]}, "0.1 comes twice"),
        ({"log_unifrom": [1, 2]}, "'log_unifrom' is not a kind of range; did you mean log_uniform"),
        ({"uniform": [0, 1], "choice": [1]}, "this has uniform, choice"),
        ([0.1, 0.2], r"a list is not a range; write {choice: \[0.1, 0.2\]}"),
        (None, "got nothing"),
        (float("nan"), "finite"),
    ],
)
def test_what_is_no_range_is_refused_with_the_way_out(written, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_range(written)


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        (Interval(0.01, 0.3, log=True), [0.01, 0.05, 0.3], [0, 0.0099, 0.31, "half"]),
        (Interval(1, 5, whole=True), [1, 2.0, 5], [0, 2.5, 6]),
        (Choice((0, 0.1, "half")), [0.0, 0.1, "half"], [0.05, "full"]),
        (Fixed(3), [3, 3.0], [4, "3"]),
    ],
)
def test_a_range_contains_what_a_sampler_could_draw(range_, inside, outside):
    assert all(contains(range_, value) for value in inside)
    assert not any(contains(range_, value) for value in outside)


def test_optuna_draws_what_the_range_contains():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        for index, range_ in enumerate(RANGES):
            value = suggest(trial, str(index), range_)
            assert contains(range_, value)
            if isinstance(range_, Interval):
                assert isinstance(value, int) == range_.whole


def test_optuna_knows_the_ends_and_the_scale_but_nothing_of_fixed_values():
    trial = optuna.create_study().ask()
    for index, range_ in enumerate(RANGES):
        suggest(trial, str(index), range_)
    known = trial.distributions
    assert known.keys() == {"0", "1", "2", "3", "4"}
    for index, range_ in enumerate(RANGES[:4]):
        distribution = known[str(index)]
        assert (distribution.low, distribution.high) == extremes(range_)
        assert distribution.log == range_.log
