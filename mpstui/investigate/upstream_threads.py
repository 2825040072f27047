"""Matches an op at fault with the catalogue's rows: by op, phase and symptom.

A row matches only if the finding agrees with every condition in its text that can be checked. An
unrelated thread in a report costs a maintainer's time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from mpstui.domain.catalogue import KnownFault
from mpstui.domain.investigation import OpAtFault

NO_STEM = ("backward", "dropout", "copy")
"""Words that do not name the op in the rows that contain them."""


def matches_row(row: KnownFault, op: OpAtFault) -> bool:
    """Return whether a catalogue row matches an op at fault."""
    if not _same_op(row, op):
        return False
    conditions = f"{row.op}; {row.affected}".lower()
    fits = [
        check(op)
        for text, pattern, check in (
            *((row.mechanics.lower(), pattern, check) for pattern, check in _MECHANICS.items()),
            *((conditions, pattern, check) for pattern, check in _CONDITIONS.items()),
        )
        if re.search(pattern, text)
    ]
    return all(fits) and _largest(op) >= _least(conditions)


def _same_op(row: KnownFault, op: OpAtFault) -> bool:
    _, packet, overload = op.op.split(".")
    text = row.op.lower()
    in_backward = packet.endswith("_backward") or (op.phase == "backward" and "linear" in text)
    if in_backward != ("backward" in text):
        return False
    stem = packet.strip("_").removeprefix("native_").removesuffix("_backward")
    if stem.startswith("scaled_dot_product"):
        stem = "scaled_dot_product_attention"  # with any kernel
    stem = stem.removesuffix("_like").replace("_", "")
    row_words = {word.replace("_", "") for word in re.findall(r"[a-z0-9_]+", text)} - {*NO_STEM}
    is_named = stem in row_words or any(f"{stem}{n}d" in row_words for n in (1, 2, 3))
    return is_named and ("out=" not in text or overload == "out")


def _symptom_text(op: OpAtFault) -> str:
    return f"{op.symptom}; {op.values}".lower()


def _has_layout(op: OpAtFault) -> bool:
    return any("strides" in text or "offset" in text for text in op.inputs)


def _has_no_effect(op: OpAtFault) -> bool:
    return bool(re.search(r"never written|is the input|unchanged", _symptom_text(op)))


_MECHANICS: dict[str, Callable[[OpAtFault], bool]] = {
    r"never written|never copied back|does nothing": _has_no_effect,
    r"strides are ignored": lambda op: "strides are ignored" in _symptom_text(op),
    r"offset is ignored": lambda op: "offset is ignored" in _symptom_text(op),
    r"same draws": lambda op: "every slice" in _symptom_text(op),
    r"out of bounds, into": lambda op: "writes into" in _symptom_text(op),
}
_CONDITIONS: dict[str, Callable[[OpAtFault], bool]] = {
    r"stride-0|expanded": lambda op: any(re.search(r"strides \(.*\b0\b", i) for i in op.inputs),
    r"non-contiguous|channels_last|permuted|transposed|slice": _has_layout,
    r"half precision": lambda op: any("float16" in text for text in op.inputs),
    r"of integers": lambda op: any(re.match(r"u?int", text) for text in op.inputs),
    r"head_dim 64 and more": lambda op: any(size[-1:] >= [64] for size in _sizes(op)),
    r"more than 2\^32 elements": lambda op: any(math.prod(size) > 2**32 for size in _sizes(op)),
    r"mask of": lambda op: len(op.inputs) > 3,
    r"5-d": lambda op: any(len(size) >= 5 for size in _sizes(op)),
}


def _sizes(op: OpAtFault) -> list[list[int]]:
    """Return the sizes of each input, from its description."""
    matches = (re.search(r"\(([\d, ]*)\)", text) for text in op.inputs)
    return [[int(n) for n in re.findall(r"\d+", size[1])] for size in matches if size]


def _largest(op: OpAtFault) -> int:
    return max((n for size in _sizes(op) for n in size), default=0)


def _least(conditions: str) -> int:
    """Return the least size at which a row's fault occurs; 0 if it names none."""
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d{1,3}(?:,\d{3})+", conditions)]
    numbers += [2 ** int(n) for n in re.findall(r"more than 2\^(\d+) rows", conditions)]
    numbers += [int(float(n) * 1e6) for n in re.findall(r"([\d.]+) million", conditions)]
    return min(numbers, default=0)
