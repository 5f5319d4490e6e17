"""Commands on what there is: `algorithms`, `models`, `datasets`, `schema`, `prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def algorithms(
    name: Annotated[str | None, typer.Argument(help="One algorithm: `SAGM`, `DISAM+GSAM`.")] = None,
) -> None:
    """Lists the algorithms: hyperparameters, defaults, search ranges, cost and paper.

    Example: `python -m search algorithms DISAM+SAGM`
    """
    from search.cli.catalog_tables import print_algorithms

    print_algorithms(name)


def models(
    name: Annotated[
        str | None, typer.Argument(help="One model, `timm/resnet34`, or a family, `timm`.")
    ] = None,
) -> None:
    """Lists the models and the weights that they can start from.

    Example: `python -m search models resnet50`
    """
    from search.cli.catalog_tables import print_models

    print_models(name)


def datasets() -> None:
    """Lists the datasets and their domains.

    Example: `python -m search datasets`
    """
    from search.cli.catalog_tables import print_datasets

    print_datasets()


def schema() -> None:
    """Prints the JSON schema of a sweep file, with which an editor completes and checks keys.

    Example: `python -m search schema`
    """
    import json

    from search.sweep.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def prepare(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="A dataset of `python -m search datasets`.")
    ],
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A folder, a zip or tar archive, or a URL of one."),
    ],
    root: Annotated[
        Path | None, typer.Option(help="Where an archive is unpacked. Without it: `data`.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side in pixels of the network's images. Without it: 224.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Accepts what is not as it should be: `counts`, ..."),
    ] = None,
    originals: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Shorter side of the images that training crops are cut from; larger ones are "
            "reduced to it. Without it: 512. 0 cuts them from the network's images.",
        ),
    ] = None,
) -> None:
    """Checks a dataset's images and decodes each once, into a cache that all trials share.

    After an interruption, call it again. Without it, the first launch does the same.

    Example: `python -m search prepare PACS ~/Downloads/PACS.zip --root ~/data`
    """
    from search.cli import prepare as preparing

    preparing.prepare(dataset, source, root, size, allow, originals)
