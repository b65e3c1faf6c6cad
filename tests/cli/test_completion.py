"""What TAB offers: the protocol between click's scripts and the command, for three shells."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import split_arg_string
from lossbench_cli.main import COMMANDS

import lossbench

SHELLS = ("bash", "zsh", "fish")
HEAVY = {"torch", "numpy", "rich", "scipy", "PIL", "yaml"}
EVAL = "lossbench eval pred gt "
LOSSES = {
    name for entry in lossbench.list_losses() for name in (entry.name, *entry.aliases)
}  # what may be typed, as the library says


Completed = subprocess.CompletedProcess[str]


def environment(instruction: str, line: str = "") -> dict[str, str]:
    """The variables of a shell's script, for a line with the cursor at its end."""
    variables = {**os.environ, "_LOSSBENCH_COMPLETE": instruction}
    if line:
        words = split_arg_string(line)
        words += [""] * (line.endswith(" ") and line.count("'") % 2 == 0)
        last = str(len(words) - 1)
        if instruction.startswith("fish"):  # the last word as it is typed, with its open quote
            (last,) = re.findall(r"""('[^']*|"[^"]*|\S*)$""", line)[:1]
        variables |= {"COMP_WORDS": line, "COMP_CWORD": last}
    return variables


@pytest.fixture
def complete(lossbench_command: Callable[..., Completed]) -> Callable[..., Completed]:
    """Run the command as a shell's script does."""
    return lambda *line: lossbench_command(env=environment(*line))


