"""Every parameter: what may be written, what it then is, what is said of anything else."""

from __future__ import annotations

from dataclasses import fields

import pytest

from llmitm.stages.commands.parameters import PARAMETERS, parameter
from llmitm.stages.commands.table import COMMANDS, command
from llmitm.stages.conversation import NO_SETTINGS, Conversation, Settings
from stages.commands.running import do

DEEP = '{"a":' * 3000 + "1" + "}" * 3000

GOOD = [
    ("model", "gpt-5", {"model": "gpt-5"}),
    ("model", "openai:gpt-5", {"model": "openai:gpt-5"}),
    ("model", "openai.2:gpt-5", {"model": "openai.2:gpt-5"}),
    ("model", "meta/llama-3:free", {"model": "meta/llama-3:free"}),
    ("model", "openai:gpt-5?temperature=0.5", {"model": "openai:gpt-5?temperature=0.5"}),
    ("model", "openai:a|anthropic:b", {"model": "openai:a|anthropic:b"}),
    ("model", "[weight=3]openai:a^b", {"model": "[weight=3]openai:a^b"}),
    ("model", "openai:ft:gpt-4o::id", {"model": "openai:ft:gpt-4o::id"}),
    ("backend", "openrouter", {"backend": "openrouter"}),
    ("backend", "openrouter:", {"backend": "openrouter"}),
    ("temperature", "0", {"temperature": 0}),
    ("temperature", "2", {"temperature": 2}),
    ("temperature", "0.25", {"temperature": 0.25}),
    ("reasoning-effort", "none", {"reasoning_effort": "none"}),
    ("reasoning-effort", "HIGH", {"reasoning_effort": "high"}),
    ("reasoning-effort", "maximum", {"reasoning_effort": "max"}),
    ("reasoning", "xhigh", {"reasoning_effort": "xhigh"}),
    ("thinking-budget", "128", {"thinking_budget": 128}),
    ("budget", "32768", {"thinking_budget": 32768}),
    ("reasoning-mode", "no-think", {"reasoning_mode": "none"}),
    ("reasoning-mode", "max", {"reasoning_mode": "high"}),
    ("gemini-generation-config", '{"topK": 3}', {"gemini_generation_config": {"topK": 3}}),
    ("gemini_generation_config", "'{\"a\": [1, 2]}'", {"gemini_generation_config": {"a": [1, 2]}}),
    ("gemini_config", "{}", {"gemini_generation_config": {}}),
    ("openai_url", "https://api.example.com/v1/", {"openai_url": "https://api.example.com/v1"}),
    ("openai-url", "http://localhost:1234/v1", {"openai_url": "http://localhost:1234/v1"}),
    ("project", "my project", {"project": "my project"}),
    ("project-name", "p", {"project": "p"}),
    ("project-dir", "/srv/app", {"project_dir": "/srv/app"}),
    ("project_dir", "C:\\app", {"project_dir": "C:\\app"}),
    ("projectdir", "'/srv/$odd'", {"project_dir": "/srv/$odd"}),
    ("loop-detection", "false", {"loop_detection": False}),
    ("Loop_Detection", "YES", {"loop_detection": True}),
    ("tool-loop-detection", "off", {"tool_loop_detection": False}),
    ("tool-loop-max-repeats", "2", {"tool_loop_max_repeats": 2}),
    ("tool-loop-ttl", "120", {"tool_loop_ttl_s": 120}),
    ("tool-loop-mode", "break", {"tool_loop_mode": "break"}),
    ("tool-loop-mode", "chance_then_break", {"tool_loop_mode": "chance_then_break"}),
    ("tool-loop-mode", "chance-then-break", {"tool_loop_mode": "chance_then_break"}),
    ("tool-loop-mode", "chance", {"tool_loop_mode": "chance_then_break"}),
    ("redact-api-keys-in-prompts", "on", {"redact_api_keys": True}),
    ("command-prefix", "$/", {"command_prefix": "$/"}),
    ("command-prefix", "llm!!", {"command_prefix": "llm!!"}),
    ("interactive-mode", "disabled", {"interactive": False}),
    ("interactive", "1", {"interactive": True}),
]

