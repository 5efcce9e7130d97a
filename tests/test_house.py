"""The house: imports point down, one door per library, nobody else owns our names."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("rules", "engine", "actors", "api")
#: Library -> the modules that may import it.
DOORS = {
    "durable_rules_engine": {"rules.rete"},
    "durable": set(),
    "transitions": {"engine.lifecycle", "engine.records"},
    "dramatiq": {"actors.broker", "actors.worker"},
    "alembic": {"engine.store.migrate", "engine.store.migrations.env"},
    "litestar": None,
}


def sources() -> list[Path]:
    return [p for floor in FLOORS for p in sorted((ROOT / floor).rglob("*.py")) if "versions" not in p.parts]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("library", [name for name, door in DOORS.items() if door is not None])
def test_each_library_has_one_door(library: str) -> None:
    users = {module(p) for p in sources() if any(i.split(".")[0] == library for i in imported(p))}
    allowed = DOORS[library]
    assert allowed is not None
    assert users <= allowed, f"{library} is imported by {users - allowed}"


def test_litestar_stays_on_its_floor() -> None:
    users = {module(p) for p in sources() if any(i.split(".")[0] == "litestar" for i in imported(p))}
    assert users
    assert all(name.startswith("api.") for name in users)


def test_the_product_never_imports_the_demo_or_the_benchmarks() -> None:
    for path in sources():
        names = {i.split(".")[0] for i in imported(path)}
        if module(path) != "api.cli.remote":  # `lotgate demo` tells the story
            assert not names & {"demo", "bench"}, path


def test_an_init_file_says_what_the_room_is_for_and_imports_nothing() -> None:
    for path in ROOT.glob("*/**/__init__.py"):
        if path.relative_to(ROOT).parts[0] in (*FLOORS, "demo", "bench"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), path
            assert not imported(path), path


def test_no_folder_of_tests_shadows_a_floor() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_other_package_owns_our_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for name in FLOORS:
        assert set(owners.get(name, ["lotgate"])) <= {"lotgate"}, f"{name} also belongs to {owners[name]}"


def test_every_module_says_what_it_is_for() -> None:
    for path in sources():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
