"""The lists of dependencies say the same, and the package holds all of its files."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CONDA_NAMES = {"pytorch": "torch"}
IMPORT_NAMES = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn"}
# These come with a direct dependency and are one with it.
COMES_WITH = {
    "triton": "torch",
    "IPython": "ipywidgets",
    "scipy": "scikit-image",
    "threadpoolctl": "scikit-learn",
    "tifffile": "scikit-image",
    "traitlets": "ipywidgets",
}


def read_project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared() -> dict[str, Requirement]:
    """Every direct dependency of pyproject.toml, the extras' too, by canonical name."""
    project = read_project()
    lines = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        lines += extra
    requirements = [Requirement(line) for line in lines]
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    assert len(set(names)) == len(names), "a dependency is listed twice in pyproject.toml"
    return dict(zip(names, requirements, strict=True))


def pins() -> dict[str, list[Requirement]]:
    found = defaultdict(list)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found[canonicalize_name(requirement.name)].append(requirement)
    return found


def conda_environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def conda_dependencies() -> dict[str, SpecifierSet]:
    """The lines of environment.yml, conda's and pip's, under the names pip knows."""
    found = {}
    for line in conda_environment()["dependencies"]:
        for entry in line["pip"] if isinstance(line, dict) else [line]:
            if entry in ("pip", "-e ."):
                continue
            requirement = Requirement(entry)
            name = canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))
            assert name not in found, f"{name} is listed twice in environment.yml"
            found[name] = requirement.specifier
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_every_dependency_once_for_each_python(python: str) -> None:
    where = {"python_version": python, "python_full_version": f"{python}.0"}
    for name, lines in pins().items():
        here = [pin for pin in lines if pin.marker is None or pin.marker.evaluate(where)]
        versions = [str(pin.specifier) for pin in here]
        assert all(re.fullmatch(r"==[\w.]+", version) for version in versions), (name, versions)
        assert len(versions) <= 1, f"{name} is pinned {versions} on Python {python}"
    for name, requirement in declared().items():
        if requirement.marker is not None and not requirement.marker.evaluate(where):
            continue
        here = [pin for pin in pins()[name] if pin.marker is None or pin.marker.evaluate(where)]
        assert len(here) == 1, f"{name} has no pin in constraints.txt for Python {python}"
        version = str(here[0].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} refuses the pin {version}"


def test_environment_yml_has_the_same_dependencies_as_pyproject() -> None:
    environment = conda_environment()
    assert environment["name"] == "dasrlib"
    assert environment["channels"][0] == "conda-forge"
    conda = conda_dependencies()
    assert conda.pop("python") == SpecifierSet(read_project()["requires-python"])
    wanted = {name: requirement.specifier for name, requirement in declared().items()}
    assert conda == wanted


def test_every_place_names_the_same_lowest_python() -> None:
    floor = read_project()["requires-python"].removeprefix(">=")
    assert floor == PYTHONS[0]
    for name in ("Makefile", ".ci/run"):
        versions = re.findall(
            r"version_info < \((\d+), (\d+)\)", (ROOT / name).read_text(encoding="utf-8")
        )
        assert [".".join(version) for version in versions] == [floor], name
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == [PYTHONS[0], PYTHONS[-1]]


def test_version_and_licence_are_the_same_everywhere() -> None:
    import dasrlib

    project = read_project()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == dasrlib.__version__ == citation["version"]
    assert project["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_the_library_imports_only_what_it_declares() -> None:
    known = set(declared())
    for path in sorted((ROOT / "dasrlib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for module in {name.split(".")[0] for name in modules}:
                if module in sys.stdlib_module_names or module == "dasrlib":
                    continue
                name = COMES_WITH.get(module, IMPORT_NAMES.get(module, canonicalize_name(module)))
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert name in known, (
                    f"{where} imports {module}, which pyproject.toml does not name"
                )


def test_every_file_of_the_package_is_shipped() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    patterns = tools["setuptools"]["package-data"]["dasrlib"]
    package = ROOT / "dasrlib"
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    assert package / "py.typed" in shipped
    for path in package.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert path in shipped, f"no pattern of package-data names {path.relative_to(package)}"
