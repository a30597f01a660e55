"""The commands of the chat for an operator: what the conversation of a selected flow asks for.

Typed in the console or in mitmweb, or called over its REST interface or by a script. The same
engine runs them as in the chat, so the words and the limits are the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mitmproxy import command, exceptions, types
from mitmproxy.flow import Flow

from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.running import CONVERSATION
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.commands.engine import prefix_of, run
from llmitm.stages.commands.grammar import Arg, Found, find
from llmitm.stages.commands.parameters import PARAMETERS, in_force, parameter_names
from llmitm.stages.conversation import Conversation


class _Words(list[str]):
    """Words to complete. Every other word passes too: the engine tells which ones are near it,
    while mitmproxy would only say that the choice is invalid."""

    def __contains__(self, word: object) -> bool:
        return True


class ChatCommands:
    """See the module. Method names are of no matter to an operator."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    @command.command("llm.set")
    def set_settings(self, flows: Sequence[Flow], settings: str) -> str:
        """Sets parameters (`model=anthropic:x,temperature=0.5`) of these flows' conversations."""
        return self._run(flows, self._written("set", settings))

    @command.command("llm.unset")
    @command.argument("parameters", type=types.Choice("llm.parameters"))
    def unset_settings(self, flows: Sequence[Flow], parameters: str) -> str:
        """Forgets parameters (`model,temperature`) of these flows' conversations."""
        return self._run(flows, self._written("unset", parameters))

    @command.command("llm.route")
    def route_conversation(self, flows: Sequence[Flow], selector: str) -> str:
        """Sends these flows' conversations to a model or route from now on; empty: as before."""
        wanted = selector.strip()
        arg = Arg("model", wanted) if wanted else Arg("", "model")
        return self._run(flows, Found(0, 0, "set" if wanted else "unset", (arg,)))

    @command.command("llm.oneoff")
    def send_once(self, flows: Sequence[Flow], selector: str) -> str:
        """Sends the next request of these flows' conversations to a model; empty: as before."""
        wanted = selector.strip()
        if wanted:
            return self._run(flows, Found(0, 0, "oneoff", (Arg("", wanted),)))
        for conversation in self._conversations(flows):
            conversation.one_off = ""
            self._rulebook.house().memory.save(conversation)
        return "The next request goes where the others go."

    @command.command("llm.settings")
    def show_settings(self, flow: Flow) -> str:
        """What is set for the conversation of a flow, a line each."""
        conversation = self._conversation(flow)
        held = [(row.name, in_force(row, conversation.settings)) for row in PARAMETERS]
        lines = [f"{name} = {text}" for name, text in held if text]
        if conversation.one_off:
            lines.append(f"one-off = {conversation.one_off}")
        lines += [
            f"route {route.name}:{route.policy} = {', '.join(route.elements) or 'empty'}"
            for route in conversation.routes.values()
        ]
        return "\n".join(lines) or "Nothing is set in this conversation."

    @command.command("llm.instances")
    def show_instances(self) -> str:
        """Which providers' instances rest after a rate limit or an error now, and for how long."""
        house = self._rulebook.house()
        rows = house.instances.rows(house.clock())
        lines = [f"{label}  {state}  {seconds:.0f} s" for label, state, seconds in rows]
        return "\n".join(lines) or "Every instance can be asked."

    @command.command("llm.parameters")
    def list_parameters(self) -> Sequence[str]:
        """The names that llm.set and llm.unset know."""
        return _Words(parameter_names())

    def _written(self, name: str, arguments: str) -> Found:
        """The command with these arguments, which hold no other command."""
        prefix = self._ruleset().commands.prefix
        line = " ".join(arguments.split("\n")).strip()
        if not line:
            say = f"say what to {name}; llm.parameters lists what there is"
            raise exceptions.CommandError(say)
        found = find(f"{prefix}{name}({line})", prefix, "strict")
        if len(found) != 1 or found[0].start:
            raise exceptions.CommandError(f"{arguments!r}: this cannot be read; see llm.parameters")
        return found[0]

    def _run(self, flows: Sequence[Flow], asked: Found) -> str:
        """Runs a command on each conversation: on all of them or on none."""
        conversations = self._conversations(flows)
        before = [(each, each.settings, each.routes, each.one_off) for each in conversations]
        said: list[str] = []
        for conversation in conversations:
            prefix = prefix_of(conversation, self._ruleset())
            outcome = run(conversation, self._ruleset(), (asked,), os.path.isdir, prefix)
            if not outcome.ok:
                for each, settings, routes, one_off in before:
                    each.settings, each.routes, each.one_off = settings, routes, one_off
                # The first line alone: the next tells how the command is written in a chat.
                why = outcome.said.partition("\n")[0]
                raise exceptions.CommandError(why.removeprefix(f"{prefix}{asked.name}: "))
            said.append(outcome.said)
        for conversation in conversations:
            self._rulebook.house().memory.save(conversation)
        told = "\n".join(dict.fromkeys(said))
        return told if len(said) == 1 else f"{told} ({len(said)} conversations)"

    def _ruleset(self) -> Ruleset:
        # No property: mitmproxy reads every one while it loads, before there are rules.
        return self._rulebook.house().ruleset

    def _conversations(self, flows: Sequence[Flow]) -> list[Conversation]:
        """Each conversation of these flows once."""
        if not flows:
            raise exceptions.CommandError("select a flow first")
        found = [self._conversation(flow) for flow in flows]
        return list({each.key: each for each in found}.values())

    def _conversation(self, flow: Flow) -> Conversation:
        key = flow.metadata.get(CONVERSATION)
        if key is None:
            raise exceptions.CommandError("this flow is no model call, so it has no conversation")
        if not key:
            say = (
                "conversations are not told apart: the stage `conversations` is off "
                "(llm_observe, pipeline.yaml) or could not read the request"
            )
            raise exceptions.CommandError(say)
        found = self._rulebook.house().memory.conversation(key)
        if found is None:
            say = "the conversation of this flow is forgotten (a restart, or many others since)"
            raise exceptions.CommandError(f"{say}; take a newer flow of it")
        return found
