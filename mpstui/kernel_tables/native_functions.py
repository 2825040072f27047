"""``native_functions.yaml`` of the torchgen that can be imported, read with its own parser.

``python -m mpstui.kernel_tables.native_functions`` prints it as JSON: another version's torchgen is
read in a process that has it first on its path. torchgen imports PyYAML, and no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from .tables import COMPOSITE, DECLARED


def read_columns() -> Mapping[str, list[str]]:
    """Ops by dispatch key; those of ``…MPS``, composite ones, and all.

    An op of a structured group has the structured kernels of the op that it delegates to.

    Raises:
        ImportError: Without torchgen or PyYAML.
    """
    import torchgen  # type: ignore[import-untyped, unused-ignore]
    from torchgen.gen import parse_native_yaml  # type: ignore[import-untyped, unused-ignore]

    folder = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    parsed = parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))
    functions = {function.func.name: function for function in parsed.native_functions}
    columns: dict[str, list[str]] = {DECLARED: sorted(str(name) for name in functions)}
    for key, index in parsed.backend_indices.items():
        if str(key).endswith("MPS") or str(key) in COMPOSITE:
            columns[str(key)] = sorted(
                str(name)
                for name, function in functions.items()
                if _has_kernel(index, function, functions)
            )
    return columns


def _has_kernel(index: Any, function: Any, functions: Mapping[Any, Any]) -> bool:
    if index.get_kernel(function) is not None:
        return True
    if function.structured_delegate is None:
        return False
    # What the structured op has for sparse tensors is its own: only structured kernels are shared.
    shared = index.get_kernel(functions[function.structured_delegate])
    return shared is not None and bool(shared.structured)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(read_columns()))
