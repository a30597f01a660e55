"""From folders and the environment to one `Ruleset`, or to every fault with its line.

Only this module and `layers` touch the disk; the environment comes in as a mapping.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from llmitm.errors import RuleError
from llmitm.ruleset.budgets import BudgetsFile
from llmitm.ruleset.clients import ClientsFile
from llmitm.ruleset.commands import CommandsFile
from llmitm.ruleset.documents import Node, Place, error_at
from llmitm.ruleset.environment import (
    base_url_of,
    client_keys,
    commands_layer,
    expand,
    keys_of,
    routes_layer,
    timeout_of,
    use_keys_everywhere,
)
from llmitm.ruleset.layers import folders, merge, read
from llmitm.ruleset.loop_checks import loops_layer
from llmitm.ruleset.loops import LoopsFile
from llmitm.ruleset.matching import host_table, path_rules
from llmitm.ruleset.models import ModelsFile
from llmitm.ruleset.named_routes import named_routes
from llmitm.ruleset.pipeline import PipelineFile
from llmitm.ruleset.providers import EndpointRow, PathsRow, Protocol, ProviderRow, ProvidersFile
from llmitm.ruleset.redact import RedactFile
from llmitm.ruleset.redact_checks import known_secrets, redact_layer
from llmitm.ruleset.review import ReviewFile
from llmitm.ruleset.review_checks import review_layer
from llmitm.ruleset.rewrite_checks import check_rewrites, rewrites_layer
from llmitm.ruleset.rewrites import RewritesFile
from llmitm.ruleset.routes import RoutesFile
from llmitm.ruleset.rows import VARIABLE, Row, compiled
from llmitm.ruleset.ruleset import Alias, Provider, Ruleset
from llmitm.ruleset.selectors import BadSelector, Composite, Target, parse_selector, targets
from llmitm.ruleset.text_rules import text_rules, texts_layer
from llmitm.ruleset.texts import TextsFile
from llmitm.ruleset.tool_checks import tools_layer
from llmitm.ruleset.tools import ToolsFile
from llmitm.ruleset.urls import BaseUrl, base_url, check_host
from llmitm.ruleset.validation import validate

FILES: Mapping[str, type[Row]] = {
    "providers.yaml": ProvidersFile,
    "pipeline.yaml": PipelineFile,
    "routes.yaml": RoutesFile,
    "models.yaml": ModelsFile,
    "clients.yaml": ClientsFile,
    "commands.yaml": CommandsFile,
    "rewrites.yaml": RewritesFile,
    "redact.yaml": RedactFile,
    "loops.yaml": LoopsFile,
    "texts.yaml": TextsFile,
    "tools.yaml": ToolsFile,
    "budgets.yaml": BudgetsFile,
    "review.yaml": ReviewFile,
}
"""Every rule file and its schema."""


def load(option: str = "", environ: Mapping[str, str] = os.environ) -> Ruleset:
    """The rules that apply. option: the value of `llm_rules`, empty = not set.

    Raises the first RuleError; `checking.check` gives all of them.
    """
    return load_folders(folders(environ, option), environ)


def load_folders(folder_list: Sequence[Path], environ: Mapping[str, str]) -> Ruleset:
    """The rules of these folders, the earliest (shipped) first, and the environment over them.

    Raises the first RuleError, which tells how many more there are.
    """
    ruleset, errors = assemble(folder_list, environ)
    if ruleset is None or errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more: llmitm rules check)" if len(errors) > 1 else ""
        raise RuleError(first.file, first.line, first.pointer, first.say + more)
    return ruleset


_LAYERS: Mapping[str, Callable[[Mapping[str, str]], Node | None]] = {
    "routes.yaml": routes_layer,
    "commands.yaml": commands_layer,
    "rewrites.yaml": rewrites_layer,
    "redact.yaml": redact_layer,
    "loops.yaml": loops_layer,
    "texts.yaml": texts_layer,
    "tools.yaml": tools_layer,
    "review.yaml": review_layer,
}
"""What variables say over each file."""


def _layered(
    folder_list: Sequence[Path], environ: Mapping[str, str], errors: list[RuleError]
) -> dict[str, Node]:
    """Every file's tree with the variables laid over it."""
    trees = read(folder_list, FILES, errors)
    for name in FILES:
        trees.setdefault(name, Node({}, Place(f"rules/{name}")))
    for name, layer in _LAYERS.items():
        try:
            over = layer(environ)
        except RuleError as error:
            errors.append(error)
            continue
        if over is not None:
            trees[name] = merge(trees[name], over)
    return trees


