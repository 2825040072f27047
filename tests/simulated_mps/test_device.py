"""The simulated device keeps to what torch says and does on a Mac."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from mpstui.kernel_tables.tables import kernel_table

from . import Fault, scripts
from .conftest import RunPython, Simulate

pytestmark = pytest.mark.slow


def test_torch_takes_it_for_its_accelerator_and_its_name_says_simulated(python: RunPython) -> None:
    facts = python(scripts.identity)
    assert "Simulated" in facts.pop("name")
    assert facts.pop("bytes") >= 24
    assert facts == {
        "built": True,
        "available": True,
        "accelerator": "mps",
        "cuda": False,
        "device": "mps:0",
        "sum": 12.0,
    }


def test_built_and_not_available(python: RunPython, simulate: Simulate) -> None:
    simulate(available=False)
    assert python(scripts.availability) == [True, False, True]


def test_what_mps_refuses_is_refused_in_torchs_words(python: RunPython) -> None:
    refusals = python(scripts.refusals)
    kind, text = refusals["float64"]
    assert (kind, "the MPS framework doesn't support float64" in text) == ("TypeError", True)
    assert refusals["complex128"][0] == "TypeError"
    kind, text = refusals["missing"]
    assert kind == "NotImplementedError"
    assert "'aten::adaptive_max_pool3d.out' is not currently implemented for the MPS" in text
    assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in text


def test_the_variable_lets_a_missing_op_fall_back_and_embedding_renorm_always_does(
    python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, pooled = python(scripts.fallbacks)
    assert ["embedding_renorm_" in message for message in messages] == [True]
    assert pooled[0] == "NotImplementedError"
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    messages, pooled = python(scripts.fallbacks)
    assert len(messages) == 1  # torch warns of the first op that falls back, and of no other
    assert pooled is None


def test_its_kernels_are_those_of_the_table(python: RunPython) -> None:
    table = kernel_table(importlib.metadata.version("torch"))
    decided_in_aten = {
        *("copy_", "convolution_overrideable", "convolution_backward_overrideable"),
        *("lstm.input", "scaled_dot_product_attention"),
    }
    assert set(python(scripts.kernels)) - decided_in_aten == table.native | table.fallback


def test_models_train_as_on_the_cpu(python: RunPython) -> None:
    for model, (on_cpu, on_device) in python(scripts.losses).items():
        # gru and attention are made of other ops there; the others round by how memory is aligned.
        tolerance = 1e-4 if model in ("gru", "attention") else 1e-6
        assert on_device == pytest.approx(on_cpu, rel=tolerance, abs=0), model


def test_its_draws_are_its_own_and_come_again_with_its_state(python: RunPython) -> None:
    draws = python(scripts.draws)
    assert 0.3 < draws.pop("dropped") < 0.7
    assert draws == {
        "first again": True,
        "second differs": True,
        "the CPU's generator moved": False,
    }


def test_an_lstm_with_dropout_has_the_gradients_of_the_masks_that_it_drew(
    python: RunPython,
) -> None:
    by_backward, by_differences = python(scripts.lstm_dropout_gradient)
    assert by_backward > 1e-3
    assert by_backward == pytest.approx(by_differences, rel=0.01)


def test_memory_runs_out_at_the_limit_in_torchs_words(
    python: RunPython, simulate: Simulate
) -> None:
    simulate(limit=2**20)
    small, (kind, text), held = python(scripts.allocations)
    assert (small, kind, held) == (None, "RuntimeError", 0)
    assert text.startswith("MPS backend out of memory (MPS allocated: ")


def test_an_error_appears_at_the_next_synchronisation(
    python: RunPython, simulate: Simulate
) -> None:
    simulate(faults=(Fault("aten::mul.Tensor", "fail later", from_call=2),))
    first, second, synchronised, after = python(scripts.late_errors)
    assert (first, second, after) == (None, None, None)
    assert synchronised[0] == "AcceleratorError"


def test_an_op_can_be_wrong_and_views_still_share_their_memory(
    python: RunPython, simulate: Simulate
) -> None:
    simulate(faults=(Fault("aten::neg", "scale", factor=0.5),))
    assert python(scripts.negated_view) == [[0.0, -2.0, -2.0], [0.0, 4.0, 4.0]]


def test_an_op_can_end_its_process(simulate: Simulate) -> None:
    simulate(faults=(Fault("aten::neg", "abort"),))
    script = "import torch; -torch.ones(2, device='mps')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -6
    assert b"failed assertion `aten::neg'" in done.stderr


def test_an_op_can_hang(simulate: Simulate) -> None:
    simulate(faults=(Fault("aten::neg", "hang"),))
    script = "import torch; x = torch.ones(2, device='mps'); print('begun', flush=True); -x"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.kill()