@pytest.fixture
def offered(complete: Callable[..., Completed]) -> Callable[..., list[str]]:
    """The values that a shell gets for a line."""

    def values(line: str, shell: str = "bash") -> list[str]:
        done = complete(f"{shell}_complete", line)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.removesuffix("\n").splitlines()
        if shell == "zsh":  # type, value with colons escaped, help
            return [value.replace(r"\:", ":") for value in lines[1::3]]
        return [each.partition(",")[2].partition("\t")[0] for each in lines]

    return values


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("lossbench ", set(COMMANDS)),
        ("lossbench ex", {"explain"}),
        ("lossbench losses --fam", {"--family"}),
        ("lossbench losses --family over", {"overlap"}),
        (EVAL + "--pred-e", {"--pred-encoding"}),
        (EVAL + "--task m", {"multiclass", "multilabel"}),
        (EVAL + "-l ", LOSSES),
        (EVAL + "--loss tver", {n for n in LOSSES if n.startswith("tver")}),
        (EVAL + "-l 'dice ", set()),
        (EVAL + "-l 'dice(", set()),
        (EVAL + "-l 0.5", set()),
        (EVAL + "-c medi", {"medi", "medical"}),
        (EVAL + "-c no/", {"no/"}),
        ("lossbench explain tver", {n for n in LOSSES if n.startswith("tver")}),
        ("lossbench gradcheck tver", {n for n in LOSSES if n.startswith("tver")}),
        (EVAL + "--input wei", {"weight="}),
        (EVAL + "--input weight=a", {"weight=a"}),
    ],
)  # fmt: skip
def test_a_shell_is_offered(
    shell: str, line: str, wanted: set[str], offered: Callable[..., list[str]]
) -> None:
    values = offered(line, shell)
    assert set(values) == wanted
    assert len(values) == len(set(values))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_losses_of_a_plugin_are_offered_and_it_is_not_run(
    shell: str, tmp_path: Path, offered: Callable[..., list[str]]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise RuntimeError\ndef mine(pred, target, *, how='mean'): ...\n", "utf-8")
    assert offered(f"{EVAL}--plugin {file} -l min", shell) == ["mine"]
    assert offered(f"lossbench explain --plugin {file} min", shell) == ["mine"]


@pytest.mark.parametrize("broken", ["def f(:", "def dice(pred, target): ...", ""])
def test_a_plugin_that_cannot_be_read_hides_nothing(
    broken: str, tmp_path: Path, offered: Callable[..., list[str]]
) -> None:
    (tmp_path / "mine.py").write_text(broken, "utf-8")
    assert "dice" in offered(f"{EVAL}--plugin {tmp_path}/mine.py -l dic")


@pytest.mark.parametrize("shell", SHELLS)
def test_files_are_left_to_the_shell(shell: str, complete: Callable[..., Completed]) -> None:
    for option in ("", "--baseline ", "--plugin ", "-o ", "-c "):
        done = complete(f"{shell}_complete", f"lossbench eval pred {option}so")
        assert re.split("[,\n]", done.stdout)[:2] == ["file", "so"]


def test_the_words_of_bash_are_put_together_again() -> None:
    """Bash hands = and : over as words of their own and replaces only what follows them."""

    def of_words(*words: str) -> list[str]:
        environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        done = subprocess.run(
            [sys.executable, "-m", "lossbench_cli"],
            env={**os.environ, **environment, "_LOSSBENCH_COMPLETE": "bash_complete"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    start = ("lossbench", "eval", "pred", "gt")
    tversky = sorted(name for name in LOSSES if name.startswith("tver"))
    assert sorted(of_words(*start, "--loss", "=", "tver")) == tversky
    assert set(of_words(*start, "--loss", "=")) == LOSSES
    assert of_words(*start, "--input", "pos_w") == ["pos_weight="]
    assert of_words(*start, "--input", "weight", "=", "a") == ["weight=a"]
    assert of_words(*start, "--task", "=", "im") == ["image"]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with the command as a shell finds it."""
    script = tmp_path / "bin" / "lossbench"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m lossbench_cli "$@"\n')
    script.chmod(0o755)
    return script.parent


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_sound(
    shell: str, program: Path, complete: Callable[..., Completed]
) -> None:
    done = complete(f"{shell}_source")
    assert (done.returncode, done.stderr) == (0, "")
    assert "_LOSSBENCH_COMPLETE" in done.stdout
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    checked = subprocess.run(
        [shell, "-n"], input=done.stdout, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_completes_with_the_script(program: Path) -> None:
    """The function that bash calls, in bash, with the words as bash cuts them."""
    script = r"""
        eval "$(_LOSSBENCH_COMPLETE=bash_source lossbench)"
        complete -p lossbench
        COMP_WORDS=(lossbench eval a b -l tver); COMP_CWORD=5
        _lossbench_completion lossbench
        printf '%s\n' "${COMPREPLY[@]}"
    """
    path = f"{program}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    registered, *replies = done.stdout.splitlines()
    assert registered == "complete -o nosort -F _lossbench_completion lossbench"
    assert replies == [name for name in LOSSES if name.startswith("tver")]
    assert done.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", ["lossbench ", EVAL + "-l ", EVAL + "-c ", EVAL + "--input "])
def test_completion_imports_nothing_heavy(shell: str, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lossbench_cli"],
        env=environment(f"{shell}_complete", line),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [part.rpartition("|")[2].strip() for part in done.stderr.splitlines()]
    imported = {name.partition(".")[0] for name in names}
    assert "click" in imported  # the report is there and was read
    assert not imported & HEAVY


@pytest.mark.parametrize(
    ("instruction", "status"), [("tcsh_source", 1), ("bash_complete", 2), ("bash_nothing", 1)]
)
def test_a_wrong_instruction_is_no_traceback(
    instruction: str, status: int, complete: Callable[..., Completed]
) -> None:
    done = complete(instruction)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line",
    [
        EVAL + "-l ')))",
        EVAL + "-l 'dice((([",
        EVAL + "-l 'dice(\"x",
        EVAL + "-l '=",
        EVAL + "-l 'ä",
        EVAL + "--no-such ",
        EVAL + "--input nonsense=/no/such",
        EVAL + "--top nonsense -l '",
        "lossbench nonsense x",
    ],
)
def test_nonsense_is_no_traceback(
    shell: str, line: str, complete: Callable[..., Completed]
) -> None:
    done = complete(f"{shell}_complete", line)
    assert (done.returncode, done.stderr) == (0, "")
