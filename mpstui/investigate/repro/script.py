"""Writes a short standalone script that reproduces a fault, and exits with 1 if it is present.

The script computes the reference in float64 on the CPU. If the device to check is the CPU itself,
or the fault is simulated, a fresh process does that, which is unaffected by changes in this one.
For an op that the CPU does not have, the script contains the right result.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch

from mpstui import __version__
from mpstui.numerics import magnitudes, tolerance
from mpstui.ops import references
from mpstui.ops.call import Call, Slot
from mpstui.ops.changes import CHANGE, before_call, floor_of, with_changes
from mpstui.ops.randomness.arguments import is_last
from mpstui.ops.randomness.arguments import names as random_names
from mpstui.ops.randomness.checks import RandomProblem
from mpstui.ops.references import run
from mpstui.ops.schema import op_info

from .attempt import CallContext
from .public_call import public_call
from .shrink import ShrunkCall

MAX_EXPECTED = 512
"""Most values of a right result that a script contains."""


class ReproScript(NamedTuple):
    """The contents of a script."""

    shrunk_call: ShrunkCall
    device: str
    """The device, as torch names it."""
    where: str
    """The wrong result: ``output 2``, ``argument self``."""
    context: CallContext
    problem: RandomProblem | None
    text: str
    """The problem, in one line."""
    notes: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def own_process(self) -> bool:
        """Whether the reference needs a fresh process."""
        return self.problem is None and (self.device == "cpu" or self.simulated)


def source(script: ReproScript) -> str:
    """Return the script's text.

    Raises:
        ValueError: If there can be no script, such as for too many inputs; the message says why.
    """
    call, recipes = script.shrunk_call.call, script.shrunk_call.recipes
    if script.where == "draws" and script.problem is None:
        raise ValueError("the random numbers of this call alone are often right")
    if op_info(call.function).foreign:
        space = call.op.partition(".")[0]
        raise ValueError(
            f"the op is of another library, {space}, which a script would have to define"
        )
    if not all(recipes):
        raise ValueError("the fault needs its real inputs, which are too many to be spelled out")
    info = op_info(call.function)
    has_cpu = references.reference_of(info.name) is None
    lines = [
        f'"""{info.name} is wrong on {script.device}: {script.text}.',
        "",
        *script.notes,
        f"Seen with torch {torch.__version__}; written by mpstui {__version__}.",
        "Exits with 1 if the fault is present, otherwise with 0.",
        '"""',
        "",
        *_imports(script, has_cpu),
        "",
        f"DEVICE = {script.device!r}",
        "torch.manual_seed(0)",
        *(f"s{index} = {recipe}" for index, recipe in enumerate(recipes)),
        "",
        "",
        *_call(call, script),
        *_earlier(script),
    ]
    if script.context.backward:
        calls = [f"        {name}(DEVICE)" for name in _earlier_names(script)]
        lines += [*_INSIDE, *calls, *_INSIDE_END]
    lines += _check_random(script) if script.problem else _compare(script, has_cpu)
    return "\n".join(lines) + "\n"


def _imports(script: ReproScript, has_cpu: bool) -> list[str]:
    needs_process = script.own_process and has_cpu
    modules = ["os", "subprocess", "sys", "tempfile"] if needs_process else ["sys"]
    return [*(f"import {name}" for name in modules), "", "import torch"]


def _call(call: Call, script: ReproScript) -> list[str]:
    names: dict[Slot, str] = {}
    body: list[str] = []
    for slot in call.slots:
        if slot not in names:
            names[slot] = f"x{len(names)}"
            body.append(f"    {names[slot]} = {_view(call, slot)}")
    positional = [_code(value, names) for value in call.args]
    keywords = [f"{key}={_code(value, names)}" for key, value in call.kwargs.items()]
    run = f"torch.ops.{call.op}({', '.join([*positional, *keywords])})"
    public = public_call(call, lambda value: _code(value, names))
    copies = []
    for index in sorted({slot.storage for slot in call.slots}):
        cast = "dtype, " if call.storages[index].is_floating_point() else ""
        copies.append(f"    p{index} = s{index}.to(device, {cast}copy=True)")
    result = _result(call, script, names)
    setup, returned = _random_results(call, script, result, names)
    if script.where.startswith(CHANGE):
        setup, returned = [f"    before = {result}.clone()"], f"{result} - before"
    return [
        "def call(device, dtype=None):",
        *copies,
        *body,
        *setup,
        *([f"    # public: {public}"] if public else []),
        f"    {'out = ' if 'out' in returned else ''}{run}",
        f"    return {returned}",
        "",
        "",
    ]


