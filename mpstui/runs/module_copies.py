"""Imports the user's modules from their copies, as if they were the originals."""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from typing_extensions import override

from .own_imports import OwnModule

SOURCE = "__mpstui_source__"
"""The name in a module of the user's that marks it as such, with its source."""


def serve(modules: Sequence[OwnModule], source: object) -> None:
    """Let these modules be imported in this process, before any others of their names.

    Args:
        modules: The modules, each with the text that runs.
        source: What marks them as the user's.
    """
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    changed = [module for module in modules if module != _FINDER.modules.get(module.name)]
    for module in modules if changed else ():
        if module.name in _FINDER.modules:  # of another workload, or bound to such a module
            sys.modules.pop(module.name, None)
    for module in changed:
        _FINDER.modules[module.name] = module
        if module.text is not None:
            show_lines(module.file, module.text)
    _FINDER.sources |= {module.name: source for module in modules}


def show_lines(file: str, text: bytes) -> None:
    """Let tracebacks show the lines that run, though the file may have changed since."""
    try:
        lines = importlib.util.decode_source(text).splitlines(keepends=True)
    except (SyntaxError, UnicodeDecodeError):  # running it reports that
        return
    # Without a time, linecache does not compare the entry with the file.
    linecache.cache[file] = (len(text), None, lines, file)


class _CopyFinder(importlib.abc.MetaPathFinder):
    def __init__(self) -> None:
        self.modules: dict[str, OwnModule] = {}
        self.sources: dict[str, object] = {}

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        module = self.modules.get(fullname)
        if module is None:
            return None
        if module.text is None:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [module.file]
            return spec
        return importlib.util.spec_from_file_location(
            fullname,
            module.file,
            loader=_CopyLoader(module, self.sources[fullname]),
            submodule_search_locations=(
                [str(Path(module.file).parent)] if module.is_package else None
            ),
        )


class _CopyLoader(importlib.abc.SourceLoader):
    """Python's own loader of source, with another text and without bytecode files."""

    def __init__(self, module: OwnModule, source: object) -> None:
        self._module = module
        self._source = source

    @override
    def get_filename(self, fullname: str) -> str:
        return self._module.file

    @override
    def get_data(self, path: str | bytes) -> bytes:
        if path == self._module.file:
            return self._module.text or b""
        return Path(path if isinstance(path, str) else path.decode()).read_bytes()

    @override
    def exec_module(self, module: ModuleType) -> None:
        vars(module)[SOURCE] = self._source
        super().exec_module(module)


_FINDER = _CopyFinder()
