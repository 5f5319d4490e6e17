"""Functions compiled to machine code. Only what renders images on the CPU imports this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function as machine code that runs without Python's global lock.

    It is compiled for this machine when it is first called (seconds), and kept on disk for later
    processes: in `__pycache__` beside the source, or in the user's cache where the source cannot be
    written to, or in NUMBA_CACHE_DIR. Where nothing can be written, each process compiles anew.
    """
    try:
        machine_code = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no folder that it may write to
        machine_code = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(Function, machine_code)
