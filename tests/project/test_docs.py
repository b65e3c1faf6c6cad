"""What README and docs/ show is what this code prints; run as a program, this rewrites them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lossbench.choosing.recommendations import UseCases, as_rows
from lossbench.data.planning.readings import FOREGROUND, LABELS, TRUTH

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
INDEX = (ROOT / "README.md", DOCS / "README.md")
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)  # which commands can use
MACHINE = re.compile(r"(pairs · )\S+ ×\d+$", re.MULTILINE)


def outputs(block: str, page: str, folder: Path) -> str:
    """A console block with the present output of its commands, independent of the machine.

    Args:
        block: commands and their output.
        page: the text around the block, which may hold files for its commands.
        folder: an empty folder for the commands to run in.
    """
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    for name, text in FILE.findall(page):
        (folder / name).write_text(text, "utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "100"}
    lines = []
    for command in re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines.append(f"$ {command}\n{done.stdout}")
    return MACHINE.sub(r"\1cpu ×2", "".join(lines))


@pytest.mark.parametrize(
    ("block", "page"),
    [
        pytest.param(block, text, id=f"{page.relative_to(ROOT)}-{block[:60]}")
        for page in PAGES
        for text in [page.read_text("utf-8")]
        for block in BLOCK.findall(text)
    ],
)
def test_blocks_show_what_is_printed(block: str, page: str, tmp_path: Path) -> None:
    assert outputs(block, page, tmp_path) == block


READINGS = re.compile(r"(<!-- table of readings -->\n).*?(<!-- end of the table -->)", re.DOTALL)


def table_of_readings() -> str:
    """The evidence that each encoding needs, as the code has it."""
    sides = {"ground truth": TRUTH, "predictions": dict.fromkeys((*FOREGROUND, *LABELS))}
    rows = [
        f"| {side} | `{row.encoding}` | {row.evidence} |"
        for side, rows in sides.items()
        for row in rows
    ]
    return "\n".join(["| side | encoding | evidence |", "|---|---|---|", *rows, ""])


def with_readings(text: str) -> str:
    """A page with the present table of readings."""
    return READINGS.sub(lambda match: f"{match[1]}{table_of_readings()}{match[2]}", text)


def test_the_table_of_readings_is_that_of_the_code() -> None:
    page = (DOCS / "reading.md").read_text("utf-8")
    assert with_readings(page) == page
    assert READINGS.search(page)


TABLES = re.compile(
    r"(<!-- table of (rules|use cases) -->\n).*?(<!-- end of the table -->)", re.DOTALL
)
HEADINGS = {
    "rules": ["task", "where", "losses", "source"],
    "use cases": ["use case", "task", "training", "scores", "source"],
}


def with_choices(text: str) -> str:
    """A page with the present tables of rules and of use cases."""

    def table(match: re.Match[str]) -> str:
        name = match[2]
        rows = as_rows() if name == "rules" else next(UseCases().as_tables())[2]
        lines = [HEADINGS[name], ["---"] * len(HEADINGS[name]), *rows]
        body = "\n".join(f"| {' | '.join(cell or '–' for cell in row)} |" for row in lines)
        return f"{match[1]}{body}\n{match[3]}"

    return TABLES.sub(table, text)


def test_the_tables_of_losses_are_those_of_the_code() -> None:
    page = (DOCS / "inspect.md").read_text("utf-8")
    assert with_choices(page) == page
    assert len(TABLES.findall(page)) == len(HEADINGS)


def links(page: Path) -> list[str]:
    """Every target of a link or picture in a page."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
    inline = [child for token in tokens for child in token.children or []]
    targets = [token.attrGet("href") or token.attrGet("src") for token in inline]
    return [str(target) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for target in links(page):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), target
        assert file.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("index", INDEX, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_is_linked(index: Path) -> None:
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert linked >= set(DOCS.glob("*.md")) - set(INDEX)


def rewrite() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")

        def fresh(found: re.Match[str], text: str = text) -> str:
            with tempfile.TemporaryDirectory() as folder:
                return f"```console\n{outputs(found[1], text, Path(folder))}```"

        page.write_text(with_choices(with_readings(BLOCK.sub(fresh, text))), "utf-8")


def test_the_files_that_pages_name_exist() -> None:
    named = {
        path
        for page in PAGES
        for path in re.findall(
            r"`((?:lossbench|cli|tests|configs)/[\w/.-]+)`", page.read_text("utf-8")
        )
    }
    assert {path for path in named if not (ROOT / path).exists()} == set()


if __name__ == "__main__":
    rewrite()
