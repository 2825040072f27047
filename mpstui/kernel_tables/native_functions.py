"""Reads ``native_functions.yaml`` of the importable torchgen with torchgen's own parser.

``python -m mpstui.kernel_tables.native_functions`` prints it as JSON: another version's torchgen is
read in a process that has it at the front of its path. torchgen imports PyYAML, but not torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from .tables import COMPOSITE, DECLARED


def read_columns() -> Mapping[str, list[str]]:
    """Return ops by dispatch key: the keys ``…MPS``, the composite keys, and all declared ops.

    An op of a structured group has the structured kernels of the op that it delegates to.

    Raises:
        ImportError: If torchgen or PyYAML is missing.
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
    # Only structured kernels are shared, not those of the structured op for sparse tensors.
    delegate_kernel = index.get_kernel(functions[function.structured_delegate])
    return delegate_kernel is not None and bool(delegate_kernel.structured)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(read_columns()))
