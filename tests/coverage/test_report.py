from __future__ import annotations

import json

from mpstui.coverage.report import as_document, as_markdown, as_text
from mpstui.domain.coverage import CallSite, Coverage, OpUse, Support


def use(line: int, phase: str = "forward", code: str = "x = self.pool(x)") -> CallSite:
    return CallSite(phase=phase, count=2, source=f"model.py:{line}", code=code)


COVERAGE = Coverage(
    workload="model.py:Net",
    torch="2.14.1",
    recorded_with="2.14.1",
    macos="14.0",
    ops=(
        OpUse(op="aten::relu", support=Support.NATIVE, uses=(use(3),)),
        OpUse(
            op="aten::embedding_renorm_",
            support=Support.FALLBACK,
            reason="copied to the CPU",
            uses=(use(4, code="a | b"),),
        ),
        OpUse(
            op="aten::adaptive_max_pool3d",
            support=Support.MISSING,
            reason="NotImplementedError",
            uses=tuple(use(line) for line in (5, 6, 7, 8, 9)),
        ),
        OpUse(
            op="aten::mul.Tensor",
            support=Support.NATIVE,
            uses=(CallSite(phase="optimizer", count=4),),
        ),
        OpUse(
            op="aten::linalg_matrix_exp",
            support=Support.NATIVE,
            reason="needs macOS 15.0",
            macos="15.0",
            uses=(use(6),),
        ),
    ),
)


def test_the_verdict_comes_first_then_what_is_not_native_worst_first() -> None:
    lines = as_text(COVERAGE).splitlines()
    assert lines[0] == COVERAGE.verdict
    assert [line[0] for line in lines[3:8]] == ["✗", " ", " ", " ", "!"]
    assert "aten::adaptive_max_pool3d" in lines[3]
    assert lines[3].split()[3] == "10"
    assert lines[6].strip() == "and 2 more lines"
    assert "aten::embedding_renorm_: copied to the CPU" in lines
    assert "✓ 3 ops native (--verbose lists them)" in lines
    assert "! aten::linalg_matrix_exp needs macOS 15.0 (model.py:6)" in lines
    assert "torch 2.14.1 says that it supports MPS on macOS 14.0 and later" in lines
    assert lines[-1].endswith("nothing ran on MPS")
    assert "aten::relu" not in as_text(COVERAGE)


def test_verbose_lists_native_ops_too() -> None:
    text = as_text(COVERAGE, verbose=True)
    assert "✓  aten::relu" in text
    assert "in optimizer" in text
    assert "--verbose" not in text


def test_markdown_keeps_a_bar_in_the_users_code_inside_its_cell() -> None:
    text = as_markdown(COVERAGE)
    assert text.startswith("### model.py:Net on MPS\n")
    assert "a \\| b" in text
    assert f"**{COVERAGE.verdict}**" in text


def test_the_document_has_every_op() -> None:
    document = json.loads(as_document(COVERAGE))
    assert document["runs"] is False
    assert document["verdict"] == COVERAGE.verdict
    assert len(document["coverage"]["ops"]) == 5
