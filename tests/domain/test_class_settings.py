from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.class_settings import KINDS, ClassSetting, ClassSettings, Setting, text_of
from mpstui.domain.config import default_config, make_config, read_settings
from mpstui.domain.devices import device_label, parse_device
from mpstui.domain.errors import FieldError
from mpstui.domain.nearest import list_nearest
from mpstui.domain.same_settings import describe_settings, have_same_settings, references

FILE = "mine.py:Mine"


def setting(name: str, kind: str = "int", **values: Any) -> ClassSetting:
    return ClassSetting(name, name, "", kind=kind, **{"default_text": "1", **values})


WIDTH = setting("width", default=1, has_literal=True)
DEPTH = setting("depth", default_text=None)
LR = setting("lr", "float", default=0.02, default_text="0.02", has_literal=True)
MINE = ClassSettings("Mine", (WIDTH, LR))

VALUES: dict[str, st.SearchStrategy[Setting]] = {
    "int": st.integers(-(2**63) + 1, 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "str": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    "path": st.text("abc/.", min_size=1),
}


@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_a_values_text_is_parsed_to_the_value(data: st.DataObject, kind: str) -> None:
    value = data.draw(VALUES[kind])
    result = setting("x", kind).parse(text_of(value))
    assert (result, type(result)) == (value, type(value))


@given(st.text(), st.sampled_from(sorted(KINDS)))
def test_any_text_is_parsed_or_refused(text: str, kind: str) -> None:
    try:
        value = setting("x", kind).parse(text)
    except FieldError as error:
        assert error.field == "x"
        assert error.allowed
    else:
        assert setting("x", kind).check(value) == value


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("int", "abc", "'abc' is not a whole number"),
        ("int", "1.5", "'1.5' is not a whole number"),
        ("int", "9" * 5000, "a text is not a whole number"),
        ("int", str(2**63), "needs more than 64 bits"),
        ("float", "x", "'x' is not a number"),
        ("float", "nan", "nan is not finite"),
        ("float", "1e999", "inf is not finite"),
        ("bool", "maybe", "'maybe' is neither true nor false"),
        ("path", "", "'' is not a path"),
        ("other", "[1]", "its type list[int] is only set in the file"),
    ],
)
def test_a_wrong_value_is_refused_by_name(kind: str, text: str, problem: str) -> None:
    with pytest.raises(FieldError, match="width: ") as refusal:
        setting("width", kind, hint="list[int]").parse(text)
    assert problem in refusal.value.problem
    assert refusal.value.allowed == KINDS[kind][0]


def test_a_choice_keeps_its_type_and_none_is_one_if_it_may_be() -> None:
    choice = setting("mode", "choice", choices=("a", 1, True), optional=True)
    assert [choice.parse(text) for text in ("a", "1", "true", "None")] == ["a", 1, True, None]
    assert choice.allowed == "a, 1, true, none"
    with pytest.raises(FieldError, match="'b' is not a choice"):
        choice.parse("b")
    with pytest.raises(FieldError, match="is not a choice"):
        choice.check(1.0)


def test_any_text_is_read_as_python_reads_it() -> None:
    free = setting("x", "any")
    texts = ("3", "1e-3", "true", "none", "word", "[1]", "")
    assert [free.parse(text) for text in texts] == [3, 0.001, True, None, "word", "[1]", ""]


def test_an_unknown_name_lists_the_nearest_setting_first() -> None:
    many = ClassSettings("Mine", tuple(setting(name) for name in ("depth", "width", "heads")))
    with pytest.raises(FieldError, match="widht: Mine has no setting; allowed: width, ") as error:
        many.check({"widht": 3})
    assert error.value.exit_code == 2
    assert list_nearest("f3", (f"f{n}" for n in range(20))).startswith("f3, ")
    assert list_nearest("f3", (f"f{n}" for n in range(20))).endswith(" and 14 more")


def test_a_class_with_bases_from_elsewhere_accepts_other_names() -> None:
    partial = ClassSettings("Mine", (WIDTH,), is_complete=False)
    assert partial.check({"width": 2, "rest": 0.5}) == {"width": 2, "rest": 0.5}
    assert partial.parse("rest", "0.5") == 0.5
    with pytest.raises(FieldError, match="width"):
        partial.check({"width": "wide"})


