"""The shape of `rules/pipeline.yaml`: which policies run, in which order."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmitm.ruleset.rows import Name, Row


class StageRow(Row):
    """One policy."""

    name: Name = Field(description="The stage.")
    enabled: bool = Field(default=True, description="false = it does not run.")
    on_error: Literal["forward", "refuse"] = Field(
        default="forward",
        description="What an exchange does when the stage itself fails: go on without it, or end.",
    )


class PipelineFile(Row):
    """`rules/pipeline.yaml`."""

    stages: tuple[StageRow, ...] = Field(default=(), description="In running order.")
