from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import FieldError
from mpstui.runs.class_check import check_class
from mpstui.runs.class_source import FAULT, WORKLOAD

NET = """
import torch

class Base:
    def model(self): ...

class Net(Base):
    def objective(self, model, batch, target): ...
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "nets.py"


def problem(file: Path, text: str, name: str = "Net") -> tuple[str, str] | None:
    """What is wrong, and what is allowed; None when nothing is."""
    file.write_text(text)
    try:
        check_class(WORKLOAD, ClassPath(str(file), name))
    except FieldError as error:
        assert error.field == "workload"
        return error.problem, error.allowed
    return None


def test_a_class_with_its_methods_passes(file: Path) -> None:
    assert problem(file, NET) is None


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(FieldError, match=r"nets\.py: No such file") as caught:
        check_class(WORKLOAD, ClassPath(str(file), "Net"))
    assert caught.value.allowed == "an existing Python file"


def test_a_text_that_is_not_python_is_named_with_its_line(file: Path) -> None:
    wrong = problem(file, "import torch\n\nclass Net\n    pass\n")
    assert wrong is not None
    assert wrong[0].startswith("nets.py, line 3: ")
    assert wrong[1] == "Python"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"class Net:\n    name = '\xff'", "line 2: (unicode error)"),
        (b"class Net:\n    name = '\x00'", "line 2: source code string cannot contain null bytes"),
        (b"# coding: nope\nclass Net: ...", "unknown encoding"),
        (b"class Net: ...\nx = " + b"(" * 5000, "line 2: too many nested"),
        (b"class Net: ...\nx = " + b"-" * 10**6 + b"1", "nested too deeply for Python"),
    ],
)
def test_what_python_cannot_read_is_one_error_with_its_line(
    file: Path, text: bytes, words: str
) -> None:
    file.write_bytes(text)
    with pytest.raises(FieldError) as caught:
        check_class(WORKLOAD, ClassPath(str(file), "Net"))
    assert words in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs")
def test_only_a_regular_file_is_read(file: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(file)
    with pytest.raises(FieldError, match="not a regular file"):
        check_class(WORKLOAD, ClassPath(str(file), "Net"))


def test_null_bytes_are_no_python(file: Path) -> None:
    assert problem(file, "class Net: ...\0") is not None


def test_the_classes_that_are_there_are_named_the_nearest_first(file: Path) -> None:
    wrong = problem(file, "class Decoder: ...\nclass MyNet: ...\n")
    assert wrong == ("nets.py has no class Net", "MyNet, Decoder")


def test_many_classes_are_counted(file: Path) -> None:
    wrong = problem(file, "".join(f"class C{place}: ...\n" for place in range(9)))
    assert wrong is not None
    assert wrong[1].endswith(" and 3 more")


def test_a_file_without_classes_says_what_is_needed(file: Path) -> None:
    wrong = problem(file, "net = 1\n")
    assert wrong == ("nets.py has no class Net", f"a file with {WORKLOAD.kind}")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("class Net: ...", "model and objective"),
        ("class Net:\n    def model(self): ...", "objective"),
        ("class Net(object):\n    def objective(self): ...", "model"),
        ("class A:\n    model = 1\nclass B(A): ...\nclass Net(B): ...", "objective"),
        ("class Net:\n    def make(self):\n        def model(): ...", "model and objective"),
        ("if True:\n    class Net: ...", "model and objective"),
    ],
)
def test_missing_methods_are_named(file: Path, text: str, missing: str) -> None:
    assert problem(file, text) == (f"nets.py:Net lacks {missing}", WORKLOAD.kind)


@pytest.mark.parametrize(
    "text",
    [
        "class Net(nn.Module): ...",
        "from base import Base\nclass Net(Base): ...",
        "class Net(make()): ...",
        "class Net(Generic[T]): ...",
        "class Net(metaclass=Filled): ...",
        "@filled\nclass Net: ...",
        "class Net: ...\nNet = filled(Net)",
        "class Net: ...\nNet.model = make\nNet.objective = loss",
        "class Net: ...\nfor name in names: setattr(Net, name, make)",
        "class Net:\n    from elsewhere import model, objective",
        "class Net:\n    if True:\n        def model(self): ...\n    objective = loss",
        "try:\n    class Net(A): ...\nexcept E:\n    class Net: ...",
        "from nets import Net",
        "from nets import *",
        "import nets as Net",
        "Net = Other = type('Net', (), {})",
        "Net: type = make()",
        "(Net := make())",
        "globals()['Net'] = make()",
        "exec(text)",
        "def __getattr__(name): ...",
        "def make():\n    global Net\n    class Net: ...",
        "match make():\n    case [Net]: ...",
    ],
)
def test_what_the_text_does_not_settle_is_not_accused(file: Path, text: str) -> None:
    assert problem(file, text) is None


def test_a_long_sum_is_no_trouble(file: Path) -> None:
    assert problem(file, f"x = {'1 + ' * 900}1\n{NET}") is None


def test_a_fault_has_to_be_a_context_manager(file: Path) -> None:
    file.write_text("class Fault:\n    def __enter__(self): ...\n")
    with pytest.raises(FieldError, match=r"fault=.*:Fault lacks __exit__") as caught:
        check_class(FAULT, ClassPath(str(file), "Fault"))
    assert caught.value.field == "device"


def test_warnings_about_the_text_stay_its_own(file: Path, recwarn: pytest.WarningsRecorder) -> None:
    assert problem(file, f"{NET}\ntext = '\\d'\n1 is 1\n") is None
    assert not recwarn


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
    | st.lists(st.sampled_from(["class ", "Net", ":", "(", ")", "def ", "model", "\n", "    "]))
    .map("".join)
    .map(str.encode)
    | st.just(b"(" * 5000)
)
def test_any_text_passes_or_is_refused_in_words(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    try:
        check_class(WORKLOAD, ClassPath(str(file), "Net"))
    except FieldError as error:
        assert error.problem
        assert error.allowed