def test_a_required_setting_says_how_to_set_it() -> None:
    with pytest.raises(FieldError, match=r"depth: Mine needs .*; allowed: --set depth=N"):
        ClassSettings("Mine", (DEPTH,)).check({})
    assert ClassSettings("Mine", (DEPTH,)).check({"depth": 2}) == {"depth": 2}


def test_the_classes_default_replaces_the_runs() -> None:
    assert default_config(FILE, MINE).lr == 0.02
    assert make_config({"workload": FILE}, MINE).lr == 0.02
    assert make_config({"workload": FILE, "lr": 0.5}, MINE).lr == 0.5
    assert default_config(FILE).lr == 0.001
    wrong = ClassSettings("Mine", (setting("lr", default=-1, has_literal=True),))
    with pytest.raises(FieldError, match="lr: -1 is too small"):
        default_config(FILE, wrong)


def test_a_default_that_only_the_file_knows_is_not_guessed() -> None:
    unknown = ClassSettings("Mine", (setting("epochs", default_text="1 << 3"),))
    with pytest.raises(FieldError, match=r"epochs: Mine's default 1 << 3 is known only"):
        make_config({"workload": FILE}, unknown)
    assert make_config({"workload": FILE, "epochs": 8}, unknown).epochs == 8


def test_a_device_spec_sets_fields_of_the_run_and_of_the_class() -> None:
    config = make_config({"workload": FILE, "settings": {"width": 2}})
    spec = parse_device("cpu@set.width=8@set.lr=1e-2")
    on_cpu = config.on(spec, "c", MINE)
    assert (on_cpu.lr, on_cpu.settings) == (0.01, {"width": 8})
    assert on_cpu.set_values == {"width": 8, "lr": 0.01}
    assert on_cpu.on(on_cpu.spec, "c") == on_cpu  # as when it is read from config.toml
    assert not on_cpu.checked  # it is the plain CPU
    assert config.on(parse_device("mps@set.width=8"), "c", MINE).checked
    assert config.settings == {"width": 2}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("cpu@set.width=x", "width: 'x' is not a whole number"),
        ("cpu@set.widht=2", "widht: Mine has no setting; allowed: width"),
        ("cpu@set.lr=0", "lr: 0 is too small"),
    ],
)
def test_a_device_specs_settings_are_checked(spec: str, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        make_config({"workload": FILE}, MINE).on(parse_device(spec), "", MINE)


def test_a_built_in_workload_has_no_settings_of_a_class() -> None:
    with pytest.raises(FieldError, match="width: the workload has no setting"):
        make_config({}).on(parse_device("cpu@set.width=2"))
    assert make_config({}).on(parse_device("cpu@set.lr=0.5")).lr == 0.5


@pytest.mark.parametrize("option", ["set.", "set.lr", "set.lr=", "set.a b=1", "set.if=1"])
def test_a_setting_in_a_device_spec_has_a_name_and_a_value(option: str) -> None:
    with pytest.raises(FieldError):
        parse_device(f"cpu@{option}")


@given(st.dictionaries(st.sampled_from("abc"), st.text(min_size=1), max_size=3))
def test_a_spec_with_settings_is_parsed_to_itself_or_refused(settings: dict[str, str]) -> None:
    try:
        spec = parse_device("cpu@threads=1").with_settings(settings)
    except FieldError as error:
        assert error.field in settings
        return
    assert parse_device(str(spec)) == spec
    assert spec.settings == settings
    assert str(spec.with_settings({})) == "cpu@threads=1"


def test_a_device_with_settings_has_a_label() -> None:
    label = device_label("cpu@threads=1@set.lr=0.001@set.mode=a")
    assert label == "cpu@threads=1 lr=0.001 mode=a"


def test_a_run_is_compared_with_the_first_run_of_the_same_settings() -> None:
    settings: list[dict[str, Setting]] = [{}, {"a": 1}, {}, {"a": 1}, {"a": True}, {"a": 1.0}]
    assert references(settings) == (None, None, 0, 1, None, None)
    assert have_same_settings({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert describe_settings({"lr": 1e-3, "flip": True}) == "lr=0.001 flip=true"


def test_a_table_of_settings_has_single_values() -> None:
    assert read_settings({"a": [], "b": 1}) == {"a": None, "b": 1}
    tables: list[Any] = [{"a": [1]}, {"a": {}}, 3]
    for table in tables:
        with pytest.raises(FieldError):
            read_settings(table)
