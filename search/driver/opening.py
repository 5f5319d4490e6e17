"""What a launch finds in the folder of its run, and what it writes there before any trial.

A run may be asked for more than it was launched with: for more trials, algorithms, held-out
domains, seeds and datasets. What is there stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import models
from search.checks.load_sweep import as_in, recorded_roots, sweep_of
from search.driver import warm_start
from search.driver.preparing import Prepared
from search.errors import SteppeError
from search.run import manifest, storage, tables
from search.run.run_folder import MANIFEST, SWEEP, TRIALS, WARM_START, RunFolder
from search.run.storage import JOURNAL
from search.run.wall_clock import WALL_CLOCK
from search.study.plan import plans
from search.study.resolved_sweep import GROWING, Changes, as_yaml, changes
from search.study.samplers import drawn_at_random
from search.study.study import studies
from search.sweep.per_dataset import by_dataset, with_originals_of
from search.sweep.schema import Model, Sweep, saw_held_out

HISTORY = "# What this run was asked for since its launch, by date (UTC):"


@dataclass(frozen=True)
class Opened:
    """A sweep, and what the folder that it is launched in holds.

    sweep: the given one, with what it takes over from the run. written: the content of the run's
    sweep.yaml; None if the folder holds no run. asked: how the sweep differs from it. rewrite:
    whether sweep.yaml is to be written. note: what to know of a run that grows; empty if nothing.
    """

    sweep: Sweep
    written: bytes | None
    asked: Changes
    rewrite: bool
    note: str = ""

    @property
    def new(self) -> bool:
        """Whether studies or trials are new to the folder."""
        return self.written is None or bool(self.asked.more)


def open_run(sweep: Sweep, folder: RunFolder) -> Opened:
    """Looks at the folder that a sweep is launched in; writes nothing.

    Raises SteppeError if a run there was asked for something else or for more, or lacks files.
    """
    written = _written(folder)
    _check_there(folder, {SWEEP: written is not None, JOURNAL: storage.begun(folder)})
    if written is None:
        return Opened(as_in(folder, sweep), None, Changes((), (), ()), rewrite=True)
    roots = {name: one.dataset.root for name, one in by_dataset(sweep).items()}
    recorded = sweep_of(folder, roots, needed="model")
    lay = recorded.model.weights
    recorded = _with_moved_weights(recorded, sweep.model, folder)
    sweep = as_in(folder, with_originals_of(sweep, recorded))
    asked = changes(sweep, recorded)
    if asked.refused:
        more = f" (and {len(asked.refused) - 3} more)" if len(asked.refused) > 3 else ""
        raise SteppeError(
            f"{folder.uri} holds a run of another configuration: "
            f"{'; '.join(asked.refused[:3])}{more}; a run may be asked for more in "
            f"{', '.join(GROWING)}, and for nothing less or else: change `name`, or give another "
            "place with --output"
        )
    if sweep.search.warm_start is not None:
        _check_there(folder, {WARM_START: folder.exists(WARM_START)})
    _check_names(sweep, folder)
    before = recorded_roots(folder)
    moved = any(
        name in before and before[name] != (None if root is None else str(root))
        for name, root in roots.items()
    )
    moved = moved or lay != recorded.model.weights
    rewrite = moved or as_yaml(sweep) != as_yaml(recorded)
    return Opened(sweep, written, asked, rewrite, _note(sweep, recorded))


def _with_moved_weights(recorded: Sweep, model: Model, folder: RunFolder) -> Sweep:
    """The run's sweep, its file of weights where `model` has it, if that is the same file.

    Raises SteppeError if it is another.
    """
    here, lay = model.weights, recorded.model.weights
    if here is None or lay is None or here == lay:
        return recorded
    file, known = models.weights_file(model.name, here), manifest.weights_digest(folder)
    if file is None or known is None or here.partition("#")[2] != lay.partition("#")[2]:
        return recorded
    own = manifest.sha256(file)
    if own != known:
        raise SteppeError(
            f"model.weights is {here} (sha256 {own[:12]}), and {folder.uri} was made with {lay} "
            f"(sha256 {known[:12]}); give that file, wherever it lies, or change `name`"
        )
    return recorded.model_copy(
        update={"model": recorded.model.model_copy(update={"weights": here})}
    )


def _check_there(folder: RunFolder, parts: Mapping[str, bool]) -> None:
    """A run with trials has these files. parts: whether each is there."""
    missing = next((name for name, there in parts.items() if not there), None)
    if missing is not None and folder.list(TRIALS):
        raise SteppeError(
            f"{folder.uri} holds trials, but its {missing} is missing; put it back, or give "
            "another place with --output"
        )


def _note(sweep: Sweep, recorded: Sweep) -> str:
    """How the run differs from one that was asked for all of it from the start."""
    few, many = recorded.search, sweep.search
    drew, draws = drawn_at_random(few), drawn_at_random(many)
    notes = []
    if drew != draws:
        notes.append(
            f"Note: {many.sampler} draws {draws} of {many.trials} trials at random before it "
            f"learns, and drew {drew} of {few.trials}. Trials that are there stay."
        )
    kept, keeps = few.most_kept, many.most_kept
    if kept is not None and (keeps is None or keeps > kept):
        notes.append(
            f"Note: search.keep_weights was {few.keep_weights} and is {many.keep_weights} now; "
            "weights that were not kept are gone."
        )
    return "\n".join(notes)


def _check_names(sweep: Sweep, folder: RunFolder) -> None:
    """In a run of an earlier commit, studies with different names may have the same files."""
    if sweep.in_earlier_run and len(plans(sweep)) < len(studies(sweep)):
        raise SteppeError(
            f"{folder.uri} was begun by an earlier Steppe, which would give two of these studies "
            "the same files: change `name`, or give another place with --output"
        )


def record(prepared: Prepared, opened: Opened, folder: RunFolder) -> None:
    """Writes the files that describe the run, after checking those that are there.

    sweep.yaml is the last of them: until it is written, a run that is killed is what it was.
    Raises SteppeError if another driver has changed it since, or a table is damaged.
    """
    sweep = prepared.sweep
    if _written(folder) != opened.written:
        raise SteppeError(f"another driver has just changed {folder.path(SWEEP)}; try again")
    # A damaged table had better be found now than after the last trial.
    tables.check(folder)
    if opened.written is not None and opened.asked.more:
        common = next(iter(prepared.plans.values()))
        tables.add_columns(folder, common.column_types)
    manifest.record(
        folder,
        prepared.datasets,
        saw_held_out(sweep.search),
        prepared.weights,
        prepared.weights_saw,
        prepared.weights_known,
    )
    warm_start.record(folder, prepared.warm_start)
    if opened.rewrite:
        folder.write_bytes(SWEEP, _with_history(opened, as_yaml(sweep)).encode())
    if prepared.weights is not None:
        print(f"Weights: {prepared.weights}", flush=True)
    if opened.asked.more:
        print(f"The run grows: {'; '.join(opened.asked.more)}", flush=True)
    if opened.note:
        print(opened.note, flush=True)


def _with_history(opened: Opened, text: str) -> str:
    """The text of sweep.yaml below the comments that it began with, and a line for what is new."""
    lines = (opened.written or b"").decode("utf-8-sig").splitlines()
    history = []
    for line in lines:
        if not line.startswith("#"):
            break
        history.append(line)
    new = [*opened.asked.more, *opened.asked.other]
    if new:
        if HISTORY not in history:
            history.append(HISTORY)
        history.append(f"#   {datetime.now(UTC):%Y-%m-%d %H:%M}  {'; '.join(new)}")
    return "".join(f"{line}\n" for line in history) + text


def _written(folder: RunFolder) -> bytes | None:
    try:
        return folder.read_bytes(SWEEP)
    except FileNotFoundError:
        return None


@contextmanager
def undone_if_never_begun(folder: RunFolder) -> Iterator[None]:
    """Deletes the files of a new run if an error ends it before its first trial.

    The user will fix the configuration, which would then differ from the one in the folder.
    """
    new = not folder.exists(SWEEP)
    try:
        yield
    except SteppeError:
        with suppress(OSError):  # the store may be what failed
            once = folder.without_retries()
            if new and not storage.begun(once):
                for name in (SWEEP, WARM_START, MANIFEST, JOURNAL, WALL_CLOCK):
                    once.delete(name)
        raise
