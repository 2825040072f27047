from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import pytest

from mpstui.domain.errors import FieldError
from mpstui.kernel_tables import generate
from mpstui.kernel_tables.tables import kernel_table, versions

TORCHGEN = """
import types
from pathlib import Path


class Index:
    def __init__(self, kernels):
        self.kernels = kernels

    def get_kernel(self, function):
        return self.kernels.get(function.func.name)


def kernel(structured):
    return types.SimpleNamespace(structured=structured)


def function(name, delegate=None):
    return types.SimpleNamespace(
        func=types.SimpleNamespace(name=name), structured_delegate=delegate
    )


def parse_native_yaml(functions, tags):
    assert Path(functions).name == "native_functions.yaml" and Path(tags).name == "tags.yaml"
    return types.SimpleNamespace(
        native_functions=[function("new_op", "new_op.out"), function("new_op.out")],
        backend_indices={
            "MPS": Index({"new_op.out": kernel(True)}),
            "SparseMPS": Index({"new_op.out": kernel(False)}),
            "CUDA": Index({"new_op": kernel(True)}),
        },
    )
"""
"""A torchgen of a version that is not there yet: its own parser is run, whatever it reads."""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "torch-9.1.0-cp312-cp312-macosx_15_0_arm64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("torchgen/__init__.py", "")
        archive.writestr("torchgen/gen.py", TORCHGEN)
        archive.writestr("torch/version.py", "raise SystemExit('not to be run')")
    return path


def test_a_wheel_is_read_by_the_torchgen_in_it(wheel: Path) -> None:
    table = generate.from_wheel(wheel)
    assert table.torch == "9.1.0"
    assert table.native == {"new_op", "new_op.out"}
    assert table.of("SparseMPS") == {"new_op.out"}
    assert "CUDA" not in table.columns
    assert table.fallback == {"embedding_renorm_"}


def test_the_command_adds_a_wheel_to_the_tables(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kernels.json"
    assert generate.main(["--wheel", str(wheel), "--out", str(out)]) == 0
    written = msgspec.json.decode(out.read_bytes())
    assert written["versions"] == [*versions(), "9.1.0"]
    assert written["columns"]["MPS"]["9.1.0"] == ["new_op", "new_op.out"]
    assert capsys.readouterr().out == "torch 9.1.0: 2 ops with an MPS kernel\n"


@pytest.mark.parametrize("name", ["torchvision-0.29.1-py3-none-any.whl", "torch-2.14.1.zip"])
def test_what_is_no_wheel_of_torch_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"")
    assert generate.main(["--wheel", str(tmp_path / name), "--out", str(tmp_path / "x")]) == 2
    assert "is not a wheel of torch; allowed: torch-VERSION" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_wheel_that_is_not_there_or_damaged_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "torch-9.1.0-x.whl"
    assert generate.main(["--wheel", str(damaged)]) == 2
    damaged.write_bytes(b"no zip")
    assert generate.main(["--wheel", str(damaged)]) == 2
    assert "not a zip file" in capsys.readouterr().err


def test_without_a_table_the_installed_torch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    table = kernel_table("2.14.1")
    monkeypatch.setattr(generate, "version", lambda name: "9.2.0+cpu")
    monkeypatch.setattr(generate, "from_installed", lambda: table)
    assert generate.table_of("9.2.0+cpu") is table
    with pytest.raises(FieldError, match=r"no table for torch 9\.3\.0"):
        generate.table_of("9.3.0")


def test_a_torchgen_that_cannot_be_run_leaves_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("torchgen of torch 9.2.0 cannot be run: No module named 'yaml'")

    monkeypatch.setattr(generate, "version", lambda name: "9.2.0")
    monkeypatch.setattr(generate, "from_installed", fail)
    with pytest.raises(FieldError, match=r"no table for torch 9\.2\.0"):
        generate.table_of("9.2.0")


def test_the_installed_torch_gives_the_table_that_is_shipped() -> None:
    pytest.importorskip("yaml", reason="torchgen's parser needs PyYAML, of the extra dev")
    fresh = generate.from_installed()
    assert fresh == kernel_table(fresh.torch)