def _random_results(
    call: Call, script: ReproScript, result: str, names: dict[Slot, str]
) -> tuple[list[str], str]:
    """Return the lines before a random call, and the expression that it returns."""
    if script.problem is None:
        return [], result
    info = op_info(call.function)
    positions = {name: position for position, (name, _) in enumerate(info.defaults)}
    code = {
        "got": result,
        "before": "before",
        "output": "out" if len(call.function._schema.returns) == 1 else "out[0]",
    }
    setup = [f"    before = {result}.clone()"] if "before" in script.problem.tensors else []
    for name, argument in random_names(info).items():
        if name in script.problem.tensors:
            slot = call.args[positions[argument]]
            setup.append(f"    {name} = {names[slot]}.clone()")
            code[name] = name
    return setup, ", ".join(code[name] for name in _tensors(script.problem))


def _tensors(problem: RandomProblem) -> list[str]:
    return ["got", *(name for name in problem.tensors if name != "got")]


def _earlier_names(script: ReproScript) -> list[str]:
    return [f"earlier{index}" for index in range(len(script.context.before))]


def _earlier(script: ReproScript) -> list[str]:
    """Return the lines of the calls that must run first, on zeros."""
    lines: list[str] = []
    for index, earlier_call in enumerate(script.context.before):
        names: dict[Slot, str] = {}
        lines += [f"def earlier{index}(device):"]
        for slot in earlier_call.slots:
            if slot not in names:
                names[slot] = f"x{len(names)}"
                storage = earlier_call.storages[slot.storage]
                extent = f"torch.zeros({storage.numel()}, dtype={storage.dtype}, device=device)"
                view = f"as_strided({slot.size}, {slot.stride}, {slot.offset})"
                lines.append(f"    {names[slot]} = {extent}.{view}")
        arguments = [_code(value, names) for value in earlier_call.args]
        arguments += [f"{key}={_code(value, names)}" for key, value in earlier_call.kwargs.items()]
        run = f"    torch.ops.{earlier_call.op}({', '.join(arguments)})".replace("dtype or ", "")
        lines += [run, "", ""]
    return lines


def _result(call: Call, script: ReproScript, names: dict[Slot, str]) -> str:
    where = script.where.removeprefix(CHANGE)
    if where == "draws":
        info = op_info(call.function)
        last = -1 if is_last(info) else 0
        outputs = len(call.function._schema.returns)
        where = f"output {outputs}" if is_last(info) and outputs > 1 else "output"
        where = f"argument {info.writes[last][1]}" if info.writes else where
    argument = re.fullmatch(r"argument (\w+)(?:\[(\d+)\])?", where)
    if argument is not None:
        arguments = [schema_argument.name for schema_argument in call.function._schema.arguments]
        position = arguments.index(argument[1])
        value = call.args[position] if position < len(call.args) else call.kwargs[argument[1]]
        values = value if isinstance(value, (list, tuple)) else [value]
        return names[values[int(argument[2] or 0)]]
    number = re.fullmatch(r"output (\d+)", where)
    returns = call.function._schema.returns
    if number is not None:
        return f"out[{int(number[1]) - 1}]"
    # The results of a list of one tensor have no numbers either.
    is_list = len(returns) > 1 or isinstance(returns[0].type, torch.ListType)
    return "out[0]" if is_list else "out"


def _view(call: Call, slot: Slot) -> str:
    storage = call.storages[slot.storage]
    dense, running = True, 1
    for size, stride in zip(reversed(slot.size), reversed(slot.stride), strict=True):
        dense = dense and stride == running  # also for one element: a kernel may check it
        running *= size
    if dense and slot.offset == 0 and running == storage.numel():
        return f"p{slot.storage}.view({slot.size})" if len(slot.size) != 1 else f"p{slot.storage}"
    return f"p{slot.storage}.as_strided({slot.size}, {slot.stride}, {slot.offset})"


def _code(value: Any, names: dict[Slot, str]) -> str:
    if isinstance(value, Slot):
        return names[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_code(item, names) for item in value)}]"
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return f"dtype or {value}"
    return repr(value)


_INSIDE = [
    "class Inside(torch.autograd.Function):",
    '    """The call is wrong only inside a backward pass."""',
    "",
    "    @staticmethod",
    "    def forward(ctx, x):",
    "        return x.clone()",
    "",
    "    @staticmethod",
    "    def backward(ctx, gradient):",
]
_INSIDE_END = [
    "        kept.append(call(DEVICE))",
    "        return gradient",
    "",
    "",
    "kept = []",
]


def _run_lines(script: ReproScript) -> list[str]:
    """Return the lines that collect the results in ``kept``."""
    once = "kept.append(call(DEVICE))"
    if script.context.backward:
        once = "Inside.apply(torch.ones((), device=DEVICE, requires_grad=True)).backward()"
    lines = [] if script.context.backward else ["kept = []"]
    if not script.context.backward:
        lines += [f"{name}(DEVICE)" for name in _earlier_names(script)]
    times, why = (
        script.context.times,
        "the first result may be right, depending on old memory contents",
    )
    if script.problem is not None and script.problem.calls > 1:
        times, why = max(times, script.problem.calls), "the random numbers of many calls show it"
    if times == 1:
        return [*lines, once]
    return [*lines, f"for _ in range({times}):  # {why}", f"    {once}"]


