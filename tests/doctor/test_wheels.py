"""What a version's text tells of a wheel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mpstui.doctor.checks.upstream import (
    DEVICE_RULES,
    MACOS,
    TORCH_FROM,
    TORCH_KNOWN,
    device_rule,
    macos_row,
    tag_macos,
)
from mpstui.doctor.checks.wheels import mismatch, release, wheel_origin

from msgspec.structs import replace  # isort: skip
from tests.builders.machines import M4  # isort: skip
from tests.builders.upstream_machines import OWN  # isort: skip


@pytest.mark.parametrize(
    ("version", "cuda", "origin"),
    [
        ("2.14.1+cpu", None, "CPU-only wheel"),
        ("2.14.1+cu130", "13.0", "wheel for CUDA 13.0"),
        ("2.9.0+cu128", "12.8", "wheel for CUDA 12.8"),
        ("2.14.1+rocm7.1", None, "wheel for ROCm 7.1"),
        ("2.14.1+xpu", None, "wheel for Intel GPUs (XPU)"),
        ("2.16.0a0+git1234567", None, "built from source"),
        ("2.14.1", "12.8", "built for CUDA 12.8"),
        ("2.14.1", None, "built without CUDA"),
    ],
)
def test_the_wheel_says_what_it_was_built_for(version: str, cuda: str | None, origin: str) -> None:
    assert wheel_origin(version, cuda) == origin


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("2.14.1", "stable"),
        ("2.16.0.dev20261120+cpu", "nightly of 2026-11-20"),
        ("2.15.0rc2", "release candidate"),
        ("2.16.0a0+git1234567", "pre-release"),
    ],
)
def test_a_nightly_is_told_from_a_release(version: str, kind: str) -> None:
    assert release(version) == kind


@pytest.mark.parametrize(
    ("torch", "vision", "requires", "words"),
    [
        ("2.14.1", "0.29.1", "torch==2.14.1", ""),
        ("2.14.1+cu130", "0.29.1", "torch==2.14.1", ""),
        ("2.15.0", "0.29.2", "torch>=2.14.0", ""),
        ("2.13.0", "0.29.2", "torch>=2.14.0", "0.29.2 needs torch>=2.14.0, but torch is 2.13.0"),
        ("2.14.1", "0.26.0", None, "0.26.0 needs torch==2.11.*, but torch is 2.14.1"),
        ("2.15.0", "0.29.2", None, ""),
        ("2.16.0.dev20261120", "0.29.2", "torch>=2.14.0", ""),
        ("2.17.0", "0.31.0", None, ""),
        ("2.14.0", "0.29.2", "torch==2.14", ""),
        ("2.14.1", "0.29.0+cpu", None, ""),
        ("3.0.0", "1.0.0", None, ""),
    ],
)
def test_torchvision_goes_with_the_torch_that_it_asks_for(
    torch: str, vision: str, requires: str | None, words: str
) -> None:
    assert mismatch(torch, vision, requires) == words


@given(st.text(), st.text(), st.none() | st.text())
def test_no_version_text_breaks_the_comparison(
    torch: str, vision: str, requires: str | None
) -> None:
    assert isinstance(mismatch(torch, vision, requires), str)


@pytest.mark.parametrize(
    ("torch", "macos", "refuses"),
    [
        ("1.12.0", (12, 3), True),
        ("2.5.1", (12, 3), True),
        ("2.6.0", (13, 0), True),
        ("2.9.0", (14, 0), True),
        ("2.14.1", (14, 0), True),
        ("2.15.0", (15, 0), False),
        ("2.15.1+cpu", (15, 0), False),
    ],
)
def test_the_macos_that_a_torch_says_it_supports(
    torch: str, macos: tuple[int, int], refuses: bool
) -> None:
    row = macos_row(torch)
    assert row is not None
    assert (row.macos, row.refuses) == (macos, refuses)


@pytest.mark.parametrize("torch", [None, "", "1.11.0", "2.16.0", "2.17.0.dev20270101", "3.0.0"])
def test_of_a_torch_outside_of_the_table_nothing_is_known(torch: str | None) -> None:
    assert macos_row(torch) is None
    assert device_rule(torch) is None


@pytest.mark.parametrize(
    ("tag", "macos"),
    [("macosx_14_0_arm64", (14, 0)), ("manylinux_2_28_x86_64", None), (None, None)],
)
def test_the_macos_in_a_wheels_tag(tag: str | None, macos: tuple[int, int] | None) -> None:
    assert tag_macos(replace(M4, torch_tag=tag)) == macos


def test_every_row_of_an_upstream_table_has_its_source_and_they_ascend() -> None:
    for table in (MACOS, DEVICE_RULES):
        since = [row.since for row in table]
        assert since == sorted(since)
        assert since[-1] <= TORCH_KNOWN
        assert all("torch" in row.source for row in table)


def test_our_own_metadata_asks_for_the_torch_that_remedies_are_bound_by() -> None:
    assert Requirement(OWN["torch"]).specifier == SpecifierSet(">=2.9")
    assert TORCH_FROM == (2, 9)
