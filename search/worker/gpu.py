"""What a trial takes of its GPU's memory, and what others hold there."""

from __future__ import annotations

from typing import Any

import torch

SHARE = "gpu"  # its key in the config of a trial
CONTEXT = 0.6e9  # bytes that CUDA itself takes for a process, which torch does not count


def begin(device: str) -> None:
    """Forgets what earlier trials of this process took."""
    if device == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measured(device: str, share: float) -> dict[str, Any]:
    """The share of a GPU, the most that this process took since `begin`, what others hold now.

    The last two are fractions of the GPU's memory. By their columns in `trials`; none without one.
    """
    if device != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_reserved() + CONTEXT
    peak = torch.cuda.max_memory_reserved() + CONTEXT
    beside = max(total - free - own, 0.0)
    return {"gpu": share, "gpu_memory": peak / total, "gpu_beside": beside / total}