BAD = [
    ("model", "opnai:gpt-5", "did you mean openai?"),
    ("model", "llama3:8b", "unknown provider 'llama3'"),
    ("model", "openai:", "a model is missing"),
    ("model", "openai.0:m", "they count from 1"),
    ("model", "openai:m?temperature=9", "temperature=9 is not understood"),
    ("model", "openai:a|b^c", "operators cannot be mixed"),
    ("model", "a b", "white space"),
    ("model", "bedrock:m", "never the target of a route"),
    ("model", "", "model needs a value"),
    ("backend", "opnrouter", "did you mean openrouter"),
    ("backend", "zzz", "there is "),
    ("backend", "bedrock", "never the target of a route"),
    ("temperature", "2.01", "from 0 to 2, not 2.01"),
    ("temperature", "-0.1", "from 0 to 2"),
    ("temperature", "nan", "from 0 to 2"),
    ("temperature", "hot", "from 0 to 2, not 'hot'"),
    ("temperature", "1_0", "from 0 to 2"),
    ("reasoning-effort", "hi", "did you mean high?"),
    ("reasoning-effort", "zzz", "there is high, low, max, medium, minimal, none, xhigh"),
    ("thinking-budget", "127", "a whole number from 128 to 32768"),
    ("thinking-budget", "32769", "a whole number from 128 to 32768"),
    ("thinking-budget", "200.5", "a whole number from 128 to 32768"),
    ("gemini-generation-config", "[1]", "is a JSON object"),
    ("gemini-generation-config", '{"a": NaN}', "is a JSON object"),
    ("gemini-generation-config", "{'a': 1}", "is a JSON object"),
    ("gemini-generation-config", DEEP, "is a JSON object"),
    ("openai_url", "http://api.example.com/v1", "needs https"),
    ("openai_url", "https://10.0.0.1/v1", "private address"),
    ("openai_url", "ftp://x", "must be http"),
    ("openai_url", "https://u:p@example.com", "no user"),
    ("project-dir", "relative", "absolute path"),
    ("project-dir", "~/app", "`~` and `$NAME` are not replaced"),
    ("project-dir", "$HOME", "`~` and `$NAME` are not replaced"),
    ("project-dir", "/nowhere", "there is no folder '/nowhere'"),
    ("loop-detection", "maybe", "true or false"),
    ("tool-loop-max-repeats", "1", "from 2 to 1000"),
    ("tool-loop-ttl", "0", "from 1 to 86400"),
    ("tool-loop-mode", "brake", "did you mean break"),
    ("redact-api-keys-in-prompts", "2", "true or false"),
    ("command-prefix", "!", "2 to 10"),
    ("command-prefix", "!!", "must not repeat"),
    ("command-prefix", "a b", "without spaces"),
    ("command-prefix", "x" * 11, "2 to 10"),
    ("interactive-mode", "perhaps", "true or false"),
    ("temprature", "1", "did you mean temperature?"),
    ("colour", "red", "unknown parameter 'colour'"),
]


@pytest.mark.parametrize(("name", "text", "changes"), GOOD)
def test_a_parameter_is_set_and_unset(name: str, text: str, changes: dict[str, object]) -> None:
    conversation = Conversation()
    outcome = do(conversation, f"set({name}={text})")
    assert outcome.ok, outcome.said
    assert conversation.settings == Settings(**changes)  # type: ignore[arg-type]
    row = parameter(name.lower().replace("_", "-"))
    assert row is not None
    assert f"{row.name} is now " in outcome.said
    prefix = conversation.settings.command_prefix or "!/"
    assert do(conversation, f"{prefix}unset({name})").ok
    assert conversation.settings == NO_SETTINGS


@pytest.mark.parametrize(("name", "text", "say"), BAD)
def test_a_bad_value_changes_nothing(name: str, text: str, say: str) -> None:
    conversation = Conversation(settings=Settings(project="p", temperature=1))
    before = conversation.settings
    outcome = do(conversation, f"set(project=other, {name}={text})")
    if name == "project":
        outcome = do(conversation, f"set({name}={text})")
    assert not outcome.ok
    assert say in outcome.said
    assert "Nothing was changed." in outcome.said
    assert conversation.settings is before


