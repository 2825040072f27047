"""A script of a few lines that shows a fault: it stands alone, and exits with 1 where the fault is.

It computes the reference in float64 on the CPU. Where the doubted device is the CPU itself, or the
fault is simulated, a fresh process does that, which nothing that was changed in this one reaches.
An op that the CPU does not have gets its right result spelled out.
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
from mpstui.ops.randomness.arguments import names as drawn_names
from mpstui.ops.randomness.checks import RandomProblem
from mpstui.ops.references import run
from mpstui.ops.schema import op_info

from .attempt import CallContext
from .public_call import public_call
from .shrink import ShrunkCall

EXPECTED_MOST = 512
"""Values of a right result that are spelled out."""


class ReproScript(NamedTuple):
    """What a script is made of."""

    shrunk: ShrunkCall
    device: str
    """As torch names it."""
    where: str
    """Which result is wrong: ``output 2``, ``argument self``."""
    context: CallContext
    problem: RandomProblem | None
    words: str
    """What is wrong, in one line."""
    notes: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def own_process(self) -> bool:
        """Whether the reference needs a process that nothing has been changed in."""
        return self.problem is None and (self.device == "cpu" or self.simulated)


def source(script: ReproScript) -> str:
    """The script's text.

    Raises:
        ValueError: When its inputs are too many to be spelled out; the message says so.
    """
    call, recipes = script.shrunk.call, script.shrunk.recipes
    if script.where == "draws" and script.problem is None:
        raise ValueError("draws of this call alone are right as often as not")
    if op_info(call.function).foreign:
        space = call.op.partition(".")[0]
        raise ValueError(f"the op is of another library, {space}, which a script has to define")
    if not all(recipes):
        raise ValueError("the fault needs its real inputs, which are too many to be spelled out")
    facts = op_info(call.function)
    has_cpu = references.reference_of(facts.name) is None
    lines = [
        f'"""{facts.name} is wrong on {script.device}: {script.words}.',
        "",
        *script.notes,
        f"Seen with torch {torch.__version__}; written by mpstui {__version__}.",
        "Exits with 1 where the fault is present, with 0 where it is not.",
        '"""',
        "",
        *_imports(script, has_cpu),
        "",
        f"DEVICE = {script.device!r}",
        "torch.manual_seed(0)",
        *(f"s{place} = {recipe}" for place, recipe in enumerate(recipes)),
        "",
        "",
        *_call(call, script),
        *_earlier(script),
    ]
    if script.context.backward:
        calls = [f"        {name}(DEVICE)" for name in _earlier_names(script)]
        lines += [*_INSIDE, *calls, *_INSIDE_END]
    lines += _drawn(script) if script.problem else _compared(script, has_cpu)
    return "\n".join(lines) + "\n"


def _imports(script: ReproScript, has_cpu: bool) -> list[str]:
    own = script.own_process and has_cpu
    modules = ["os", "subprocess", "sys", "tempfile"] if own else ["sys"]
    return [*(f"import {name}" for name in modules), "", "import torch"]


def _call(call: Call, script: ReproScript) -> list[str]:
    names: dict[Slot, str] = {}
    body: list[str] = []
    for slot in call.slots:
        if slot not in names:
            names[slot] = f"x{len(names)}"
            body.append(f"    {names[slot]} = {_view(call, slot)}")
    positional = [_code(value, names) for value in call.args]
    named = [f"{key}={_code(value, names)}" for key, value in call.kwargs.items()]
    run = f"torch.ops.{call.op}({', '.join([*positional, *named])})"
    public = public_call(call, lambda value: _code(value, names))
    moved = []
    for place in sorted({slot.storage for slot in call.slots}):
        cast = "dtype, " if call.storages[place].is_floating_point() else ""
        moved.append(f"    p{place} = s{place}.to(device, {cast}copy=True)")
    result = _result(call, script, names)
    kept, returned = _drawn_from(call, script, result, names)
    if script.where.startswith(CHANGE):
        kept, returned = [f"    before = {result}.clone()"], f"{result} - before"
    return [
        "def call(device, dtype=None):",
        *moved,
        *body,
        *kept,
        *([f"    # public: {public}"] if public else []),
        f"    {'out = ' if 'out' in returned else ''}{run}",
        f"    return {returned}",
        "",
        "",
    ]


