"""The everyday ops: sound on the CPU in every layout, and a blind kernel among them is found."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.domain.ops import OpStatus
from mpstui.opcheck.cases import Case, check, evaluate
from mpstui.opcheck.everyday import FAMILIES, OPS, everyday
from mpstui.opcheck.inputs import LAYOUTS, Inputs

pytestmark = pytest.mark.filterwarnings("ignore:.*non-contiguous:UserWarning")

CPU = open_backend(parse_device("cpu"))
HALVES_AND_DOUBLE = (torch.float16, torch.bfloat16, torch.float64)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are not worth a second thread, which on a busy machine is waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


FORWARD_ONLY = {
    # whole numbers and truth values have no gradients
    *("compare", "logical", "isnan", "isfinite", "any-all", "count_nonzero", "argmax", "argsort"),
    *("int-arithmetic", "int-bits", "int-sum", "to-int", "uint8-to-float", "one_hot", "bincount"),
    *("searchsorted", "nonzero", "unique"),
    # they write to tensors, as optimizers do
    *("fill-column", "clamp_", "sgd-momentum", "adam", "adamw", "adadelta", "rmsprop"),
}
NO_LAYOUTS = {"one_hot", "bincount", "arange", "linspace"}
"""Ops that read indices or nothing."""


def op_of(case: Case | str) -> str:
    name = case if isinstance(case, str) else case.id
    return name.removeprefix("everyday/").partition("[")[0]


FLOAT32: dict[str, list[Case]] = {
    op: list(cases) for op, cases in itertools.groupby(everyday((torch.float32,)), op_of)
}


def test_there_are_many_ops_and_no_name_hides_another() -> None:
    assert len(OPS) >= 120
    assert sum(len(family) for family in FAMILIES) == len(OPS)
    assert list(FLOAT32) == list(OPS)


def test_cases_have_names_of_their_own_and_what_the_names_say() -> None:
    dtypes = CPU.dtypes()
    cases = list(everyday(dtypes))
    assert len({case.id for case in cases}) == len(cases) == len(OPS) * (5 + 3 * 2)
    assert {case.kind for case in cases} == {"everyday"}
    for case in cases:
        dtype = str(case.dtype).removeprefix("torch.")
        assert case.id == f"everyday/{op_of(case)}[{case.layout},{dtype}]"
        assert case.run is OPS[op_of(case)]
        assert not case.needs_bytes


def test_only_the_dtypes_of_a_device_are_run_and_float32_in_every_layout() -> None:
    cases = list(everyday((torch.float32, torch.float16)))
    layouts = {
        dtype: {case.layout for case in cases if case.dtype is dtype}
        for dtype in {case.dtype for case in cases}
    }
    assert layouts == {
        torch.float32: set(LAYOUTS),
        torch.float16: {"contiguous", "transposed"},
    }


def test_every_op_is_run_backward_but_those_listed() -> None:
    forward_only = set()
    for op, cases in FLOAT32.items():
        named = evaluate(cases[0], Inputs(cases[0].id, CPU.device))
        gradients = [found for name, found in named if name.startswith("gradient")]
        if not any(found is not None and bool(found.any()) for found in gradients):
            forward_only.add(op)
    # floor and its like are flat: they have gradients, all of them zero
    assert forward_only - {"floor", "ceil", "round", "trunc", "sign"} == FORWARD_ONLY
    assert len(OPS) - len(forward_only) >= 200


@pytest.mark.parametrize("op", OPS)
def test_every_layout_is_sound_in_float32_on_the_cpu(op: str) -> None:
    results = [check(case, CPU) for case in FLOAT32[op]]
    odd = [result for result in results if result and result.status is not OpStatus.SOUND]
    assert not odd
    ran = {case.layout for case, result in zip(FLOAT32[op], results, strict=True) if result}
    assert "contiguous" in ran
    assert ("sliced" in ran) == (op not in NO_LAYOUTS)


@pytest.mark.parametrize("dtype", HALVES_AND_DOUBLE, ids=str)
def test_other_dtypes_are_sound_on_the_cpu(dtype: torch.dtype) -> None:
    # A third of the ops, each of which is in some dtype.
    place = HALVES_AND_DOUBLE.index(dtype)
    chosen = list(OPS)[place :: len(HALVES_AND_DOUBLE)]
    cases = [case for case in everyday((dtype,)) if op_of(case) in chosen]
    assert len(cases) == 2 * len(chosen)
    results = [check(case, CPU) for case in cases]
    assert not [result for result in results if result and result.status is not OpStatus.SOUND]
    assert sum(result is not None for result in results) > 1.9 * len(chosen)


class BlindTanh(TorchDispatchMode):  # type: ignore[no-untyped-call,unused-ignore]
    """A tanh that takes its input for contiguous, and reads zeros past the storage's end."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket.__name__ == "tanh":
            (x,) = args
            begin = x.storage_offset()
            held = x.untyped_storage().nbytes() // x.element_size() - begin
            memory = torch.as_strided(x, (held,), (1,), begin)
            padded = torch.cat([memory, memory.new_zeros(x.numel())])
            args = (padded[: x.numel()].reshape(x.shape),)
        return func(*args, **(kwargs or {}))


def faulty_under_a_blind_tanh(cases: list[Case]) -> list[str]:
    results = [check(case, CPU, BlindTanh) for case in cases]
    assert not [result for result in results if result and result.status is OpStatus.NOT_RUN]
    return [result.case for result in results if result and result.status is OpStatus.FAULTY]


def test_a_tanh_that_is_blind_to_strides_is_found_in_its_strided_cases_exactly() -> None:
    cases = [case for case in everyday(CPU.dtypes()) if op_of(case) == "tanh"]
    assert faulty_under_a_blind_tanh(cases) == [
        "everyday/tanh[transposed,float32]",
        "everyday/tanh[sliced,float32]",
        "everyday/tanh[expanded,float32]",
        "everyday/tanh[channels_last,float32]",
        "everyday/tanh[transposed,float16]",
        "everyday/tanh[transposed,bfloat16]",
        "everyday/tanh[transposed,float64]",
    ]


def test_a_blind_tanh_shows_nowhere_but_in_ops_that_are_made_of_it() -> None:
    cases = [case for case in everyday((torch.float32,)) if case.layout == "transposed"]
    found = {op_of(id) for id in faulty_under_a_blind_tanh(cases)}
    assert {"tanh", "tanhshrink"} <= found <= {"tanh", "tanhshrink", "lstm", "gru"}
