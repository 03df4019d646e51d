"""Who may import whom, how long things may grow, where tests lie: DESIGN sections 1 and 7, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "speakerlab"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = [ROOT / name for name in ("train.py", "evaluate.py", "sweep.py") if (ROOT / name).is_file()]

LEAVES = ("data", "augment", "features", "encoders", "fusion", "losses", "scoring")
CORE = (*LEAVES, "ranks", "record", "network", "schema", "shipped", "config", "untrusted", "build")
# Part of speakerlab -> the other parts that it may import. Everything may import the package itself (InputError).
ALLOWED = {
    **dict.fromkeys((*LEAVES, "ranks", "record", "schema", "shipped"), ()),
    "network": LEAVES,
    "config": (*LEAVES, "schema", "shipped"),
    "untrusted": ("shipped",),
    "build": (*LEAVES, "network", "shipped", "config", "untrusted"),
    **dict.fromkeys(("training", "inference", "reports", "sweeping"), CORE),
    "cli": (*CORE, "training", "inference", "reports", "sweeping"),
}

LIGHTNING = ("pytorch_lightning", "lightning_fabric", "lightning", "lightning_utilities")
CONFIGS = ("hydra", "omegaconf")
# Library -> the parts that may import it; a late import counts as much as any other.
LIBRARIES = {
    **dict.fromkeys(LIGHTNING, ("training",)),
    **dict.fromkeys(CONFIGS, ("schema", "config", "build", "training", "inference", "sweeping", "cli")),
    "matplotlib": ("reports",),
    "gradio": ("inference",),
}
# An ONNX model is used with these, where there may be no torch.
WITHOUT_TORCH = (
    *(f"data.{name}" for name in ("audio", "download", "length_batches", "manifest", "pool", "scan", "trials", "tree")),
    *(f"inference.{name}" for name in ("card", "decisions", "decoder", "fetching", "gallery", "hearing")),
    *(
        f"inference.{name}"
        for name in ("kept_calibration", "many_files", "page", "pieces", "recognizer", "engines.onnx")
    ),
    "scoring",
)

LONGEST_FILE, LONGEST_FUNCTION = 350, 60


class Import(NamedTuple):
    """An imported module with all its dots, and whether it is imported when its importer is."""

    module: str
    early: bool


def imports(source: str, package: str = "speakerlab") -> Iterator[Import]:
    """Every import of a source, nested ones too; `from speakerlab import build` counts as `speakerlab.build`.

    Args:
        source: Python.
        package: that the file lies in, for relative imports.
    """
    yield from _imports(ast.parse(source), package, early=True)


def _imports(node: ast.AST, package: str, early: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, early) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = package.rsplit(".", child.level - 1)[0] if child.level else ""
            module = ".".join(part for part in (base, child.module) if part)
            yield from (Import(f"{module}.{alias.name}", early) for alias in child.names)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            )
            yield from _imports(child, package, early and not inside and not for_types)


def faults(part: str, source: str, package: str = "speakerlab") -> list[str]:
    """What a file of this part of speakerlab imports that it may not."""
    found = []
    for module, _ in imports(source, package):
        library, *rest = module.split(".")
        if library == "speakerlab":
            target = rest[0] if rest and rest[0] in ALLOWED else part
            if target not in (part, *ALLOWED[part]):
                found.append(module)
        elif library in LIBRARIES and part not in LIBRARIES[library]:
            found.append(module)
    return found


def part_of(path: Path) -> str:
    """`data`, `network`, ...; "" for the package itself."""
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def dotted(path: Path) -> str:
    """Name of a file's module: `speakerlab.data.audio`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(path: Path) -> str:
    return ".".join(path.parent.relative_to(ROOT).parts)


