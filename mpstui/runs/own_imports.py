"""Finds the user's own modules that a file imports, by parsing, without running anything.

Own modules are files in the file's folder, in the folder above its package, or in the working
directory if that is above the file. A name that is installed, or in the standard library, is none
of them, unless it is the file's own package.
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from .files import read_bytes

MOST_MODULES = 200
"""Modules that are copied; more are imported from their place."""

MOST_BYTES = 4 << 20
"""Bytes of all copied modules."""

_NEVER_OWN = {"mpstui", "torch", *sys.builtin_module_names, *sys.stdlib_module_names}

_LIBRARIES = {"site-packages", "dist-packages"}
"""Folders of installed packages."""


class OwnModule(NamedTuple):
    """A module of the user's."""

    name: str
    """Its name when imported: ``pkg.net``."""
    file: str
    """The original's absolute path; for a folder without ``__init__.py``, the folder's."""
    text: bytes | None
    """None for a folder without ``__init__.py``."""
    is_package: bool = False


class Surroundings(NamedTuple):
    """What a file needs to run as in its own folder."""

    package: str = ""
    """The package that the file belongs to; empty if none."""
    roots: tuple[str, ...] = ()
    """Folders for ``sys.path``, in this order."""
    modules: tuple[OwnModule, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out, for the log."""


def find_surroundings(file: Path, text: bytes, folder: Path) -> Surroundings:
    """Find a file's package, and the modules that it imports, directly or through others.

    Args:
        file: The file's absolute path.
        text: Its content.
        folder: The working directory.
    """
    tree = _parse(text)
    if tree is None:
        return Surroundings("", (str(file.parent),))
    package, root = _package_of(file, tree)
    roots = list(dict.fromkeys([file.parent, root]))
    if not _LIBRARIES.isdisjoint(file.parts):  # an installed file: so are its modules
        return Surroundings(package, tuple(map(str, roots)))
    is_above = folder in file.parents and folder not in roots
    search = _Search([*roots, folder] if is_above else roots, package.partition(".")[0])
    search.follow(tree, package)
    if is_above and folder in search.used:  # else it may have folders named like packages (wandb)
        roots.append(folder)
    return Surroundings(
        package, tuple(map(str, roots)), tuple(search.modules.values()), tuple(search.notes)
    )


class _Search:
    def __init__(self, roots: Sequence[Path], own_package: str) -> None:
        self.modules: dict[str, OwnModule] = {}
        self.used: set[Path] = set()
        self.notes: list[str] = []
        self._roots = roots
        self._own_package = own_package
        self._bytes = 0
        self._installed: dict[str, bool] = {}

    def follow(self, tree: ast.Module, package: str) -> None:
        """Add the modules that a module of a package imports, and those that they import."""
        pending = [(tree, package)]
        while pending:
            for name in _imports(*pending.pop()):
                for module in self._add(name):
                    module_tree = _parse(module.text or b"")
                    parent = module.name.rpartition(".")[0]
                    if module_tree is not None:
                        pending.append((module_tree, module.name if module.is_package else parent))

    def _add(self, name: str) -> Iterator[OwnModule]:
        """Add a module and the packages around it, and yield the new ones."""
        root, parts = self._locate(name.split("."))
        for size in range(1, len(parts) + 1):
            module_name = ".".join(parts[:size])
            if root is None or module_name in self.modules:
                continue
            module = _read(root, module_name)
            if module is None:
                return
            size_after = self._bytes + len(module.text or b"")
            if len(self.modules) >= MOST_MODULES or size_after > MOST_BYTES:
                if not self.notes:
                    limits = f"{MOST_MODULES} modules, {MOST_BYTES >> 20} MiB"
                    problem = f"more modules are imported than are copied ({limits})"
                    self.notes.append(f"{problem}: {module_name} and others stay where they are")
                return
            self._bytes = size_after
            self.modules[module_name] = module
            self.used.add(root)
            yield module

    def _locate(self, parts: list[str]) -> tuple[Path | None, list[str]]:
        """Return the root of a module, and its name without attributes of the module."""
        if not all(parts) or self._is_installed(parts[0]):
            return None, []
        for size in range(len(parts), 0, -1):
            for root in self._roots:
                if module_file(root, parts[:size]) is not None:
                    return root, parts[:size]
        return None, []

    def _is_installed(self, name: str) -> bool:
        if name == self._own_package:
            return False
        if name not in self._installed:
            self._installed[name] = name in _NEVER_OWN or _finds(name, self._roots)
        return self._installed[name]


def module_file(root: Path, parts: Sequence[str]) -> Path | None:
    """Return the file of a module below a folder, ``__init__.py`` for a package; None if none."""
    path = root.joinpath(*parts)
    for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if os.path.isfile(file):  # False for a name that is too long
            return file
    return None


def _finds(name: str, roots: Sequence[Path]) -> bool:
    """Return whether Python finds a module without the user's folders."""
    paths = [path for path in sys.path if path and Path(path) not in roots]
    try:
        spec = PathFinder.find_spec(name, paths)
    except (ImportError, ValueError):  # a broken entry of the path
        return False
    return spec is not None and spec.origin is not None  # None: a folder that is no package


def _read(root: Path, name: str) -> OwnModule | None:
    parts = name.split(".")
    file = module_file(root, parts)
    if file is None:
        return OwnModule(name, str(root.joinpath(*parts)), None, is_package=True)
    try:
        text = read_bytes(file, MOST_BYTES)
        return OwnModule(name, str(file), text, file.name == "__init__.py")
    except OSError:
        return None


def _package_of(file: Path, tree: ast.Module) -> tuple[str, Path]:
    """Return a file's package and the folder above it.

    Folders with ``__init__.py`` are packages, and as many others as relative imports name.
    """
    levels = [node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    parts: list[str] = []
    folder = file.parent
    while folder.name.isidentifier() and (
        os.path.isfile(folder / "__init__.py") or len(parts) < max(levels, default=0)
    ):
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names that a module imports: of modules, or of a module's attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".") if package else []
                if len(parts) < node.level:
                    continue
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            names = [alias.name for alias in node.names]
            yield from (base if name == "*" else f"{base}.{name}" for name in names)


def _parse(text: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings():  # for the user's code; they are shown when it runs
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # running the file reports it
