from __future__ import annotations

import pytest

from mpstui.coverage.limits import KNOWN_THROUGH, LIMITS, REFUSED_CALLS, oldest_macos
from mpstui.coverage.op_support import judge_support
from mpstui.domain.coverage import VARIABLE, CallSite, Coverage, OpUse, Support
from mpstui.kernel_tables.tables import kernel_table, parse_version, versions

TABLE = kernel_table("2.14.1")


def test_an_op_without_a_kernel_raises_or_falls_back_with_the_variable() -> None:
    judged = judge_support("aten::adaptive_max_pool3d", TABLE)
    assert judged.support is Support.MISSING
    assert f"{VARIABLE}=1" in judged.reason


def test_for_a_sparse_tensor_the_variable_does_not_help() -> None:
    judged = judge_support("aten::linalg_eig", TABLE, "SparseMPS")
    assert judged.support is Support.MISSING
    assert "does not help" in judged.reason


def test_a_key_without_any_kernel_is_not_known_instead_of_missing() -> None:
    assert judge_support("aten::relu", TABLE, "NestedTensorMPS").support is Support.UNKNOWN


def test_ops_of_other_libraries_and_later_torches_are_not_known() -> None:
    assert judge_support("torchvision::nms", TABLE).support is Support.UNKNOWN
    assert judge_support("aten::_philox_randint", TABLE).support is Support.UNKNOWN
    assert (
        judge_support("aten::_philox_randint", kernel_table("2.15")).support is not Support.UNKNOWN
    )


@pytest.mark.parametrize("version", versions())
def test_a_convolution_is_looked_up_as_the_one_that_mps_picks(version: str) -> None:
    table = kernel_table(version)
    for transposed, op in ((False, "_mps_convolution"), (True, "_mps_convolution_transpose")):
        judged = judge_support("aten::convolution", table, transposed=transposed)
        assert judged == (Support.NATIVE, f"on MPS it is aten::{op}", "")
        backward = judge_support("aten::convolution_backward", table, transposed=transposed)
        assert backward.support is Support.NATIVE
    assert judge_support("aten::mkldnn_rnn_layer", table).reason == "on MPS it is aten::_lstm_mps"


@pytest.mark.parametrize("op", ["mkldnn_linear", "_scaled_dot_product_flash_attention_for_cpu"])
def test_a_kernel_of_the_cpu_is_no_evidence_against_mps(op: str) -> None:
    assert judge_support(f"aten::{op}", TABLE).support is Support.UNKNOWN


def test_a_composite_op_is_opened() -> None:
    assert judge_support("aten::embedding", TABLE).opens == "CompositeExplicitAutograd"


def test_before_2_14_it_does_not_show_which_svd_was_called() -> None:
    assert judge_support("aten::_linalg_svd", kernel_table("2.13")).support is Support.UNKNOWN
    assert judge_support("aten::_linalg_svd", TABLE).support is Support.NATIVE


@pytest.mark.parametrize(
    ("version", "macos"),
    [("2.9.0", "14.0"), ("2.14.1", "14.0"), ("2.15.0", "15.0"), ("2.16.0", "")],
)
def test_the_macos_of_a_version_is_known_as_far_as_its_library_was_read(
    version: str, macos: str
) -> None:
    assert oldest_macos(version) == macos


def test_no_limit_reaches_beyond_the_versions_that_were_looked_at() -> None:
    assert parse_version(versions()[-1]) == KNOWN_THROUGH
    for limit in (*LIMITS, *REFUSED_CALLS):
        assert limit.since <= limit.until <= KNOWN_THROUGH


def coverage(*ops: OpUse, error: str = "") -> Coverage:
    return Coverage(workload="w", torch="2.14.1", recorded_with="2.14.1", ops=ops, error=error)


def op(name: str, support: Support, source: str = "model.py:31", reason: str = "") -> OpUse:
    use = CallSite(phase="forward", count=1, source=source, code="x = y")
    return OpUse(op=f"aten::{name}", support=support, reason=reason, uses=(use,))


def test_the_verdict_is_one_line_with_the_op_and_the_line() -> None:
    native = op("relu", Support.NATIVE)
    fallback = op("embedding_renorm_", Support.FALLBACK)
    missing = op("adaptive_max_pool3d", Support.MISSING, "model.py:12")
    refused = op("zeros", Support.REFUSED, reason="refuses float64")
    unknown = op("nms", Support.UNKNOWN)
    start = "runs on MPS with torch 2.14.1"
    assert coverage(native).verdict == f"{start}, every op natively"
    assert (
        coverage(native, fallback).verdict
        == f"{start}; 1 op falls back: aten::embedding_renorm_ at model.py:31"
    )
    assert coverage(fallback, missing).verdict == (
        "does not run on MPS with torch 2.14.1: "
        "aten::adaptive_max_pool3d has no kernel (model.py:12)"
    )
    assert coverage(refused, missing).verdict == (
        "does not run on MPS with torch 2.14.1: aten::zeros refuses float64 (model.py:31); 1 more"
    )
    assert coverage(native, unknown).verdict == (
        "cannot be determined: 1 op is not known: aten::nms at model.py:31"
    )
    assert coverage(native, error="model.py:3: ValueError: no").verdict == (
        "cannot be determined: model.py:3: ValueError: no"
    )


def test_only_what_is_known_to_run_counts_as_running() -> None:
    native = op("relu", Support.NATIVE)
    assert coverage(native, op("e", Support.FALLBACK)).exit_code == 0
    for ops, error in (
        ((native, op("m", Support.MISSING)), ""),
        ((native, op("r", Support.REFUSED)), ""),
        ((native, op("u", Support.UNKNOWN)), ""),
        ((native,), "ValueError"),
    ):
        assert coverage(*ops, error=error).exit_code == 1
    # What was seen missing before an error is seen.
    assert coverage(op("m", Support.MISSING), error="ValueError").runs is False
