"""What the objectives of a search need, and what they exclude."""

from __future__ import annotations

from collections.abc import Iterator

from search.study import samplers
from search.sweep.config_errors import Problem, show
from search.sweep.objectives import LEAVE_ONE_DOMAIN_OUT, oracles
from search.sweep.search_keys import Search


def check_objectives(search: Search) -> Iterator[Problem]:
    """Everything that the keys of a search make impossible together."""
    seeing = oracles(search.objectives)
    if seeing and not search.allow_oracle:
        yield Problem(
            ("search", "objective"),
            f"is {show(seeing[0])}, which sees the held-out domain, so that what the search finds "
            "is an upper bound and no result; choose training-domain, or set "
            "search.allow_oracle: true, and every table says so",
        )
    if search.compare_at == "passes" and search.scheduler == "median":
        yield Problem(
            ("search", "compare_at"),
            "is passes, but median compares values at the very same cost, which trials with "
            "different passes hardly meet; choose the scheduler asha or hyperband",
        )
    if len(search.objectives) == 1:
        return
    if LEAVE_ONE_DOMAIN_OUT in search.objectives:
        yield Problem(
            ("search", "objective"),
            f"has {LEAVE_ONE_DOMAIN_OUT} among two, whose value is of other weights than another "
            "objective's; name it alone",
        )
    if search.sampler in samplers.ONE_OBJECTIVE:
        others = ", ".join(name for name in samplers.SAMPLERS if name not in samplers.ONE_OBJECTIVE)
        yield Problem(
            ("search", "sampler"),
            f"is {show(search.sampler)}, which has no use for two objectives; choose one of "
            f"{others}",
        )
    if search.scheduler != "none":
        yield Problem(
            ("search", "scheduler"),
            f"is {show(search.scheduler)}, which compares trials by one objective, and the search "
            "has two; remove it",
        )
