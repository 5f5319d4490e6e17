import random
import statistics
from dataclasses import replace
from typing import get_args

import pytest

from search.run.run_folder import RunFolder
from search.study.plan import plans
from search.sweep.search_keys import Search
from tests.search.play import carry_out, finish, open_ledger, rows, said, small_sweep, stored

SCHEDULERS = get_args(Search.model_fields["scheduler"].annotation)
PRUNING = [name for name in SCHEDULERS if name not in ("none", "freeze-thaw")]
DRAWS = random.Random(4)
QUALITIES = [DRAWS.uniform(0.2, 0.9) for _ in range(18)]


def sweep_of(scheduler, trials=18, **changes):
    """Steps 10 to 90, none stopped before 10."""
    return small_sweep(
        search={"scheduler": scheduler, "trials": trials, **changes.pop("search", {})}, **changes
    )


def rising(quality):
    """A curve that rises to its quality and keeps the order of trials at every step."""
    return lambda step: quality * (1 - 0.5 ** (step / 10))


def play_one_by_one(sweep, folder, qualities):
    """By study: the step that each trial was pruned at, None for those that came to their end."""
    ledger = open_ledger(sweep, folder)
    steps = {record.study.id: [] for record in ledger.records.values()}
    curves = {study: iter(values) for study, values in zip(steps, qualities, strict=True)}
    while (spec := ledger.next()) is not None:
        study = spec.study.id
        curve = rising(next(curves[study]))
        steps[study].append(carry_out(ledger, folder, spec, curve))
    return steps


@pytest.fixture(scope="module", params=PRUNING)
def pruned(request, tmp_path_factory):
    """A scheduler, and by study where it stopped each trial."""
    folder = RunFolder(tmp_path_factory.mktemp(request.param))
    return request.param, play_one_by_one(sweep_of(request.param), folder, [QUALITIES])


def test_worse_trials_are_stopped_and_the_best_never_is(pruned):
    _, studies = pruned
    (steps,) = studies.values()
    ended = dict(zip(QUALITIES, steps, strict=True))
    ranked = sorted(QUALITIES, reverse=True)
    places = [place for place, quality in enumerate(ranked) if ended[quality] is not None]
    assert len(places) >= 5
    assert statistics.mean(places) > statistics.mean(set(range(18)) - set(places))
    assert 0 not in places
    best_so_far = [q for i, q in enumerate(QUALITIES) if q == max(QUALITIES[: i + 1])]
    assert all(ended[quality] is None for quality in best_so_far)


def test_without_a_scheduler_every_trial_comes_to_its_end(folder):
    (steps,) = play_one_by_one(sweep_of("none"), folder, [QUALITIES]).values()
    assert steps == [None] * 18


def test_trials_that_run_side_by_side_are_compared_too(folder):
    ledger = open_ledger(sweep_of("asha", trials=4), folder)
    running = {quality: ledger.next() for quality in (0.5, 0.9, 0.4, 0.3)}
    for step in range(10, 90, 10):
        for quality, spec in list(running.items()):
            if ledger.report(spec, said(step, rising(quality)(step))):
                ledger.prune(spec)
                del running[quality]
    assert list(running) == [0.5, 0.9]  # 0.5 came to each rung first


def test_a_study_with_ten_times_larger_values_stops_nobody_elses_trials(pruned, tmp_path):
    scheduler, alone = pruned
    small = [quality / 10 for quality in reversed(QUALITIES)]
    both = play_one_by_one(
        sweep_of(scheduler, held_out=["0", "75"]), RunFolder(tmp_path / "both"), [QUALITIES, small]
    )
    other = sweep_of(scheduler, held_out=["75"])
    assert both == alone | play_one_by_one(other, RunFolder(tmp_path / "75"), [small])
    assert all(any(steps) for steps in both.values())


