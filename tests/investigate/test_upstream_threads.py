"""Threads of the catalogue beside an op at fault: only such as are about what was seen."""

from __future__ import annotations

import pytest

from mpstui.domain.investigation import OpAtFault, Verdict
from mpstui.investigate.conclusion import Conclusion

STRIDED = "float32 (4, 2), strides (1, 4)"
NEVER = "the result is never written"
SAME = "the result is the input"
SDPA = "_scaled_dot_product_attention_math_for_mps"
ORDER = "strides are ignored: elements are read in memory order"


@pytest.mark.parametrize(
    ("op", "phase", "inputs", "symptom", "rows"),
    [
        ("neg", "backward", "float32 (4, 2), strides (0, 0)", SAME, "neg-stride0"),
        ("neg", "forward", "float32 (4, 2)", SAME, ""),
        ("neg", "forward", "float32 (4, 2), strides (0, 0)", "all zeros", ""),
        ("exp", "forward", "float32 (4, 2), strides (0, 0)", SAME, ""),
        ("mm", "forward", STRIDED, "", ""),  # the thread is about long reductions
        ("mm", "forward", "float32 (40000, 2), strides (1, 40000)", "", "mm-transposed-left"),
        ("mm", "forward", "float32 (4, 2), strides (0, 1)", "", "mm-stride0"),
        ("bmm", "forward", "float32 (1, 4, 40000)", "", "bmm-long-reduction"),
        ("bmm", "forward", "float32 (1, 4, 4)", "", ""),
        ("topk", "forward", "float32 (1, 20)", "", "topk-16"),
        ("cumsum", "forward", "int64 (2, 2)", SAME, "int-cumsum"),
        ("cumsum", "forward", "float32 (2, 2)", SAME, ""),
        ("addcmul_", "optimizer", STRIDED, NEVER, "addcmul-strided"),
        ("addcmul_", "optimizer", STRIDED, "all zeros", ""),
        ("addcmul_", "optimizer", "float32 (4, 2)", NEVER, ""),
        ("normal_", "forward", STRIDED, "the draws are never written", "random-strided"),
        ("normal_", "forward", STRIDED, "mean 0.5 where 0 is right, 3,072 draws", ""),
        ("softplus", "forward", STRIDED, ORDER, "softplus-strided"),
        ("softplus_backward", "backward", STRIDED, ORDER, ""),
        ("tanh_backward", "backward", STRIDED, ORDER, "activation-strided"),
        ("tanh", "forward", STRIDED, ORDER, ""),
        ("native_batch_norm_backward", "backward", STRIDED, "", "batchnorm-channels-last"),
        ("native_batch_norm", "forward", STRIDED, "", ""),
        ("randn", "forward", "", "every slice holds the same draws", "randn-5d"),
        ("randn", "forward", "", "standard deviation 0.9 where 1 is right", ""),
        (SDPA, "forward", "float16 (1, 2, 8, 8)", "", "sdpa-causal-half"),
        (SDPA, "forward", "float32 (1, 2, 8, 8)", "", ""),
        ("isfinite", "forward", "float32 (1500000,), strides (464,)", "", ""),
    ],
)
def test_known_threads_are_about_the_op_its_phase_and_its_mechanics(
    op: str, phase: str, inputs: str, symptom: str, rows: str
) -> None:
    at_fault = OpAtFault(
        op=f"aten.{op}.default",
        phase=phase,
        index=1,
        step=1,
        inputs=(inputs,) if inputs else (),
        symptom=symptom,
    )
    found = Conclusion(Verdict.FAULTY_OP, "", kind="wrong result", op=at_fault)
    assert found.known == ((rows,) if rows else ())