def test_every_parameter_is_in_these_tables_and_in_the_settings() -> None:
    tried = {parameter(name.lower().replace("_", "-")) for name, _, _ in GOOD}
    assert tried == set(PARAMETERS)
    assert {row.field for row in PARAMETERS} == {one.name for one in fields(Settings)}
    names = [name for row in PARAMETERS for name in row.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_an_example_works(row) -> None:
    if row.name == "project-dir":
        return
    assert do(Conversation(), f"set({row.name}={row.example})").ok


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("set", "say what to set"),
        ("set()", "say what to set"),
        ("set(temperature)", "'temperature' sets nothing"),
        ("set(temperature=1, Temperature=1)", "temperature is given twice"),
        ("set(reasoning=low, reasoning-effort=high)", "reasoning-effort is given twice"),
        ("set(temperature=1", "`(` is never closed"),
        ("set(temperature=)", "temperature needs a value: 0..2"),
        ("unset", "say what to unset"),
        ("unset(temprature)", "did you mean temperature?"),
        ("unset(model=x)", "unset takes names alone"),
        ("unset(model, model)", "model is given twice"),
        ("model(nmae=x)", "unknown parameter 'nmae'; did you mean name?"),
        ("model(a, b)", "'b' has no place here; its parameters: name, model"),
        ("model(name=a, model=b)", "only one value is wanted"),
        ("model(name=a, name=b)", "name is given twice"),
        ("temperature", "temperature needs a value"),
        ("oneoff", "say which model"),
        ("oneoff(gpt-5)", "names no provider"),
        ("oneoff(opnai:gpt-5)", "did you mean openai?"),
        ("max(1)", "it takes no parameters"),
        ("pwd(x)", "it takes no parameters"),
        ("hepl", "did you mean help"),
        ("xyzzy", "there is no command 'xyzzy'; there is "),
        ("help(hepl)", "did you mean help"),
        ("nonsense text", "is no command"),
        ("", "is no command"),
    ],
)
def test_what_makes_no_sense_is_said(text: str, say: str) -> None:
    conversation = Conversation()
    outcome = do(conversation, text)
    assert not outcome.ok
    assert say in outcome.said
    assert conversation == Conversation()


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("model(name=openai:gpt-5)", {"model": "openai:gpt-5"}),
        ("model(openai:gpt-5)", {"model": "openai:gpt-5"}),
        ("backend(openai)", {"backend": "openai"}),
        ("backend(name=openai)", {"backend": "openai"}),
        ("temperature(value=0.3)", {"temperature": 0.3}),
        ("temperature(0.3)", {"temperature": 0.3}),
        ("project(name=p)", {"project": "p"}),
        ("project-dir(/srv/app)", {"project_dir": "/srv/app"}),
        ("project_dir(path=/srv/app)", {"project_dir": "/srv/app"}),
        ("openai-url(url=http://[::1]:1/v1)", {"openai_url": "http://[::1]:1/v1"}),
        ("openai_url(https://e.example)", {"openai_url": "https://e.example"}),
        ("loop-detection(enabled=false)", {"loop_detection": False}),
        ("loop-detection", {"loop_detection": True}),
        ("loop-detection()", {"loop_detection": True}),
        ("tool-loop-detection(enabled=true)", {"tool_loop_detection": True}),
        ("tool-loop-max-repeats(4)", {"tool_loop_max_repeats": 4}),
        ("tool-loop-ttl(60)", {"tool_loop_ttl_s": 60}),
        ("tool-loop-mode(chance_then_break)", {"tool_loop_mode": "chance_then_break"}),
        ("max", {"reasoning_mode": "high"}),
        ("medium", {"reasoning_mode": "medium"}),
        ("low", {"reasoning_mode": "low"}),
        ("no-think", {"reasoning_mode": "none"}),
        ("NO-THINK()", {"reasoning_mode": "none"}),
        ("max !/temperature(1) !/low", {"reasoning_mode": "low", "temperature": 1}),
        ("model(name=a)\n!/model(name=)", {}),
        ("set(model=openai:a, backend=openrouter)", {"model": "a", "backend": "openrouter"}),
        ("set(backend=openrouter, model=openai:a)", {"model": "openai:a"}),
        ("set(backend=openrouter, model=a)", {"model": "a", "backend": "openrouter"}),
        ("set(model=openai:a?top_k=1, backend=groq)", {"model": "a?top_k=1", "backend": "groq"}),
    ],
)
def test_a_command_of_its_own(text: str, changes: dict[str, object]) -> None:
    conversation = Conversation()
    outcome = do(conversation, text)
    assert outcome.ok, outcome.said
    assert conversation.settings == Settings(**changes)  # type: ignore[arg-type]


