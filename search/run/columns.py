"""The columns of a run's tables; docs/files.md describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
FROZEN = "frozen"  # waits, and may be trained further
STATES = ("completed", "pruned", "diverged", "failed", FROZEN)
# Weights that are a trial's result in place of the iterate; of several, the last.
FINAL_WEIGHTS = ("average", "retrained")
# What some columns may hold, in the order in which tables show it.
WORDS: Mapping[str, Sequence[str]] = {
    "state": STATES,
    "weights": ("iterate", *FINAL_WEIGHTS),
    "role": ("source", "held_out", "left_out"),
    "split": ("in", "out"),
}
STUDY_COLUMNS = ("sweep", "study", "dataset", "model", "algorithm", "held_out", "seed")

# Hyperparameter -> float, int or str; the same in every part file of a run.
HpTypes = Mapping[str, type]

_ARROW_TYPES = {float: pa.float64(), int: pa.int64(), str: pa.string()}
_TIME = pa.timestamp("us", tz="UTC")

STUDY_FIELDS = [
    pa.field(name, pa.int64() if name == "seed" else pa.string(), nullable=False)
    for name in STUDY_COLUMNS
]

_TRIAL_FIELDS = [
    *STUDY_FIELDS,
    pa.field("trial", pa.string(), nullable=False),
    pa.field("number", pa.int64(), nullable=False),
    pa.field("state", pa.string(), nullable=False),
    pa.field("reason", pa.string()),  # why a trial is not completed
    pa.field("steps", pa.int64()),  # training steps done
    pa.field("best_step", pa.int64()),
    pa.field("objective", pa.float64()),  # value of the search objective, at best_step
    pa.field("objective_2", pa.float64()),  # of the second one there, if the search has two
    pa.field("seconds", pa.float64()),
    pa.field("passes", pa.float64()),  # forwards and backwards over a batch; a forward is 1/3
    pa.field("started", _TIME),
    pa.field("finished", _TIME),
    pa.field("node", pa.string()),
    pa.field("device", pa.string()),
    pa.field("gpu", pa.float64()),  # how many GPUs it had; null on a CPU
    pa.field("gpu_memory", pa.float64()),  # of its GPU's memory, the most that it took
    pa.field("gpu_beside", pa.float64()),  # and what others held
]

_EVALUATION_FIELDS = [
    pa.field("sweep", pa.string(), nullable=False),
    pa.field("study", pa.string(), nullable=False),
    pa.field("trial", pa.string(), nullable=False),
    pa.field("step", pa.int64(), nullable=False),
    pa.field(
        "weights", pa.string()
    ),  # iterate, average, retrained; null in tables without averaging
    pa.field("fold", pa.string()),  # the domain that a fold leaves out; null in the trial's own run
    pa.field("domain", pa.string(), nullable=False),
    pa.field("role", pa.string(), nullable=False),  # source, held_out, left_out
    pa.field("split", pa.string(), nullable=False),  # in, out
    pa.field("accuracy", pa.float64()),
    pa.field("loss", pa.float64()),
    pa.field("count", pa.int64(), nullable=False),  # images
    pa.field("sharpness", pa.float64()),  # null unless the sweep measures flatness
    pa.field("curvature", pa.float64()),
    pa.field("ece", pa.float64()),  # expected calibration error; null in tables of earlier commits
    pa.field("seconds", pa.float64()),
    pa.field("passes", pa.float64()),
]

_CORRECT_FIELDS = [
    *STUDY_FIELDS,
    pa.field("trial", pa.string(), nullable=False),
    pa.field("step", pa.int64(), nullable=False),
    pa.field("domain", pa.string(), nullable=False),  # held out
    pa.field("correct", pa.list_(pa.bool_()), nullable=False),  # of its images, in their order
]

_SELECTION_FIELDS = [
    *STUDY_FIELDS,
    pa.field("method", pa.string(), nullable=False),
    pa.field("trial", pa.string()),  # null: the study has no winner, `reason` says why
    pa.field("number", pa.int64()),
    pa.field("step", pa.int64()),
    pa.field("validation", pa.float64()),
    pa.field("accuracy", pa.float64()),
    pa.field("accuracy_all", pa.float64()),
    pa.field("accuracies", pa.list_(pa.float64())),  # of each domain of a set; null of one domain
    pa.field("reason", pa.string()),  # why a trial or an accuracy is missing
    pa.field("candidates", pa.int64()),  # trials that might have been chosen
    pa.field("ties", pa.int64()),  # others of them with the winner's score
    pa.field("failed", pa.int64()),  # trials of the study that failed
]


def trials_schema(hp_types: HpTypes) -> pa.Schema:
    """The columns of `trials`, with one `hp_<name>` for each hyperparameter of the sweep."""
    return _schema(_TRIAL_FIELDS, hp_types)


def evaluations_schema() -> pa.Schema:
    """The columns of `evaluations`: a row per (step, weights, fold, domain, split)."""
    return _schema(_EVALUATION_FIELDS, {})


def correct_schema() -> pa.Schema:
    """The columns of `correct`: a row per (trial, held-out domain)."""
    return _schema(_CORRECT_FIELDS, {})


def selection_schema(hp_types: HpTypes) -> pa.Schema:
    """The columns of `selection`: a row per (study, method)."""
    return _schema(_SELECTION_FIELDS, hp_types)


def hp_types_of(trials: pd.DataFrame) -> dict[str, type]:
    """The type of each hyperparameter in a frame of trials, from its `hp_` columns."""
    kinds: dict[str, type] = {"i": int, "f": float}
    return {
        str(column).removeprefix("hp_"): kinds.get(getattr(dtype, "kind", "O"), str)
        for column, dtype in trials.dtypes.items()
        if str(column).startswith("hp_")
    }


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Converts a table to a frame whose dtypes depend on the schema alone, not on nulls."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    whole = [field.name for field in table.schema if field.type == pa.int64()]
    certain = [name for name in whole if not table.schema.field(name).nullable]
    return frame.astype(dict.fromkeys(certain, "int64"))


def _schema(fields: Sequence[pa.Field], hp_types: HpTypes) -> pa.Schema:
    hyperparameters = [pa.field(f"hp_{name}", _ARROW_TYPES[hp_types[name]]) for name in hp_types]
    version = {"schema_version": str(SCHEMA_VERSION)}
    return pa.schema([*fields, *hyperparameters], metadata=version)
