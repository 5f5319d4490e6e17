"""`python -m search`: checks that Steppe's folders are its own, then runs the command line."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # exit status


def main() -> None:
    """Runs the command line; exits with 2 if another package shadows one of Steppe's folders."""
    try:
        _run()
    except KeyboardInterrupt:  # while the command line is imported; each command has its own way
        sys.exit(INTERRUPTED)


def _run() -> None:
    # Imported here, as a Ctrl-C that comes with them is no error.
    import gc
    import importlib.util
    import io
    import os
    import signal
    from pathlib import Path

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, until a sweep runs
    checkout = Path(__file__).resolve().parent.parent
    # A stream that the caller has closed takes what is printed and shows it to nobody. Without
    # that, the next file that is opened would take its number, and what children print.
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names the terminal cannot show
    for name in ("datasets", "models", "training"):
        found = importlib.util.find_spec(name)
        place = None if found is None or found.origin is None else Path(found.origin).resolve()
        if place is None or checkout not in place.parents:
            print(
                f"error: `import {name}` finds {place or 'nothing'} instead of {checkout / name}; "
                f"run `python -m search` inside {checkout}, in an environment without that package",
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
