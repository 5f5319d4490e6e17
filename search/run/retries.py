"""Retries operations on a disk or store, so that a short outage does not end a sweep."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from search.errors import SteppeError

log = logging.getLogger("steppe")

# Below TUNE_FUNCTION_THREAD_TIMEOUT_S, so that a worker has given up before Ray gives up on it.
PATIENCE_SECONDS = 240.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0

# A full disk may be emptied, a network disk may come back.
_TRANSIENT = {
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

# Waiting does not help with these, as S3, Google's and Azure's stores word them.
_REFUSED = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN"
    r"|INVALID_TOKEN|INVALID_CLIENT_TOKEN|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION"
    r"|ACCOUNT_PROBLEM|PERMISSION_DENIED|UNAUTHENTICATED|HTTP status 40[013]"
    r"|Authentication\w*Failed|Authorization\w*(Failure|Mismatch)|ContainerNotFound"
)

# What Google's and Azure's stores say where they find no credentials, and where they look for them.
_CREDENTIALS = {
    "OAuth2 access token": "GOOGLE_APPLICATION_CREDENTIALS, or by `gcloud auth "
    "application-default login`",
    "DefaultAzureCredential": "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or by "
    "`az login`",
}

T = TypeVar("T")


class StoreError(SteppeError, OSError):
    """The run folder cannot be read or written, and retrying did not help.

    It does not count against the trial that met it: the sweep ends, and a resume continues it.
    """


def retry(
    do: Callable[[], T],
    what: str,
    local: bool,
    on_wait: Callable[[], object] | None = None,
) -> T:
    """Returns what `do` returns, retrying for PATIENCE_SECONDS with growing waits.

    what: completes "cannot WHAT" in messages. local: whether it is on a disk. on_wait: called
    before each wait. Raises FileNotFoundError at once, and StoreError for an error that is not
    transient or that lasts.
    """
    began, wait = time.monotonic(), FIRST_WAIT
    while True:
        try:
            done = do()
            break
        except FileNotFoundError:
            raise
        except OSError as error:
            transient = is_transient(error, local)
            tried = time.monotonic() - began
            if not transient or tried + wait > PATIENCE_SECONDS:
                raise _given_up(error, what, tried if transient else None) from error
            if wait == FIRST_WAIT:
                log.warning("cannot %s: %s; retrying", what, reason(error))
        if on_wait is not None:
            on_wait()
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    if wait > FIRST_WAIT:
        log.warning("%s: done, after %.1f s", what, time.monotonic() - began)
    return done


def is_transient(error: OSError, local: bool) -> bool:
    """Whether an error may go away by itself: few of a disk's do, most of an object store's."""
    if local:
        return error.errno in _TRANSIENT
    return not isinstance(error, PermissionError) and not _REFUSED.search(str(error))


def reason(error: OSError) -> str:
    """The message of a disk or store, without the parts that only its developers can use."""
    text = " ".join((error.strerror or str(error) or type(error).__name__).split())
    text = re.sub(r"^When .*?: (?=AWS Error )", "", text)
    for sign, variables in _CREDENTIALS.items():
        if sign in text:
            return f"no credentials were found for it; give them by {variables}"
    text = re.sub(r"^google::cloud::Status\((.*?)( error_info=.*|\))$", r"\1", text)
    return re.split(r"; Details: | \(Request ID", text)[0].rstrip(".")


def _given_up(error: OSError, what: str, tried: float | None) -> StoreError:
    long = "" if tried is None else f" (retried for {tried:.0f} s)"
    return StoreError(
        f"cannot {what}: {reason(error)}{long}; everything recorded so far is safe: when this is "
        "fixed, give the same command again"
    )
