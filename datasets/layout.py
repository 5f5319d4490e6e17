"""Whether folders are domain/class/image, or that one level too deep or too shallow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datasets.domain_dataset import DatasetError, DomainDataset
from datasets.image_tree import (
    DomainTree,
    ImageTree,
    found_domains,
    image_names,
    visible_folders,
)
from datasets.spelling import is_utf8, same_text, shown, told_apart

EXPECTED = "a dataset is laid out as domain/class/image, and dataset.root is the folder of domains"
MOST_NAMED = 5
# What parts of one data set are called, which are no domains.
_PARTS = """
    train training trainset val valid validation valset test testing testset dev eval crossval full
    holdout
"""
PARTS = frozenset(_PARTS.split())


def check_names(root: Path, classes: Mapping[str, Sequence[str]]) -> None:
    """Refuses what no result could come of, by the names of domains' folders and classes'.

    root: the folder of the domains.
    classes: names of the class folders of each domain.

    Raises DatasetError: as `check_spelling`; there is only one domain, or one class in all or in
    each domain, or no class is in two domains. Says where the right level seems to be.
    """
    check_spelling(root, classes)
    labels = sorted({label for within in classes.values() for label in within})
    if len(classes) == 1:
        (only,) = classes
        raise DatasetError(
            f"{shown(str(root))} has only one domain, {shown(only)}, whose folders are "
            f"{_few(labels)}; at least two are needed: {EXPECTED}{_hint(root)}"
        )
    if len(labels) == 1:
        raise DatasetError(
            f"{shown(str(root))} has only one class, {shown(labels[0])}, in the domains "
            f"{_few(classes)}, and every accuracy would be 100 %: {EXPECTED}"
            f"{_hint(root) or _below(root, next(iter(classes)), labels[0])}"
        )
    shared = {label for label in labels if sum(label in within for within in classes.values()) > 1}
    if not shared or all(len(within) == 1 for within in classes.values()):
        first = next((domain, within[0]) for domain, within in classes.items())
        what = "have only one class each" if shared else "share no class"
        found = "; ".join(
            f"{shown(domain)}: {_few(within)}" for domain, within in list(classes.items())[:3]
        )
        raise DatasetError(
            f"the domains in {shown(str(root))} {what} ({found}): {EXPECTED}, and the "
            "folders of one class have the same name in each domain"
            f"{_hint(root) or _below(root, *first)}"
        )


def check_spelling(root: Path, classes: Mapping[str, Sequence[str]]) -> None:
    """Refuses names that no table could hold or no reader tell apart; arguments as `check_names`.

    Raises DatasetError: a name is not UTF-8, or two domains or two classes are one text.
    """
    labels = sorted({label for within in classes.values() for label in within})
    for kind, names in (("domain", list(classes)), ("class", labels)):
        _check_spelling(root, kind, names, classes)


def check_left(dataset: DomainDataset) -> None:
    """Refuses what no result could come of once unreadable images are left out.

    Raises DatasetError: a domain has no images, or all images are of one class.
    """
    for domain in dataset.domains:
        if not len(domain):
            raise DatasetError(
                f"{dataset.name} has no readable image in the domain {shown(domain.name)}; put "
                "its files right, or take the folder away"
            )
    labels = {label for domain in dataset.domains for label in set(domain.labels.tolist())}
    if len(labels) == 1:
        raise DatasetError(
            f"{dataset.name} has readable images of only one class, "
            f"{shown(dataset.classes[labels.pop()])}, and every accuracy would be 100 %; add "
            "images of another"
        )


def no_domains(root: Path) -> FileNotFoundError:
    """The error for a folder without folders that have folders; says what there is."""
    folders, images = visible_folders(root), image_names(root)
    with_images = [name for name in folders if image_names(root / name)]
    if with_images:
        found = f"its folders {_few(with_images)} hold images and no folders, as classes do"
    elif folders:
        found = f"its folders {_few(folders)} hold neither folders nor images"
    elif images:
        found = f"it holds images ({len(images)}) and no folders"
    else:
        found = "it is empty"
    return FileNotFoundError(
        f"no folder in {shown(str(root))} has folders of its own: {found}; {EXPECTED}{_hint(root)}"
    )


def doubts(tree: ImageTree) -> list[str]:
    """What may be laid out otherwise than it is taken, and can be accepted."""
    found = []
    for domain in tree.domains:
        name, hollow = shown(domain.name), _hollow(domain)
        for label, inner in list(hollow.items())[:1]:
            more = f" (and so on in {len(hollow)} class folders)" if len(hollow) > 1 else ""
            found.append(
                f"{name}/{shown(label)} holds no images itself, but the folders {_few(inner)}"
                f"{more}; if those are the classes, move them up into {name}"
            )
        if domain.beside:
            found.append(
                f"{name} holds images beside its class folders, which are of no class: "
                f"{_few(domain.beside)}"
            )
    if all(domain.name.casefold() in PARTS for domain in tree.domains):
        found.append(
            f"the folders {_few(d.name for d in tree.domains)} are named as parts of one domain"
        )
    return found + list(tree.repeated)


def nested(tree: ImageTree) -> str | None:
    """A note on images in folders of class folders that hold images themselves, if there are."""
    places = [
        f"{domain.name}/{file.path.rsplit('/', 1)[0]}"
        for domain in tree.domains
        for file in domain.files
        if file.path.count("/") > 1
    ]
    if not places:
        return None
    return (
        f"images in folders below class folders, which are of that class: {len(places)}, in "
        f"{_few(dict.fromkeys(places))}"
    )


def hint(tree: ImageTree) -> str:
    """What a wrong number of class folders may come from; empty if nothing tells."""
    for domain in tree.domains:
        for label, inner in _hollow(domain).items():
            return (
                f"; {shown(domain.name)}/{shown(label)} holds no images itself, but the folders "
                f"{_few(inner)}: those may be the classes"
            )
    return ""


def _hollow(domain: DomainTree) -> dict[str, list[str]]:
    """Class folders whose images all lie in folders below, and the names of these."""
    own, inner = set[str](), defaultdict[str, dict[str, None]](dict)
    for file in domain.files:
        parts = file.path.split("/", 2)
        if len(parts) == 2:
            own.add(parts[0])
        else:
            inner[parts[0]][parts[1]] = None
    return {label: list(names) for label, names in inner.items() if label not in own}


def _hint(root: Path) -> str:
    """Where the folder of the domains seems to be, if it is near; empty if it is not."""
    below = [root / name for name in _folders(root)]
    further = [folder / name for folder in below[:20] for name in _folders(folder)[:20]]
    absolute = root.absolute()
    for folder in (*list(absolute.parents)[:2], *below, *further):
        if _is_dataset(folder):
            return f"; dataset.root seems to be {shown(str(folder))}"
    return ""


def _below(root: Path, domain: str, label: str) -> str:
    """The way out where each domain's classes lie in one folder too many."""
    inner = _folders(root / domain / label)
    if not inner:
        return ""
    return (
        f"; {shown(domain)}/{shown(label)} holds the folders {_few(inner)}: if those are the "
        f"classes, move them up into {shown(domain)}, and so in each domain"
    )


