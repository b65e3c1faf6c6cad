"""JUnit XML, which CI servers show as tests."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from lossbench.errors import printable
from lossbench.output.sections import format_number
from lossbench.results.result import Result

GATES, DOUBTS, PAIRS = "lossbench.gates", "lossbench.doubts", "lossbench.pairs"


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
    suites = Xml.Element("testsuites", {"name": "lossbench", **counts})
    suite = Xml.SubElement(suites, "testsuite", {"name": "lossbench", "skipped": "0", **counts})
    if "started" in result.session:
        suite.set("timestamp", result.session["started"].partition("+")[0])
    properties = Xml.SubElement(suite, "properties")
    for name, value in _facts(result).items():
        Xml.SubElement(properties, "property", {"name": name, "value": printable(value)})
    for decision in result.decisions:
        case, warning = (
            _add_case(suite, GATES, decision.gate),
            "" if decision.passed else "warning: ",
        )
        _add_verdict(case, "gate", str(decision), decision.failed, warning)
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
