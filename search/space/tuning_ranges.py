"""Where the numbers of a tuning are searched, what is reported of them, and by whom."""

from __future__ import annotations

from search.space.published_settings import Published
from search.space.ranges import Choice, Fixed, Interval
from search.space.suggested_ranges import Suggestion

LORA = "Hu et al. 2021, arXiv 2106.09685"
HEAD = (
    "linear_lr, the rate of ERM++ while its classifier alone trains (Teterwak et al. 2023, arXiv "
    "2304.01973), in DomainBed at b93c22a"
)

RANGES: dict[str, dict[str, Suggestion]] = {
    "full": {},
    "head": {"lr": Suggestion(Interval(1e-5, 10**-3.5, log=True), HEAD)},
    "lora": {
        "lr": Suggestion(
            Interval(1e-4, 1e-2, log=True),
            f"around 4e-4 and 5e-4 of table 9 ({LORA}), and up, as few parameters take larger "
            "steps; of language models, as no search of it on domains is published",
        ),
        "lora_rank": Suggestion(Choice((2, 4, 8, 16)), f"around 8; 1 to 64 in table 6 ({LORA})"),
        # "Tuning alpha is roughly the same as tuning the learning rate", section 4.1.
        "lora_alpha": Suggestion(Fixed(8), f"not searched in {LORA}"),
    },
}

# Of the learning rate too, which depends on what trains.
PUBLISHED: dict[str, dict[str, Published]] = {
    "full": {},
    "head": {"lr": Published(5e-5, HEAD)},
    "lora": {
        "lr": Published(4e-4, f"{LORA}, table 9 (RoBERTa)"),
        "lora_rank": Published(8, f"{LORA}, table 9 (RoBERTa)"),
        "lora_alpha": Published(8, f"{LORA}, table 9 (RoBERTa)"),
    },
}