@pytest.mark.parametrize("scheduler", PRUNING)
def test_no_trial_is_stopped_within_its_grace(scheduler, folder):
    sweep = sweep_of(scheduler, search={"grace_steps": 50})
    (steps,) = play_one_by_one(sweep, folder, [QUALITIES]).values()
    stops = [step for step in steps if step is not None]
    assert stops
    assert min(stops) >= 50


def test_asha_stops_at_its_rungs_only(folder):
    sweep = sweep_of("asha", search={"grace_steps": 20, "reduction_factor": 2})
    (steps,) = play_one_by_one(sweep, folder, [QUALITIES]).values()
    assert {20, 40} <= {step for step in steps if step is not None} <= {20, 40, 80}


@pytest.mark.parametrize(
    ("steps", "every", "factor", "grace"),
    [
        (5000, 200, 3, 400),  # 2/3 * 5000 / 9 = 370, rounded up to an evaluation
        (300, 50, 3, 50),
        (90, 10, 3, 10),
        (1800, 200, 3, 200),
        (100, 100, 3, 100),
        (100, 40, 2, 40),
        (30, 20, 4, 20),
        (1, 1, 3, 1),
    ],
)
def test_the_default_grace_has_a_third_rung_at_two_thirds(steps, every, factor, grace):
    training = {"steps": steps, "evaluate_every": every}
    sweep = sweep_of("asha", training=training, search={"reduction_factor": factor})
    (plan,) = plans(sweep).values()
    assert plan.grace_steps == grace


def completed(ledger, folder, at_rung, end):
    """A trial that had these values at its first rung and at its end."""
    spec = ledger.next()
    assert not ledger.report(spec, said(10, at_rung))
    ledger.report(spec, said(90, end))
    finish(ledger, folder, spec, end)


@pytest.mark.parametrize(
    ("gains", "behind", "stopped"),
    [
        ([0.1, 0.1], 0.04, False),  # 0.05 until three have completed
        ([0.1, 0.1], 0.06, True),
        ([0.1, 0.1, 0.1], 0.01, True),  # all gained the same, so none overtakes another
        ([0.0, 0.1, 0.2], 0.19, False),  # twice their standard deviation of 0.1
        ([0.0, 0.1, 0.2], 0.21, True),
    ],
)
@pytest.mark.parametrize("images", [100, 10_000])
def test_asha_leaves_room_for_what_completed_trials_gained_after_the_rung(
    gains, behind, stopped, images, folder
):
    ledger = open_ledger(sweep_of("asha", trials=6), folder)
    for gain in gains:
        completed(ledger, folder, 0.6, 0.6 + gain)
    report = replace(said(10, 0.6 - behind), images=images)
    assert ledger.report(ledger.next(), report) == stopped


def test_asha_of_an_earlier_run_keeps_the_noise_of_its_images_as_its_margin(tmp_path):
    """0.80 of 300 images is known to 0.023, the difference of two such to 0.033: twice 0.066."""
    for images, value, stopped in ((300, 0.74, False), (300, 0.72, True), (30_000, 0.74, True)):
        folder = RunFolder(tmp_path / f"{images}-{value}")
        ledger = open_ledger(sweep_of("asha", trials=2).of_earlier_run(), folder)
        for quality in (0.8, value):
            decision = ledger.report(ledger.next(), replace(said(10, quality), images=images))
        assert decision == stopped


PASSES = {"scheduler": "asha", "grace_steps": 10, "compare_at": "passes", "trials": 4}


def spent(step, value, passes):
    return replace(said(step, value), passes=passes)


