"""The parts of the recorder one by one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import nn

from mpstui.backends import BACKENDS
from mpstui.domain.devices import parse_device
from mpstui.domain.events import StepsCompleted
from mpstui.domain.script_ref import ScriptRef
from mpstui.engine.meter import PROFILE_STEPS
from mpstui.recording.as_main import run_as_main
from mpstui.recording.flush import StepBuffer
from mpstui.recording.late_import import on_import
from mpstui.recording.model import all_modules, find_trained, names_of
from mpstui.recording.norms import NormReader
from mpstui.recording.optimizers import MAX_PROBES, OptimizerTrack
from mpstui.recording.phases import PhaseSampler

from .harness import recording


class Clock:
    """Goes on by a second each time that it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def track(*modules: nn.Module) -> tuple[OptimizerTrack, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD([p for module in modules for p in module.parameters()], 0.5)
    return OptimizerTrack(optimizer), optimizer


# --- phases ---


def sampler() -> PhaseSampler:
    phases = PhaseSampler(Clock())
    phases.start(BACKENDS["cpu"](parse_device("cpu")))
    return phases


def test_phases_without_a_loader_claim_no_data_time() -> None:
    phases = sampler()
    for step in range(PROFILE_STEPS):
        for phase in ("forward", "backward", "optimizer"):
            phases.lap(phase)
        assert phases.step_ended() == (step == PROFILE_STEPS - 1)
    assert set(phases.medians()) == {"forward", "backward", "optimizer"}
    assert all(seconds > 0 for seconds in phases.medians().values())


def test_phases_that_repeat_in_a_step_add_up() -> None:
    phases = sampler()
    for _ in range(PROFILE_STEPS):
        for phase in ("other", "data", "forward", "backward", "data", "forward", "backward"):
            phases.lap(phase)
        phases.lap("optimizer")
        phases.step_ended()
    medians = phases.medians()
    assert medians["forward"] == 2 * medians["optimizer"]


def test_a_step_with_an_evaluation_inside_is_measured_from_its_end() -> None:
    phases = sampler()
    phases.lap("forward")
    phases.interrupted()
    phases.lap("backward")
    phases.step_ended()
    assert phases.laps[0]["forward"] == 0


# --- buffer ---


def test_steps_with_and_without_a_loss_are_in_windows_of_their_own() -> None:
    buffer = StepBuffer()
    first, optimizer = track(nn.Linear(2, 1))
    for step, losses in enumerate([[1.0], [2.0, 3.0], [], [4.0]], 1):
        buffer.add(first, step, [torch.tensor(loss) for loss in losses], 8, False)
    windows = buffer.read()
    assert [(w.first_step, list(w.losses), w.has_loss) for w in windows if w.has_loss] == [
        (1, [1.0, 5.0], True),
        (4, [4.0], True),
    ]
    assert [(w.first_step, w.steps, w.samples) for w in windows if not w.has_loss] == [(3, 1, 8)]
    assert windows[0].lr == optimizer.param_groups[0]["lr"]
    assert buffer.steps == 0


def test_a_value_of_the_scripts_never_takes_a_name_of_mpstuis() -> None:
    buffer = StepBuffer()
    first, optimizer = track(nn.Linear(2, 1))
    second, other = track(nn.Linear(2, 1))
    second.name = "G"
    for step in (1, 2):
        optimizer.param_groups[0]["lr"] = 1 / step
        buffer.add(first, step, [torch.tensor(1.0)], None, step == 2)
        buffer.add_other(second, step, [torch.tensor(2.0)], torch.tensor(step == 1))
        for name in ("loss", "lr", "loss_G", "skipped_G", "epoch", "accuracy"):
            buffer.log(name, step, 7.0)
    (window,) = buffer.read()
    ours = {"lr", "skipped", "loss_G", "lr_G", "skipped_G"}
    script = {f"script/{name}" for name in ("loss", "lr", "loss_G", "skipped_G", "epoch")}
    assert window.series.keys() == ours | script | {"accuracy"}
    assert window.series["loss_G"] == [(1, 2.0)]
    assert buffer.take_others()["loss_G"] == [(2, 2.0)]  # they wait for the first one's next step
    assert window.series["skipped"] == [(2, 1.0)]
    assert window.series["skipped_G"] == [(1, 1.0)]
    assert other.param_groups


def test_logged_values_are_numbers_or_tensors_of_one_element() -> None:
    buffer = StepBuffer()
    value = torch.ones(1, requires_grad=True)
    for logged in (value, torch.tensor(True), 3, "4.5", "text", None, torch.ones(2)):
        buffer.log("x", 1, logged)
    assert buffer.take_logged() == {"x": [(1, 1.0), (1, 1.0), (1, 3.0), (1, 4.5)]}
    assert buffer.take_logged() == {}


# --- norms ---


def backward(*modules: nn.Module) -> None:
    torch.stack([module(torch.ones(3, 4)).sum() for module in modules]).sum().backward()


def test_a_norm_is_that_of_the_optimizers_own_gradients() -> None:
    first, second = nn.Linear(4, 1), nn.Linear(4, 1)
    for parts in ([first], [first.weight], []):
        with recording() as result:
            optimizer = torch.optim.SGD(first.parameters(), 0.1)
            optimizer.zero_grad()
            second.zero_grad()
            backward(first, second)
            gradients = [p.grad for p in first.parameters() if p.grad is not None]
            expected = float(nn.utils.get_total_norm(gradients))
            nn.utils.clip_grad_norm_(second.parameters(), 0.5)
            for part in parts:
                listed = part.parameters() if isinstance(part, nn.Module) else part
                nn.utils.clip_grad_norm_(listed, 1e-3)
            optimizer.step()
        (event,) = result.of(StepsCompleted)
        if parts == [first.weight]:  # a part was clipped: the whole norm is unknown
            assert event.grad_norm is None
        else:
            assert event.grad_norm == pytest.approx(expected)


def test_a_norm_that_is_not_euclidean_is_not_recorded() -> None:
    net = nn.Linear(4, 1)
    first, optimizer = track(net)
    reader = NormReader()
    reader.clipped(None, list(net.parameters()))
    assert reader.read(first) is None
    reader.next_step()
    backward(net)
    assert reader.read(first) == pytest.approx(float((3**2 * 5) ** 0.5))
    assert optimizer is first.optimizer()


# --- optimizers and models ---


def test_a_large_model_is_watched_by_some_of_its_parameters() -> None:
    layers = [nn.Linear(2, 2) for _ in range(100)]
    first, optimizer = track(*layers)
    assert len(first.probes) <= MAX_PROBES
    assert first.probes[0] is layers[0].weight
    few, other = track(*layers[:5])
    assert len(few.probes) == 10
    assert optimizer is not other


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(2, 2))


