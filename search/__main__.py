"""`python -m search`: checks that Steppe's folders are its own, then runs the command line."""

from __future__ import annotations

import gc
import importlib.util
import io
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Runs the command line; exits with 2 if another package shadows one of Steppe's folders."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names the terminal cannot show
    for name in ("datasets", "models", "training"):
        found = importlib.util.find_spec(name)
        place = None if found is None or found.origin is None else Path(found.origin).resolve()
        if place is None or CHECKOUT not in place.parents:
            print(
                f"error: `import {name}` finds {place or 'nothing'} instead of {CHECKOUT / name}; "
                f"run `python -m search` inside {CHECKOUT}, in an environment without that package",
                file=sys.stderr,
            )
            sys.exit(2)
    # Imports make much and no garbage: to look for it after every 700 objects takes a tenth of the
    # CPU of a command that reads.
    gc.set_threshold(10_000)
    from search.cli.main import app

    app(prog_name="python -m search")


if __name__ == "__main__":
    main()