def _drawn_from(
    call: Call, script: ReproScript, result: str, names: dict[Slot, str]
) -> tuple[list[str], str]:
    """What is kept from before a call that draws, and what is returned of it."""
    if script.problem is None:
        return [], result
    facts = op_info(call.function)
    places = {name: place for place, (name, _) in enumerate(facts.defaults)}
    code = {
        "got": result,
        "before": "before",
        "output": "out" if len(call.function._schema.returns) == 1 else "out[0]",
    }
    kept = [f"    before = {result}.clone()"] if "before" in script.problem.tensors else []
    for name, own in drawn_names(facts).items():
        if name in script.problem.tensors:
            slot = call.args[places[own]]
            kept.append(f"    {name} = {names[slot]}.clone()")
            code[name] = name
    return kept, ", ".join(code[name] for name in _tensors(script.problem))


def _tensors(problem: RandomProblem) -> list[str]:
    return ["got", *(name for name in problem.tensors if name != "got")]


def _earlier_names(script: ReproScript) -> list[str]:
    return [f"earlier{place}" for place in range(len(script.context.before))]


def _earlier(script: ReproScript) -> list[str]:
    """What has to run before the call goes wrong, on zeros."""
    lines: list[str] = []
    for place, before in enumerate(script.context.before):
        names: dict[Slot, str] = {}
        lines += [f"def earlier{place}(device):"]
        for slot in before.slots:
            if slot not in names:
                names[slot] = f"x{len(names)}"
                storage = before.storages[slot.storage]
                extent = f"torch.zeros({storage.numel()}, dtype={storage.dtype}, device=device)"
                view = f"as_strided({slot.size}, {slot.stride}, {slot.offset})"
                lines.append(f"    {names[slot]} = {extent}.{view}")
        arguments = [_code(value, names) for value in before.args]
        arguments += [f"{key}={_code(value, names)}" for key, value in before.kwargs.items()]
        run = f"    torch.ops.{before.op}({', '.join(arguments)})".replace("dtype or ", "")
        lines += [run, "", ""]
    return lines


def _result(call: Call, script: ReproScript, names: dict[Slot, str]) -> str:
    where = script.where.removeprefix(CHANGE)
    if where == "draws":
        facts = op_info(call.function)
        last = -1 if is_last(facts) else 0
        outputs = len(call.function._schema.returns)
        where = f"output {outputs}" if is_last(facts) and outputs > 1 else "output"
        where = f"argument {facts.writes[last][1]}" if facts.writes else where
    argument = re.fullmatch(r"argument (\w+)(?:\[(\d+)\])?", where)
    if argument is not None:
        arguments = [each.name for each in call.function._schema.arguments]
        place = arguments.index(argument[1])
        value = call.args[place] if place < len(call.args) else call.kwargs[argument[1]]
        several = value if isinstance(value, (list, tuple)) else [value]
        return names[several[int(argument[2] or 0)]]
    number = re.fullmatch(r"output (\d+)", where)
    returns = call.function._schema.returns
    if number is not None:
        return f"out[{int(number[1]) - 1}]"
    # A list of one tensor has results without numbers too.
    is_list = len(returns) > 1 or isinstance(returns[0].type, torch.ListType)
    return "out[0]" if is_list else "out"


def _view(call: Call, slot: Slot) -> str:
    storage = call.storages[slot.storage]
    dense, running = True, 1
    for size, stride in zip(reversed(slot.size), reversed(slot.stride), strict=True):
        dense = dense and stride == running  # also of one element: a kernel may ask for it
        running *= size
    if dense and slot.offset == 0 and running == storage.numel():
        return f"p{slot.storage}.view({slot.size})" if len(slot.size) != 1 else f"p{slot.storage}"
    return f"p{slot.storage}.as_strided({slot.size}, {slot.stride}, {slot.offset})"


def _code(value: Any, names: dict[Slot, str]) -> str:
    if isinstance(value, Slot):
        return names[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_code(each, names) for each in value)}]"
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    if isinstance(value, torch.dtype) and value.is_floating_point:
        return f"dtype or {value}"
    return repr(value)