def assemble(
    folder_list: Sequence[Path], environ: Mapping[str, str]
) -> tuple[Ruleset | None, list[RuleError]]:
    """The rules (None where a file has not its shape) and all that is wrong but for examples."""
    errors: list[RuleError] = []
    trees = _layered(folder_list, environ, errors)
    redact = validate(RedactFile, trees["redact.yaml"], errors)
    texts = validate(TextsFile, trees["texts.yaml"], errors)
    tools = validate(ToolsFile, trees["tools.yaml"], errors)
    budgets = validate(BudgetsFile, trees["budgets.yaml"], errors)
    review = validate(ReviewFile, trees["review.yaml"], errors)
    loops = validate(LoopsFile, trees["loops.yaml"], errors)
    rewrites = validate(RewritesFile, trees["rewrites.yaml"], errors)
    providers = validate(ProvidersFile, trees["providers.yaml"], errors)
    pipeline = validate(PipelineFile, trees["pipeline.yaml"], errors)
    routes = validate(RoutesFile, trees["routes.yaml"], errors)
    models = validate(ModelsFile, trees["models.yaml"], errors)
    clients = validate(ClientsFile, trees["clients.yaml"], errors)
    commands = validate(CommandsFile, trees["commands.yaml"], errors)
    if not (providers and pipeline and routes and models and clients and commands):
        return None, errors
    if rewrites is None or loops is None or redact is None:
        return None, errors
    if texts is None or budgets is None or tools is None or review is None:
        return None, errors
    work = _Compiler(trees, environ, errors)
    held = work.providers(providers)
    known = [one.row.name for one, _ in held]
    errors += check_rewrites(rewrites, trees["rewrites.yaml"], known, work.warnings)
    ruleset = Ruleset(
        providers={one.row.name: one for one, _ in held},
        hosts=work.hosts(providers, held),
        pipeline=pipeline,
        routes=routes,
        models=models,
        clients=clients,
        commands=commands,
        aliases=work.aliases(routes, [one.row.name for one, _ in held]),
        static_route=work.static_route(routes, [one.row.name for one, _ in held]),
        named_routes=work.named_routes(routes, [one.row.name for one, _ in held]),
        rewrites=rewrites,
        redact=redact,
        known_secrets=known_secrets(
            providers, redact, environ, placeholders := work.placeholders(providers)
        ),
        loops=loops,
        texts=text_rules(texts, trees["texts.yaml"], environ, errors),
        budgets=budgets,
        tools=tools,
        review=review,
        variables=work.variables(providers),
        client_keys=client_keys(environ),
        use_keys_everywhere=work.use_keys_everywhere(),
        placeholders=placeholders,
        warnings=tuple(work.warnings),
        trees=trees,
    )
    return ruleset, errors


