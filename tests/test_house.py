"""The house rules: imports run one way, importing does nothing, the README's commands exist."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tenor"
# A room may import from storeys before its own, not from its neighbours.
STOREYS = [("errors",), ("config", "box", "compact", "tasks"), ("data", "cells", "store"), ("models",), ("pipelines",), ("training", "results"), ("jobs",), ("api",), ("terminal",), ("cli",)]
LEVEL = {room: i for i, rooms in enumerate(STOREYS) for room in rooms}


def rooms_used(path: Path) -> set[str]:
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else [a.name for a in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name == "tenor" and isinstance(node, ast.ImportFrom):
                used |= {a.name for a in node.names}
            elif name.startswith("tenor."):
                used.add(name.split(".")[1])
    return used


@pytest.mark.parametrize("path", sorted(p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.py") if p.name != "__init__.py"))
def test_imports_run_one_way(path):
    room = path.split("/")[0].removesuffix(".py")
    for used in rooms_used(SOURCE / path):
        assert used == room or LEVEL[used] < LEVEL[room], f"{path} imports {used}"


def test_store_knows_neither_torch_nor_training():
    assert "torch" not in (SOURCE / "store.py").read_text()


def test_files_stay_readable():
    for path in SOURCE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 350, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and path.parent.name != "cli":  # a command's options are lines too
                body = node.end_lineno - node.body[0].lineno + 1
                assert body <= 60, f"{path.name}: {node.name} has {body} lines"


def test_importing_loads_nothing_heavy():
    code = "import sys, tenor, tenor.cli; print(*(m for m in ('torch', 'sklearn', 'matplotlib', 'pyarrow') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_an_answer_does_not_load_torchs_compiler():
    code = "import sys; from tenor import load; print(load('reviews-en').predict(['Good.']), *(m for m in ('torch._dynamo', 'torch._inductor') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "['positive']"  # two seconds


def test_a_wrong_model_is_told_before_anything_heavy_is_loaded():
    """Whatever names a model: one command after another in one process."""
    wrong = "predict x -m nosuch|evaluate sample -m nosuch|train sample --from nosuch|train sample --teacher nosuch|info nosuch|info -m nosuch|shrink nosuch --out z|translate x -m nosuch|explain x -m nosuch -o a.svg|chat -m nosuch|generate x -m nosuch|transcribe x.wav -m nosuch"
    code = """import sys
from tenor.cli import app
from tenor.errors import TenorError
for line in sys.argv[1].split("|"):
    try:
        app(line.split(), standalone_mode=False)
    except TenorError as error:
        loaded = [m for m in ("torch", "sklearn", "pyarrow") if m in sys.modules]
        print(*loaded or ["told"] if "nosuch does not exist" in str(error) else [line, error])
"""
    said = subprocess.run([sys.executable, "-c", code, wrong], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["told"] * len(wrong.split("|"))


def test_readme_commands_exist():
    """Every `tenor` command line of the README parses: the command and each of its options are known."""
    import typer

    from tenor.cli import app

    commands = typer.main.get_command(app).commands
    lines = re.findall(r"^\s*(?:\$ )?tenor ([a-z]+)(.*)$", (ROOT / "README.md").read_text(), re.M)
    assert len(lines) >= 5
    for name, rest in lines:
        assert name in commands, name
        known = {o for p in commands[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", re.sub(r'"[^"]*"', "", rest.split("#")[0])):
            assert option in known, f"{name} {option}"


def test_docstring_examples_run():
    import doctest

    import tenor.api.classify
    import tenor.api.generate
    import tenor.api.tag
    import tenor.api.transcribe
    import tenor.api.translate

    for module in (tenor.api.classify, tenor.api.generate, tenor.api.tag, tenor.api.transcribe, tenor.api.translate):
        found = doctest.testmod(module)
        assert found.failed == 0 < found.attempted