def test_a_backend_cannot_take_the_place_of_a_composite() -> None:
    conversation = Conversation()
    assert do(conversation, "set(model=openai:a|groq:b)").ok
    outcome = do(conversation, "set(backend=openrouter)")
    assert not outcome.ok
    assert "unset(model) first" in outcome.said


def test_one_off() -> None:
    conversation = Conversation()
    outcome = do(conversation, "one-off(openai:gpt-5?temperature=1)")
    assert outcome.ok
    assert conversation.one_off == "openai:gpt-5?temperature=1"
    assert conversation.settings == NO_SETTINGS


def test_all_or_nothing_over_several_commands() -> None:
    conversation = Conversation()
    text = "set(temperature=1) !/oneoff(openai:a) !/create-failover-route(name=r, policy=k) !/oops"
    outcome = do(conversation, text)
    assert not outcome.ok
    assert "None of the commands was run." in outcome.said
    assert conversation == Conversation()


@pytest.mark.parametrize(
    "text", ["set(reasoning-effort=low)", "set(thinking-budget=512)", "max", "no-think"]
)
def test_a_thinking_budget_of_the_rules_decides_alone(text: str) -> None:
    conversation = Conversation()
    outcome = do(conversation, text, THINKING_BUDGET="4096")
    assert not outcome.ok
    assert "thinking_budget" in outcome.said
    assert conversation == Conversation()


def test_the_last_word_on_thinking_counts() -> None:
    conversation = Conversation()
    assert do(conversation, "set(reasoning-effort=low, thinking-budget=512)").ok
    assert do(conversation, "max").ok
    settings = conversation.settings
    assert (settings.reasoning_mode, settings.reasoning_effort) == ("high", None)
    assert settings.thinking_budget is None
    assert do(conversation, "set(reasoning-effort=low)").ok
    assert conversation.settings.reasoning_mode is None


@pytest.mark.parametrize(
    "text", ["set(model=openai:a)", "set(backend=openai)", "model(name=a)", "oneoff(openai:a)"]
)
def test_a_static_route_decides_alone(text: str) -> None:
    conversation = Conversation()
    outcome = do(conversation, text, STATIC_ROUTE="openai:gpt-5")
    assert not outcome.ok
    assert "static_route" in outcome.said
    assert conversation == Conversation()
    assert do(conversation, "set(temperature=1) !/unset(model)", STATIC_ROUTE="openai:gpt-5").ok


@pytest.mark.parametrize(
    ("row", "example"),
    [(row, example) for row in COMMANDS for example in row.examples],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_the_example_of_a_command_works(row, example: str) -> None:
    conversation = Conversation()
    assert do(conversation, "create-failover-route(name=main, policy=m)").ok
    outcome = do(conversation, example.replace("/home/me/app", "/srv/app"))
    assert outcome.ok, outcome.said
    assert outcome.said
    assert bool(outcome.told) == row.tells


def test_help_lists_every_command_and_tells_of_each() -> None:
    listed = do(Conversation(), "help")
    for row in COMMANDS:
        assert f"\n!/{row.name}" in f"\n{listed.said}"
        for name in (row.name, *row.aliases):
            told = do(Conversation(), f"help({name})")
            assert row.say in told.said
            assert all(f"!/{example}" in told.said for example in row.examples)
            assert command(name) is row
    assert "tool-loop-mode = break|chance_then_break" in do(Conversation(), "help(!/set)").said


def test_hello_and_pwd_tell_what_is_set() -> None:
    conversation = Conversation()
    assert "Nothing is set" in do(conversation, "hello").said
    assert do(conversation, "pwd").said == "No project folder is set."
    assert do(conversation, "set(project-dir=/srv/app, loop-detection=no) !/oneoff(openai:x)").ok
    told = do(conversation, "hello").told
    assert "project-dir = /srv/app" in told
    assert "loop-detection = false" in told
    assert "one-off = openai:x" in told
    assert do(conversation, "pwd").told == "/srv/app"


def test_another_prefix_is_told_everywhere() -> None:
    conversation = Conversation()
    assert do(conversation, "set(command-prefix=$/)").ok
    assert "$/help" in do(conversation, "hello").said
    assert "!/" not in do(conversation, "$/help").said
    assert do(conversation, "$/set(temperature=1) $/pwd").ok
    assert not do(conversation, "!/set(temperature=2)").ok