def early_imports(path: Path, by_module: dict[str, Path], seen: set[Path]) -> set[str]:
    """Libraries that importing this file imports, through other files of speakerlab too."""
    if path in seen:
        return set()
    seen.add(path)
    libraries = set()
    for module, early in imports(path.read_text(), package_of(path)):
        if not early:
            continue
        if not module.startswith("speakerlab"):
            libraries.add(module.split(".")[0])
        for name in (module, module.rpartition(".")[0]):
            if name in by_module:
                libraries |= early_imports(by_module[name], by_module, seen)
    return libraries


def test_every_part_has_a_rule():
    assert {part_of(path) for path in SOURCES} - {""} <= set(ALLOWED)


@pytest.mark.parametrize("path", SOURCES, ids=dotted)
def test_imports_go_downward(path):
    part = part_of(path)
    if part:
        assert not faults(part, path.read_text(), package_of(path))
    else:  # what everything imports must import nothing
        assert not list(imports(path.read_text()))


def test_configs_become_objects_in_one_place():
    users = [
        dotted(path)
        for path in SOURCES
        for module, _ in imports(path.read_text(), package_of(path))
        if module.startswith("hydra.utils")
    ]
    assert users == ["speakerlab.build"]


def test_decoding_and_scoring_need_no_torch():
    by_module = {dotted(path): path for path in SOURCES}
    for path in SOURCES:
        name = dotted(path).removeprefix("speakerlab.")
        if name.startswith(WITHOUT_TORCH):
            heavy = early_imports(path, by_module, set()) & {"torch", "torchaudio", *LIGHTNING}
            assert not heavy, f"{name} imports {heavy}"


def test_scripts_start_light():
    """`--help` and typos answer at once."""
    light = ("omegaconf", "speakerlab.cli.launch")
    for script in SCRIPTS:
        early = [module for module, early in imports(script.read_text()) if early]
        assert all(module.startswith(light) for module in early), early


@pytest.mark.parametrize(
    "part, source, expected",
    [
        ("data", "from speakerlab import InputError", []),
        ("data", "from speakerlab.data.audio import probe\nimport torch", []),
        ("data", "from speakerlab.augment.chain import Chain", ["speakerlab.augment.chain.Chain"]),
        ("data", "from speakerlab import losses", ["speakerlab.losses"]),
        ("data", "import speakerlab.losses.aam", ["speakerlab.losses.aam"]),
        ("data", "from ..losses import aam", ["speakerlab.losses.aam"]),
        ("scoring", "def f():\n    if True:\n        import matplotlib.pyplot as plt", ["matplotlib.pyplot"]),
        ("losses", "try:\n    import hydra\nexcept ImportError:\n    pass", ["hydra"]),
        ("losses", "class A:\n    def f(self):\n        from omegaconf import DictConfig", ["omegaconf.DictConfig"]),
        ("network", "import pytorch_lightning as pl", ["pytorch_lightning"]),
        ("reports", "from speakerlab.training.run import Run", ["speakerlab.training.run.Run"]),
        ("config", "from speakerlab.build import build", ["speakerlab.build.build"]),
        ("build", "from speakerlab.training.run import Run", ["speakerlab.training.run.Run"]),
        (
            "build",
            "def f():\n    from speakerlab.training.run import Run",
            ["speakerlab.training.run.Run"],
        ),
        ("inference", "def f():\n    import lightning_fabric", ["lightning_fabric"]),
    ],
)
def test_the_checker_itself(part, source, expected):
    assert faults(part, source, "speakerlab.data") == expected


def test_no_drawer_for_everything():
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "helpers", "misc", "common")]


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION}


def test_tests_mirror_the_tree():
    tests = ROOT / "tests"
    whole = ("architecture", "configs", "commands", "experiments", "fusion", "losses", "models", "notebooks", "spaces")
    of_the_whole = {f"test_{name}.py" for name in whole}
    for path in sorted(tests.rglob("test_*.py")):
        place = path.relative_to(tests)
        if str(place) not in of_the_whole:
            assert (PACKAGE / place.parent / place.name.removeprefix("test_")).is_file(), place
