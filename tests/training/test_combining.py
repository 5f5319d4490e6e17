"""Soups, ensembles and barriers, against the records of the official codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.domain_dataset import Domain
from tests.training.golden_case import cases, close, each, tensor
from training.combining import barrier, ensemble_scores, greedy, pooled, ranking, uniform
from training.evaluation import Part, Score


def state_of(run: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: tensor(values) for name, values in run["params"].items()}


def parameters(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name in state if "running" not in name]


def hits(
    state: Mapping[str, Tensor], case: Any, domain: int, samples: Sequence[int] | None = None
) -> Tensor:
    """Whether the network with this state is right, for samples of a domain, by default all."""
    key = domain if isinstance(case["data"]["x"], list) else str(domain)
    x, y = tensor(case["data"]["x"][key]), torch.tensor(case["data"]["y"][key])
    if samples is not None:
        x, y = x[samples], y[samples]
    h = F.linear(x, state["w1"], state["b1"])
    if case["model"]["batchnorm_after_first_linear"]:
        h = F.batch_norm(
            h,
            state["bn_running_mean"],
            state["bn_running_var"],
            state["bn_gamma"],
            state["bn_beta"],
            eps=case["model"]["bn_eps"],
        )
    return F.linear(h.tanh(), state["w2"], state["b2"]).argmax(1) == y


def source_scores(state: Mapping[str, Tensor], case: Any) -> list[Score]:
    found = []
    for domain, samples in case["out_split"].items():
        hit = hits(state, case, int(domain), samples)
        accuracy = float(hit.double().mean())
        found.append(Score(domain, "source", "out", accuracy, 0.0, len(hit)))
    return found


@each(cases("soups"))
def test_soups_are_those_of_diwa(case: Any) -> None:
    runs = {run["name"]: run for run in case["runs"]}
    listed = [runs[name] for name in case["listing"]]
    means = [float(np.mean(list(run["out_accuracy"].values()))) for run in listed]
    close(means, case["score"])
    if case["selection"] == "uniform":
        members = [state_of(run) for run in listed]
        soup = uniform(members, parameters(members[0]))
    else:
        order = [listed[position] for position in ranking(means)]
        assert [run["name"] for run in order] == case["ranking"]
        members = [state_of(run) for run in order]
        soup, tried = greedy(
            members, parameters(members[0]), lambda state: pooled(source_scores(state, case))
        )
        recorded = case["trials"]
        assert [(t.members, t.accepted) for t in tried] == [
            (t["members"], t["accepted"]) for t in recorded
        ]
        close([t.accuracy for t in tried], [t["pooled_out_accuracy"] for t in recorded])
        names = [run["name"] for run, t in zip(order, tried, strict=True) if t.accepted]
        assert names == case["selected"]
    result, state = case["result"], soup.state()
    assert soup.members == result["members"]
    for name, values in result["params"].items():
        close(state[name], values)
    held_out = hits(state, case, case["held_out"]).double().mean()
    close(held_out, result["held_out_accuracy"])


class Fixed(nn.Module):
    """Has the logits of a table, whose rows the images name."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[(x[:, 0, 0, 0] * 255).round().long()]


def test_an_ensemble_is_that_of_eoa() -> None:
    (case,) = cases("lp_ft_and_sma", "ensemble")
    labels = np.array(case["y"])
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    part = Part(Domain("all", images, labels), "held_out", "in", np.arange(len(labels)))
    logits = [tensor(member) for member in case["logits"]]
    (score,) = ensemble_scores([Fixed(member) for member in logits], [part], torch.device("cpu"))
    close(score.accuracy, case["accuracy"])
    mean = sum(logits) / len(logits)
    assert isinstance(mean, Tensor)
    assert score.loss == pytest.approx(float(F.cross_entropy(mean, torch.tensor(labels))))
    assert mean.argmax(1).tolist() == case["predictions"]


def test_a_barrier_is_what_the_midpoint_lacks() -> None:
    assert barrier((0.8, 0.9), 0.5) == pytest.approx(0.35)


def test_members_of_other_shapes_are_refused() -> None:
    soup = uniform([{"w": torch.zeros(2)}], ["w"])
    with pytest.raises(ValueError, match=r"'w'.*\(2,\) and \(3,\)"):
        soup.plus({"w": torch.zeros(3)})
    with pytest.raises(ValueError, match="'v'"):
        soup.plus({"v": torch.zeros(2)})
