"""The key `search.warm_start`: earlier runs whose best settings are tried early."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema

from search.sweep.section import Section, Whole


def _place(written: str) -> str:
    # A resume may come from another folder, where a relative path would mean another run.
    return written if "://" in written else str(Path(written).expanduser().absolute())


class WarmStart(Section):
    """A run, several, or a mapping that says more."""

    runs: tuple[Annotated[str, AfterValidator(_place)], ...] = Field(
        min_length=1, description="Folders or URIs of runs.", examples=[["runs/first"]]
    )
    settings: Whole = Field(
        default=3, ge=1, description="Settings that each study takes, besides the published one."
    )
    held_out: Literal["same", "any"] = Field(
        default="same",
        description="Whose settings a study takes: those of studies with its held-out domain, or "
        "also those that were chosen by validation on it, which every table then says.",
    )

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, written: Any) -> Any:
        if isinstance(written, str):
            return {"runs": [written]}
        if isinstance(written, list | tuple):
            return {"runs": written}
        if not isinstance(written, dict | WarmStart):
            raise ValueError("name a run, such as runs/first, or a list of runs")
        return written

    @field_validator("runs")
    @classmethod
    def _different(cls, runs: tuple[str, ...]) -> tuple[str, ...]:
        for run in runs:
            if runs.count(run) > 1:
                raise ValueError(f"{run} comes twice; keep one")
        return runs

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        whole = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"type": "string"}, whole["properties"]["runs"], whole]}
