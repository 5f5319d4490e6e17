import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.results.selection import ranked, select
from search.results.selection_rules import RULES
from tests.search.tiny_study import study_row, tiny

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "model_selection.json").read_text())
OURS = {"iid": "training-domain", "leave_one_out": "leave-one-domain-out", "oracle": "oracle"}


def setting(run, test_envs):
    """What the runs of a cross-validation share, and the domains that this one is without."""
    shared = ("dataset", "algorithm", "trial_seed", "hparams_seed")
    return (*(run[name] for name in shared), *test_envs)


def row(own, record, domain, role, split):
    where = {"step": record["step"], "domain": str(domain), "role": role, "split": split}
    count = 400 if split == "in" else 100
    return {**own, **where, "accuracy": record[split][domain], "count": count}


@cache
def golden_frames():
    """DomainBed's runs with one test domain, as the two tables of a Steppe run."""
    trials, evaluations = [], []
    without = {setting(run, run["test_envs"]): run["records"] for run in GOLDEN["runs"]}
    for run in GOLDEN["runs"]:
        if len(run["test_envs"]) != 1:
            continue
        [held_out] = run["test_envs"]
        study = study_row(run["dataset"], run["algorithm"], held_out, run["trial_seed"])
        own = {"study": study["study"], "trial": f"{study['study']}.{run['hparams_seed']}"}
        found = {"number": run["hparams_seed"], "hp_lr": run["hparams"]["lr"]}
        trials.append({**study, **own, **found, "state": "completed"})
        domains = range(len(run["records"][0]["in"]))
        for left_out in (domain for domain in domains if domain != held_out):
            fold = without.get(setting(run, sorted({held_out, left_out})), [])
            evaluations += [row(own, record, left_out, "left_out", "in") for record in fold]
        evaluations += [
            row(own, record, domain, "held_out" if domain == held_out else "source", split)
            for record in run["records"]
            for domain in domains
            for split in ("in", "out")
        ]
    return pd.DataFrame(trials), pd.DataFrame(evaluations)


def choose(rule, trials, evaluations):
    """The row of a study's winner, or why it has none."""
    (row,) = select(trials, evaluations, [rule]).itertuples()
    return row if isinstance(row.trial, str) else row.reason


def ranking(rule, trials, evaluations):
    return ranked(rule, trials, evaluations, trials.to_dict("records"))


@pytest.mark.parametrize("method", OURS)
def test_every_ranking_and_accuracy_of_domainbed_is_reproduced(method):
    columns = {"number": "hparams_seed", "validation": "val_acc", "accuracy": "test_acc"}
    entries = [entry for entry in GOLDEN["expected"] if entry["method"] == method]
    assert len(entries) == 8
    for entry in entries:
        key = (entry[name] for name in ("dataset", "algorithm", "test_env", "trial_seed"))
        study = study_row(*key)["study"]
        own = [frame[frame["study"] == study] for frame in golden_frames()]
        found = ranking(OURS[method], *own)
        # Bit for bit: a sum in another order could break a tie the other way.
        for ours, theirs in columns.items():
            assert list(found[ours]) == [candidate[theirs] for candidate in entry["ranking"]]
        assert choose(OURS[method], *own).accuracy == entry["sweep_acc"]


def test_folds_alone_decide_in_leave_one_domain_out_and_have_no_part_in_other_rules():
    trials, evaluations = tiny([{5: (0.3, 0.4), 10: (0.6, 0.8)}, {5: (0.5, 0.5), 10: (0.4, 0.4)}])
    folds = evaluations["role"] == "left_out"
    before = {rule: str(choose(rule, trials, evaluations[~folds])) for rule in RULES}
    assert before.pop("leave-one-domain-out") == (
        "no completed trial has a fold for each source domain "
        "(search.objective: leave-one-domain-out makes them)"
    )
    evaluations.loc[folds, "accuracy"] = np.linspace(1.0, 0.0, folds.sum())
    evaluations.loc[folds & (evaluations["step"] == 10), "step"] = 20  # no other rule looks there
    after = {rule: choose(rule, trials, evaluations) for rule in RULES}
    chosen = after.pop("leave-one-domain-out")
    assert (chosen.number, chosen.step) == (0, 5)
    assert {rule: str(choice) for rule, choice in after.items()} == before


def test_a_trial_without_one_of_its_folds_is_no_candidate_by_leave_one_domain_out():
    trials, evaluations = tiny([{5: (0.3, 0.3)}, {5: (0.9, 0.9)}])
    of_b = (evaluations["role"] == "left_out") & (evaluations["domain"] == "b")
    last = evaluations["trial"] == trials["trial"][1]
    assert choose("leave-one-domain-out", trials, evaluations[~(of_b & last)]).number == 0
    assert isinstance(choose("leave-one-domain-out", trials, evaluations[~of_b]), str)


