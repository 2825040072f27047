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
def specs(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(TYPES))
    index = draw(st.none() | st.integers(0, 999)) if kind in INDEXED else None
    options = []
    if kind == "cpu" and draw(st.booleans()):
        options.append(f"threads={draw(st.integers(1, 1024))}")
    if draw(st.booleans()):
        precisions = [each for each in PRECISIONS if each != "tf32" or kind == "cuda"]
        options.append(f"precision={draw(st.sampled_from(precisions))}")
    if draw(st.booleans()):
        options.append(f"pipeline={draw(st.sampled_from(PIPELINES))}")
    device = kind if index is None else f"{kind}:{index}"
    return "@".join([device, *draw(st.permutations(options))])


@given(specs())
def test_the_one_spelling_round_trips(text: str) -> None:
    spec = parse_device(text)
    assert parse_device(str(spec)) == spec
    assert sorted(str(spec).split("@")) == sorted(text.split("@"))


@given(
    st.text()
    | st.text(alphabet="cpumsda0123456789:@=,threads \n")
    | st.builds("{}@{}={}".format, st.sampled_from(TYPES), st.text(), st.text())
)
def test_any_text_parses_or_is_refused(text: str) -> None:
    for parse in (parse_device, parse_devices):
        try:
            parse(text)
        except FieldError as error:
            assert error.problem
            assert error.allowed


def test_parts_are_told_apart() -> None:
    spec = parse_device(" cuda:1@precision=tf32@pipeline=reference ")
    assert spec == DeviceSpec("cuda", 1, (("precision", "tf32"), ("pipeline", "reference")))
    assert spec.device == "cuda:1"
    assert spec.option("precision") == "tf32"
    assert spec.option("threads") is None


def test_spellings_of_one_spec_are_one() -> None:
    assert str(parse_device("cpu@threads=0004")) == "cpu@threads=4"
    assert str(parse_device("cuda:01")) == "cuda:1"
    swapped = "cpu@pipeline=reference@threads=2"
    assert parse_device(swapped) == parse_device("cpu@threads=2@pipeline=reference")
    with pytest.raises(FieldError, match="stands there twice"):
        parse_devices(f"cpu@threads=2@pipeline=reference,{swapped}")


@pytest.mark.parametrize(
    ("text", "problem", "allowed"),
    [
        ("", "'' names no device", "cpu, mps, cuda, xpu"),
        ("gpu", "'gpu' names no device", "cpu, mps, cuda, xpu"),
        ("CPU", "'CPU' names no device", "cpu"),
        ("cuda:", "'cuda:' names no device", "cuda:1"),
        ("cuda:-1", "'cuda:-1' names no device", "cuda:1"),
        pytest.param("cuda:" + "9" * 5000, "names no device", "cuda:1", id="cuda:huge"),
        ("cuda:١", "names no device", "cuda:1"),
        ("cpu:0", "cpu takes no index", "cpu"),
        ("mps:0", "mps takes no index", "mps"),
        ("cpu@", "option '' is unknown", "@threads=, @fault=, @precision=, @pipeline="),
        ("cpu@cores=1", "option 'cores' is unknown", "@threads="),
        ("cpu@threads", "threads= is not a thread count", "threads=1 to 1024"),
        ("cpu@threads=0", "threads=0 is not a thread count", "1 to 1024"),
        ("cpu@threads=1025", "threads=1025 is not a thread count", "1 to 1024"),
        ("cpu@threads=٣", "threads=٣ is not a thread count", "1 to 1024"),
        ("cpu@threads=1@threads=2", "threads is given twice", "each option once"),
        ("mps@threads=1", "threads does nothing on mps", "cpu@threads=N"),
        ("mps@precision=tf32", "mps has no TF32", "cuda@precision=tf32"),
        ("cpu@precision=fp16", "precision=fp16 is unknown", "float32, tf32, bf16"),
        ("cpu@pipeline=", "pipeline= is unknown", "resident, reference"),
    ],
)
def test_a_refusal_names_the_problem_and_what_is_allowed(
    text: str, problem: str, allowed: str
) -> None:
    with pytest.raises(FieldError) as caught:
        parse_device(text)
    assert caught.value.field == "device"
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed
    assert str(caught.value) == f"device: {caught.value.problem}; allowed: {caught.value.allowed}"


def test_a_list_keeps_its_order_and_passes_over_gaps() -> None:
    assert [str(spec) for spec in parse_devices("mps, cpu,,cuda:1,")] == ["mps", "cpu", "cuda:1"]


@pytest.mark.parametrize("text", ["", " ", ",,"])
def test_an_empty_list_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="devices: none is named; allowed: one or more specs"):
        parse_devices(text)
