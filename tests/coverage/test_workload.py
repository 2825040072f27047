from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpstui.coverage.worker import _cover
from mpstui.coverage.workload import cover
from mpstui.domain.config import make_config
from mpstui.domain.coverage import Support
from mpstui.domain.errors import FieldError, MpstuiError
from mpstui.kernel_tables.tables import kernel_table

pytestmark = pytest.mark.filterwarnings("ignore")

OWN = """
import torch
from torch import nn


class Words:
    def model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images), labels)


class Renorm(Words):
    def model(self):
        return Tokens()


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 10, max_norm=1.0)

    def forward(self, images):
        tokens = (images[:, 0, 14, :5] * 3).long()
        return self.embedding(tokens).mean(1)


class Wrong(Words):
    def objective(self, model, images, labels):
        return model(images[:, :, :5]).mean()


class NoModel(Words):
    def model(self):
        return nn.Linear(3)


class Double(Words):
    def model(self):
        return super().model().double()

    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images.double()), labels)
"""

TABLE = kernel_table("2.14.1")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "words.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("workload", ["mnist", "vae"])
def test_the_built_in_workloads_run_natively(workload: str, tmp_path: Path) -> None:
    coverage = cover(make_config({"workload": workload}), TABLE, tmp_path)
    assert coverage.runs is True, coverage.verdict
    assert not coverage.problems
    assert coverage.macos == "14.0"
    phases = {use.phase for op in coverage.ops for use in op.uses}
    assert phases == {"forward", "backward", "optimizer", "evaluation"}
    lines = {use.source.partition(":")[0] for op in coverage.ops for use in op.uses if use.source}
    assert lines == {f"{workload}.py"}


def test_a_fallback_is_named_with_the_users_line(own: Path, tmp_path: Path) -> None:
    coverage = cover(make_config({"workload": f"{own}:Renorm"}), TABLE, tmp_path)
    (op,) = coverage.problems
    assert (op.op, op.support) == ("aten::embedding_renorm_", Support.FALLBACK)
    line = 1 + OWN.splitlines().index("        return self.embedding(tokens).mean(1)")
    assert coverage.verdict == (
        "runs on MPS with torch 2.14.1; 1 op falls back: "
        f"aten::embedding_renorm_ at words.py:{line}"
    )
    assert [(use.phase, use.count) for use in op.uses] == [("forward", 1), ("evaluation", 1)]
    assert coverage.exit_code == 0


def test_an_error_of_the_users_code_names_their_line_and_blames_no_op(
    own: Path, tmp_path: Path
) -> None:
    coverage = cover(make_config({"workload": f"{own}:Wrong"}), TABLE, tmp_path)
    line = 1 + OWN.splitlines().index("        return model(images[:, :, :5]).mean()")
    assert coverage.verdict.startswith(f"cannot be determined: words.py:{line}: RuntimeError: mat1")
    assert coverage.runs is None
    assert not coverage.problems


def test_a_double_model_is_refused_by_the_names_of_its_parameters(
    own: Path, tmp_path: Path
) -> None:
    coverage = cover(make_config({"workload": f"{own}:Double"}), TABLE, tmp_path)
    moved, doubled = coverage.problems
    assert (moved.op, moved.uses[0].code) == ("Tensor.to", "1.weight, 1.bias")
    assert doubled.op == "Tensor.double"
    assert coverage.exit_code == 1


def test_a_model_that_cannot_be_made_names_the_users_line(own: Path) -> None:
    line = 1 + OWN.splitlines().index("        return nn.Linear(3)")
    with pytest.raises(
        MpstuiError, match=rf"NoModel\.model: TypeError: .* \(words\.py:{line}, in model\)"
    ):
        _cover(json.dumps({"workload": f"{own}:NoModel"}), "2.14.1", lambda answer: None)


def test_a_class_that_is_not_there_is_bad_usage(own: Path) -> None:
    with pytest.raises(FieldError, match="has no class Nobody"):
        _cover(json.dumps({"workload": f"{own}:Nobody"}), "2.14.1", lambda answer: None)


def test_a_version_without_a_table_is_refused_before_torch_is_imported() -> None:
    answers: list[object] = []
    with pytest.raises(FieldError, match=r"no table for torch 2\.8"):
        _cover(json.dumps({"workload": "mnist"}), "2.8", answers.append)
    assert not answers
