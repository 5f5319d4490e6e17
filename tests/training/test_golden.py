"""Every algorithm against trajectories recorded from its official public code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.training.golden_case import case_of, cases, close, flat, play, schedule

FILES = (
    "erm_sam_asam",
    "asam_official",
    "gsam",
    "sagm",
    "disam",
    "gga",
    "gga_l",
    "vasso_fsam_gam",
    "baselines",
)
CASES = [(file, case["case_id"]) for file in FILES for case in cases(file)]


def cases_with(has: Callable[[dict], object]) -> pytest.MarkDecorator:
    chosen = [
        pytest.param(file, case_id, id=f"{file}:{case_id}")
        for file, case_id in CASES
        if has(case_of(file, case_id))
    ]
    return pytest.mark.parametrize(("file", "case_id"), chosen)


def test_all_recorded_cases_are_played():
    assert len(CASES) == 57


@cases_with(lambda case: case["params"])
def test_weights_after_1_2_5_and_10_steps_are_the_recorded_ones(file, case_id):
    recorded = case_of(file, case_id)["params"]

    assert sorted(recorded, key=int) == ["1", "2", "5", "10"]
    for steps, weights in recorded.items():
        close(play(file, case_id).weights[int(steps)], flat(weights))


@cases_with(lambda case: "losses" in case)
def test_every_pass_of_every_step_has_the_recorded_loss(file, case_id):
    close(play(file, case_id).losses, case_of(file, case_id)["losses"])


@cases_with(lambda case: "reported" in case)
def test_every_step_reports_what_the_recorded_code_reports(file, case_id):
    """DomainBed's `loss` is the objective; of CORAL and MMD without penalty, of Fish the last."""
    case, seen = case_of(file, case_id), play(file, case_id)
    apart = case["algorithm"] in ("CORAL", "MMD")
    weight = case["hparams"]["mmd_gamma"] if apart else 1.0
    for step, reported in enumerate(case["reported"]):
        value, plain = seen.losses[step][-1], seen.plain[step][-1]

        close(plain if apart else value, reported["loss"])

        if "nll" in reported:
            # That of VREx is the last domain's: a variable of its loop.
            last = seen.by_domain[step][-1][-1]
            close(last if case["algorithm"] == "VREx" else plain, reported["nll"])
        if apart:
            close(value, reported["loss"] + weight * reported["penalty"])


@cases_with(lambda case: "eval_points" in case.get("step1", {}))
def test_passes_of_the_first_step_run_at_the_recorded_weights(file, case_id):
    recorded = case_of(file, case_id)["step1"]["eval_points"]

    close(torch.stack(play(file, case_id).points[0]), torch.stack([flat(p) for p in recorded]))


@cases_with(lambda case: "final_grad" in case.get("step1", {}))
def test_optimizer_gets_the_recorded_gradient_in_the_first_step(file, case_id):
    recorded = case_of(file, case_id)["step1"]["final_grad"]

    close(play(file, case_id).gradients[0], flat(recorded))


@cases_with(lambda case: "rho_per_step" in case)
def test_schedule_gives_the_recorded_radius_of_every_step(file, case_id):
    case = case_of(file, case_id)
    radius = schedule(case["hparams"])

    rho = [case["hparams"]["rho_max"] * radius(step) for step in range(10)]

    assert rho == pytest.approx(case["rho_per_step"], abs=1e-12)


@cases_with(lambda case: "search" in case)
def test_search_of_gga_sees_the_recorded_similarities(file, case_id):
    for search in case_of(file, case_id)["search"]:
        smallest = [float(seen.min()) for seen in play(file, case_id).cosines[search["step"]]]

        close(smallest, [search["initial_similarity"], *search["sims"]])


@cases_with(lambda case: "search" in case)
def test_search_of_gga_accepts_what_the_released_code_accepts(file, case_id):
    case = case_of(file, case_id)
    for search in case["search"]:
        walk = play(file, case_id).searched[search["step"]]
        origin = walk[0]
        accepted = []
        for here, after, noise in zip(walk[1:], walk[2:], search["uniform"][1:], strict=False):
            moved = torch.zeros_like(origin)
            noise = (2 * flat(noise, ("w1", "b1")) - 1) * case["hparams"]["neighborhood"]
            moved[: len(noise)] = noise
            # After a point is accepted the walk starts again at its origin, else it goes on.
            restarted = torch.allclose(after, origin + moved, rtol=0, atol=1e-12)
            assert restarted != torch.allclose(after, here + moved, rtol=0, atol=1e-12)
            accepted.append(restarted)
        assert accepted == search["accepted"][:-1]

        kept = [i for i, kept in enumerate(search["accepted"]) if kept]
        final = walk[kept[-1] + 1] if kept else origin
        close(play(file, case_id).points[search["step"]][0], final)


@cases_with(lambda case: "search" in case)
def test_gga_searches_in_the_steps_of_its_window_only(file, case_id):
    searched = play(file, case_id).searched

    steps = [step for step, looks in enumerate(searched) if looks]

    assert steps == [search["step"] for search in case_of(file, case_id)["search"]]


@cases_with(lambda case: "mean_similarity" in case)
def test_gga_l_sees_the_recorded_mean_similarities(file, case_id):
    seen = [float(cosines[0].mean()) for cosines in play(file, case_id).cosines]

    close(seen, case_of(file, case_id)["mean_similarity"])