@pytest.mark.parametrize(
    ("rule", "trials", "chosen"),
    [
        ("training-domain", [{0: (0.1, 0.1), 10: (0.6, 0.8), 20: (0.8, 0.6)}], (0, 10, 0.7)),
        ("worst-source-domain", [{0: (0.9, 0.2), 10: (0.5, 0.4), 20: (0.4, 0.9)}], (0, 10, 0.4)),
        ("last-step", [{0: (0.9, 0.9), 10: (0.3, 0.5)}, {0: (0, 0), 10: (0.5, 0.5)}], (1, 10, 0.5)),
    ],
    ids=["its first best step", "the best of its worst domain", "whatever was better before"],
)
def test_a_trial_speaks_through_the_step_of_the_rule(rule, trials, chosen):
    found = choose(rule, *tiny(trials))
    assert (found.number, found.step, found.validation) == pytest.approx(chosen)


@pytest.mark.parametrize("method", RULES)
def test_among_equal_trials_the_largest_number_wins(method):
    frames = tiny([{5: (0.5, 0.5)}] * 12)
    assert list(ranking(method, *frames)["number"]) == list(range(11, -1, -1))


def test_domains_weigh_the_same_whatever_their_size():
    trials, evaluations = tiny([{0: (0.2, 0.8)}])
    evaluations.loc[evaluations["domain"] == "a", "count"] = 10_000
    assert choose("training-domain", trials, evaluations).validation == pytest.approx(0.5)


@pytest.mark.parametrize("method", RULES)
def test_only_completed_trials_are_candidates(method):
    others = ["pruned", "diverged", "failed"]
    frames = tiny([{0: (0.4, 0.4)}, *[{0: (0.9, 0.9)}] * 3], states=["completed", *others])
    assert choose(method, *frames).number == 0


def test_the_accuracy_of_both_splits_is_weighted_by_images():
    found = choose("training-domain", *tiny([{0: (0.4, 0.4)}]))
    assert found.accuracy == 0.5
    assert found.accuracy_all == pytest.approx((0.5 * 300 + 0.9 * 100) / 400)


def test_a_winner_that_was_not_scored_on_the_held_out_domain_says_so():
    frames = tiny([{0: (0.4, 0.4), 10: (0.6, 0.6)}], held_out_steps=[0])
    found = choose("training-domain", *frames)
    assert (found.trial, found.number, found.step) == (frames[0]["trial"][0], 0, 10)
    assert found.validation == pytest.approx(0.6)
    assert np.isnan([found.accuracy, found.accuracy_all]).all()
    assert found.reason == "trial 0 has no held-out accuracy at step 10"


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (["failed", "failed"], "all 2 trials failed"),
        (["pruned", "pruned"], "all 2 trials were pruned"),
        (["pruned"], "the only trial was pruned"),
        (
            ["diverged", "diverged", "failed"],
            "none of 3 trials completed: 2 diverged, 1 failed",
        ),
    ],
)
def test_a_study_without_a_winner_says_why(states, reason):
    frames = tiny([{0: (0.4, 0.4)}] * len(states), states=states)
    assert choose("training-domain", *frames) == reason


@pytest.mark.parametrize(
    ("method", "scored", "needs"),
    [
        ("oracle", [0, 10], "out split at the last step"),
        # The best of some steps would be a smaller number under the same name.
        ("oracle-best-step", [10, 20], "out split at every step (training.evaluations: all)"),
    ],
)
def test_a_method_without_its_evaluations_says_which_it_needs(method, scored, needs):
    frames = tiny([{0: (0.4, 0.4), 10: (0.6, 0.6), 20: (0.1, 0.1)}], held_out_steps=scored)
    assert choose(method, *frames) == f"no completed trial has the held-out domain's {needs}"


def test_the_selection_holds_the_winners_hyperparameters_and_the_studies_without_one():
    won = tiny([{0: (0.4, 0.4)}, {0: (0.5, 0.5)}])
    lost = tiny([{0: (0.4, 0.4)}], states=["failed"])
    other = study_row("D", "SAM", "h", 0)
    lost_trials = lost[0].assign(trial=f"{other['study']}.0", **other)
    missing = study_row("D", "SAGM", "h", 0)
    trials = pd.concat([won[0], lost_trials], ignore_index=True)

    selection = select(trials, won[1], ["training-domain"], [missing, other])

    assert list(selection["algorithm"]) == ["SAGM", "SAM", "ERM"]
    assert list(selection["reason"].fillna("")) == [
        "no trial has finished",
        "the only trial failed",
        "",
    ]
    assert list(selection["trial"].notna()) == [False, False, True]
    assert selection["hp_lr"].iloc[2] == 1
    assert selection["number"].dtype == "Int64"


