"""Cases made by hand, each with a verdict that is known beforehand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from mpstui.backends import Backend, open_backend
from mpstui.domain.devices import parse_device
from mpstui.domain.ops import OpResult, OpStatus
from mpstui.numerics import REFUSALS
from mpstui.opcheck.cases import Case, Outputs, check, evaluate
from mpstui.opcheck.inputs import LAYOUTS, Inputs

CPU = open_backend(parse_device("cpu"))
GIB = 2**30


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are not worth a second thread, which on a busy machine is waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Change = Callable[[Any], Any]


class Changed(TorchDispatchMode):
    """Changes what some ops return, from a given call on."""

    def __init__(self, change: Change, *ops: str, after: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.change, self.ops, self.after = change, ops, after
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in self.ops:
            return result
        self.calls += 1
        return self.change(result) if self.calls > self.after else result


class Small(Backend):
    """A CPU with little memory."""

    @override
    def room(self) -> int:
        return 2 * GIB


def made(run: Callable[[Inputs], Outputs], **options: Any) -> Case:
    return Case("hand-made", "everyday", run, **options)


def verdict(result: OpResult | None) -> tuple[OpStatus, str, str]:
    assert result is not None
    return result.status, result.where, result.reason


def judged(
    run: Callable[[Inputs], Outputs], change: Change, *ops: str, after: int = 0, **options: Any
) -> OpResult:
    result = check(made(run, **options), CPU, lambda: Changed(change, *ops, after=after))
    assert result is not None
    return result


def test_a_right_op_is_sound_and_says_how_far_it_was() -> None:
    result = check(made(lambda i: (i.x(6, 7) @ i.x(7, 5)).tanh()), CPU)
    assert result is not None
    assert (result.case, result.kind, result.status) == ("hand-made", "everyday", OpStatus.SOUND)
    assert result.error is not None
    assert 0 < result.error < 1e-5
    assert result.reason == ""


def test_a_result_carries_its_cases_name_and_kind() -> None:
    result = check(Case("neg-stride0", "known fault", lambda i: -i.x(3)), CPU)
    assert result is not None
    assert (result.case, result.kind) == ("neg-stride0", "known fault")


def test_a_wrong_forward_pass_is_faulty() -> None:
    result = judged(lambda i: i.x(6, 7, grad=False).abs(), lambda x: x * 1.5, "abs")
    assert verdict(result) == (OpStatus.FAULTY, "output", "")
    assert result.error == pytest.approx(0.5, rel=1e-4)


def test_of_several_outputs_the_wrong_one_is_named() -> None:
    def run(i: Inputs) -> Outputs:
        return tuple(op(i.x(4, grad=False)) for op in (torch.sin, torch.cos, torch.exp))

    result = judged(run, lambda x: x + 9, "cos")
    assert verdict(result) == (OpStatus.FAULTY, "output 2", "")


def test_a_wrong_backward_pass_alone_is_faulty_and_its_input_named() -> None:
    result = judged(lambda i: i.x(6, 7) + i.x(6, 7).tanh(), lambda x: -x, "tanh_backward")
    assert verdict(result) == (OpStatus.FAULTY, "gradient of input 2", "")


def test_inputs_without_gradients_are_not_numbered() -> None:
    def run(i: Inputs) -> Outputs:
        return i.x(6) + i.x(6, grad=False) + i.writable(6) + i.x(6).tanh()

    result = judged(run, lambda x: -x, "tanh_backward")
    assert result.where == "gradient of input 2"


def test_gradients_that_would_cancel_in_a_sum_are_seen() -> None:
    # Softmax's gradient under a gradient of ones is zero, whatever is wrong with it.
    result = judged(lambda i: i.x(6, 7).softmax(1), lambda x: -x, "_softmax_backward_data")
    assert verdict(result) == (OpStatus.FAULTY, "gradient of input 1", "")
    assert result.error == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_result_that_is_not_finite_is_faulty_without_a_size(wrong: float) -> None:
    result = judged(lambda i: i.x(5).sin(), lambda x: torch.full_like(x, wrong), "sin")
    said = "5 of 5 values not finite as the reference's are"
    assert verdict(result) == (OpStatus.FAULTY, "output", said)
    assert result.error is None


def test_a_result_of_another_shape_is_faulty() -> None:
    result = judged(lambda i: i.x(6, 7, grad=False).sin(), lambda x: x[:, :5], "sin")
    said = "shape (6, 5) where (6, 7) is right"
    assert verdict(result) == (OpStatus.FAULTY, "output", said)


def test_wrong_truth_values_are_faulty() -> None:
    result = judged(lambda i: i.distinct(4, 4, grad=False) > 0, lambda x: ~x, "gt")
    assert verdict(result) == (OpStatus.FAULTY, "output", "16 of 16 values differ")


def test_a_gradient_that_does_not_arrive_is_faulty() -> None:
    def run(i: Inputs) -> Outputs:
        kept, lost = i.x(4), i.x(4)
        return kept + lost if i.reference else kept + lost.detach()

    assert verdict(check(made(run), CPU)) == (
        OpStatus.FAULTY,
        "gradient of input 2",
        "there is none",
    )


def test_an_input_that_nothing_depends_on_has_no_gradient_on_either_side() -> None:
    def run(i: Inputs) -> Outputs:
        i.x(4)
        return i.x(4).sin()

    named = dict(evaluate(made(run), Inputs("case", CPU.device)))
    assert named["gradient of input 1"] is None
    assert named["gradient of input 2"] is not None
    assert verdict(check(made(run), CPU))[0] is OpStatus.SOUND


def test_outputs_come_first_then_gradients_in_the_order_of_inputs() -> None:
    def run(i: Inputs) -> Outputs:
        a, b = i.x(2), i.x(3)
        return a.sum() + b, b > 0

    named = evaluate(made(run), Inputs("case", CPU.device))
    shapes = [(name, None if found is None else tuple(found.shape)) for name, found in named]
    assert shapes == [
        ("output 1", (3,)),
        ("output 2", (3,)),
        ("gradient of input 1", (2,)),
        ("gradient of input 2", (3,)),
    ]


def test_without_inputs_that_take_gradients_only_outputs_are_compared() -> None:
    named = evaluate(made(lambda i: i.x(2, grad=False).sin()), Inputs("case", CPU.device))
    assert [name for name, _ in named] == ["output"]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.__name__)
def test_an_op_that_the_device_refuses_is_not_run_and_says_why(refusal: type[Exception]) -> None:
    def run(i: Inputs) -> Outputs:
        raise refusal("The operator 'aten::x' is not\n   implemented")

    said = f"{refusal.__name__}: The operator 'aten::x' is not implemented"
    assert verdict(check(made(run), CPU)) == (OpStatus.NOT_RUN, "", said)


def test_a_refusal_in_the_backward_pass_is_not_run_either() -> None:
    def refuse(result: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("tanh_backward")

    result = judged(lambda i: i.x(4).tanh(), refuse, "tanh_backward")
    assert verdict(result) == (OpStatus.NOT_RUN, "", "NotImplementedError: tanh_backward")
    assert result.error is None


def test_refusals_are_kept_short_and_need_no_words() -> None:
    def said(message: str) -> str:
        def run(i: Inputs) -> Outputs:
            raise RuntimeError(message)

        return verdict(check(made(run), CPU))[2]

    assert said("x" * 500) == "RuntimeError: " + "x" * 160
    assert said("") == "RuntimeError: without a message"


def test_a_mistake_in_a_case_is_not_taken_for_a_refusal() -> None:
    def run(i: Inputs) -> Outputs:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check(made(run), CPU)


def test_what_needs_more_than_there_is_is_not_run() -> None:
    def run(i: Inputs) -> Outputs:
        raise AssertionError("it was run")

    case = made(run, needs_bytes=int(2.5 * GIB))
    result = check(case, Small(parse_device("cpu")))
    said = "needs 2.5 GiB, 2.0 GiB may be used"
    assert verdict(result) == (OpStatus.NOT_RUN, "", said)


def test_what_needs_all_there_is_is_run() -> None:
    case = made(lambda i: i.x(4).sin(), needs_bytes=2 * GIB)
    assert verdict(check(case, Small(parse_device("cpu"))))[0] is OpStatus.SOUND


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("transposed", (6,)), ("expanded", (6,)), ("sliced", ()), ("channels_last", (3, 4, 5))],
)
def test_a_layout_that_no_input_can_have_gives_no_result(
    layout: str, shape: tuple[int, ...]
) -> None:
    assert check(made(lambda i: i.x(*shape).sin(), layout=layout), CPU) is None


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_inputs_that_are_dense_on_purpose_do_not_make_a_layout(layout: str) -> None:
    assert check(made(lambda i: i.dense(2, 3, 4, 5).sin(), layout=layout), CPU) is None
    one = check(made(lambda i: i.dense(2, 3, 4, 5) + i.x(2, 3, 4, 5), layout=layout), CPU)
    assert verdict(one)[0] is OpStatus.SOUND


def test_a_contiguous_case_needs_no_layout() -> None:
    assert verdict(check(made(lambda i: i.dense(6).sin()), CPU))[0] is OpStatus.SOUND


def cancelling(i: Inputs) -> torch.Tensor:
    # What float32 holds of the small values beside the large one is a few bits.
    return (i.x(50, grad=False) + 1e5).sub(1e5)


def test_an_error_that_the_cpu_makes_too_is_rounding() -> None:
    result = check(made(cancelling), CPU)
    assert result is not None
    assert result.error is not None
    assert result.error > 1e-3
    assert verdict(result) == (OpStatus.SOUND, "output", "")


def test_an_error_within_what_the_cpu_loses_is_sound_and_one_beyond_it_faulty() -> None:
    within = judged(cancelling, lambda x: x * 1.01, "sub")
    beyond = judged(cancelling, lambda x: x * 2, "sub")
    assert (within.status, beyond.status) == (OpStatus.SOUND, OpStatus.FAULTY)
    assert within.error is not None
    assert within.error > 5e-3


@pytest.mark.parametrize(("factor", "status"), [(1.0005, OpStatus.SOUND), (1.002, OpStatus.FAULTY)])
def test_the_line_is_at_a_thousandth_in_float32(factor: float, status: OpStatus) -> None:
    result = judged(lambda i: i.x(50, grad=False).abs(), lambda x: x * factor, "abs")
    assert result.status is status


@pytest.mark.parametrize(
    ("dtype", "error", "status"),
    [
        (torch.float16, 1 / 128, OpStatus.SOUND),
        (torch.float16, 1 / 32, OpStatus.FAULTY),
        (torch.bfloat16, 1 / 16, OpStatus.SOUND),
        (torch.bfloat16, 1 / 4, OpStatus.FAULTY),
        (torch.float64, 1 / 512, OpStatus.FAULTY),
    ],
)
def test_the_line_follows_the_dtype(dtype: torch.dtype, error: float, status: OpStatus) -> None:
    def run(i: Inputs) -> Outputs:
        return i.distinct(8, 8, grad=False).abs()

    result = judged(run, lambda x: x * (1 + error), "abs", dtype=dtype)
    assert result.status is status


def products(count: int) -> Callable[[Inputs], Outputs]:
    def run(i: Inputs) -> Outputs:
        a, b = i.x(6, 7, grad=False), i.x(7, 5, grad=False)
        return tuple(a @ b for _ in range(count))

    return run


def test_an_op_that_goes_wrong_from_its_second_call_on_needs_two_calls() -> None:
    once = judged(products(1), lambda x: x * 1.2, "mm", after=1)
    twice = judged(products(2), lambda x: x * 1.2, "mm", after=1)
    assert once.status is OpStatus.SOUND
    assert verdict(twice) == (OpStatus.FAULTY, "output 2", "")


def test_each_check_begins_with_a_fresh_fault() -> None:
    entered: list[Changed] = []

    def fault() -> Changed:
        entered.append(Changed(lambda x: x * 1.2, "mm", after=1))
        return entered[-1]

    results = [check(made(products(1)), CPU, fault) for _ in range(3)]
    assert [verdict(result)[0] for result in results] == [OpStatus.SOUND] * 3
    assert [mode.calls for mode in entered] == [1, 1, 1]


def test_only_the_devices_side_runs_inside_the_fault() -> None:
    seen: list[tuple[bool, bool]] = []
    inside = False

    @contextlib.contextmanager
    def fault() -> Iterator[None]:
        nonlocal inside
        inside = True
        yield
        inside = False

    def run(i: Inputs) -> Outputs:
        seen.append((i.reference, inside))
        return i.x(50, grad=False).sin() * (2 if inside else 1)

    # Wrong, so that the CPU's own run in the case's dtype is asked for as well.
    assert verdict(check(made(run), CPU, fault))[0] is OpStatus.FAULTY
    assert seen == [(False, True), (True, False), (False, False)]


EVERY_DRAW: dict[str, Callable[[Inputs], torch.Tensor]] = {
    "x": lambda i: i.x(2, 3, 4, 5),
    "positive": lambda i: i.positive(2, 3, 4, 5),
    "unit": lambda i: i.unit(2, 3, 4, 5),
    "distinct": lambda i: i.distinct(2, 3, 4, 5),
    "own": lambda i: i.writable(2, 3, 4, 5),
    "dense": lambda i: i.dense(2, 3, 4, 5),
    "integers": lambda i: i.integers(0, 9, 2, 3, 4, 5),
    "index": lambda i: i.index(9, 2, 3, 4, 5),
    "mask": lambda i: i.mask(2, 3, 4, 5),
}


class Recorder(TorchDispatchMode):
    """Writes down every op that a simulated fault could change."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("draw", sorted(EVERY_DRAW))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_fault_can_reach_the_drawing_of_inputs(draw: str, layout: str) -> None:
    with Recorder() as recorder:
        EVERY_DRAW[draw](Inputs("case", CPU.device, torch.float16, layout))
    assert set(recorder.seen) <= {"detach"}  # which moves no values
    with recorder:
        torch.zeros(2)
    assert "zeros" in recorder.seen  # it does record


