"""What `rules show` prints, and the rows that the documentation is made of."""

from __future__ import annotations

from pydantic import BaseModel

from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import FILES, load_folders
from llmitm.ruleset.showing import describe_fields, show
from llmitm.ruleset.validation import row_in


def test_each_value_with_its_origin(write_rules) -> None:
    mine = write_rules("mine", routes="times:\n  heartbeat_grace_s: 3\n")
    environ = {
        "FAILURE_HANDLING_MAX_FAILOVER_HOPS": "2",
        "GROQ_API_BASE_URL": "http://h:9/v1",
        "STATIC_ROUTE": "groq:a",
    }
    rows = {row.pointer: row for row in show(load_folders([shipped_folder(), mine], environ))}
    wanted = {
        "routes.yaml /times/heartbeat_grace_s": ("3.0", f"{mine}/routes.yaml:2"),
        "routes.yaml /failover/max_failover_hops": ("2", "FAILURE_HANDLING_MAX_FAILOVER_HOPS"),
        "routes.yaml /static_route": ("groq:a", "STATIC_ROUTE"),
    }
    for pointer, (value, where) in wanted.items():
        assert (rows[pointer].value, rows[pointer].where) == (value, where)
    assert rows["routes.yaml /failover/enabled"].where.startswith("rules/routes.yaml:")
    shown = [row for row in show(load_folders([shipped_folder(), mine], environ))]
    overrides = [row for row in shown if row.pointer == "providers.yaml /providers/groq/api_base"]
    assert (overrides[-1].value, overrides[-1].where) == ("http://h:9/v1", "GROQ_API_BASE_URL")


def test_defaults_are_named_as_such(write_rules) -> None:
    mine = write_rules("mine", pipeline="stages: [{name: route}]")
    rows = {row.pointer: row for row in show(load_folders([mine], {}))}
    assert rows["pipeline.yaml /stages/route/on_error"].where == "default"
    assert rows["pipeline.yaml /stages/route/name"].where == f"{mine}/pipeline.yaml:1"
    assert rows["routes.yaml /failover/max_failover_hops"].where == "default"


def _fields(schema: type[BaseModel]) -> int:
    inner = [row_in(field.annotation) for field in schema.model_fields.values()]
    return len(inner) + sum(_fields(one) for one in inner if one is not None)


def test_every_field_is_described() -> None:
    rows = describe_fields()
    for file, schema in FILES.items():
        mine = [row for row in rows if row.file == file]
        assert len(mine) == _fields(schema)
        assert len({row.field for row in mine}) == len(mine)
        for row in mine:
            assert row.doc.endswith((".", ":")), (file, row.field)
            assert row.type not in ("", "any"), (file, row.field)


def test_some_rows_of_the_description() -> None:
    rows = {(row.file, row.field): row for row in describe_fields()}
    hops = rows["routes.yaml", "failover.max_failover_hops"]
    assert (hops.type, hops.default) == ("whole number, 0..50", "5")
    error = rows["pipeline.yaml", "stages[].on_error"]
    assert (error.type, error.default) == ("forward or refuse", '"forward"')
    assert rows["providers.yaml", "providers[].name"].default == "required"
    assert ("providers.yaml", "providers[].paths.*.generate") in rows


def test_the_guide_names_every_file_and_top_field() -> None:
    guide = (shipped_folder() / "README.md").read_text(encoding="utf-8")
    for file, schema in FILES.items():
        assert f"`{file}`" in guide
        for name in schema.model_fields:
            assert f"`{name}`" in guide, (file, name)
    provider = row_in(FILES["providers.yaml"].model_fields["providers"].annotation)
    assert provider is not None
    for name in provider.model_fields:
        assert f"`{name}`" in guide, name
