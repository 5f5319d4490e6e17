"""Where a report goes."""

from __future__ import annotations

from pathlib import Path

from search.errors import UserError
from search.report.page import page
from search.report.run import read
from search.run.run_folder import RunFolder

REPORT = "report.html"


def write(run: str, output: Path | None = None) -> str:
    """Writes the report of a run into its folder, or to `output`; returns where it is.

    Raises UserError for a run that does not exist or is damaged, and if nothing can be written
    there.
    """
    html = page(read(run)).encode()
    folder = RunFolder(run)
    try:
        if output is None:
            folder.hasty().write_bytes(REPORT, html)
            return folder.path(REPORT) if folder.local else _inside(folder.uri)
        output.write_bytes(html)
    except OSError as error:
        place = output or folder.uri
        raise UserError(
            f"cannot write the report to {place}: {error}; give another place with --output"
        ) from error
    return str(output)


def _inside(uri: str) -> str:
    place, question, query = uri.partition("?")
    return f"{place.rstrip('/')}/{REPORT}{question}{query}"
