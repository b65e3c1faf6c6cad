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
        case, message = _add_case(suite, GATES, decision.gate), printable(str(decision))
        if decision.failed:
            Xml.SubElement(case, "failure", {"type": "gate", "message": message}).text = message
        else:
            warning = "" if decision.passed else "warning: "
            Xml.SubElement(case, "system-out").text = warning + message
    for doubt in result.doubts:
        case, message = _add_case(suite, DOUBTS, doubt.kind), printable(doubt.message)
        if result.strict and not doubt.accepted:
            Xml.SubElement(case, "failure", {"type": "doubt", "message": message}).text = message
        else:
            accepted = "accepted: " if doubt.accepted else "doubt: "
            Xml.SubElement(case, "system-out").text = accepted + message
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


def _add_case(suite: Xml.Element, kind: str, name: str) -> Xml.Element:
    attributes = {"classname": kind, "name": printable(name), "time": "0"}
    return Xml.SubElement(suite, "testcase", attributes)
