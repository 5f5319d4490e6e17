"""Where the numbers of a tuning are searched, what is reported of them, and by whom."""

from __future__ import annotations

from search.space.published_settings import Published
from search.space.ranges import Choice, Fixed, Value
from search.space.suggested_ranges import Suggestion

LORA = "Hu et al. 2021, arXiv 2106.09685"

RANGES: dict[str, dict[str, Suggestion]] = {
    "full": {},
    "head": {},
    "lora": {
        "lora_rank": Suggestion(Choice((2, 4, 8, 16)), f"around 8; 1 to 64 in table 6 ({LORA})"),
        # "Tuning alpha is roughly the same as tuning the learning rate", section 4.1.
        "lora_alpha": Suggestion(Fixed(8), f"not searched in {LORA}"),
    },
}

PUBLISHED: dict[str, dict[str, Published]] = {
    "full": {},
    "head": {},
    "lora": {
        "lora_rank": Published(8, f"{LORA}, table 9 (RoBERTa)"),
        "lora_alpha": Published(8, f"{LORA}, table 9 (RoBERTa)"),
    },
}


def published(tuning: str) -> dict[str, Value]:
    """Reported values of all numbers of a tuning."""
    return {name: entry.value for name, entry in PUBLISHED[tuning].items()}
