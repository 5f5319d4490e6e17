"""What a search spends until its choice is as good as that of DomainBed's protocol.

The protocol tries 20 settings, its default and 19 drawn at random, each at full length, and chooses
among all their evaluations: here `random/none`. The others are named by Steppe's sampler and
scheduler; `tpe/asha x3` has three times the trials and ends where the protocol does. Two searches
of about the same cost as freeze-thaw are simpler: `random/none first 7` trains seven settings, and
`random/none to 0.33` all of them for a third, then the best to its end. `prior` draws around the
default setting, the more the further the study is (benchmarks.prior_draws). What another margin of
asha does: benchmarks.rung_margins. Samplers, pruners, storage and tables are those of a
sweep. Only Ray is left out: trials are trained in this process, one at a time. What is spent is
counted in passes (training.passes), so that it does not hang on the machine, without evaluations.

A study is one algorithm, held-out domain and seed (of the split, the weights and the search). Every
figure is a mean over studies of a difference or ratio within a study; its 95 % interval is
a t interval over held-out domains (benchmarks.search_gains).

    python -m benchmarks.search_efficiency --output runs/search-efficiency

The folder gets curves.jsonl (every training run: the same command goes on where it was stopped, and
another one trains only what is new), results.json after each study, and regret.html.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import torch

import datasets
from benchmarks.learning_curves import Curves
from benchmarks.played_search import Played, play, play_to
from benchmarks.prior_draws import prior_draws
from benchmarks.regret_figure import regret_figure
from benchmarks.search_gains import Compared, Row, rows_of, table
from search.checks.load_sweep import checked
from search.study.plan import plans
from search.sweep.schema import Sweep
from search.sweep.search_keys import Search
from training.algorithms import hyperparameters

DATASET = "RotatedDigits"
DOMAINS = ("0", "15", "30", "45", "60", "75")
SAMPLERS = ("random", "tpe", "gp", "cmaes")
SCHEDULERS = ("none", "median", "asha", "freeze-thaw")
PROTOCOL = "random/none"
DEFAULT = "/".join(str(Search.model_fields[key].default) for key in ("sampler", "scheduler"))
SEARCHES = [f"{sampler}/{scheduler}" for sampler, scheduler in product(SAMPLERS, SCHEDULERS)]
BASELINES = ["random/none first 7", "random/none to 0.33", "prior/none", "prior/freeze-thaw"]
# The lr is further up than suggested: in 300 steps the best would lie at the edge.
SPACE: dict[str, Any] = {
    "lr": {"log_uniform": [3e-4, 3e-2]},
    "weight_decay": {"choice": [0, 1e-4]},
    "dropout": {"choice": [0, 0.1, 0.5]},
    "rho": {"log_uniform": [0.01, 0.5]},
    "alpha": {"log_uniform": [1e-4, 1e-1]},
    "lambda": {"log_uniform": [0.01, 1]},
}


@dataclass(frozen=True)
class Setup:
    """What all searches share. trials: of the protocol, and of all that have no `x`."""

    model: str = "mlp"
    steps: int = 300
    evaluate_every: int = 12
    batch_size: int = 16
    trials: int = 20


def sweep_of(setup: Setup, algorithm: str, held_out: str, seed: int, search: str) -> Sweep:
    """A sweep of one study."""
    name, _, option = search.partition(" ")
    sampler, scheduler = name.split("/")
    trials = setup.trials
    if option.startswith("x"):
        trials *= int(option.removeprefix("x"))
    elif option.startswith("first "):
        trials = int(option.removeprefix("first "))
    own = hyperparameters(algorithm).keys() | {"lr", "weight_decay", "dropout"}
    data = {
        "name": "search-efficiency",
        "dataset": {"name": DATASET},
        "model": {"name": setup.model},
        "algorithms": [algorithm],
        "held_out": [held_out],
        "seeds": [seed],
        "training": {
            "steps": setup.steps,
            "evaluate_every": setup.evaluate_every,
            "batch_size": setup.batch_size,
        },
        "search": {
            "trials": trials,
            "sampler": "random" if sampler == "prior" else sampler,
            "scheduler": scheduler,
            "seed": seed,
            "space": {name: range_ for name, range_ in SPACE.items() if name in own},
        },
    }
    return checked(data, "search-efficiency")


def compare(
    setup: Setup,
    study: tuple[str, str, int],
    searches: Sequence[str],
    curves: Curves,
    workers: int = 1,
) -> Compared:
    """Every search of one study (algorithm, held-out domain, seed), the protocol first."""
    played: dict[str, Played] = {}
    for search in (PROTOCOL, *(name for name in searches if name != PROTOCOL)):
        most = played[PROTOCOL].spent if " x" in search else None
        sweep = sweep_of(setup, *study, search)
        with prior_draws(setup.trials) if search.startswith("prior") else nullcontext():
            if " to " in search:
                played[search] = play_to(sweep, curves, float(search.rpartition(" ")[2]))
            else:
                played[search] = play(sweep, curves, most, workers)
    (plan,) = plans(sweep_of(setup, *study, PROTOCOL)).values()
    run = plan.trial(0, {}).run
    return Compared(*study, curves.best(run), played)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--algorithms", nargs="+", default=["SAGM", "DISAM+SAGM"])
    parser.add_argument("--held-out", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--searches",
        nargs="+",
        default=[*SEARCHES, f"{DEFAULT} x3", *BASELINES],
    )
    for name, value in asdict(Setup()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    arguments = parser.parse_args()
    setup = Setup(**{name: getattr(arguments, name) for name in asdict(Setup())})
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arguments.output.mkdir(parents=True, exist_ok=True)
    curves = Curves(datasets.load(DATASET, None), arguments.output / "curves.jsonl")
    compared: list[Compared] = []
    asked = product(arguments.seeds, arguments.held_out, arguments.algorithms)
    for seed, held_out, algorithm in asked:
        study = (algorithm, held_out, seed)
        compared.append(compare(setup, study, arguments.searches, curves, arguments.workers))
        rows = rows_of(compared, PROTOCOL)
        write(arguments.output, setup, rows, compared)
        print(f"{len(compared)} studies, {curves.trained} runs trained", flush=True)
    print(table(rows))
    figure = regret_figure(compared, PROTOCOL, DEFAULT)
    figure.write_html(arguments.output / "regret.html", include_plotlyjs=True)


def write(folder: Path, setup: Setup, rows: Sequence[Row], compared: Sequence[Compared]) -> None:
    result = {
        "torch": torch.__version__,
        "optuna": optuna.__version__,
        "setup": asdict(setup),
        "default": DEFAULT,
        "rows": [asdict(row) for row in rows],
        "studies": [one.summary() for one in compared],
    }
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