def test_optimizers_of_a_models_parts_are_named_by_its_attributes() -> None:
    both = Both()
    parts = (both.encoder, both.decoder, both)
    trained = [find_trained(list(part.parameters()), all_modules()) for part in parts]
    assert names_of(trained, None) == ["encoder", "decoder", "Both"]
    assert all(found.outermost is both for found in trained)


def test_parameters_of_no_module_are_named_by_number() -> None:
    free = [torch.zeros(2, requires_grad=True)]
    trained = [find_trained(free, all_modules()), find_trained([], all_modules())]
    assert names_of(trained, None) == ["optimizer1", "optimizer2"]


def test_a_frames_variables_do_not_keep_a_deleted_model() -> None:
    import weakref

    def main() -> None:
        net = nn.Linear(2, 1)
        name = names_of([find_trained(list(net.parameters()), all_modules())], sys._getframe())
        assert name == ["net"]
        alive = weakref.ref(net)
        del net
        assert alive() is None

    main()


# --- imports and __main__ ---


def test_an_action_waits_for_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_late.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    values: list[int] = []
    forget = on_import("imported_late", lambda module: values.append(module.value))
    try:
        assert values == []
        module = importlib.import_module("imported_late")
        assert values == [1]
        importlib.reload(module)
        assert values == [1]
        on_import("imported_late", lambda module: values.append(2))
        assert values == [1, 2]
    finally:
        forget()
        sys.modules.pop("imported_late", None)
    assert not [finder for finder in sys.meta_path if type(finder).__name__ == "_Finder"]


def test_an_import_that_fails_is_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails_late.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)

    def never(module: object) -> NoReturn:
        raise AssertionError

    forget = on_import("fails_late", never)
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("fails_late")
    forget()


def test_a_script_is_main_with_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "neighbour.py").write_text("here = 1\n")
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, neighbour\nx: int = 1\n"
        "print(__name__, sys.argv, __file__, __spec__, sys.modules['__main__'].x, __doc__)\n"
    )
    monkeypatch.setattr(sys, "argv", ["./train.py"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    run_as_main(ScriptRef("script", str(script)), ("--lr", "1"))
    monkeypatch.delitem(sys.modules, "neighbour")
    expected = f"__main__ ['./train.py', '--lr', '1'] {script} None 1 None\n"
    assert capsys.readouterr().out == expected
    assert sys.path[0] == str(tmp_path)
