"""Strategies for values of msgspec types, from the types themselves: all that a reader accepts."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec.inspect as inspect
import numpy as np
from hypothesis import strategies as st

from mpstui.domain.events import SeriesRecorded, StepsCompleted

T = TypeVar("T")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PATH = st.from_regex(r"[a-z]{1,5}(/[a-z.]{0,3}[a-z]){0,2}", fullmatch=True)
LOSSES = st.lists(st.floats(width=32), min_size=1, max_size=70)
VALUES = st.lists(st.tuples(st.integers(0, 10**15), st.floats()), max_size=70)


def valid(kind: type[T]) -> st.SearchStrategy[T]:
    """Return a strategy for a type's values, up to its bounds."""
    return _of(inspect.type_info(kind))


def _of(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.IntType():
            low = -(2**62) if info.ge is None else info.ge
            high = 2**62 if info.le is None else info.le
            usual = st.integers(max(low, 0), min(high, 200))
            return usual | st.integers(low, high) | st.sampled_from([low, high])
        case inspect.FloatType():
            ends = [bound for bound in (info.ge, info.le) if bound is not None] or [0.0]
            every = st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False)
            return st.floats(0.0, 100.0) | st.sampled_from(ends) | every
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.StrType():
            return TEXT if info.pattern is None else PATH
        case inspect.BytesType():
            return st.binary(max_size=20)
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case inspect.UnionType():
            return st.one_of([_of(member) for member in info.types])
        case inspect.VarTupleType():
            return st.lists(_of(info.item_type), max_size=5).map(tuple)
        case inspect.DictType():
            return st.dictionaries(_of(info.key_type), _of(info.value_type), max_size=4)
        case inspect.StructType():
            return _struct(info)
    raise AssertionError(f"no strategy for {info}")


def _struct(info: inspect.StructType) -> st.SearchStrategy[Any]:
    cls = info.cls
    fields = {field.name: _of(field.type) for field in info.fields}
    if cls is StepsCompleted:
        fields["losses"] = LOSSES.map(lambda losses: np.array(losses, "<f4").tobytes())
    if cls is SeriesRecorded:
        return VALUES.flatmap(
            lambda pairs: st.builds(
                cls,
                at=fields["at"],
                name=fields["name"],
                steps=st.just(tuple(step for step, _ in pairs)),
                values=st.just(np.array([value for _, value in pairs], "<f8").tobytes()),
            )
        )
    return st.builds(cls, **fields)