def test_a_dear_trial_is_compared_with_what_others_had_for_as_many_passes(folder):
    """The grace of SAGM, whose steps take two passes, is over after 20, not after 10 steps."""
    ledger = open_ledger(small_sweep(search=PASSES), folder)
    ordinary, dear = ledger.next(), ledger.next()
    for step in (10, 20, 30):
        assert not ledger.report(ordinary, spent(step, 0.5 + step / 100, 2 * step))
    # As good as the other after 10 steps, for three times as much.
    assert not ledger.report(dear, spent(5, 0.1, 10 + 2 / 3))
    assert ledger.report(dear, spent(10, 0.6, 60 + 1 / 3))
    ledger.prune(dear)
    assert rows(folder)[dear.trial]["reason"] == (
        "asha: behind other trials at step 10 (60.3333 passes)"
    )
    (trials,) = stored(folder).values()
    assert list(trials[0].intermediate_values) == [20, 40, 60]
    assert list(trials[1].intermediate_values) == [10, 60]


def test_at_the_same_steps_that_trial_would_go_on(folder):
    ledger = open_ledger(small_sweep(search={**PASSES, "compare_at": "steps"}), folder)
    ordinary, dear = ledger.next(), ledger.next()
    for step in (10, 20, 30):
        ledger.report(ordinary, spent(step, 0.5 + step / 100, 2 * step))
    assert not ledger.report(dear, spent(10, 0.6, 60 + 1 / 3))


def test_a_trial_is_compared_at_no_rung_that_it_jumped_over(folder):
    """As GGA's do with compare_at: passes, whose window is one step of many passes."""
    ledger = open_ledger(small_sweep(search=PASSES), folder)
    ordinary, jumping = ledger.next(), ledger.next()
    for step in (5, 10, 20, 30, 60):
        ledger.report(ordinary, spent(step, 0.3 + step / 1000, 2 * step))
    # From before the first rung to after the second: of 130 passes, at the rung of 60.
    assert not ledger.report(jumping, spent(5, 0.1, 10))
    assert ledger.report(jumping, spent(15, 0.2, 130))
    beyond = ledger.next()
    assert not ledger.report(beyond, spent(5, 0.1, 10))
    assert not ledger.report(beyond, spent(15, 0.2, 2000))


def test_asha_decides_once_at_each_rung(folder):
    """A trial that was let go on is not stopped between rungs by those that come after it."""
    ledger = open_ledger(sweep_of("asha", trials=2, search={"grace_steps": 20}), folder)
    early, late = ledger.next(), ledger.next()
    assert not ledger.report(early, said(20, 0.5))
    assert not ledger.report(late, said(20, 0.9))
    for step in (30, 40, 50):
        assert not ledger.report(early, said(step, 0.5))
    assert not ledger.report(late, said(60, 0.9))
    assert ledger.report(early, said(60, 0.5))


def test_a_rung_between_two_evaluations_is_at_the_later_one(folder):
    ledger = open_ledger(sweep_of("asha", trials=2, search={"grace_steps": 15}), folder)
    good, bad = ledger.next(), ledger.next()
    for step in (10, 20):
        assert not ledger.report(good, said(step, 0.9))
    assert not ledger.report(bad, said(10, 0.3))
    assert ledger.report(bad, said(20, 0.3))


@pytest.mark.parametrize("scheduler", PRUNING)
def test_what_is_stopped_and_suggested_does_not_hang_on_restarts(scheduler, tmp_path):
    """Pruners remember nothing that is not in the storage."""
    sweep = sweep_of(scheduler, trials=10, search={"sampler": "tpe"})

    def go_on(folder, ledger, count):
        for _ in range(count):
            spec = ledger.next()
            curve = rising(QUALITIES[spec.number])
            carry_out(ledger, folder, spec, curve)

    whole, restarted = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "restarted")
    go_on(whole, open_ledger(sweep, whole), 10)
    for _ in range(10):
        go_on(restarted, open_ledger(sweep, restarted), 1)
    (first,), (second,) = stored(whole).values(), stored(restarted).values()
    assert {trial.state.name for trial in first} == {"COMPLETE", "PRUNED"}
    for here, there in zip(first, second, strict=True):
        assert (here.params, here.state) == (there.params, there.state)
        assert here.intermediate_values == there.intermediate_values
