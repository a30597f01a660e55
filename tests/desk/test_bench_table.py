"""The bench's table of dialect pairs, as it goes into the README."""

from __future__ import annotations

from llmitm.desk.bench_table import pairs_table, policies_table

STREAM = {"way": "openai_chat>gemini_generate", "workload": "stream"}


def test_a_row_per_way_with_both_shapes_and_the_stream_beside_it() -> None:
    report = {
        "results": [
            {**STREAM, "event_us": 31.25, "ratio": 1.234},
            {**STREAM, "workload": "small", "event_us": None, "ratio": 9.0},
        ],
        "bodies": [
            {"shape": "many", "way": "read openai_chat", "ms": 4.9, "ratio": 0.91},
            {"shape": "many", "way": "openai_chat>gemini_generate", "ms": 11.24, "ratio": 2.15},
            {"shape": "few", "way": "read openai_chat", "ms": 1.04, "ratio": 0.26},
            {"shape": "few", "way": "openai_chat>gemini_generate", "ms": 2.49, "ratio": 0.71},
        ],
    }
    lines = pairs_table(report).splitlines()
    assert lines[2:] == [
        "| read chat | – | – | 4.90 | 0.91 | 1.04 | 0.26 |",
        "| chat→gemini | 31.2 | 1.23 | 11.2 | 2.15 | 2.49 | 0.71 |",
    ]
    assert {line.count("|") for line in lines} == {8}


def test_reports_without_bodies_have_no_such_table() -> None:
    assert pairs_table({"results": []}) == ""


def test_a_row_per_policy_and_per_size_of_piece() -> None:
    report = {
        "policies": [
            {"policy": "tools", "request_us": 7.3, "event_us": 5.78},
            {"policy": "route", "request_us": 1.8, "event_us": None},
        ],
        "redaction": [{"pieces": "200 bytes", "messages": 4692, "ms_per_mb": 2.75}],
    }
    text = policies_table(report)
    assert "| tools | 7.30 | 5.78 |\n| route | 1.80 | – |\n" in text
    assert "| 200 bytes | 4,692 | 2.75 |" in text
    assert policies_table({"results": []}) == ""
