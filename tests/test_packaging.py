"""The wheel, built from the source distribution and installed into an empty environment, is the whole product."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from daimon_mcp import __version__
from daimon_mcp.settings import example_toml
from daimon_mcp.texts import our_folder

ROOT = Path(__file__).parents[1]
UV = ROOT / ".tools" / "bin" / "uv"
ENVIRON = dict(os.environ)  # as it was before the tests took this machine's trust away: a package index is asked


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**ENVIRON, "UV_COMPILE_BYTECODE": "0", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert UV.exists(), "uv is made by make: run `make check` once"
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--out-dir", folder, ROOT, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_text_and_the_source_has_what_building_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as built:
        inside = set(built.namelist())
    ours = Path(str(our_folder()))
    assert {f"daimon_mcp/prompts/{file.relative_to(ours)}" for file in ours.rglob("*.md")} <= inside
    assert {"daimon_mcp/py.typed", "daimon_mcp/config.example.toml"} <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    with tarfile.open(wheel.with_name(f"daimon_mcp-{__version__}.tar.gz")) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"LICENSE", "Makefile", "uv.lock", "scripts/find-python", "tests/conftest.py"} <= names


def test_it_runs_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    env = tmp_path / "env"
    run(UV, "sync", "--quiet", "--frozen", "--no-dev", "--no-install-project", "--project", ROOT,
        "--python", ROOT / ".venv" / "bin" / "python", cwd=tmp_path, UV_PROJECT_ENVIRONMENT=str(env))  # fmt: skip
    run(UV, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", env, wheel, cwd=tmp_path)
    assert __version__ in run(env / "bin" / "daimon-mcp", "--version", cwd=tmp_path)
    program = (
        "from daimon_mcp.texts import Texts, our_folder; from daimon_mcp.settings import example_toml; "
        "assert not Texts().problems(), Texts().problems(); print(our_folder()); print(example_toml(), end='')"
    )
    found, _, example = run(env / "bin" / "python", "-c", program, cwd=tmp_path).partition("\n")
    assert Path(found).is_relative_to(env)
    assert example == example_toml()
