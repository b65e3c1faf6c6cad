"""JUnit XML, which CI servers show as tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as Xml

from lossbench.errors import printable
from lossbench.output.sections import format_number
from lossbench.results.change_gates import Decision
from lossbench.results.comparison import Comparison
from lossbench.results.result import Result

GATES, DOUBTS, PAIRS = "lossbench.gates", "lossbench.doubts", "lossbench.pairs"
CHANGES = "lossbench.changes"


def render_result(result: Result) -> str:
    """One suite with a case for each gate, doubt and failed pair; aggregates are properties.

    A doubt is a failure where the run is strict and does not accept it.
    """
    failures = sum(each.failed for each in result.decisions)
    counts = {
        "tests": str(len(result.decisions) + len(result.doubts) + len(result.failed)),
        "failures": str(failures + (result.doubt_count if result.strict else 0)),
        "errors": str(len(result.failed)),
        "time": str(result.session.get("seconds", 0)),
    }
    suites, suite = _suites(counts, _facts(result))
    if "started" in result.session:
        suite.set("timestamp", result.session["started"].partition("+")[0])
    _add_gates(suite, result.decisions)
    for doubt in result.doubts:
        case, remark = (
            _add_case(suite, DOUBTS, doubt.kind),
            "accepted: " if doubt.accepted else "doubt: ",
        )
        has_failed = result.strict and not doubt.accepted
        _add_verdict(case, "doubt", doubt.message, has_failed, remark)
    for failed in result.failed:
        case, message = _add_case(suite, PAIRS, failed.id), printable(failed.message)
        Xml.SubElement(case, "error", {"type": failed.kind, "message": message}).text = message
    return _text(suites)


def render_comparison(comparison: Comparison) -> str:
    """One suite with a case for each gate, and one for the verdict on each loss of each result.

    Only gates fail.
    """
    decisions, results = comparison.decisions, len(comparison.files) - 1
    counts = {
        "tests": str(len(decisions) + results * len(comparison.measured)),
        "failures": str(sum(each.failed for each in decisions)),
        "errors": "0",
        "time": "0",
    }
    facts = {"first": comparison.files[0], "pairs": str(len(comparison.ids))}
    suites, suite = _suites(counts, facts)
    _add_gates(suite, decisions)
    for index in range(1, results + 1):
        for each in comparison.measured:
            case = _add_case(suite, CHANGES, f"{each.name} of {comparison.files[index]}")
            change = comparison.change(index, each)
            text = f"{comparison.verdict(index, each)}: difference {change.aggregates['mean']!r}"
            _add_verdict(case, "change", text, False, "")
    return _text(suites)


def _suites(counts: Mapping[str, str], facts: Mapping[str, str]) -> tuple[Xml.Element, Xml.Element]:
    """The root and its only suite, with properties."""
    suites = Xml.Element("testsuites", {"name": "lossbench", **counts})
    suite = Xml.SubElement(suites, "testsuite", {"name": "lossbench", "skipped": "0", **counts})
    properties = Xml.SubElement(suite, "properties")
    for name, value in facts.items():
        Xml.SubElement(properties, "property", {"name": name, "value": printable(value)})
    return suites, suite


def _add_gates(suite: Xml.Element, decisions: Sequence[Decision]) -> None:
    """Add a case for each gate."""
    for decision in decisions:
        name = f"{decision.result}: {decision.gate}" if decision.result else decision.gate
        case, warning = (
            _add_case(suite, GATES, name),
            "" if decision.passed else "warning: ",
        )
        _add_verdict(case, "gate", str(decision), decision.failed, warning)


def _text(suites: Xml.Element) -> str:
    """The document."""
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=False).join(
        ['<?xml version="1.0" encoding="utf-8"?>\n', "\n"]
    )


def _facts(result: Result) -> dict[str, str]:
    """The plan, the counts, and the mean of each loss."""
    means = {
        f"{name}.mean": format_number(table["mean"]) for name, table in result.aggregates.items()
    }
    counts = {name: str(count) for name, count in result.counts.items()}
    return {"plan": result.run.get("plan", {}).get("text", ""), **counts, **means}


def _add_verdict(case: Xml.Element, kind: str, text: str, has_failed: bool, remark: str) -> None:
    """Add a failure, or the output of a case that passed with a remark."""
    message = printable(text)
    if has_failed:
        Xml.SubElement(case, "failure", {"type": kind, "message": message}).text = message
    else:
        Xml.SubElement(case, "system-out").text = remark + message


def _add_case(suite: Xml.Element, kind: str, name: str) -> Xml.Element:
    attributes = {"classname": kind, "name": printable(name), "time": "0"}
    return Xml.SubElement(suite, "testcase", attributes)