def test_a_fault_in_every_op_that_draws_changes_neither_inputs_nor_gradients() -> None:
    drawing = ("randn", "rand", "randint", "randperm", "zeros", "_to_copy", "clone", "copy_")
    entered: list[Changed] = []

    def fault() -> Changed:
        entered.append(Changed(lambda x: x + 1, *drawing))
        return entered[-1]

    def run(i: Inputs) -> Outputs:
        return tuple(-EVERY_DRAW[draw](i) for draw in sorted(EVERY_DRAW) if draw != "mask")

    for layout in LAYOUTS:
        result = check(made(run, layout=layout, dtype=torch.float16), CPU, fault)
        assert verdict(result)[0] is OpStatus.SOUND, layout
    assert [mode.calls for mode in entered] == [0] * len(LAYOUTS)
    # The same fault in an op of the case's own does show.
    assert judged(lambda i: i.x(4).clone(), lambda x: x + 1, *drawing).status is OpStatus.FAULTY


def test_a_fault_is_left_even_when_the_op_raises() -> None:
    mode = Recorder()

    def run(i: Inputs) -> Outputs:
        raise RuntimeError("no")

    check(made(run), CPU, lambda: mode)
    before = len(mode.seen)
    torch.zeros(2).sin()
    assert len(mode.seen) == before
