"""What is wrong with a dataset's files, and which of it the user accepts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import layout
from datasets.benchmarks import Benchmark, Counts
from datasets.domain_dataset import DatasetError
from datasets.image_tree import ImageTree, image_names
from datasets.spelling import looks, shown, told_apart, unknown_name

COUNTS = "counts"
MISSING = "missing_classes"
STRAYS = "stray_folders"
LAYOUT = "layout"
DUPLICATES = "duplicates"
TRUNCATED = "truncated"
UNREADABLE = "unreadable"

# What follows when it is accepted.
KINDS = {
    COUNTS: "the number of images is not the published one",
    MISSING: "a class has no images in a domain; its number stays the same in all of them",
    STRAYS: "a folder beside the domains is none of them, and is left out",
    LAYOUT: "folders may not be domain/class/image; they are taken as if they were",
    DUPLICATES: "an image is in two domains or two classes, and stays in both",
    TRUNCATED: "a file ends too early; what is missing stays black or grey, as in DomainBed",
    UNREADABLE: "a file in a class folder is no image or has no known range, and is left out",
}
MOST_NAMED = 5


class Finding(NamedTuple):
    """One thing that is wrong: its kind, and the sentence that names file or count."""

    kind: str
    what: str


def check_kinds(allow: Iterable[str]) -> frozenset[str]:
    """The kinds of findings that are accepted.

    Raises ValueError: a kind that does not exist; names the nearest one.
    """
    for kind in allow:
        if kind not in KINDS:
            raise unknown_name("kind of finding to allow", kind, KINDS)
    return frozenset(allow)


def of_tree(tree: ImageTree, benchmark: Benchmark | None) -> list[Finding]:
    """What can be seen without opening an image.

    Raises DatasetError: no result could come of it (see `layout.check_names`), a domain has no
    images, or a benchmark has more or fewer classes than it should: nothing that could be
    accepted.
    """
    names = {domain.name: domain.classes for domain in tree.domains}
    if benchmark is None:
        layout.check_names(tree.root, names)
    else:
        layout.check_spelling(tree.root, names)
    empty = [domain.name for domain in tree.domains if not domain.files]
    if empty and tree.arranged:
        raise DatasetError(f"{shown(str(tree.root))} has no image of the domain {empty[0]}")
    if empty:
        raise DatasetError(
            f"the folder {shown(str(tree.root / empty[0]))} should be a domain, but its class "
            "folders hold no image; add some, or rename the folder to "
            f".{shown(empty[0])} to leave it out"
        )
    findings = [Finding(STRAYS, _stray(tree, name)) for name in tree.strays]
    findings += [] if benchmark is not None and benchmark.gaps else _missing(tree)
    if benchmark is not None:
        if len(tree.classes) != benchmark.classes:
            count = len(tree.classes)
            what, way_out = "classes" if count != 1 else "class", "put that right"
            if not tree.arranged:
                what = "class folders" if count != 1 else "class folder"
                way_out += ", or load the folder as a dataset of your own with `name: ImageFolders`"
            rare = "; ".join(finding.what for finding in _missing(tree)[:MOST_NAMED])
            hint = "" if tree.arranged else layout.hint(tree)
            raise DatasetError(
                f"{shown(str(tree.root))} has {count} {what}, but {benchmark.classes} are "
                f"published{': ' + rare if rare else ''}{hint}; {way_out}"
            )
        findings += _counts(tree, benchmark)
        findings += [Finding(LAYOUT, what) for what in tree.repeated]
    else:
        findings += [Finding(LAYOUT, what) for what in layout.doubts(tree)]
    findings += [Finding(UNREADABLE, what) for what in tree.lost]
    findings += [
        Finding(UNREADABLE, f"{shown(f'{domain.name}/{path}')} is no image by its name")
        for domain in tree.domains
        for path in domain.others
    ]
    return findings


def is_published(tree: ImageTree, benchmark: Benchmark | None) -> bool:
    """Whether a tree has the images of a benchmark that are published, by their known numbers."""
    if benchmark is None:
        return False
    if not benchmark.variants:
        return benchmark.total in (None, tree.count)
    return _found(tree) in benchmark.variants.values()


def variant(tree: ImageTree, benchmark: Benchmark | None) -> str | None:
    """Which of a benchmark's copies a tree is, where there are several."""
    if benchmark is None or len(benchmark.variants) < 2:
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
        f"{name} in {shown(str(root))} is not as it should be:\n"
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
    exact = told_apart(tree.classes)
    for label in tree.classes:
        having = [d.name for d, there in zip(tree.domains, present, strict=True) if label in there]
        lacking = [d.name for d in tree.domains if d.name not in having]
        if not lacking:
            continue
        if having and len(having) < len(lacking):
            what = f"class {exact[label]} is only in {_listed(having)}"
        else:
            have = "has" if len(lacking) == 1 else "have"
            what = f"{_listed(lacking)} {have} no images of class {exact[label]}"
        like = [
            other
            for other in tree.classes
            if other != label
            and looks(other).casefold() == looks(label).casefold()
            and any(other in there for there in present if label not in there)
        ]
        if like:
            what += f", but there is {', '.join(exact[other] for other in like)}"
        findings.append(Finding(MISSING, what))
    return findings


def _stray(tree: ImageTree, name: str) -> str:
    try:
        images = len(image_names(tree.root / name))
    except OSError:
        images = 0
    return f"{shown(name)} is no domain" + (
        f": images in it that are in no class folder: {images}" if images else ""
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(told_apart(names).values())


def _counts(tree: ImageTree, benchmark: Benchmark) -> list[Finding]:
    found = _found(tree)
    if is_published(tree, benchmark):
        return []
    if not benchmark.variants:
        return [Finding(COUNTS, f"{tree.count:,} images in all, {benchmark.total:,} are published")]
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
