"""Scripts that show a fault: they stand alone, and their exit status says whether it is there."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.faults.library import FAULTS, Fault, in_backward
from mpstui.investigate.repro.attempt import CallContext, attempt
from mpstui.investigate.repro.script import ReproScript, source
from mpstui.investigate.repro.shrink import shrink
from mpstui.ops.call import Call, capture
from mpstui.ops.references.run import of_call
from mpstui.ops.schema import op_info, results

ATEN: Any = torch.ops.aten
CPU = open_backend(parse_device("cpu"))
X = torch.linspace(-2, 2, 40)
NORMAL = torch.randn(40, generator=torch.Generator().manual_seed(0))
SOFTPLUS = capture(ATEN.softplus.default, (NORMAL.view(5, 8).t(), 2.0), {})
ADD = capture(ATEN.add_.Tensor, (X.view(5, 8)[1:4, 2:5], X[:3]), {"alpha": 2})
CALLS: dict[str, tuple[Call, str]] = {
    "strided": (SOFTPLUS, "output"),
    "aliased and changed": (ADD, "argument self"),
    "whole numbers": (capture(ATEN.cumsum.default, (torch.arange(6), 0), {}), "output"),
    "several outputs": (
        capture(ATEN.native_layer_norm.default, (NORMAL.view(5, 8), [8], None, None, 1e-5), {}),
        "output 3",
    ),
    "out=": (
        capture(ATEN.mm.out, (X.view(5, 8), X.view(8, 5)), {"out": torch.zeros(5, 9)[:, 2:7]}),
        "argument out",
    ),
    "lists": (
        capture(ATEN._foreach_mul_.Scalar, ([X[:3].clone(), X[4:8].clone()], 3.0), {}),
        "argument self[1]",
    ),
    "a list of one": (capture(ATEN._foreach_neg.default, ([X[:3].clone()],), {}), "output"),
    "infinite argument": (
        capture(ATEN.masked_fill.Scalar, (X, X > 0, -float("inf")), {}),
        "output",
    ),
    "dtype and device": (
        capture(
            ATEN.full.default,
            ([2, 3], 1.5),
            {"dtype": torch.float32, "device": torch.device("cpu")},
        ),
        "output",
    ),
    "half": (capture(ATEN.exp.default, (X.bfloat16(),), {}), "output"),
    "0-d": (capture(ATEN.atan2.default, (X[:4], X[7]), {}), "output"),
}


class _Second(Fault):
    """An op whose result is off from its second call on: in a script the first is the reference."""

    def __init__(self, op: str, where: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._op, self._where, self._calls = op, where, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._calls += str(func) == self._op
        if str(func) == self._op and self._calls > 1:
            dict(results(op_info(func), out, args, kwargs or {}))[self._where][..., :1] += 3
        return out


def _script(call: Call, where: str, device: str = "cpu:0", **more: Any) -> ReproScript:
    """Of a call as it is; of the device "cpu:0" the reference needs no process of its own."""
    given = {"context": CallContext(), "problem": None, "text": "it is off", **more}
    return ReproScript(shrink(call, lambda changed: False), device, where, **given)


def _exit(text: str, fault: Any) -> tuple[int, str]:
    said, code = io.StringIO(), compile(text, "repro.py", "exec")
    with pytest.raises(SystemExit) as end, contextlib.redirect_stdout(said), fault:
        exec(code, {"__name__": "__main__"})
    return int(end.value.code or 0), said.getvalue()


@pytest.mark.parametrize(
    "name",
    list(CALLS),
)
def test_a_script_tells_a_right_call_from_a_wrong_one(name: str) -> None:
    call, where = CALLS[name]
    text = source(_script(call, where))
    code, said = _exit(text, nullcontext())
    assert (code, said.splitlines()[-1]) == (0, "right 0 of 1")
    got = dict(of_call(call))[where].flatten()[:8].tolist()
    assert said.startswith(f"got {got} want ")  # of the same inputs, in the same places
    code, said = _exit(text, _Second(call.op, where))
    assert (code, said.splitlines()[-1]) == (1, "FAULTY 1 of 1")
    assert text.startswith(f'"""{call.op} is wrong on cpu:0: it is off.')


