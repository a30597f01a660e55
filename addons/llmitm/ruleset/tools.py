"""The shape of `rules/tools.yaml`: what tool calls may do.

`commands` holds the families of dangerous commands as data, `sandbox` where files may lie,
`policies` and `steering_rules` which tools are used at all and how (`tool_policies`). A
family is matched against simple commands, after quoting, expansion and wrappers were seen through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from pydantic import Field

from llmitm.ruleset.rows import Name, Row
from llmitm.ruleset.tool_policies import Effect, PolicyRow, SteeringRow

type Language = Literal["posix", "powershell", "cmd", "python", "javascript"]
type Place = Literal[
    "any",
    "root",
    "home",
    "system",
    "device",
    "project_root",
    "outside_project",
    "glob",
]


class ShellToolRow(Row):
    """Tools whose argument is a program."""

    name: Name = Field(description="The entry.")
    tools: tuple[str, ...] = Field(min_length=1, description="Patterns (`*`) of tool names.")
    language: Language = Field(default="posix", description="What they run.")
    optional: bool = Field(default=False, description="true = a call may hold no command.")


class WrapperRow(Row):
    """A program that runs another one."""

    name: Name = Field(description="The entry.")
    programs: tuple[str, ...] = Field(min_length=1, description="Its names.")
    values: tuple[str, ...] = Field(default=(), description="Options followed by a value.")
    skip: int = Field(default=0, ge=0, description="Operands before the command.")
    assignments: bool = Field(default=False, description="`NAME=value` may stand before it.")
    joined: bool = Field(default=False, description="Its operands are joined to shell text.")
    code: tuple[str, ...] = Field(default=(), description="Options whose value is shell text.")


class InterpreterRow(Row):
    """A program that runs source text."""

    name: Name = Field(description="The entry.")
    programs: tuple[str, ...] = Field(min_length=1, description="Patterns of its names.")
    language: Language | Literal["other"] = Field(description="What it reads.")
    code: tuple[str, ...] = Field(default=(), description="Options followed by source text.")
    values: tuple[str, ...] = Field(default=(), description="Options followed by a value.")
    runs: tuple[str, ...] = Field(default=(), description="Functions that run shell text.")
    removes: tuple[str, ...] = Field(default=(), description="Functions that delete a tree.")
    hides: tuple[str, ...] = Field(
        default=(), description="Words after which the text says nothing certain."
    )


class MatchRow(Row):
    """One shape of a simple command; all that is given must hold."""

    programs: tuple[str, ...] = Field(default=(), description="Names; empty = any.")
    subcommands: tuple[str, ...] = Field(default=(), description="First operands, one of them.")
    flags: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Of each group one flag is there, in any spelling."
    )
    without: tuple[str, ...] = Field(default=(), description="None of these flags is there.")
    values: tuple[str, ...] = Field(default=(), description="Options followed by a value.")
    operands: tuple[Place, ...] = Field(default=(), description="An operand lies in one of these.")
    like: tuple[str, ...] = Field(default=(), description="An operand has one of these patterns.")
    skip: int = Field(default=0, ge=0, description="Operands that do not count before.")
    min_operands: int = Field(default=0, ge=0, description="At least so many operands.")
    writes: tuple[Place, ...] = Field(default=(), description="Output goes to one of these.")
    fed_by: tuple[str, ...] = Field(default=(), description="Input comes from one of these.")
    style: Literal["gnu", "exact", "powershell", "dos", "operands"] = Field(
        default="gnu", description="How flags are written; `operands`: there are none."
    )


class CommandExamplesRow(Row):
    """Commands, tried by the tests with the project `/code/project`."""

    dangerous: tuple[str, ...] = Field(default=(), description="Of this family.")
    harmless: tuple[str, ...] = Field(default=(), description="Of no family, and decided.")


class FamilyRow(Row):
    """Commands of one kind that only the user should run."""

    name: Name = Field(description="The family.")
    enabled: bool = Field(default=True, description="false = it is nothing special.")
    why: str = Field(min_length=1, description="What it would do, for model and user.")
    matches: tuple[MatchRow, ...] = Field(min_length=1, description="Its shapes, any of them.")
    examples: CommandExamplesRow = Field(
        default=CommandExamplesRow(), description="Tried by the tests."
    )


class PlacesRow(Row):
    """What folders and files are."""

    system: tuple[str, ...] = Field(default=(), description="Folders of the system.")
    homes: tuple[str, ...] = Field(default=(), description="Patterns of home folders.")
    devices: tuple[str, ...] = Field(default=(), description="Patterns of devices.")
    harmless: tuple[str, ...] = Field(default=(), description="Files anyone may write.")
    scratch: tuple[str, ...] = Field(default=(), description="Folders below which all is fair.")


class CommandsRow(Row):
    """Dangerous commands."""

    enabled: bool = Field(default=True, description="Whether commands are judged.")
    effect: Effect = Field(default="steer", description="What a dangerous command meets.")
    message: str | None = Field(
        default=None, description="What a model is told to do instead; null = a plain sentence."
    )
    undecided: Effect = Field(
        default="allow", description="What happens to a command that cannot be read."
    )
    max_characters: int = Field(
        default=32_768, ge=100, le=50_000, description="A longer command cannot be read."
    )
    tools: tuple[ShellToolRow, ...] = Field(default=(), description="Tools that run commands.")
    command_keys: tuple[str, ...] = Field(default=(), description="Arguments with a command.")
    nested_keys: tuple[str, ...] = Field(default=(), description="Arguments with arguments.")
    folder_keys: tuple[str, ...] = Field(default=(), description="Arguments with the folder.")
    exempt: tuple[str, ...] = Field(default=(), description="Programs that are never judged.")
    wrappers: tuple[WrapperRow, ...] = Field(default=(), description="Programs seen through.")
    interpreters: tuple[InterpreterRow, ...] = Field(default=(), description="Programs read.")
    places: PlacesRow = Field(default=PlacesRow(), description="What folders are.")
    families: tuple[FamilyRow, ...] = Field(default=(), description="What is dangerous.")

    def rows_for(self, program: str) -> Sequence[tuple[FamilyRow, MatchRow]]:
        """The shapes that a command of this program can have, with their families, in order."""
        return self._rows.get(program, self._rows[""])

    @cached_property
    def _rows(self) -> Mapping[str, Sequence[tuple[FamilyRow, MatchRow]]]:
        """By program; under the empty name those of any program."""
        rows = [
            (family, row) for family in self.families if family.enabled for row in family.matches
        ]
        programs = {program for _, row in rows for program in row.programs}
        return {
            program: [pair for pair in rows if not pair[1].programs or program in pair[1].programs]
            for program in ("", *programs)
        }


class SandboxExampleRow(Row):
    """A call of a tool in the project `/code/project`."""

    tool: str = Field(description="The tool's name.")
    arguments: str = Field(description="Its arguments, JSON.")
    outside: bool = Field(default=True, description="Whether it reaches out of the project.")


class SandboxRow(Row):
    """File access inside the project folder only."""

    enabled: bool = Field(default=False, description="true = paths must lie in the project.")
    effect: Effect = Field(default="steer", description="What a call that reaches out meets.")
    strict_mode: bool = Field(
        default=False, description="true = a call whose path cannot be read is not decided."
    )
    allow_parent_access: bool = Field(
        default=False, description="true = the folder above the project counts as inside."
    )
    also_allowed: tuple[str, ...] = Field(default=(), description="Folders that count as inside.")
    tools: tuple[str, ...] = Field(default=(), description="Patterns of file tools.")
    excluded_tools: tuple[str, ...] = Field(default=(), description="Patterns never looked at.")
    path_keys: tuple[str, ...] = Field(default=(), description="Arguments with a path.")
    patch_keys: tuple[str, ...] = Field(default=(), description="Arguments with a patch.")
    text_programs: tuple[str, ...] = Field(
        default=(), description="Programs whose operands are text."
    )
    pattern_programs: tuple[str, ...] = Field(
        default=(), description="Programs whose first operand is text."
    )
    examples: tuple[SandboxExampleRow, ...] = Field(default=(), description="Tried by the tests.")


class ProviderCallRow(Row):
    """A call of a tool that a provider defines and the client runs."""

    kind: str = Field(min_length=1, description="The `type` of its item or block on the wire.")
    tool: str = Field(min_length=1, description="The tool's name for everything in this file.")
    arguments: tuple[str, ...] = Field(
        min_length=1, description="Its keys that say what it would do."
    )
    provider_environments: tuple[str, ...] = Field(
        default=(), description="Types of its `environment` in which the provider runs it itself."
    )


class ToolsFile(Row):
    """`rules/tools.yaml`."""

    commands: CommandsRow = Field(default=CommandsRow(), description="Dangerous commands.")
    sandbox: SandboxRow = Field(default=SandboxRow(), description="Files of the project only.")
    provider_calls: tuple[ProviderCallRow, ...] = Field(
        default=(), description="Calls of tools that a provider defines and the client runs."
    )
    policies: tuple[PolicyRow, ...] = Field(
        default=(), description="Which tools may be used; of those that fit the highest decides."
    )
    steering_rules: tuple[SteeringRow, ...] = Field(
        default=(), description="What a model is told to do in another way."
    )
