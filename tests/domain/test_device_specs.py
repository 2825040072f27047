from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.devices import (
    INDEXED,
    PIPELINES,
    PRECISIONS,
    TYPES,
    DeviceSpec,
    parse_device,
    parse_devices,
)
from mpstui.domain.errors import FieldError


@st.composite
def specs(draw: st.DrawFn) -> DeviceSpec:
    kind = draw(st.sampled_from(TYPES))
    index = draw(st.none() | st.integers(0, 15)) if kind in INDEXED else None
    options: dict[str, str] = {}
    if kind == "cpu" and draw(st.booleans()):
        options["threads"] = str(draw(st.integers(1, 1024)))
    if draw(st.booleans()):
        allowed = [p for p in PRECISIONS if p != "tf32" or kind == "cuda"]
        options["precision"] = draw(st.sampled_from(allowed))
    if draw(st.booleans()):
        options["pipeline"] = draw(st.sampled_from(PIPELINES))
    return DeviceSpec(kind, index, tuple(options.items()))


@given(specs())
def test_a_spec_survives_being_written_and_read(spec: DeviceSpec) -> None:
    assert parse_device(str(spec)) == spec


@given(st.text() | st.text(alphabet="cpumsdax:@=0123456789treins,", max_size=30))
def test_any_text_is_a_spec_or_a_field_error(text: str) -> None:
    try:
        parse_device(text)
    except FieldError as error:
        assert error.problem
        assert error.allowed


@pytest.mark.parametrize(
    ("text", "problem", "allowed"),
    [
        ("gpu", "'gpu' names no device", "mps"),
        ("cpu:0", "cpu takes no index", "cpu"),
        ("cpu@threads=0", "threads=0", "1 to 1024"),
        ("cpu@threads=²", "threads=²", "1 to 1024"),
        ("mps@threads=2", "does nothing on mps", "cpu@threads"),
        ("cpu@precision=tf32", "no TF32", "cuda"),
        ("cpu@colour=red", "'colour' is unknown", "@threads="),
        ("cpu@threads=1@threads=2", "twice", "once"),
        ("cpu@pipeline=fast", "pipeline=fast", "resident, reference"),
    ],
)
def test_a_refusal_names_the_problem_and_what_is_allowed(
    text: str, problem: str, allowed: str
) -> None:
    with pytest.raises(FieldError) as caught:
        parse_device(text)
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed


def test_a_list_keeps_its_order_and_refuses_twins_and_nothing() -> None:
    assert [str(spec) for spec in parse_devices("mps, cpu@threads=1 ,cpu")] == [
        "mps",
        "cpu@threads=1",
        "cpu",
    ]
    for text in ("", " , ", "cpu,cpu", "cpu@threads=1,cpu@threads=01"):
        with pytest.raises(FieldError):
            parse_devices(text)
