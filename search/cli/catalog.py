"""Commands that say what there is: `algorithms`, `models`, `datasets`, `schema`."""

from __future__ import annotations

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
