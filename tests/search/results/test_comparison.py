"""Whether algorithms differ: paired differences, mean ranks, importance."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from search import results
from search.errors import SteppeError
from search.results.comparison import TooLittle, compare, compare_best, critical_difference, ranks
from search.results.comparison_document import document
from tests.search.written_run import noisy, sweep, write

DOMAINS = ("a", "b", "c", "d")


def selection(accuracy, algorithms=("ERM", "SAM", "SAGM"), domains=DOMAINS, seeds=3, dataset="D"):
    """The winners of one method; `accuracy`: (algorithm, domain, seed) -> fraction or None."""
    rows = [
        (dataset, "m", *study, accuracy(*study))
        for study in product(algorithms, domains, range(seeds))
    ]
    names = ["dataset", "model", "algorithm", "held_out", "seed", "accuracy"]
    return pd.DataFrame(rows, columns=names).astype({"accuracy": "float64"})


def sam_against_erm(rows):
    """The row of the only comparison."""
    (found,) = compare(rows, ["SAM"], "ERM").to_dict("records")
    return found


def by_algorithm(*values):
    return lambda algorithm, domain, seed: values[("ERM", "SAM", "SAGM").index(algorithm)]


def hard_domains(algorithm, domain, seed):
    """Domains and seeds differ by far more than algorithms; SAM is better by 1 to 3 points."""
    base = 0.3 + 0.15 * DOMAINS.index(domain) + 0.02 * seed
    return base + (algorithm == "SAM") * 0.01 * (1 + (DOMAINS.index(domain) + seed) % 3)


def test_a_paired_difference_leaves_out_how_hard_the_domains_are():
    rows = selection(hard_domains, ("ERM", "SAM")).sample(frac=1, random_state=0)
    found = sam_against_erm(rows)
    assert found["difference"] == pytest.approx(0.02)
    assert 0.01 < found["here_low"] < 0.02 < found["here_high"] < 0.03
    assert (found["pairs"], found["asked"], found["domains"]) == (12, 12, 4)
    assert (found["wins"], found["losses"], found["equal"]) == (12, 0, 0)
    (opposite,) = compare(rows, ["ERM"], "SAM").to_dict("records")
    assert (opposite["wins"], opposite["losses"]) == (0, 12)
    unpaired = rows.groupby("algorithm")["accuracy"].std().min()
    assert unpaired > 5 * (found["here_high"] - found["here_low"])


def by_domain(algorithm, domain, seed):
    """SAM is better by 1, 2, 3 and 6 points on the domains; seeds are 1 point around that."""
    points = (1, 2, 3, 6)[DOMAINS.index(domain)] + (seed - 1)
    return 0.5 + 0.01 * points * (algorithm == "SAM")


def test_domains_are_the_sample_of_one_interval_and_seeds_of_the_other():
    found = sam_against_erm(selection(by_domain, ("ERM", "SAM")))
    expected = ttest_1samp([0.01, 0.02, 0.03, 0.06], 0).confidence_interval()
    assert (found["like_low"], found["like_high"]) == pytest.approx(tuple(expected))
    # Each domain has the variance 1; of equal variances the degrees of freedom are all, 8.
    reach = t.ppf(0.975, 8) * 0.01 / np.sqrt(12)
    assert (found["here_low"], found["here_high"]) == pytest.approx((0.03 - reach, 0.03 + reach))


def test_a_domain_whose_seeds_vary_more_leaves_fewer_degrees_of_freedom():
    variances, freedom = np.array([1.0, 1, 1, 9]), 2
    one = variances.sum() ** 2 / (variances**2 / (freedom + 1)).sum() - 1
    several = variances.sum() ** 2 / (variances**2 / freedom).sum()

    def accuracy(algorithm, domain, seed):
        return (algorithm == "SAM") * (seed - 1) * (3 if domain == "d" else 1) / 100

    rows = selection(accuracy)
    alone = sam_against_erm(rows)
    beside, _ = compare(rows, ["SAM", "SAGM"], "ERM").to_dict("records")
    error = 0.01 * np.sqrt(12 / 3) / 4
    assert alone["here_high"] == pytest.approx(t.ppf(0.975, one) * error)
    corrected = (1 + 0.95 ** (1 / 2)) / 2
    assert beside["here_high"] == pytest.approx(t.ppf(corrected, several) * error)


def test_intervals_are_corrected_for_the_number_of_comparisons():
    rng = np.random.default_rng(0)
    rows = selection(lambda *study: rng.normal())
    alone = compare(rows, ["SAM"], "ERM").iloc[0]
    beside = compare(rows, ["SAM", "SAGM"], "ERM").iloc[0]
    best = compare_best(rows)
    ratio = t.ppf((1 + 0.95 ** (1 / 2)) / 2, 3) / t.ppf(0.975, 3)
    assert beside["like_high"] - beside["difference"] == pytest.approx(
        ratio * (alone["like_high"] - alone["difference"])
    )
    assert (alone["comparisons"], beside["comparisons"]) == (1, 2)
    assert list(best["comparisons"]) == [3, 3]  # all pairs of three algorithms


def test_the_best_is_the_highest_of_those_with_all_results():
    rng = np.random.default_rng(0)
    level = {"ERM": 0.5, "SAM": 0.6, "SAGM": 0.7}

    def accuracy(algorithm, domain, seed):
        missing = (algorithm, domain, seed) == ("SAGM", "a", 0)
        return None if missing else level[algorithm] + 0.01 * rng.normal()

    found = compare_best(selection(accuracy))
    assert set(found["a"]) == {"SAM"}
    assert list(found["b"]) == ["ERM", "SAGM"]
    assert list(found["pairs"]) == [12, 11]
    assert compare_best(selection(lambda *study: None if study[2] == 0 else 0.5)).empty


@pytest.mark.parametrize("sam", [0.5, 0.7])
def test_differences_that_are_all_the_same_have_no_interval(sam):
    found = sam_against_erm(selection(by_algorithm(0.5, sam, 0.5)))
    assert found["difference"] == pytest.approx(sam - 0.5)
    assert found["here_why"] == found["like_why"] == "no spread"
    assert np.isnan(found["here_low"])


def test_where_seeds_are_missing_each_domain_still_counts_once():
    def accuracy(algorithm, domain, seed):
        missing = (algorithm, domain) == ("SAM", "d") and seed > 0
        return None if missing else by_domain(algorithm, domain, 1)

    rows = selection(accuracy, ("ERM", "SAM"))
    found = sam_against_erm(rows)
    assert found["difference"] == pytest.approx(0.03)
    assert found["here_why"] == "too few seeds: one in 1 of 4 domains"
    assert found["like_low"] < 0.03 < found["like_high"]
    assert (found["pairs"], found["asked"], found["domains"]) == (10, 12, 4)
    rows.loc[(rows["algorithm"] == "SAM") & (rows["held_out"] == "d"), "accuracy"] = None
    found = sam_against_erm(rows)
    assert (found["pairs"], found["asked"], found["domains"]) == (9, 12, 3)


@pytest.mark.parametrize(
    ("domains", "seeds", "here", "like"),
    [
        (DOMAINS, 1, "too few seeds: one in each domain", None),
        (DOMAINS[:2], 3, None, "too few domains: 2 of at least 3"),
        (DOMAINS[:1], 2, "too few seeds: 2 of at least 3", "too few domains: 1 of at least 3"),
        (DOMAINS[:1], 3, None, "too few domains: 1 of at least 3"),
    ],
)
def test_what_is_too_little_is_said_beside_the_difference(domains, seeds, here, like):
    rows = selection(hard_domains, ("ERM", "SAM"), domains, seeds)
    found = sam_against_erm(rows)
    assert found["difference"] > 0
    assert (found["here_why"], found["like_why"]) == (here, like)
    assert [np.isnan(found["here_low"]), np.isnan(found["like_low"])] == [bool(here), bool(like)]
    (grid,) = document(rows, None, "training-domain").grids
    for why in filter(None, (here, like)):
        assert why in [cell.text for cell in grid.rows[0]]


def test_algorithms_without_a_common_pair_are_not_compared():
    apart = selection(lambda a, d, seed: 0.5 if (a == "SAM") == (seed == 0) else None)
    with pytest.raises(TooLittle, match="SAM and ERM share no pair"):
        compare(apart, ["SAM"], "ERM")
    with pytest.raises(SteppeError, match="with itself"):
        compare(apart, ["SAM"], "SAM")


def test_several_datasets_are_compared_alone_and_together():
    both = pd.concat([selection(by_domain, ("ERM", "SAM"), dataset=name) for name in ("D", "E")])
    few = selection(by_domain, ("ERM", "SAM"), DOMAINS[:1], seeds=2, dataset="F")
    found = compare(pd.concat([both, few]), ["SAM"], "ERM").set_index("dataset")
    assert list(found.index) == ["D", "E", "F", "all"]
    assert list(found["pairs"]) == [12, 12, 2, 26]
    assert list(found["domains"]) == [4, 4, 1, 9]
    assert list(found["like_why"].isna()) == [True, True, False, True]
    two = compare(both, ["SAM"], "ERM").set_index("dataset")
    assert two.loc["all", "like_why"] == "too few datasets: 2 of at least 3"


def test_all_datasets_count_the_same_and_are_the_sample():
    """As in the tables: the mean over datasets of the mean over domains of the mean over seeds."""
    rng = np.random.default_rng(0)
    points = {"D": (1, 2, 3, 6), "E": (4, 5), "F": (9,)}
    rows = pd.concat(
        selection(
            lambda a, d, seed, own=own: (a == "SAM") * own[DOMAINS.index(d)] + rng.normal() * 0.01,
            ("ERM", "SAM"),
            DOMAINS[: len(own)],
            seeds=2 + (name == "D"),
            dataset=name,
        )
        for name, own in points.items()
    )
    found = compare(rows, ["SAM"], "ERM").set_index("dataset").loc["all"]
    means = rows.groupby(["algorithm", "dataset", "held_out"])["accuracy"].mean()
    own = (means["SAM"] - means["ERM"]).groupby("dataset").mean()
    assert found["difference"] == pytest.approx(own.mean())
    expected = ttest_1samp(own, 0).confidence_interval()
    assert (found["like_low"], found["like_high"]) == pytest.approx(tuple(expected))
    assert found["here_low"] < found["difference"] < found["here_high"]
    assert found["here_high"] - found["here_low"] < 0.2


@pytest.mark.parametrize(
    ("algorithms", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_the_published_table(algorithms, q):
    """Demsar 2006, table 5 (a)."""
    expected = q * np.sqrt(algorithms * (algorithms + 1) / (6 * 14))
    assert critical_difference(algorithms, 14) == pytest.approx(expected, abs=5e-4)


def test_ranks_follow_the_accuracies_and_ties_share_one():
    (found,) = ranks(selection(by_algorithm(0.3, 0.5, 0.5)))
    assert found.ranks.to_dict() == {"SAM": 1.5, "SAGM": 1.5, "ERM": 3.0}
    assert (found.of, found.blocks, found.asked) == ("domains", 4, 4)


def test_algorithms_that_are_all_alike_are_not_told_apart():
    (found,) = ranks(selection(by_algorithm(0.5, 0.5, 0.5)))
    assert found.p == 1.0
    assert set(found.ranks) == {2.0}


def test_the_friedman_test_is_exact_and_over_domains_whatever_the_seeds():
    """The same order in all of 4 domains: 3! of the (3!)^4 permutations, chi squared says 0.018."""
    for seeds in (1, 3, 5):
        (found,) = ranks(selection(by_algorithm(0.3, 0.4, 0.5), seeds=seeds))
        assert found.p == pytest.approx(6 / 6**4)


def test_a_block_is_the_mean_over_the_seeds_that_all_algorithms_have():
    def accuracy(algorithm, domain, seed):
        missing = algorithm == "SAM" and ((domain, seed) == ("c", 2) or domain == "d")
        return None if missing else 0.1 * len(algorithm) + (algorithm == "SAM") * (seed - 1) / 10

    (found,) = ranks(selection(accuracy))
    assert (found.blocks, found.asked) == (3, 4)
    # On c SAM has the mean of its seeds 0 and 1 only.
    assert found.ranks.to_dict() == pytest.approx(
        {"SAGM": 1, "ERM": (2.5 + 2.5 + 2) / 3, "SAM": (2.5 + 2.5 + 3) / 3}
    )


def test_of_several_datasets_the_blocks_are_datasets():
    rows = [selection(by_algorithm(0.3, 0.4, 0.5), dataset=name) for name in ("D", "E", "F")]
    found = {one.dataset: one for one in ranks(pd.concat(rows))}
    assert {name: (one.of, one.blocks) for name, one in found.items()} == {
        **dict.fromkeys("DEF", ("domains", 4)),
        "all": ("datasets", 3),
    }
    assert found["all"].p == pytest.approx(6 / 6**3)


def test_ranks_of_too_few_domains_are_told_without_a_test():
    (found,) = ranks(selection(by_algorithm(0.3, 0.4, 0.5), domains=DOMAINS[:2], seeds=5))
    assert list(found.ranks) == [1, 2, 3]
    assert np.isnan(found.p)
    assert np.isnan(found.critical_difference)
    with pytest.raises(TooLittle, match="at least 3 algorithms"):
        ranks(selection(hard_domains, ("ERM", "SAM")))


def test_the_document_has_all_comparisons_and_what_is_missing_below():
    two = document(selection(hard_domains, ("ERM", "SAM")), None, "training-domain")
    assert list(two.frames) == ["pairs"]
    assert "mean ranks take at least 3 algorithms" in two.grids[-1].notes[-1]
    three = document(selection(by_algorithm(0.3, 0.5, 0.5)), "SAM", "training-domain")
    assert list(three.frames) == ["pairs", "best", "ranks"]
    assert [row[0].text for row in three.grids[0].rows] == ["ERM", "SAGM"]
    few = document(
        selection(by_algorithm(0.3, 0.5, 0.5), domains=DOMAINS[:2]), None, "training-domain"
    )
    assert "too few domains for a test" in few.grids[-1].notes[0]
    with pytest.raises(SteppeError, match="the only algorithm"):
        document(selection(hard_domains, ("ERM",)), None, "training-domain")


def test_one_setting_for_all_is_said_to_be_shared():
    rows = selection(hard_domains, ("ERM", "SAM"))
    shared = document(rows, None, "training-domain-per-dataset").grids[-1].notes
    assert any("share a setting" in note for note in shared)
    assert not any("share a setting" in n for n in document(rows, None, "oracle").grids[-1].notes)


def test_a_hyperparameter_that_decides_is_the_most_important(tmp_path):
    """The settings of a written run: lr grows with the number, batch_size goes up and down."""

    def accuracy(algorithm, held_out, seed, number, step):
        hard = 0.1 + 0.1 * seed  # as large as all that the settings do
        return hard + 0.2 * (number % 2), 0.5

    data = sweep(algorithms=["ERM", "SAM"], held_out=["photo", "sketch"], seeds=[0, 1])
    found = results.importance(results.load(write(tmp_path, data, accuracy, trials=6).uri))
    first = found.groupby("algorithm").first()
    assert set(first["hyperparameter"]) == {"batch_size"}
    assert (first["importance"] > 0.5).all()
    assert set(found.query("algorithm == 'ERM'")["hyperparameter"]) == {"lr", "batch_size"}
    shares = found.groupby("algorithm")["importance"].sum()
    assert shares.tolist() == pytest.approx([1, 1])
    assert set(found["trials"]) == {2 * 2 * 5}  # lr leaves its range after five
    assert set(found["studies"]) == {4}


def test_importance_takes_enough_trials_that_differ(tmp_path):
    few = write(tmp_path / "few", sweep(algorithms=["SAM"], held_out=["photo"], seeds=[0]), noisy)
    with pytest.raises(SteppeError, match=r"at least 20 completed trials .* the most here are 4"):
        results.importance(results.load(few.uri))
    data = sweep(algorithms=["SAM"], seeds=[0, 1])
    same = write(tmp_path / "same", data, lambda *trial: (0.5, 0.5), trials=3)
    with pytest.raises(SteppeError, match="objectives that differ"):
        results.importance(results.load(same.uri))
