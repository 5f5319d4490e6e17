"""What is wrong with a dataset's files, and which of it the user accepts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.benchmarks import Benchmark, Counts
from datasets.dataset_error import DatasetError
from datasets.image_tree import ImageTree
from datasets.nearest import unknown_name

COUNTS = "counts"
MISSING = "missing_classes"
STRAYS = "stray_folders"
TRUNCATED = "truncated"
UNREADABLE = "unreadable"

# What follows when it is accepted.
KINDS = {
    COUNTS: "the number of images is not the published one",
    MISSING: "a class has no images in a domain; its number stays the same in all of them",
    STRAYS: "a folder beside the domains is none of them, and is left out",
    TRUNCATED: "a file ends too early; what is missing stays black or grey, as in DomainBed",
    UNREADABLE: "a file in a class folder is no image, and is left out",
}
MOST_NAMED = 5


class Finding(NamedTuple):
    """One thing that is wrong: its kind, and the sentence that names file or count."""

    kind: str
    what: str


def check_kinds(allow: Iterable[str]) -> frozenset[str]:
    """The kinds of findings that are accepted.

    Raises:
        ValueError: a kind that does not exist; names the nearest one.
    """
    for kind in allow:
        if kind not in KINDS:
            raise unknown_name("kind of finding to allow", kind, KINDS)
    return frozenset(allow)


def of_tree(tree: ImageTree, benchmark: Benchmark | None) -> list[Finding]:
    """What can be seen without opening an image.

    Raises:
        DatasetError: a domain has no images, or a benchmark has more or fewer classes than it
            should: nothing that could be accepted.
    """
    empty = [domain.name for domain in tree.domains if not domain.files]
    if empty:
        raise DatasetError(
            f"the folder {tree.root / empty[0]} should be a domain, but its class folders hold no "
            f"image; add some, or rename the folder to .{empty[0]} to leave it out"
        )
    findings = [Finding(STRAYS, f"{name} is no domain") for name in tree.strays]
    findings += _missing(tree)
    if benchmark is not None:
        if len(tree.classes) != benchmark.classes:
            rare = "; ".join(finding.what for finding in _missing(tree)[:MOST_NAMED])
            raise DatasetError(
                f"{tree.root} has {len(tree.classes)} class folders, but {benchmark.classes} are "
                f"published{': ' + rare if rare else ''}; put that right, or load the folder as a "
                "dataset of your own with `name: ImageFolders`"
            )
        findings += _counts(tree, benchmark)
    findings += [
        Finding(UNREADABLE, f"{domain.name}/{path} is no image by its name")
        for domain in tree.domains
        for path in domain.others
    ]
    return findings


def variant(tree: ImageTree, benchmark: Benchmark | None) -> str | None:
    """Which of a benchmark's copies a tree is, where there are several."""
    if benchmark is None or len(benchmark.variants) == 1:
        return None
    found = _found(tree)
    return next((name for name, counts in benchmark.variants.items() if counts == found), None)


def refuse(findings: Sequence[Finding], allow: Collection[str], name: str, root: Path) -> None:
    """Raises DatasetError, naming files and counts, if there are findings beyond `allow`."""
    bad = [finding for finding in findings if finding.kind not in allow]
    if not bad:
        return
    kinds = _kinds(bad)
    lines = [f"  {_summary(kind, bad)}" for kind in kinds]
    listed = ", ".join(kind for kind in KINDS if kind in kinds or kind in allow)
    raise DatasetError(
        f"{name} in {root} is not as it should be:\n"
        + "\n".join(lines)
        + f"\nPut it right, or accept it with `allow: [{listed}]` in the sweep file's `dataset` "
        f"(`--allow {kinds[0]}` of prepare)."
    )


def accepted(findings: Sequence[Finding]) -> tuple[str, ...]:
    """A note for each kind of findings that were not refused."""
    return tuple(f"allowed {_summary(kind, findings)}" for kind in _kinds(findings))


def _kinds(findings: Sequence[Finding]) -> list[str]:
    return [kind for kind in KINDS if any(finding.kind == kind for finding in findings)]


def _summary(kind: str, findings: Iterable[Finding]) -> str:
    """All findings of a kind in a line: `truncated (7): a.jpg; b.jpg; and 5 more`."""
    whats = [finding.what for finding in findings if finding.kind == kind]
    more = f"; and {len(whats) - MOST_NAMED} more" if len(whats) > MOST_NAMED else ""
    return f"{kind} ({len(whats)}): {'; '.join(whats[:MOST_NAMED])}{more}"


def _missing(tree: ImageTree) -> list[Finding]:
    findings = []
    present = [{file.label for file in domain.files} for domain in tree.domains]
    for label in tree.classes:
        having = [d.name for d, there in zip(tree.domains, present, strict=True) if label in there]
        lacking = [d.name for d in tree.domains if d.name not in having]
        if not lacking:
            continue
        if having and len(having) < len(lacking):
            what = f"class {label} is only in {', '.join(having)}"
        else:
            what = f"{', '.join(lacking)} has no images of class {label}"
        findings.append(Finding(MISSING, what))
    return findings


def _counts(tree: ImageTree, benchmark: Benchmark) -> list[Finding]:
    found = _found(tree)
    if found in benchmark.variants.values():
        return []
    for what, counts in benchmark.defects.items():
        if counts == found:
            return [Finding(COUNTS, what)]

    def agreeing(counts: Counts) -> int:
        return sum(found[domain] == count for domain, count in counts.items())

    nearest = max(benchmark.variants.values(), key=agreeing)
    return [
        Finding(COUNTS, f"{domain} has {found[domain]:,} images, {nearest[domain]:,} are published")
        for domain in benchmark.domains
        if found[domain] != nearest[domain]
    ]


def _found(tree: ImageTree) -> dict[str, int]:
    return {domain.name: len(domain.files) for domain in tree.domains}