def _compare(script: ReproScript, has_cpu: bool) -> list[str]:
    lines = []
    if not has_cpu:
        lines += _expected_literal(script)
    elif script.own_process:
        lines += [line.replace("CALL", _reference_call(script)) for line in _OWN_PROCESS]
    else:
        lines += [f"want = {_reference_call(script)}"]
    comparison = _comparison(script)
    return [
        *lines,
        *_run_lines(script),
        "bad = 0",
        "for got in kept:",
        '    print("got", got.flatten()[:8].tolist(), "want", want.flatten()[:8].tolist())',
        *comparison,
        "    bad += bool(wrong)",
        'print("FAULTY" if bad else "right", f"{bad} of {len(kept)}")',
        "sys.exit(int(bad > 0))",
    ]


def _comparison(script: ReproScript) -> list[str]:
    """Return the lines of the comparison, with the check's own scale."""
    call, before = script.shrunk_call.call, _before(script)
    cpu_results = dict(with_changes(run.of_call(call), before))
    result = cpu_results.get(script.where)
    if result is None or not result.is_floating_point():
        return ["    wrong = not torch.equal(got.cpu(), want)"]
    bound = tolerance(result.dtype)
    if bool(result.isfinite().all()):
        part, scale = "", "want.abs().max()"
        masks = magnitudes(result.double())
        if len(masks) > 1:
            part = f"[want.abs() <= {float(result[masks[1]].abs().amax()) * 2:g}]"
            scale = f"want{part}.abs().max()"
        floor = floor_of(script.where, before)
        if floor:
            scale = f"max({scale}, {floor:g})"
        note = (
            ["    # A mask's large values do not determine the scale of the others."]
            if part
            else []
        )
        return [
            "    got, want = got.cpu().double(), want.double()",
            *note,
            f"    error = (got - want){part}.abs().max()",
            f"    wrong = not error <= {bound:g} * {scale}",
        ]
    return [
        "    a, b = got.cpu().double(), want.double()",
        "    finite = b.isfinite()",
        "    error = (a - b)[finite].abs().amax() if finite.any() else torch.zeros(())",
        f"    near = bool(error <= {bound:g} * b[finite].abs().amax()) if finite.any() else True",
        "    odd = torch.equal(a[~finite].nan_to_num(0.5), b[~finite].nan_to_num(0.5))",
        "    wrong = not (near and odd)",
    ]


def _before(script: ReproScript) -> dict[str, torch.Tensor]:
    """Return the values that the call overwrites."""
    call = script.shrunk_call.call
    return before_call(op_info(call.function), *call.on())


def _reference_call(script: ReproScript) -> str:
    """Return the reference's call: in float64, if the op supports it."""
    try:
        run.of_call(script.shrunk_call.call, torch.float64)
    except run.Unreferenced:
        return 'call("cpu")'
    return 'call("cpu", torch.float64)'


_OWN_PROCESS = [
    'if "--reference" in sys.argv:',
    "    torch.save(CALL, sys.argv[-1])",
    "    sys.exit()",
    "# In a separate process, so that faults in this one cannot affect the reference.",
    "with tempfile.TemporaryDirectory() as folder:",
    '    path = os.path.join(folder, "want.pt")',
    '    subprocess.run([sys.executable, __file__, "--reference", path], check=True)',
    "    want = torch.load(path)",
]


def _expected_literal(script: ReproScript) -> list[str]:
    cpu_results = dict(run.of_call(script.shrunk_call.call, torch.float64))
    expected = cpu_results[script.where]
    if expected.numel() > MAX_EXPECTED:
        raise ValueError("the CPU has no such op, and its right result is too long to spell out")
    values = ", ".join(repr(value) for value in expected.flatten().tolist())
    shape = tuple(expected.shape)
    why = "# The CPU has no such op: this is its definition's result, computed in float64."
    return [why, f"want = torch.tensor([{values}], dtype={expected.dtype}).view({shape})"]


def _check_random(script: ReproScript) -> list[str]:
    problem = script.problem
    assert problem is not None
    names = _tensors(problem)
    loop = f"for {names[0]} in (each.cpu().double() for each in kept):"
    if len(names) > 1:
        loop = f"for {', '.join(names)} in ([t.cpu().double() for t in each] for each in kept):"
    setup = [f"    {line}" for line in problem.setup]
    if problem.per_call:
        check = [
            "values = []",
            loop,
            *setup,
            f"    values.append(({problem.per_call}).flatten())",
            "values = torch.cat(values)  # the mean of correct numbers is 0",
            'print("mean", float(values.mean()), "of", len(values))',
            f"bad = {problem.code}",
        ]
    else:
        again = ["    again = call(DEVICE).cpu().double()"] if "again" in problem.code else []
        check = [
            "bad = False",
            loop,
            *again,
            *setup,
            "    print(got.flatten()[:16])",
            f"    bad = bad or {problem.code}",
        ]
    return [
        *_run_lines(script),
        *check,
        'print("FAULTY" if bad else "right")',
        "sys.exit(int(bad))",
    ]