def with_average(evaluations, trial, step, source, held_out):
    """The evaluations and one more of a trial's averaged weights."""
    last = evaluations[(evaluations["trial"] == trial) & (evaluations["step"] == step)]
    average = last.assign(
        weights="average",
        accuracy=[source if role == "source" else held_out for role in last["role"]],
    )
    return pd.concat([evaluations.assign(weights="iterate"), average], ignore_index=True)


@pytest.mark.parametrize(("method", "validation"), [("training-domain", 0.4), ("oracle", 0.7)])
def test_averaged_weights_alone_speak_for_their_trial(method, validation):
    trials, evaluations = tiny([{0: (0.9, 0.9), 10: (0.2, 0.2)}])
    evaluations = with_average(evaluations, trials["trial"][0], 10, source=0.4, held_out=0.7)
    evaluations = evaluations.astype({"weights": "category"})  # as it is read from files
    found = choose(method, trials, evaluations)
    assert (found.step, found.validation) == (10, validation)
    assert (found.accuracy, found.accuracy_all) == (0.7, pytest.approx(0.7))


def test_a_trial_without_an_average_speaks_as_ever():
    trials, evaluations = tiny([{0: (0.5, 0.5), 10: (0.2, 0.2)}, {0: (0.9, 0.9), 10: (0.2, 0.2)}])
    evaluations = with_average(evaluations, trials["trial"][1], 10, source=0.4, held_out=0.7)
    first, second = ranking("training-domain", trials, evaluations).itertuples()
    assert (first.number, first.step, first.validation) == (0, 0, 0.5)
    assert (second.number, second.step, second.validation) == (1, 10, 0.4)


def test_a_table_from_before_averaging_has_nothing_but_iterates():
    trials, evaluations = tiny([{0: (0.5, 0.5)}])
    evaluations["weights"] = None
    assert choose("training-domain", trials, evaluations).validation == 0.5


@pytest.mark.parametrize(
    "rule", [name for name, rule in RULES.items() if not rule.oracle and name != "last-step"]
)
def test_a_step_without_all_source_domains_is_passed_over(rule):
    trials, evaluations = tiny([{0: (0.4, 0.4), 10: (0.9, 0.9)}])
    evaluations = evaluations[~((evaluations["step"] == 10) & (evaluations["domain"] == "b"))]
    assert choose(rule, trials, evaluations).step == 0
    assert "at the last step" in choose("last-step", trials, evaluations)


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if not rule.oracle])
def test_an_honest_rule_never_looks_at_the_held_out_domain(rule):
    trials, evaluations = tiny([{0: (0.3, 0.4), 5: (0.5, 0.2)}, {0: (0.2, 0.3), 5: (0.4, 0.5)}])
    before = choose(rule, trials, evaluations)
    held_out = evaluations["role"] == "held_out"
    evaluations.loc[held_out, "accuracy"] = np.linspace(1.0, 0.0, held_out.sum())
    after = choose(rule, trials, evaluations)
    assert (before.trial, before.step) == (after.trial, after.step)
    assert before.validation == after.validation


def test_the_oracle_looks_at_the_last_step_only_and_that_of_swad_chooses_the_step_as_well():
    trials, evaluations = tiny([dict.fromkeys((0, 10, 20, 30), (0.5, 0.5))])
    held_out = evaluations["role"] == "held_out"
    out = evaluations["step"].map({0: 0.3, 10: 0.8, 20: 0.8, 30: 0.6})
    scores = out - 0.1 * (evaluations["split"] == "in")
    evaluations.loc[held_out, "accuracy"] = scores[held_out]
    for rule, *chosen in (("oracle-best-step", 10, 0.8, 0.7), ("oracle", 30, 0.6, 0.5)):
        found = choose(rule, trials, evaluations)
        assert [found.step, found.validation, found.accuracy] == pytest.approx(chosen)


def test_ties_and_candidates_and_failed_trials_are_counted():
    states = ["completed", "completed", "failed", "completed", "pruned"]
    values = [{0: (0.5, 0.5)}, {0: (0.2, 0.2)}, {0: (0.9, 0.9)}, {0: (0.4, 0.6)}, {0: (0.9, 0.9)}]
    (found,) = select(*tiny(values, states)).itertuples()
    assert (found.number, found.candidates, found.ties, found.failed) == (3, 3, 1, 1)
