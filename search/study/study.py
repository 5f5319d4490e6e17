"""What a study is: the search for one setting, apart from every other."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """The search for one (dataset, model, algorithm, held-out domain, seed)."""

    dataset: str
    model: str
    algorithm: str
    held_out: str
    seed: int

    @property
    def id(self) -> str:
        """Name in files, tables and storages: `RotatedDigits.cnn.DISAM+SAGM.75.0`."""
        parts = (self.dataset, self.model, self.algorithm, self.held_out, str(self.seed))
        return ".".join(re.sub(r"[^A-Za-z0-9_+-]", "_", part) for part in parts)
