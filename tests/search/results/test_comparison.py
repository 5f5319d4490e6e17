"""Whether algorithms differ: paired differences, mean ranks, importance."""

import numpy as np
import pandas as pd
import pytest

from search import results
from search.errors import UserError
from search.results.comparison import document
from search.results.mean_ranks import critical_difference, ranks
from search.results.paired import TooLittle, compare
from tests.search.written_run import noisy, sweep, write

DOMAINS = ("a", "b", "c", "d")


def selection(accuracy, algorithms=("ERM", "SAM", "SAGM"), domains=DOMAINS, seeds=3, dataset="D"):
    """The winners of one method; `accuracy`: (algorithm, domain, seed) -> fraction or None."""
    return pd.DataFrame(
        [
            {
                "dataset": dataset,
                "model": "m",
                "algorithm": algorithm,
                "held_out": domain,
                "seed": seed,
                "accuracy": accuracy(algorithm, domain, seed),
            }
            for algorithm in algorithms
            for domain in domains
            for seed in range(seeds)
        ]
    ).astype({"accuracy": "float64"})


def by_algorithm(*values):
    return lambda algorithm, domain, seed: values[("ERM", "SAM", "SAGM").index(algorithm)]


def hard_domains(algorithm, domain, seed):
    """Domains and seeds differ by far more than algorithms; SAM is better by 1 to 3 points."""
    base = 0.3 + 0.15 * DOMAINS.index(domain) + 0.02 * seed
    return base + (algorithm == "SAM") * 0.01 * (1 + (DOMAINS.index(domain) + seed) % 3)


def test_a_paired_difference_leaves_out_how_hard_the_domains_are():
    rows = selection(hard_domains, ("ERM", "SAM"))
    (found,) = compare(rows, ["SAM"], "ERM").to_dict("records")
    assert found["difference"] == pytest.approx(0.02)
    assert 0.01 < found["low"] < 0.02 < found["high"] < 0.03
    assert (found["pairs"], found["asked"]) == (12, 12)
    assert (found["wins"], found["losses"], found["equal"]) == (12, 0, 0)
    unpaired = rows.groupby("algorithm")["accuracy"].std().min()
    assert unpaired > 5 * (found["high"] - found["low"])


def test_a_difference_and_its_opposite_mirror_each_other():
    rng = np.random.default_rng(0)
    rows = selection(lambda *study: rng.uniform(), ("ERM", "SAM"))
    (one,) = compare(rows, ["SAM"], "ERM").to_dict("records")
    (other,) = compare(rows, ["ERM"], "SAM").to_dict("records")
    assert one["difference"] == -other["difference"]
    assert one["low"] == pytest.approx(-other["high"], abs=0.01)
    assert (one["wins"], one["losses"]) == (other["losses"], other["wins"])


def test_the_same_results_have_the_same_interval_each_time():
    rows = selection(hard_domains, ("ERM", "SAM"))
    pd.testing.assert_frame_equal(compare(rows, ["SAM"], "ERM"), compare(rows, ["SAM"], "ERM"))


def test_equal_accuracies_have_an_interval_of_no_width():
    (found,) = compare(selection(by_algorithm(0.5, 0.5, 0.5)), ["SAM"], "ERM").to_dict("records")
    assert (found["difference"], found["low"], found["high"], found["equal"]) == (0, 0, 0, 12)


def test_pairs_without_a_result_are_left_out_and_counted():
    def accuracy(algorithm, domain, seed):
        return (
            None if (algorithm, domain) == ("SAM", "d") else hard_domains(algorithm, domain, seed)
        )

    (found,) = compare(selection(accuracy, ("ERM", "SAM")), ["SAM"], "ERM").to_dict("records")
    assert (found["pairs"], found["asked"]) == (9, 12)


