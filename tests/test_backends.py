from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mpstui import backends
from mpstui.backends import Accelerator, Backend, Cuda, Mps, open_backend
from mpstui.domain.devices import TYPES, parse_device
from mpstui.domain.errors import DeviceUnavailable


class Facts:
    """Calls and the answers that were recorded for them."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        return self.answer


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.fixture
def cuda_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags in (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,  # type: ignore[attr-defined,unused-ignore]
        torch.backends.cudnn.rnn,  # type: ignore[attr-defined,unused-ignore]
    ):
        monkeypatch.setattr(flags, "fp32_precision", flags.fp32_precision)


def flags() -> tuple[str, str, str]:
    return (
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined,unused-ignore]
        torch.backends.cudnn.rnn.fp32_precision,  # type: ignore[attr-defined,unused-ignore]
    )


def test_every_device_type_has_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "check", lambda self: None)
    kinds = {name: type(open_backend(parse_device(name))) for name in TYPES}
    assert kinds == {"cpu": Backend, "mps": Mps, "cuda": Cuda, "xpu": Accelerator}


def test_the_cpu_is_there_and_always_done() -> None:
    backend = open_backend(parse_device("cpu"))
    backend.synchronize()
    assert backend.device == torch.device("cpu")
    assert backend.allocated() is None
    assert backend.name().startswith("CPU, ")


def test_threads_are_set_when_asked_for(threads: int) -> None:
    open_backend(parse_device("cpu"))
    assert torch.get_num_threads() == threads
    open_backend(parse_device("cpu@threads=1"))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("name", ["cuda", "cuda:3", "xpu", "mps"])
def test_a_device_that_is_not_here_is_refused_in_torchs_words(name: str) -> None:
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, ImportError) as error:
        why = str(error).splitlines()[0].partition(". ")[0]
    else:
        pytest.skip(f"this machine has {name}")
    with pytest.raises(DeviceUnavailable, match=f"^device: {re.escape(f'{name}: {why}')}$"):
        open_backend(parse_device(name))


def test_an_indexed_device_is_made_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Facts(None)
    monkeypatch.setattr(torch, "zeros", lambda *size, device: None)
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen)
    open_backend(parse_device("cuda:1"))
    open_backend(parse_device("cuda"))
    assert chosen.calls == [(1,)]


def test_mps_asks_torchs_own_mps_module(monkeypatch: pytest.MonkeyPatch) -> None:
    waited, held, named = Facts(None), Facts(123_456), Facts("Apple M2 Pro")
    monkeypatch.setattr(torch.mps, "synchronize", waited)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", held)
    monkeypatch.setattr(torch.backends.mps, "get_name", named, raising=False)
    elsewhere = Facts(0)
    monkeypatch.setattr(torch.accelerator, "synchronize", elsewhere)
    monkeypatch.setattr(torch.accelerator, "memory_allocated", elsewhere)
    backend = Mps(parse_device("mps"))
    backend.synchronize()
    assert backend.allocated() == 123_456
    assert backend.name() == "Apple M2 Pro"
    assert waited.calls == held.calls == named.calls == [()]
    assert elsewhere.calls == []


@pytest.mark.parametrize(
    ("recommended", "driver", "room"),
    [(8 << 30, 1 << 30, 7 << 29), (64 << 30, 0, 10 << 30), (1 << 30, 1 << 30, 0)],
)
def test_room_on_mps_is_what_metal_recommends_and_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, recommended: int, driver: int, room: int
) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", Facts(recommended))
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", Facts(driver))
    monkeypatch.setattr(backends, "available_host_bytes", Facts(10 << 30))
    assert Mps(parse_device("mps")).room() == room


@pytest.mark.parametrize(
    ("value", "named"), [(None, False), ("0", False), ("1", True), ("", True), ("off", True)]
)
def test_fast_math_is_on_as_torch_reads_it(
    monkeypatch: pytest.MonkeyPatch, value: str | None, named: bool
) -> None:
    if value is None:
        monkeypatch.delenv("PYTORCH_MPS_FAST_MATH", raising=False)
    else:
        monkeypatch.setenv("PYTORCH_MPS_FAST_MATH", value)
    causes = Mps(parse_device("mps")).lower_precision("float32")
    assert [cause for cause, _ in causes] == ["fast math"] * named


def test_mps_gives_the_loader_no_pinned_memory_and_no_workers() -> None:
    assert Mps.loader_options == Backend.loader_options == {}
    assert Cuda.loader_options == {"num_workers": 1, "pin_memory": True}


def test_cuda_asks_torchs_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    waited, held, named = Facts(None), Facts(7), Facts("NVIDIA H100")
    monkeypatch.setattr(torch.accelerator, "synchronize", waited)
    monkeypatch.setattr(torch.accelerator, "memory_allocated", held)
    monkeypatch.setattr(torch.cuda, "get_device_name", named)
    backend = Cuda(parse_device("cuda:1"))
    backend.synchronize()
    assert backend.allocated() == 7
    assert backend.name() == "NVIDIA H100"
    device = torch.device("cuda:1")
    assert waited.calls == held.calls == named.calls == [(device,)]


@pytest.mark.parametrize(
    ("precision", "wanted", "note"),
    [("float32", "ieee", ""), ("tf32", "tf32", "TF32"), ("bf16", "ieee", "bf16 autocast")],
)
def test_cuda_uses_tf32_only_when_asked(
    cuda_flags: None, precision: str, wanted: str, note: str
) -> None:
    backend = Cuda(parse_device("cuda"))
    backend.set_precision("tf32" if wanted == "ieee" else "float32")  # what came before
    notes = backend.set_precision(precision)
    assert flags() == (wanted,) * 3
    assert len(notes) == bool(note)
    assert note in "".join(notes)


@pytest.mark.parametrize("kind", [Backend, Mps, Accelerator])
def test_other_devices_note_bf16_and_touch_no_cuda_flag(
    cuda_flags: None, kind: type[Backend]
) -> None:
    before = flags()
    backend = kind(parse_device({Backend: "cpu", Mps: "mps"}.get(kind, "xpu")))
    assert backend.set_precision("float32") == ()
    (note,) = backend.set_precision("bf16")
    assert "lower precision" in note
    assert flags() == before


def test_autocast_is_there_for_bf16_only() -> None:
    backend = Backend(parse_device("cpu"))
    one, other = torch.ones(2, 2), torch.ones(2, 2)
    with backend.autocast("float32"):
        assert (one @ other).dtype == torch.float32
    with backend.autocast("bf16"):
        assert (one @ other).dtype == torch.bfloat16


def test_the_table_of_backends_is_the_table_of_types() -> None:
    assert set(backends.BACKENDS) == set(TYPES)


def test_what_a_device_restores_are_its_own_numbers() -> None:
    backend = open_backend(parse_device("cpu"))
    state = backend.rng_state()
    numbers = torch.rand(3)
    backend.set_rng_state({**state, "mps": torch.zeros(1)})  # another device's state is ignored
    assert torch.equal(torch.rand(3), numbers)
