from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.catalogue import SIMULATED
from mpstui.domain.devices import (
    AUTOTUNE,
    DEVICE_TYPES,
    PIPELINES,
    PRECISIONS,
    TYPES,
    DeviceSpec,
    fault_file,
    parse_device,
    parse_devices,
)
from mpstui.domain.errors import FieldError

NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@st.composite
def fault_files(draw: st.DrawFn) -> str:
    letters = st.characters(categories=["L", "N"], include_characters=" ._-:=+~")
    folders = draw(st.lists(st.text(letters, min_size=1), max_size=3))
    stem = draw(st.text(letters, min_size=1))
    name = draw(NAMES.filter(lambda name: not keyword.iskeyword(name)))
    return f"{'/'.join([*folders, stem])}.py:{name}"


@st.composite
def specs(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(TYPES))
    index = draw(st.none() | st.integers(0, 999)) if DEVICE_TYPES[kind].indexed else None
    options = []
    if kind == "cpu" and draw(st.booleans()):
        options.append(f"threads={draw(st.integers(1, 1024))}")
    if draw(st.booleans()):
        precisions = [each for each in PRECISIONS if each != "tf32" or kind == "cuda"]
        options.append(f"precision={draw(st.sampled_from(precisions))}")
    if draw(st.booleans()):
        options.append("compile")
    if draw(st.booleans()):
        options.append(f"autotune={draw(st.sampled_from(AUTOTUNE))}")
    if draw(st.booleans()):
        options.append(f"pipeline={draw(st.sampled_from(PIPELINES))}")
    if draw(st.booleans()):
        options.append(f"fault={draw(st.sampled_from(SIMULATED) | fault_files())}")
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
    assert str(parse_device("cpu@autotune=off@compile")) == "cpu@compile@autotune=off"
    assert parse_device("cpu@compile=") == parse_device("cpu@compile")
    spec = parse_device(" cuda:1@precision=tf32@pipeline=reference ")
    assert spec == DeviceSpec("cuda", 1, (("precision", "tf32"), ("pipeline", "reference")))
    assert spec.device == "cuda:1"
    assert spec.option("precision") == "tf32"
    assert spec.option("threads") is None


@given(fault_files())
def test_a_fault_of_a_file_keeps_its_path_and_class(value: str) -> None:
    spec = parse_device(f"cpu@fault={value}@threads=2")
    assert spec.option("fault") == value
    assert fault_file(value) == tuple(value.rsplit(":", 1))
    assert parse_devices(f"cpu,{spec}")[1] == spec


@pytest.mark.parametrize("value", SIMULATED)
def test_a_fault_of_the_catalogue_is_of_no_file(value: str) -> None:
    assert fault_file(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "neg",
        "faults.py",
        "faults.py:",
        "faults:Class",
        "faults.pyc:Class",
        ".py:Class",
        "folder/.py:Class",
        ":Class",
        "faults.py:my class",
        "faults.py:2nd",
        "faults.py:class",
        "faults.py:Class:again",
        "faults.py:a.b",
        "fau,lts.py:Class",
        "fau\nlts.py:Class",
        "fau\0lts.py:Class",
    ],
)
def test_what_names_no_fault_is_told_the_names_and_the_form(value: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_device(f"cpu@fault={value}")
    assert caught.value.problem == f"fault={value} is unknown"
    assert "neg-stride0, " in caught.value.allowed
    assert "path/to/file.py:Class" in caught.value.allowed


def test_spellings_of_one_spec_are_one() -> None:
    assert str(parse_device("cpu@threads=0004")) == "cpu@threads=4"
    assert str(parse_device("cuda:01")) == "cuda:1"
    swapped = "cpu@pipeline=reference@threads=2"
    assert parse_device(swapped) == parse_device("cpu@threads=2@pipeline=reference")
    with pytest.raises(FieldError, match="is listed twice"):
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
        ("cpu@precision=fp8", "precision=fp8 is unknown", "float32, tf32, bf16, fp16"),
        ("cpu@compile=yes", "compile=yes has a value", "@compile, without a value"),
        ("cpu@autotune=", "autotune= is unknown", "on, off, again"),
        ("cpu@pipeline=", "pipeline= is unknown", "resident, streamed, reference"),
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
