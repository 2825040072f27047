"""The settings of a class, read without running its file."""

from __future__ import annotations

import inspect
import keyword
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpstui.domain.class_path import ClassPath
from mpstui.domain.class_settings import ClassSetting, ClassSettings
from mpstui.domain.config import make_config
from mpstui.domain.errors import FieldError
from mpstui.runs.own_settings import own_settings, settings_in
from mpstui.runs.rundir import RunDir

HEAD = """\
from dataclasses import KW_ONLY, InitVar, dataclass, field
from pathlib import Path
from typing import *
"""


def read(text: str, name: str = "Mine") -> ClassSettings:
    return settings_in((HEAD + dedent(text)).encode(), ClassPath("mine.py", name))


def by_name(text: str, name: str = "Mine") -> dict[str, ClassSetting]:
    return {setting.name: setting for setting in read(text, name).settings}


def one(hint_and_default: str) -> ClassSetting:
    (setting,) = read(f"@dataclass\nclass Mine:\n    x: {hint_and_default}\n").settings
    return setting


@pytest.mark.parametrize(
    ("field", "kind", "choices", "optional"),
    [
        ("int = 3", "int", (), False),
        ("'int' = 3", "int", (), False),
        ("float = 3", "float", (), False),
        ("str = 'a'", "str", (), False),
        ("bool = True", "bool", (), False),
        ("Path = Path('a')", "path", (), False),
        ("Literal['a', 2, True] = 2", "choice", ("a", 2, True), False),
        ("Literal['a', None] = None", "choice", ("a", None), True),
        ("int | None = 3", "int", (), True),
        ("Optional[float] = None", "float", (), True),
        ("Union[str, None] = None", "str", (), True),
        ("'Path | None' = None", "path", (), True),
        ("int = None", "int", (), True),
        ("int | float = 3", "float", (), False),
        ("str | Path = 'a'", "path", (), False),
        ("int | str = 3", "any", (), False),
        ("Annotated[int, 'words'] = 3", "int", (), False),
        ("InitVar[int] = 3", "int", (), False),
        ("Any = 3", "any", (), False),
        ("list[int] = field(default_factory=list)", "other", (), False),
        ("list[int] | None = None", "other", (), True),
        ("int | tuple[int, int] = 3", "int", (), False),
        ("'not python (' = 3", "other", (), False),
    ],
)
def test_a_hint_gives_the_kind_of_a_value(
    field: str, kind: str, choices: tuple[Any, ...], optional: bool
) -> None:
    setting = one(field)
    assert (setting.kind, setting.choices, setting.optional) == (kind, choices, optional)


@pytest.mark.parametrize(
    ("default", "has_literal", "value"),
    [
        ("3", True, 3),
        ("-1.5", True, -1.5),
        ("'text'", True, "text"),
        ("Path('a/b')", True, "a/b"),
        ("field(default=3)", True, 3),
        ("None", True, None),
        ("1 << 3", False, None),
        ("field(default_factory=list)", False, None),
        ("WIDTH", False, None),
        ("1e999", False, None),
    ],
)
def test_a_default_is_known_if_it_is_a_literal(default: str, has_literal: bool, value: Any) -> None:
    setting = one(f"Any = {default}")
    assert (setting.has_literal, setting.default, setting.required) == (has_literal, value, False)
    assert setting.default_text


def test_a_parameter_without_a_hint_has_its_defaults_type() -> None:
    settings = by_name(
        """
        class Mine:
            def __init__(self, need, n=1, x=1.0, flag=False, name="a", root=Path("a"), free=None):
                pass
        """
    )
    kinds = [(setting.name, setting.kind) for setting in settings.values()]
    assert kinds == [
        *(("need", "any"), ("n", "int"), ("x", "float"), ("flag", "bool")),
        *(("name", "str"), ("root", "path"), ("free", "any")),
    ]
    assert [name for name, setting in settings.items() if setting.required] == ["need"]


def test_fields_that_creating_the_class_does_not_take_are_left_out() -> None:
    settings = by_name(
        """
        @dataclass
        class Mine:
            count: ClassVar[int] = 0
            _: KW_ONLY
            hidden: int = field(init=False, default=3)
            plain = 3
            width: int = 64
        """
    )
    assert list(settings) == ["width"]


def test_settings_of_base_classes_in_the_file_are_inherited() -> None:
    text = """
    @dataclass
    class Base:
        first: int = 1
        second: int = 2

    @dataclass
    class Mine(Base):
        third: int = 3
        first: int = 4

    class Plain(Mine):
        pass

    class Passing(Plain):
        def __init__(self, depth=2, **kwargs):
            super().__init__(**kwargs)

    class Closed(Plain):
        def __init__(self, depth=2):
            pass
    """
    names = ["first", "second", "third"]
    assert list(by_name(text)) == names
    assert by_name(text)["first"].default == 4
    assert list(by_name(text, "Plain")) == names
    assert list(by_name(text, "Passing")) == ["depth", *names]
    assert list(by_name(text, "Closed")) == ["depth"]
    assert all(read(text, name).is_complete for name in ("Mine", "Plain", "Passing", "Closed"))


