"""``path/to/file.py:Class``, as workloads and faults may be named."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.class_path import FORM, class_path
from mpstui.domain.config import BY_NAME, default_config, make_config
from mpstui.domain.devices import fault_file
from mpstui.domain.errors import FieldError
from mpstui.domain.workloads import WORKLOADS, info_of, short_name

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
FOLDERS = st.sampled_from(["", "a/", "/a b/", "~/", "C:\\x\\", "../", "a@1,2/"])


@given(FOLDERS, NAMES, NAMES)
def test_a_file_and_a_class_are_told_apart(folder: str, stem: str, name: str) -> None:
    text = f"{folder}{stem}.py:{name}"
    assert class_path(text) == (f"{folder}{stem}.py", name)
    assert BY_NAME["workload"].parse(f" {text} ") == text
    assert fault_file(text) == (None if "@" in text else class_path(text))
    assert short_name(text) == f"{stem}.py:{name}"
    info = info_of(text)
    assert (info.name, info.title) == (text, name)


@given(st.text())
def test_any_text_names_a_class_or_none(text: str) -> None:
    named = class_path(text)
    if named is None:
        return
    assert f"{named.path}:{named.name}" == text
    assert re.fullmatch(r".*[^/\\]\.py", named.path)
    assert named.name.isidentifier()


@pytest.mark.parametrize(
    "text", ["a.py", "a.py:", ".py:A", "a/.py:A", "a.txt:A", "a.py:class", "a.py:A.b", "a.py:A\n"]
)
def test_what_names_no_class_is_refused(text: str) -> None:
    assert class_path(text) is None
    choices = rf"mnist, vae, gpt-char, .*, {FORM} or package.module:Class"
    with pytest.raises(FieldError, match=rf"workload: .*allowed: {choices}"):
        make_config({"workload": text})


def test_the_home_folder_may_be_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    named = class_path("~/a.py:A")
    assert named is not None
    assert named.path == "~/a.py"
    assert named.file == tmp_path / "a.py"


def test_own_workloads_have_plain_defaults() -> None:
    config = default_config("a/b.py:Net")
    assert config.workload == "a/b.py:Net"
    assert (config.batch_size, config.test_batch_size, config.epochs) == (64, 1000, 1)
    assert (config.lr, config.gamma, config.log_interval) == (1e-3, 1.0, 10)
    assert config.info.title == "Net"
    for name, info in WORKLOADS.items():
        assert info_of(name) is info