def _is_dataset(folder: Path) -> bool:
    """Whether two folders or more share two class folders or more that hold images."""
    try:
        within = [set(visible_folders(folder / name)) for name in found_domains(folder)[:3]]
        shared = set.intersection(*within) if len(within) > 1 else set[str]()
        first = found_domains(folder)[0] if shared else ""
        return len(shared) > 1 and any(image_names(folder / first / name) for name in shared)
    except OSError:
        return False


def _folders(folder: Path) -> list[str]:
    try:
        return visible_folders(folder)
    except OSError:
        return []


def _check_spelling(
    root: Path, kind: str, names: Sequence[str], classes: Mapping[str, Sequence[str]]
) -> None:
    def place(name: str) -> str:
        if kind == "domain":
            return shown(str(root))
        return shown(str(root / next(d for d, within in classes.items() if name in within)))

    for name in names:
        if not is_utf8(name):
            raise DatasetError(
                f"the {kind} folder '{shown(name)}' in {place(name)} has a name that is not UTF-8, "
                "as old archives have: rename it (`convmv -f latin1 -t utf8 -r` does so for many)"
            )
    texts: dict[str, str] = {}
    for name in names:
        first = texts.setdefault(same_text(name), name)
        if first != name:
            exact = told_apart([first, name])
            raise DatasetError(
                f"the {kind} folders {exact[first]} in {place(first)} and {exact[name]} in "
                f"{place(name)} have names that look the same and are not: rename one of them"
            )


def _few(names: Iterable[str]) -> str:
    names = list(names)
    exact = told_apart(names)
    listed = ", ".join(exact[name] for name in names[:MOST_NAMED])
    return listed + (f", ... ({len(names)})" if len(names) > MOST_NAMED else "")