@pytest.mark.slow
def test_an_interval_holds_the_true_difference_about_as_often_as_docs_say():
    """docs/analysis.md: with 12 pairs of normal differences in 90 % of cases."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        rows = selection(lambda *study: rng.normal(), ("ERM", "SAM"))
        (found,) = compare(rows, ["SAM"], "ERM").to_dict("records")
        held += found["low"] <= 0 <= found["high"]
    assert 0.85 < held / 300 < 0.95


def test_the_order_of_rows_does_not_matter():
    rows = selection(hard_domains, ("ERM", "SAM"))
    shuffled = rows.sample(frac=1, random_state=0)
    (one,), (other,) = (
        compare(some, ["SAM"], "ERM").to_dict("records") for some in (rows, shuffled)
    )
    assert one["difference"] == pytest.approx(other["difference"])


@pytest.mark.parametrize(("domains", "seeds"), [(DOMAINS, 1), (("a",), 5)])
def test_too_few_pairs_are_refused(domains, seeds):
    rows = selection(lambda *study: 0.5, domains=domains, seeds=seeds)
    with pytest.raises(TooLittle, match=f"at most {len(domains) * seeds} pairs.*takes at least 6"):
        compare(rows, ["SAM"], "ERM")
    with pytest.raises(TooLittle, match=f"{len(domains) * seeds} of {len(domains) * seeds} pairs"):
        ranks(rows)


def test_an_algorithm_is_not_compared_with_itself():
    with pytest.raises(UserError, match="with itself"):
        compare(selection(hard_domains, ("ERM", "SAM")), ["SAM"], "SAM")


def test_several_datasets_are_compared_alone_and_together():
    both = pd.concat([selection(hard_domains, ("ERM", "SAM"), dataset=name) for name in ("D", "E")])
    few = selection(hard_domains, ("ERM", "SAM"), seeds=1, dataset="F")
    found = compare(pd.concat([both, few]), ["SAM"], "ERM").set_index("dataset")
    assert list(found.index) == ["D", "E", "F", "all"]
    assert list(found["pairs"]) == [12, 12, 4, 28]
    assert list(found["low"].isna()) == [False, False, True, False]


@pytest.mark.parametrize(
    ("algorithms", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_the_published_table(algorithms, q):
    """Demsar 2006, table 5 (a)."""
    expected = q * np.sqrt(algorithms * (algorithms + 1) / (6 * 14))
    assert critical_difference(algorithms, 14) == pytest.approx(expected, abs=5e-4)


def test_ranks_follow_the_accuracies_and_ties_share_one():
    found = ranks(selection(by_algorithm(0.3, 0.5, 0.5)))
    assert found.ranks.to_dict() == {"SAM": 1.5, "SAGM": 1.5, "ERM": 3.0}
    assert found.p < 0.001
    assert (found.blocks, found.asked) == (12, 12)


def test_algorithms_that_are_all_alike_are_not_told_apart():
    found = ranks(selection(by_algorithm(0.5, 0.5, 0.5)))
    assert found.p == 1.0
    assert set(found.ranks) == {2.0}


def test_the_friedman_test_of_ranks_that_never_change():
    """Chi squared is blocks * (algorithms - 1) = 24, with 2 degrees of freedom."""
    assert ranks(selection(by_algorithm(0.3, 0.4, 0.5))).p == pytest.approx(np.exp(-24 / 2))


def test_blocks_without_a_result_of_each_algorithm_are_left_out():
    def accuracy(algorithm, domain, seed):
        return None if (algorithm, domain, seed) == ("SAM", "d", 2) else 0.1 * len(algorithm)

    found = ranks(selection(accuracy))
    assert (found.blocks, found.asked) == (11, 12)
    assert found.ranks.to_dict() == {"SAGM": 1.0, "ERM": 2.5, "SAM": 2.5}


def test_what_one_statement_lacks_is_said_below_the_other():
    two = document(selection(hard_domains, ("ERM", "SAM")), None, "training-domain")
    assert list(two.frames) == ["pairs"]
    assert "mean ranks take at least 3 algorithms" in two.grids[-1].notes[-1]
    three = document(selection(by_algorithm(0.3, 0.5, 0.5)), "SAM", "training-domain")
    assert list(three.frames) == ["pairs", "ranks"]
    assert [row[0].text for row in three.grids[0].rows] == ["ERM", "SAGM"]
    with pytest.raises(UserError, match=r"bootstrap interval.*; mean ranks"):
        document(selection(by_algorithm(0.3, 0.5, 0.5), seeds=1), None, "training-domain")
    with pytest.raises(UserError, match="the only algorithm"):
        document(selection(hard_domains, ("ERM",)), None, "training-domain")


def test_a_hyperparameter_that_decides_is_the_most_important(tmp_path):
    """The settings of a written run: lr grows with the number, batch_size goes up and down."""

    def accuracy(algorithm, held_out, seed, number, step):
        hard = 0.1 * seed  # as large as all that the settings do
        return hard + 0.2 * (number % 2), 0.5

    data = sweep(algorithms=["ERM", "SAM"], held_out=["photo", "sketch"])
    found = results.importance(results.load(write(tmp_path, data, accuracy, trials=8).uri))
    first = found.groupby("algorithm", observed=True).first()
    assert set(first["hyperparameter"]) == {"batch_size"}
    assert (first["importance"] > 0.5).all()
    assert set(found.query("algorithm == 'ERM'")["hyperparameter"]) == {"lr", "batch_size"}
    assert (
        found.groupby("algorithm", observed=True)["importance"].sum().tolist()
        == [pytest.approx(1)] * 2
    )
    assert set(found["trials"]) == {2 * 3 * 5}  # lr leaves its range after five
    assert set(found["studies"]) == {6}


def test_importance_takes_enough_trials_that_differ(tmp_path):
    few = write(tmp_path / "few", sweep(held_out=["photo"], seeds=[0]), noisy)
    with pytest.raises(UserError, match=r"at least 20 completed trials .* the most here are 4"):
        results.importance(results.load(few.uri))
    data = sweep(algorithms=["SAM"])
    same = write(tmp_path / "same", data, lambda *trial: (0.5, 0.5))
    with pytest.raises(UserError, match="objectives that differ"):
        results.importance(results.load(same.uri))
