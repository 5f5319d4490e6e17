"""A store that is away for a while costs time; only one that stays away ends a sweep."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from search.errors import UserError

log = logging.getLogger("steppe")

# Below TUNE_FUNCTION_THREAD_TIMEOUT_S, so that a worker has given up before Ray gives up on it.
PATIENCE_SECONDS = 240.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0

# A disk is emptied, a network disk comes back.
_PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EAGAIN,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
}

# What no waiting mends, in the words of S3, Google's and Azure's stores.
_REFUSED = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN"
    r"|INVALID_TOKEN|INVALID_CLIENT_TOKEN|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION"
    r"|ACCOUNT_PROBLEM|PERMISSION_DENIED|UNAUTHENTICATED|HTTP status 40[013]"
    r"|Authentication\w*Failed|Authorization\w*(Failure|Mismatch)|ContainerNotFound"
)

T = TypeVar("T")


class StoreError(UserError, OSError):
    """A run folder that cannot be read or written, and did not come back for a while.

    No fault of the trial that met it: the sweep ends, and a resume goes on with it.
    """


def insist(
    do: Callable[[], T],
    what: str,
    run: str,
    local: bool,
    alive: Callable[[], object] | None = None,
) -> T:
    """What `do` returns, tried again with growing waits for PATIENCE_SECONDS.

    `what`: as in "cannot WHAT"; `run`: where the run lies; `alive` is called before each wait.
    Raises FileNotFoundError as it is and at once, and StoreError for what does not pass by itself,
    or has not passed by then.
    """
    began, wait = time.monotonic(), FIRST_WAIT
    while True:
        try:
            done = do()
            break
        except FileNotFoundError:
            raise
        except OSError as error:
            passing = passes(error, local)
            tried = time.monotonic() - began
            if not passing or tried + wait > PATIENCE_SECONDS:
                raise _given_up(error, what, run, tried if passing else None) from error
            if wait == FIRST_WAIT:
                log.warning("cannot %s: %s; trying again", what, reason(error))
        if alive is not None:
            alive()
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    if wait > FIRST_WAIT:
        log.warning("%s: done, after %.1f s", what, time.monotonic() - began)
    return done


def passes(error: OSError, local: bool) -> bool:
    """Whether an error may pass by itself: of a disk a few do, of an object store most."""
    if local:
        return error.errno in _PASSING
    return not isinstance(error, PermissionError) and not _REFUSED.search(str(error))


def reason(error: OSError) -> str:
    """What a disk or store said, without what only its makers can use."""
    text = " ".join((error.strerror or str(error) or type(error).__name__).split())
    text = re.sub(r"^When .*?: (?=AWS Error )", "", text)
    return re.split(r"; Details: | \(Request ID", text)[0].rstrip(".")


def _given_up(error: OSError, what: str, run: str, tried: float | None) -> StoreError:
    long = "" if tried is None else f" (tried again for {tried:.0f} s)"
    return StoreError(
        f"cannot {what}: {reason(error)}{long}; nothing that was recorded is lost: when this is "
        f"mended, `python -m search resume {run}` goes on"
    )
