from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from mpstui.domain.errors import FieldError
from mpstui.kernel_tables.tables import (
    COMPOSITE,
    FILE,
    encode,
    find_version,
    kernel_table,
    make_table,
    versions,
)

REGISTERED = {
    **{"2.9.0": 851, "2.9.1": 851, "2.10.0": 859, "2.11.0": 871, "2.12.0": 882, "2.12.1": 882},
    **{"2.13.0": 894, "2.14.0": 914, "2.14.1": 914, "2.15.0": 930},
}
"""Names in the functions ``TORCH_LIBRARY_IMPL(aten, MPS, m)`` of each macOS wheel's
``libtorch_cpu.dylib``, read by disassembly: the same as the table's, one by one."""


def test_each_released_torch_has_the_registrations_of_its_macos_library() -> None:
    assert {version: len(kernel_table(version).mps) for version in versions()} == REGISTERED


def test_sparse_kernels_are_those_of_the_macos_library_too() -> None:
    table = kernel_table("2.14.1")
    assert len(table.of("SparseMPS")) == 161
    assert len(table.of("SparseCsrMPS")) == 13
    # Of a structured op only the dense kernel is shared with those that delegate to it.
    assert "addmm_" not in table.of("SparseMPS")
    assert "sum.dim_IntList" in table.of("SparseMPS")
    assert not table.of("QuantizedMPS")


def test_ops_are_named_as_the_dispatcher_prints_them() -> None:
    table = kernel_table("2.14.1")
    assert {"add.Tensor", "add.out", "relu_", "_mps_convolution"} <= table.native
    assert not any(name.startswith("aten::") for name in table.declared)


def test_what_is_registered_by_hand_is_neither_native_nor_missing() -> None:
    table = kernel_table("2.14.1")
    assert table.fallback == {"embedding_renorm_"}
    assert table.stubs == {"_slow_conv2d_forward"}
    assert table.fallback | table.stubs <= table.mps
    assert not (table.fallback | table.stubs) & table.native
    assert kernel_table("2.13.0").fallback >= {"linalg_svd", "linalg_svd.U"}


def test_a_later_version_has_more_kernels() -> None:
    new = kernel_table("2.15.0").native - kernel_table("2.14.1").native
    assert {"take", "put_", "heaviside", "frexp.Tensor_out"} <= new


def test_composite_ops_are_known_by_their_column() -> None:
    table = kernel_table("2.14.1")
    assert "embedding" in table.of(COMPOSITE[0])
    assert "reshape" in table.of(COMPOSITE[2])
    assert table.composite >= {"embedding", "reshape"}


@pytest.mark.parametrize(
    ("version", "means"),
    [
        ("2.14.1", "2.14.1"),
        ("2.14.1+cu130", "2.14.1"),
        ("2.14", "2.14.1"),
        ("2.9", "2.9.1"),
        (" 2.15 ", "2.15.0"),
    ],
)
def test_a_version_without_its_last_number_is_the_newest_of_them(version: str, means: str) -> None:
    assert kernel_table(version).torch == means


@pytest.mark.parametrize("version", ["2.8.0", "2.1", "2.15.0.dev20260901", "2.14.2", "", "2", "x"])
def test_no_other_version_ever_answers_for_one_without_a_table(version: str) -> None:
    with pytest.raises(FieldError, match=r"no table for torch .*allowed: 2\.9\.0, .*2\.15\.0"):
        kernel_table(version)


def test_the_newest_is_found_by_number_and_not_by_text() -> None:
    assert find_version("2.9", ["2.9.9", "2.9.10"]) == "2.9.10"


def test_the_file_is_what_its_own_tables_encode_to() -> None:
    assert encode([kernel_table(version) for version in versions()]) == FILE.read_bytes()


def test_an_op_that_comes_goes_and_comes_again_keeps_its_versions() -> None:
    tables = [
        make_table(version, {"MPS": ["a", "b"] if version in ("2.9.0", "2.11.0") else ["a"]})
        for version in ("2.11.0", "2.9.0", "2.10.0")
    ]
    decoded = msgspec.json.decode(encode(tables))
    assert decoded["versions"] == ["2.9.0", "2.10.0", "2.11.0"]
    assert decoded["columns"]["MPS"] == {"2.9.0 to 2.11.0": ["a"], "2.9.0, 2.11.0": ["b"]}


def test_reading_a_table_imports_no_torch() -> None:
    code = (
        "import sys, mpstui.kernel_tables.tables as t; t.kernel_table('2.15'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "torchgen", "yaml"} & set(done.stdout.split())
