"""The public surface: what is exported is there, documented, and light to import."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit
from edgekit import errors
from edgekit.cli import COMMANDS, cli

pytestmark = pytest.mark.unit
HEAVY = {
    "tensorflow",
    "torch",
    "keras",
    "onnx",
    "numpy",
    "paramiko",
    "ai_edge_litert",
    "ai_edge_quantizer",
    "rich",
    "PIL",
    "jinja2",
}


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in edgekit.__all__:
        value = getattr(edgekit, name)
        assert inspect.getdoc(value), f"edgekit.{name} has no docstring"


def test_no_public_name_is_hidden_by_a_module() -> None:
    folder = Path(edgekit.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    assert not modules & set(edgekit.__all__), "importing the module would replace the name"


def test_type_checkers_and_run_time_agree_on_the_names() -> None:
    assert sorted(edgekit.__all__) == sorted(edgekit._NAMES)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = edgekit.nonsense


@pytest.mark.parametrize(
    "code", ["import edgekit", "from edgekit.cli import cli; cli(['--help'], standalone_mode=False)"]
)
def test_nothing_heavy_is_imported(code: str) -> None:
    script = f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(json.loads(result.stdout.splitlines()[-1]))
    assert not HEAVY & modules


def test_every_command_exists_and_has_json_and_verbose() -> None:
    import click

    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            names = {option for parameter in leaf.params for option in parameter.opts}
            assert {"--json", "--verbose"} <= names, f"{name} {leaf.name}"
            assert leaf.help, f"{name} {leaf.name} has no help"


def _tree(root: type[errors.EdgekitError]) -> list[type[errors.EdgekitError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


def test_each_exit_code_belongs_to_one_branch_of_the_error_tree() -> None:
    owners: dict[int, set[str]] = {}
    for kind in _tree(errors.EdgekitError):
        branch = kind
        while kind.exit_code != 1 and branch.__mro__[1].exit_code == kind.exit_code:  # type: ignore[attr-defined]
            branch = branch.__mro__[1]
        if kind.exit_code != 1:
            owners.setdefault(kind.exit_code, set()).add(branch.__name__)
    assert {code: len(names) for code, names in owners.items()} == dict.fromkeys([3, 4, 5, 6, 7, 8], 1)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    text = errors.__doc__ or ""
    for kind in _tree(errors.EdgekitError):
        assert kind.__name__ in text