class _Off(Fault):
    """The second call's result is off by a little where it is small."""

    def __init__(self, by: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._by, self._calls = by, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if str(func) in ("aten.mul_.Tensor", "aten.add.Tensor"):
            self._calls += 1
            if self._calls > 1:
                out += torch.where(out.abs() < 1e4, self._by, 0.0)
        return out


WEIGHTS = torch.linspace(0.5, 1.5, 40)
MASKED = torch.where(torch.arange(40) % 3 == 0, -1e9, 0.0)


@pytest.mark.parametrize(
    ("call", "where", "off"),
    [
        (capture(ATEN.mul_.Tensor, (WEIGHTS, 1 - 1e-4), {}), "change of argument self", 1e-4),
        (capture(ATEN.add.Tensor, (NORMAL, MASKED), {}), "output", 0.1),
    ],
)
def test_a_script_compares_on_the_scale_of_the_check(call: Call, where: str, off: float) -> None:
    text = source(_script(call, where))
    assert _exit(text, nullcontext())[0] == 0
    assert _exit(text, _Off(off))[0] == 1


@pytest.mark.parametrize(
    "context", [CallContext(True), CallContext(False, 3), CallContext(True, 2)]
)
def test_a_script_surrounds_the_call_as_it_was_surrounded(context: CallContext) -> None:
    earlier = capture(ATEN.exp.default, (torch.ones(3, 2).t(),), {})
    text = source(_script(*CALLS["strided"], context=context._replace(before=(earlier,))))
    seen: list[tuple[str, bool]] = []

    class Seen(Fault):
        ops = ("softplus", "exp")

        def faulty(self, call: Any, *args: Any) -> Any:
            seen.append((str(call), in_backward()))
            return call(*args)

    code, said = _exit(text, Seen())  # type: ignore[no-untyped-call]
    assert (code, said.splitlines()[-1]) == (0, f"right 0 of {context.times}")
    assert seen[0] == ("aten.softplus.default", False)  # the reference
    assert seen[1] == ("aten.exp.default", context.backward)
    assert seen.count(("aten.softplus.default", context.backward)) == context.times + (
        not context.backward
    )


def test_an_op_that_the_cpu_does_not_have_is_compared_with_its_definition() -> None:
    args = (X.view(8, 5), X[:24].view(8, 3), X[:15].view(3, 5), [True, True, True])
    call = capture(ATEN.linear_backward.default, args, {})
    text = source(_script(call, "output 2"))

    def planted(share: float) -> Fault:
        class Planted(Fault):
            ops = ("linear_backward",)

            def faulty(self, call: Any, x: Any, grad: Any, weight: Any, mask: Any) -> Any:
                return grad @ weight, share * grad.t() @ x, grad.sum(0)

        return Planted()  # type: ignore[no-untyped-call]

    assert _exit(text, planted(1.0))[0] == 0
    assert _exit(text, planted(1.01))[0] == 1
    assert 'call("cpu"' not in text


def test_inputs_that_are_needed_as_they_are_and_too_many_are_refused() -> None:
    call = capture(ATEN.exp.default, (torch.randn(100),), {})
    with pytest.raises(ValueError, match="too many to be spelled out"):
        source(_script(call, "output"))


@pytest.mark.slow
def test_scripts_that_stand_alone_show_a_simulated_fault_and_nothing_without_it(
    tmp_path: Path,
) -> None:
    """The whole way, from a failing call to a fresh process: a wrong result, and wrong draws."""
    running: list[tuple[int, subprocess.Popen[str]]] = []
    random = capture(ATEN.normal_.default, (torch.zeros(20, 10).t(), 0.0, 2.0), {})
    for fault, call in (("softplus-strided", SOFTPLUS), ("random-strided", random)):
        shrunk = shrink(call, lambda c, f=fault: attempt(c, CPU, FAULTS[f]()).wrong > 0)  # type: ignore[misc]
        outcome = attempt(shrunk.call, CPU, FAULTS[fault]())
        where = outcome.judgements[0].where
        script = ReproScript(
            shrunk, "cpu", where, CallContext(), outcome.problem, "", simulated=True
        )
        path = tmp_path / f"{fault}.py"
        path.write_text(source(script), encoding="utf-8")
        simulate = ["-m", "mpstui.faults.simulate", fault]
        for expected, under in ((1, simulate), (0, [])):
            command = [sys.executable, *under, str(path)]
            process = subprocess.Popen(
                command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            running.append((expected, process))
    for expected, process in running:
        said, _ = process.communicate(timeout=600)
        assert process.returncode == expected, said
        assert ("FAULTY" in said) == bool(expected)
