"""Tables at equal cost: what training runs had reached after so many passes."""

from __future__ import annotations

import pandas as pd

from search.errors import SteppeError


def cut(evaluations: pd.DataFrame, passes: float) -> pd.DataFrame:
    """The evaluations that cost no more than so many passes of their own training run.

    A trial speaks through its averaged weights alone where it has such, so one whose average came
    later has nothing. Each fold is a run of its own. Raises SteppeError for a limit that is not above
    0, and for tables that do not tell passes.
    """
    if not passes > 0:
        raise SteppeError(f"--passes {passes:g}: it must be above 0")
    if "passes" not in evaluations or evaluations["passes"].isna().any():
        raise SteppeError(
            "these tables are from before passes were counted, and cannot be read at equal cost"
        )
    kept = evaluations["passes"] <= passes
    averaged = evaluations["weights"] == "average"
    late = evaluations.loc[averaged & ~kept, "trial"].unique()
    found: pd.DataFrame = evaluations[kept & ~evaluations["trial"].isin(late)]
    return found