@dataclass(slots=True)
class _Compiler:
    """Checks that need more than one value: variables, other rows, other files."""

    trees: Mapping[str, Node]
    environ: Mapping[str, str]
    errors: list[RuleError]
    warnings: list[str] = field(default_factory=list[str])

    def providers(self, file: ProvidersFile) -> list[tuple[Provider, tuple[str, ...]]]:
        """(provider, its hosts expanded) of each enabled row."""
        shared = {row.name: row for row in file.protocols}
        found: list[tuple[Provider, tuple[str, ...]]] = []
        for index, row in enumerate(file.providers):
            if not row.enabled:
                continue
            override, source = self._override(row)
            paths: dict[Protocol, PathsRow] = {
                protocol: _paths(row.paths.get(protocol), shared[protocol].paths)
                for protocol in row.all_protocols()
                if protocol in shared
            }
            headers: dict[Protocol, Mapping[str, str]] = {
                protocol: {**shared[protocol].headers, **row.headers}
                for protocol in row.all_protocols()
                if protocol in shared
            }
            for place, protocol in enumerate(row.all_protocols()):
                if protocol not in shared:
                    where = ("speaks", place - 1) if place else ("protocol",)
                    self._fail("providers.yaml", ("providers", index, *where), _absent(protocol))
            provider = Provider(
                row=row,
                facts=row.facts.facts(),
                key_set=keys_of(row, self.environ, self.warnings),
                override=override,
                override_from=source,
                ttfb_timeout_s=self._timeout(row),
                paths=paths,
                headers=headers,
            )
            found.append((provider, self._hosts(row, index)))
        return found

    def _override(self, row: ProviderRow) -> tuple[BaseUrl | None, str]:
        found = base_url_of(row, self.environ)
        if found is None:
            return None, ""
        try:
            return base_url(found[1]), found[0]
        except ValueError as error:
            self.errors.append(RuleError(found[0], 0, "", str(error)))
            return None, ""

    def _timeout(self, row: ProviderRow) -> float | None:
        try:
            return timeout_of(row, self.environ)
        except RuleError as error:
            self.errors.append(error)
            return None

    def _hosts(self, row: ProviderRow, index: int) -> tuple[str, ...]:
        hosts: list[str] = []
        for place, text in enumerate(row.hosts):
            path = ("providers", index, "hosts", place)
            expanded = self._expanded("providers.yaml", path, text)
            if expanded is None:
                continue
            try:
                hosts.append(check_host(expanded))
            except ValueError as error:
                self._fail("providers.yaml", path, f"{text}: {error}")
        return tuple(hosts)

    def hosts(self, file: ProvidersFile, held: list[tuple[Provider, tuple[str, ...]]]):
        """The table of hosts."""
        usual: dict[Protocol, tuple[EndpointRow, ...]] = {
            row.name: row.endpoints for row in file.protocols
        }
        return host_table(
            (one.row, hosts, one.override, path_rules(one.row, usual)) for one, hosts in held
        )

    def aliases(self, file: RoutesFile, known: Sequence[str]) -> tuple[Alias, ...]:
        """The aliases compiled; each replacement's groups and providers exist."""
        found: list[Alias] = []
        for index, row in enumerate(file.aliases):
            path = ("aliases", index)
            pattern = self._expanded("routes.yaml", (*path, "pattern"), row.pattern)
            replacement = self._expanded("routes.yaml", (*path, "replacement"), row.replacement)
            if pattern is None or replacement is None:
                continue
            try:
                regex = compiled(pattern)
            except ValueError as error:
                self._fail("routes.yaml", (*path, "pattern"), str(error))
                continue
            try:
                regex.sub(replacement, "")  # compiles the replacement whether or not it matches
            except (re.error, IndexError) as error:
                say = f"not a replacement for {row.pattern}: {error}"
                self._fail("routes.yaml", (*path, "replacement"), say)
                continue
            target = parse_selector(replacement, known, "rule")
            if isinstance(target, BadSelector):
                self._fail("routes.yaml", (*path, "replacement"), str(target))
            found.append(Alias(regex, replacement))
        return tuple(found)

    def static_route(self, file: RoutesFile, known: Sequence[str]) -> Target | None:
        """The static route parsed: one target with its provider."""
        if file.static_route is None:
            return None
        path = ("static_route",)
        text = self._expanded("routes.yaml", path, file.static_route)
        target = None if text is None else parse_selector(text, known, "strict")
        if isinstance(target, BadSelector):
            self._fail("routes.yaml", path, str(target))
            return None
        if isinstance(target, Composite):
            self._fail("routes.yaml", path, "must be one provider:model, not a composite")
            return None
        if target is not None:
            self.warnings.extend(
                f"static_route: {what} is not understood and ignored"
                for one in targets(target)
                for what in one.params.ignored
            )
        return target

    def named_routes(self, file: RoutesFile, known: Sequence[str]) -> Mapping[str, Composite]:
        """The failover routes; each element names a provider."""
        return named_routes(
            file,
            known,
            lambda path, text: self._expanded("routes.yaml", path, text),
            lambda path, say: self._fail("routes.yaml", path, say),
        )

    def use_keys_everywhere(self) -> bool:
        """What the variable says."""
        try:
            return use_keys_everywhere(self.environ)
        except RuleError as error:
            self.errors.append(error)
            return False

    def placeholders(self, file: ProvidersFile) -> re.Pattern[str] | None:
        """One pattern for all of them, None = there are none."""
        found = [
            self._expanded("providers.yaml", ("placeholder_keys", index), pattern)
            for index, pattern in enumerate(file.placeholder_keys)
        ]
        texts = [f"(?:{pattern})" for pattern in found if pattern is not None]
        return re.compile("|".join(texts), re.IGNORECASE) if texts else None

    def variables(self, file: ProvidersFile) -> dict[str, SecretStr]:
        """The variables that provider rows name, kept for the moment they are used."""
        names: set[str] = set()
        for row in file.providers:
            texts = [row.api_base or "", *row.bases.values(), *row.headers.values()]
            for paths in row.paths.values():
                texts.extend(str(path) for path in paths.model_dump().values() if path)
            names.update(*(VARIABLE.findall(text) for text in texts))
        for row in file.protocols:
            names.update(*(VARIABLE.findall(text) for text in row.headers.values()))
        return {name: SecretStr(self.environ[name]) for name in names if name in self.environ}

    def _expanded(self, file: str, path: tuple[str | int, ...], text: str) -> str | None:
        try:
            return expand(text, self.environ, "this rule")
        except RuleError as error:
            self._fail(file, path, f"the variable {error.file} {error.say}")
            return None

    def _fail(self, file: str, path: tuple[str | int, ...], say: str) -> None:
        self.errors.append(error_at(self.trees[file], path, say))


def _paths(own: PathsRow | None, usual: PathsRow) -> PathsRow:
    if own is None:
        return usual
    merged = usual.model_dump() | own.model_dump(exclude_unset=True)
    if own.generate is not None and own.stream is None:
        merged["stream"] = None  # the usual streaming path belongs to the usual path
    return PathsRow.model_validate(merged)


def _absent(protocol: str) -> str:
    return f"{protocol} has no entry under `protocols`"