@pytest.mark.parametrize(
    "text",
    [
        "from elsewhere import Base\nclass Mine(Base): pass",
        "class Mine(Mine): pass",
        "class Mine: pass\nclass Mine: pass",
        "class Mine(metaclass=Kind): pass",
        "@decorated\nclass Mine: pass",
        "class Mine:\n    def __init__(self, **kwargs): pass",
        "class Mine:\n    def __init__(self",
        "nothing = 1",
    ],
)
def test_what_may_come_from_elsewhere_is_unknown(text: str) -> None:
    assert not read(text).is_complete


def test_help_is_the_comment_on_the_line_or_the_text_below_or_the_docstrings() -> None:
    settings = by_name(
        '''
        @dataclass
        class Mine:
            """A class.

            Attributes:
                documented (int): From the docstring,
                    over two lines.
                commented: Not this one.
            """

            commented: int = 1  # From the comment.  # noqa: E501
            directive: int = 1  # type: ignore
            below: int = 1
            """From the text
            below. More of it."""
            documented: int = 1
        '''
    )
    assert [setting.about for setting in settings.values()] == [
        "From the comment.",
        "",
        "From the text below. More of it.",
        "From the docstring, over two lines.",
    ]
    assert settings["below"].help == "From the text below"


@pytest.mark.parametrize(
    "docstring",
    [
        "Args:\n    a: First\n        of all.\n    b (int): Second.\n\nReturns:\n    c: no",
        "Parameters\n----------\na : int\n    First\n    of all.\nb\n    Second.\n\nReturns\n"
        "-------\nc : int\n    no",
        ":param a: First\n    of all.\n:param int b: Second.\n:returns c: no",
    ],
)
def test_docstrings_of_three_styles_are_read(docstring: str) -> None:
    lines = docstring.replace("\n", "\n        ")
    text = (
        f'class Mine:\n    def __init__(self, a, b, c):\n        """Words.\n\n        {lines}\n"""'
    )
    settings = by_name(text)
    texts = [settings[name].about for name in "abc"]
    assert texts == ["First of all.", "Second.", ""]


def test_a_comment_on_a_line_of_two_parameters_is_neithers() -> None:
    text = """
    class Mine:
        def __init__(self, a=1, b=2,  # both
                     c=3):  # only c
            pass
    """
    assert [setting.about for setting in by_name(text).values()] == ["", "", "only c"]


NAMES = st.from_regex("[a-z]{1,4}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
LITERALS = st.one_of(
    *(st.integers(-9, 9), st.floats(-9, 9), st.booleans(), st.text(max_size=3), st.none())
)
FIELDS = st.dictionaries(NAMES, st.one_of(st.just(inspect.Parameter.empty), LITERALS), max_size=5)


def _lines(header: str, fields: dict[str, Any]) -> str:
    def line(name: str, value: Any) -> str:
        return f"{name}: Any" + ("" if value is inspect.Parameter.empty else f" = {value!r}")

    body = [line(*pair) for pair in fields.items()] or ["pass"]
    return f"@dataclass(kw_only=True)\nclass {header}:\n    " + "\n    ".join(body) + "\n"


@example({"a": 0}, {"a": inspect.Parameter.empty})  # the base's default stays
@given(FIELDS, FIELDS)
def test_settings_are_those_that_python_takes(base: dict[str, Any], fields: dict[str, Any]) -> None:
    text = _lines("Base", base) + _lines("Mine(Base)", fields)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(HEAD + text, namespace)
    parameters = inspect.signature(namespace["Mine"]).parameters
    settings = by_name(text)
    assert list(settings) == list(parameters)
    for name, parameter in parameters.items():
        assert settings[name].required == (parameter.default is inspect.Parameter.empty)
        if not settings[name].required:
            assert settings[name].has_literal
            assert settings[name].default == parameter.default


@given(st.text())
def test_no_text_of_a_file_is_an_error(text: str) -> None:
    source = text.encode("utf-8", "surrogatepass")
    assert settings_in(source, ClassPath("mine.py", "Mine")).class_name == "Mine"


def test_the_runs_copy_is_read_if_there_is_one(tmp_path: Path) -> None:
    original, copy = tmp_path / "mine.py", tmp_path / "workload.py"
    original.write_text("class Mine:\n    def __init__(self, a=1): pass\n")
    workload = f"{original}:Mine"
    assert [setting.name for setting in own_settings(workload, copy).settings] == ["a"]
    copy.write_text("class Mine:\n    def __init__(self, b=1): pass\n")
    assert [setting.name for setting in own_settings(workload, copy).settings] == ["b"]
    assert own_settings("mnist") == ClassSettings()
    with pytest.raises(FieldError, match="No such file"):
        own_settings(f"{tmp_path}/missing.py:Mine")


def test_settings_are_kept_in_a_runs_config(tmp_path: Path) -> None:
    settings = {"width": 2, "x": 0.5, "flag": True, "name": "a\n'b\"", "depth": None}
    config = make_config({"workload": "mine.py:Mine", "settings": settings})
    run = RunDir(tmp_path)
    run.write_config(config)
    assert run.config() == config
    assert "[settings]" in (tmp_path / "config.toml").read_text()
    run.write_config(make_config({}))
    assert "settings" not in (tmp_path / "config.toml").read_text()
    assert run.config().settings == {}