_INSIDE = [
    "class Inside(torch.autograd.Function):",
    '    """The call goes wrong inside of a backward pass only."""',
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


def _runs(script: ReproScript) -> list[str]:
    """Lines that leave the results in ``kept``."""
    once = "kept.append(call(DEVICE))"
    if script.context.backward:
        once = "Inside.apply(torch.ones((), device=DEVICE, requires_grad=True)).backward()"
    lines = [] if script.context.backward else ["kept = []"]
    if not script.context.backward:
        lines += [f"{name}(DEVICE)" for name in _earlier_names(script)]
    times, why = script.context.times, "the first time may be right, by what memory held before"
    if script.problem is not None and script.problem.calls > 1:
        times, why = max(times, script.problem.calls), "the draws of many calls show it"
    if times == 1:
        return [*lines, once]
    return [*lines, f"for _ in range({times}):  # {why}", f"    {once}"]


def _compared(script: ReproScript, has_cpu: bool) -> list[str]:
    lines = []
    if not has_cpu:
        lines += _spelled_out(script)
    elif script.own_process:
        lines += [line.replace("CALL", _right(script)) for line in _OWN_PROCESS]
    else:
        lines += [f"want = {_right(script)}"]
    judged = _judged(script)
    return [
        *lines,
        *_runs(script),
        "bad = 0",
        "for got in kept:",
        '    print("got", got.flatten()[:8].tolist(), "want", want.flatten()[:8].tolist())',
        *judged,
        "    bad += bool(wrong)",
        'print("FAULTY" if bad else "right", f"{bad} of {len(kept)}")',
        "sys.exit(int(bad > 0))",
    ]


def _judged(script: ReproScript) -> list[str]:
    """The comparison, on the scale that the check itself used."""
    call, before = script.shrunk.call, _before(script)
    named = dict(with_changes(run.of_call(call), before))
    result = named.get(script.where)
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
        note = ["    # What a mask holds sets no scale for the values beside it."] if part else []
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
    """What the call writes over."""
    call = script.shrunk.call
    return before_call(op_info(call.function), *call.on())


def _right(script: ReproScript) -> str:
    """The call that gives the reference: in float64, where the op has that."""
    try:
        run.of_call(script.shrunk.call, torch.float64)
    except run.Unreferenced:
        return 'call("cpu")'
    return 'call("cpu", torch.float64)'


_OWN_PROCESS = [
    'if "--reference" in sys.argv:',
    "    torch.save(CALL, sys.argv[-1])",
    "    sys.exit()",
    "# In a process of its own: what is wrong in this one must not reach the reference.",
    "with tempfile.TemporaryDirectory() as folder:",
    '    path = os.path.join(folder, "want.pt")',
    '    subprocess.run([sys.executable, __file__, "--reference", path], check=True)',
    "    want = torch.load(path)",
]


def _spelled_out(script: ReproScript) -> list[str]:
    named = dict(run.of_call(script.shrunk.call, torch.float64))
    want = named[script.where]
    if want.numel() > EXPECTED_MOST:
        raise ValueError("the CPU has no such op, and its right result is too long to spell out")
    values = ", ".join(repr(value) for value in want.flatten().tolist())
    shape = tuple(want.shape)
    why = "# The CPU has no such op: this is its definition's result, computed in float64."
    return [why, f"want = torch.tensor([{values}], dtype={want.dtype}).view({shape})"]


def _drawn(script: ReproScript) -> list[str]:
    problem = script.problem
    assert problem is not None
    names = _tensors(problem)
    loop = f"for {names[0]} in (each.cpu().double() for each in kept):"
    if len(names) > 1:
        loop = f"for {', '.join(names)} in ([t.cpu().double() for t in each] for each in kept):"
    setup = [f"    {line}" for line in problem.setup]
    if problem.each:
        judged = [
            "values = []",
            loop,
            *setup,
            f"    values.append(({problem.each}).flatten())",
            "values = torch.cat(values)  # of right draws their mean is 0",
            'print("mean", float(values.mean()), "of", len(values))',
            f"bad = {problem.code}",
        ]
    else:
        again = ["    again = call(DEVICE).cpu().double()"] if "again" in problem.code else []
        judged = [
            "bad = False",
            loop,
            *again,
            *setup,
            "    print(got.flatten()[:16])",
            f"    bad = bad or {problem.code}",
        ]
    return [
        *_runs(script),
        *judged,
        'print("FAULTY" if bad else "right")',
        "sys.exit(int(bad))",
    ]
