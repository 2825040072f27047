"""What the recorder says of torch's own op database, against the lists of its MPS tests.

``python -m tests.benchmarks.mps_opinfos`` (it needs ``pip install expecttest``) runs samples of
each OpInfo in float32, forward and backward, under the recorder, and holds the answers against
``torch/testing/_internal/common_mps.py`` and the marks in the database itself: what torch's authors
see fail and pass on Macs. Those tests leave samples out that ask for float64, so an op of which
MPS refuses that alone agrees either way. It takes some minutes, and prints each op of which the two
disagree.
"""

from __future__ import annotations

import ast
import sys
import unittest
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils._pytree import tree_map_only

from mpstui.coverage.op_recorder import recording
from mpstui.coverage.placement import MPS
from mpstui.domain.coverage import Coverage, OpUse
from mpstui.kernel_tables.tables import kernel_table
from mpstui.ops.schema import tensors

SAMPLES = 40
UNIMPLEMENTED = "UNIMPLEMENTED_XFAILLIST"

NUMBERS = ("native_group_norm", "svd_lowrank")
"""Ops whose tests fail for the numbers that they give: no kernel is missing. Of the first the
database says so; the second draws at random and compares singular vectors."""


def main(only: list[str]) -> int:
    """Compare; the number of ops that the recorder calls otherwise than torch's tests."""
    from torch.testing._internal.common_methods_invocations import op_db

    warnings.simplefilter("ignore")
    unimplemented = listed()
    wrong = agreed = unknown = 0
    infos: list[Any] = op_db
    for info in infos:
        name = info.name + info.variant_test_name
        if (only and name not in only) or torch.float32 not in info.supported_dtypes("cpu"):
            continue
        coverage = _record(info)
        if coverage.error or coverage.runs is None:
            unknown += 1
            print(f"- {name}: {coverage.verdict[:150]}")
            continue
        fails = (name in unimplemented or _marked(info)) and name not in NUMBERS
        without = msgspec.structs.replace(
            coverage, ops=tuple(op for op in coverage.ops if "float64" not in op.reason)
        )
        if (not fails) in (coverage.runs, without.runs):
            agreed += 1
        else:
            wrong += 1
            print(f"✗ {name}: {coverage.verdict[:150]}; torch's: {'fails' if fails else 'passes'}")
    print(f"{agreed} ops as torch's tests say, {wrong} otherwise, {unknown} cannot be told")
    return wrong


def listed() -> set[str]:
    """Ops of the list of those that are not implemented in float32."""
    path = Path(torch.__file__).parent / "testing" / "_internal" / "common_mps.py"
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == UNIMPLEMENTED:
            assert isinstance(node.value, ast.Dict)
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                dtypes = ast.unparse(value)
                if key is not None and (dtypes == "None" or "float32" in dtypes):
                    names.add(ast.literal_eval(key))
    return names


def _marked(info: Any) -> bool:
    """Whether the database itself expects a failure in the MPS tests."""
    return any(
        getattr(mark, "cls_name", "") == "TestConsistency"
        and unittest.expectedFailure in mark.decorators
        and (mark.dtypes is None or torch.float32 in mark.dtypes)
        for mark in info.decorators
    )


def _record(info: Any) -> Coverage:
    table = kernel_table(str(torch.__version__))
    ops: dict[str, OpUse] = {}
    error = ""
    samples = info.sample_inputs("cpu", torch.float32, requires_grad=info.supports_autograd)
    for sample in islice(_samples(samples), SAMPLES):
        here = tensors((sample.input, sample.args, sample.kwargs))
        with recording(
            table, {str(place): tensor for place, tensor in enumerate(here)}
        ) as recorder:
            try:
                args, kwargs = _there((sample.args, sample.kwargs))
                with recorder.phase("forward"):
                    out = info(sample.input, *args, **kwargs)
                loss = sum(t.abs().sum() for t in tensors(out) if t.requires_grad)
                if isinstance(loss, torch.Tensor) and loss.requires_grad:
                    with recorder.phase("backward"):
                        torch.autograd.backward(loss)
            except Exception as raised:  # noqa: BLE001
                error = f"{type(raised).__name__}: {raised}".partition("\n")[0]
        ops |= {op.op: op for op in recorder.ops()}
    return Coverage(
        workload=info.name,
        torch=table.torch,
        recorded_with=table.torch,
        ops=tuple(ops.values()),
        error=error,
    )


def _there(values: Any) -> Any:
    """Arguments that name the device, with MPS in its place."""
    values = tree_map_only(torch.device, lambda device: MPS, values)
    return tree_map_only(str, lambda text: MPS if text == "cpu" else text, values)


def _samples(samples: Any) -> Iterator[Any]:
    try:
        yield from samples
    except Exception:  # noqa: BLE001 - a sample that this machine cannot make
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
