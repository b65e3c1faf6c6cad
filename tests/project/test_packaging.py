"""What is shipped: the packages, the public surface, and the catalogue that is read from source."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from shutil import copy, copy2, copytree
from typing import Any, get_type_hints

import pytest
from helpers.paths import PLUGINS, REPOSITORY

import lossbench
from lossbench import plugin_api
from lossbench.catalog import registry
from lossbench.catalog.registry import MAYBE, Entry
from lossbench.interface.annotations import Weight
from lossbench.interface.reduction import FINISHERS, PIXEL_KINDS

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
# Folders of the tree that are installed, and under which name.
INSTALLED = {"lossbench": "lossbench", "cli": "lossbench_cli", "configs": "lossbench_configs"}
PUBLIC = [
    "InputError",
    "LossbenchError",
    "OutputError",
    "SettingError",
    "__version__",
    "check_path",
    "compare",
    "evaluate",
    "find_loss",
    "gather_settings",
    "gradcheck",
    "inspect",
    "list_conventions",
    "list_formats",
    "list_losses",
    "list_sections",
    "list_settings",
    "list_weights",
    "load_config",
    "loss",
    "measure_speed",
    "merge",
    "plan",
    "plan_merge",
    "render",
    "report",
    "save",
    "schema",
    "stress",
    "thresholds",
    "trend",
    "use_cases",
    "watch_trend",
    "write_config",
]
ALLOWED_TO_CLI = {
    "lossbench",
    "lossbench.errors",
    "lossbench.version",
    "lossbench.catalog.registry",
    "lossbench.output.sections",  # tables of commands without a model
    "lossbench.output.table",
    "lossbench.results.formats",
    "lossbench.results.reader",
    "lossbench.runtime.allocator",  # settings of the process are the command's
    "lossbench.runtime.pillow_limit",
}
# What may import torch where the module itself is imported: the rest does it when it computes.
COMPUTING = (
    "plugin_api.py",
    "losses",
    "views",
    "geometry",
    "interface",
    "engine/compute/detections.py",
    "engine/compute/device.py",
    "engine/compute/evaluate.py",
    "engine/compute/pooled.py",
    "engine/compute/feature_batches.py",
    "engine/compute/streaming.py",
    "engine/compute/device_transfer.py",
    "engine/compute/tensors.py",
    "networks/extractor.py",
    "training",
    "speed/children",
)
ENTRIES = list(registry.builtin().values())


def modules(folder: str) -> dict[str, Path]:
    """The modules of a folder by the path that they have when installed."""
    root = REPOSITORY / folder
    return {
        f"{INSTALLED[folder]}/{path.relative_to(root).as_posix()}": path
        for path in root.rglob("*.py")
    }


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Module and name of every import below a node, those for the type checker left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, "") for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = "." * child.level + (child.module or "")
            yield from ((module, alias.name) for alias in child.names)
        else:
            yield from imports(child)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def test_the_surface_for_plugins_is_what_docs_list() -> None:
    """Annotations, views and operations stand in the table of docs/plugins.md, and no others."""
    page = (REPOSITORY / "docs" / "plugins.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", page, flags=re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    offered = {name for name in vars(plugin_api) if not name.startswith("_")} - {"annotations"}
    assert offered == documented


def test_plugins_of_the_tests_import_nothing_else() -> None:
    for path in PLUGINS.glob("*.py"):
        ours = {module for module, _ in imports(parsed(path)) if module.startswith("lossbench")}
        assert ours <= {"lossbench", "lossbench.plugin_api"}, path


def test_every_package_has_its_init() -> None:
    for folder in INSTALLED:
        for path in modules(folder).values():
            assert (path.parent / "__init__.py").exists(), path.parent


def test_the_public_surface_is_this_list() -> None:
    assert lossbench.__all__ == PUBLIC
    offered = {name for name in vars(lossbench) if not name.startswith("_")}
    own = {name for name in offered if not inspect.ismodule(getattr(lossbench, name))}
    assert own <= set(PUBLIC)


def test_no_class_name_means_two_things() -> None:
    files = [*(REPOSITORY / "lossbench").rglob("*.py"), *(REPOSITORY / "cli").rglob("*.py")]
    nodes = (node for file in files for node in ast.parse(file.read_text("utf-8")).body)
    names = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert {name for name, count in names.items() if count > 1 and name[0] != "_"} == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(lossbench, name)
    assert isinstance(thing, str) or inspect.getdoc(thing)


@pytest.mark.parametrize("path", sorted(modules("cli").values()), ids=lambda path: path.name)
def test_the_command_uses_only_what_is_public(path: Path) -> None:
    tree = parsed(path)
    for module, name in imports(tree):
        if module.partition(".")[0] == "lossbench":
            assert module in ALLOWED_TO_CLI
            assert not name.startswith("_") or name == "__version__"
            assert module != "lossbench" or name in ("", *PUBLIC)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "lossbench"
    }
    assert used <= set(PUBLIC)


@pytest.mark.parametrize("path", sorted(modules("lossbench").values()), ids=lambda path: path.stem)
def test_the_library_knows_nothing_of_the_command(path: Path) -> None:
    roots = {module.partition(".")[0] for module, _ in imports(parsed(path))}
    assert not roots & {"lossbench_cli", "lossbench_configs", "click"}


def test_only_what_computes_imports_torch_at_once() -> None:
    root = REPOSITORY / "lossbench"
    importing = {
        path.relative_to(root).as_posix()
        for path in modules("lossbench").values()
        for module, _ in imports(ast.Module(_immediate(parsed(path)), []))
        if module.partition(".")[0] == "torch"
    }
    assert importing
    assert {path for path in importing if not path.startswith(COMPUTING)} == set()


def _immediate(tree: ast.Module) -> list[ast.stmt]:
    """What runs when a module is imported: its body without functions."""
    return [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _keyword_only(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_catalogue_states_the_inputs_of_the_function(entry: Entry) -> None:
    signature = inspect.signature(entry.function)
    names = vars(import_module(entry.module))
    positional = {
        p.name: p.annotation
        for p in signature.parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    }
    assert entry.inputs == positional
    assert all(form.removesuffix(MAYBE) in names for form in positional.values())
    assert all(signature.parameters[name].default is inspect.Parameter.empty for name in positional)
    assert entry.returns == signature.return_annotation
    kinds = {p.kind.name for p in signature.parameters.values()}
    assert kinds <= {"POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"}


def _behind(form: Any) -> Iterator[Any]:
    """What makes a view, and what makes the views that it asks for itself."""
    if hasattr(form, "of"):
        yield form.of
        for name, hint in get_type_hints(form.of, include_extras=True).items():
            if name != "return":
                yield from _behind(hint)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_catalogue_states_the_options_and_defaults_of_every_signature(entry: Entry) -> None:
    expected = _keyword_only(entry.function)
    names = vars(import_module(entry.module))
    asked = [names[form.removesuffix(MAYBE)] for form in entry.inputs.values()]
    views = [of for form in asked for of in _behind(form)]
    finishers = [] if entry.returns == "Expression" else [FINISHERS[names[entry.returns]]]
    for asks in (*views, *finishers):
        for name, default in _keyword_only(asks).items():
            expected.setdefault(name, default)
    for view in views:
        asked += get_type_hints(view, include_extras=True).values()
    if Weight in asked or names.get(entry.returns) in PIXEL_KINDS:
        expected["weight_map"] = None
    if not entry.background:
        expected["background"] = False
    assert {name: option.default for name, option in entry.options.items()} == expected


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_catalogue_says_where_the_function_is(entry: Entry) -> None:
    assert entry.function.__name__ == entry.name
    assert inspect.getdoc(entry.function) == entry.doc
    code = entry.function.__code__
    assert Path(code.co_filename).name == f"{entry.module.rpartition('.')[2]}.py"
    lines = Path(code.co_filename).read_text("utf-8").splitlines()
    assert lines[entry.line - 1].startswith(f"def {entry.name}(")


def test_no_name_of_the_catalogue_is_given_twice() -> None:
    names = [name for entry in ENTRIES for name in (entry.name, *entry.aliases)]
    assert sorted(names) == sorted(set(names))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree that is built from, without what a build or a test left in it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("the tree is no git checkout")
    copy = tmp_path_factory.mktemp("checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name.startswith((*INSTALLED, "pyproject", "setup.py", "README", "LICENSE")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if (REPOSITORY / name).exists():
                copy2(REPOSITORY / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", checkout, "--no-deps", "--no-build-isolation", "--no-index", "-w", folder)
    (found,) = folder.glob("*.whl")
    return found


def pip(*arguments: Any) -> None:
    """Run pip without the network: what a build needs is what runs the tests."""
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=80)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_wheel_holds_every_module_and_no_other(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    shipped = {name for folder in INSTALLED for name in modules(folder)}
    assert {name for name in held if name.endswith(".py")} == shipped
    assert {"lossbench/py.typed", "lossbench_cli/py.typed"} <= held
    for preset in (REPOSITORY / "configs").glob("*.yaml"):
        assert f"lossbench_configs/{preset.name}" in held
    assert not any(name.startswith(("tests/", "sample_data/")) for name in held)


def test_the_wheel_has_the_command_the_licence_and_the_version(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    facts = f"lossbench-{lossbench.__version__}.dist-info"
    scripts = archive.read(f"{facts}/entry_points.txt").decode()
    assert "lossbench = lossbench_cli.main:main" in scripts
    assert f"{facts}/licenses/LICENSE" in archive.namelist()
    metadata = archive.read(f"{facts}/METADATA").decode()
    assert f"\nVersion: {lossbench.__version__}\n" in metadata


@pytest.mark.slow
def test_two_builds_are_the_same_bytes_and_pass_the_checks(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the second build have other times and another folder."""
    for tool in ("build", "twine", "check_wheel_contents"):
        pytest.importorskip(tool, reason="pip install 'lossbench[test-release]'")

    def python(*arguments: Any) -> None:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1750000000")
    builds = []
    for name in ("first", "second"):
        copytree(checkout, tmp_path / name, copy_function=copy)  # with new times
        python("-m", "build", tmp_path / name)
        builds.append(sorted((tmp_path / name / "dist").iterdir()))
    wheel, archive = builds[0]
    assert [path.suffix for path in builds[0]] == [".whl", ".gz"]
    assert [path.read_bytes() for path in builds[0]] == [path.read_bytes() for path in builds[1]]
    python("-m", "twine", "check", "--strict", wheel, archive)
    python("-m", "check_wheel_contents", "--config", REPOSITORY / "pyproject.toml", wheel)


@pytest.mark.parametrize("way", ["wheel", "editable"])
def test_what_is_installed_runs(way: str, checkout: Path, wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python3*/site-packages")
    # The dependencies are those of the interpreter that runs the tests.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    what = [wheel] if way == "wheel" else ["--no-build-isolation", "--editable", checkout]
    pip("--python", python, "install", "--no-deps", "--no-index", "--ignore-installed", *what)

    def output(*command: Any) -> str:
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    script = environment / "bin" / "lossbench"
    assert output(script, "--version") == f"lossbench {lossbench.__version__}\n"
    where = (
        "import lossbench, lossbench_cli; print(lossbench.__file__); print(lossbench_cli.__file__)"
    )
    root = site if way == "wheel" else checkout
    assert all(Path(line).is_relative_to(root) for line in output(python, "-c", where).split())
    listed = output(script, "losses")  # read from the source that was installed
    assert all(f"  {entry.name} " in listed for entry in ENTRIES)
