"""The error for what a user can put right."""

from __future__ import annotations


class UserError(Exception):
    """What the user gave is wrong: shown as it is, without a traceback; exit status 2."""
