"""What a version's text tells of a wheel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.doctor.checks.prerequisites import macos_needed
from mpstui.doctor.checks.torch import _mismatch, release, wheel_origin

from msgspec.structs import replace  # isort: skip
from tests.machines import M4  # isort: skip


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
        ("2.14.1", "0.26.0", None, "0.26.0, but torch 2.14.1 pairs with 0.29"),
        ("2.14.1", "0.29.0+cpu", None, ""),
        ("3.0.0", "1.0.0", None, ""),
    ],
)
def test_torchvision_goes_with_the_torch_that_it_asks_for(
    torch: str, vision: str, requires: str | None, words: str
) -> None:
    assert _mismatch(torch, vision, requires) == words


@given(st.text(), st.text(), st.none() | st.text())
def test_no_version_text_breaks_the_comparison(
    torch: str, vision: str, requires: str | None
) -> None:
    assert isinstance(_mismatch(torch, vision, requires), str)


@pytest.mark.parametrize(
    ("tag", "torch", "needed"),
    [
        ("macosx_11_0_arm64", "1.12.0", (12, 3)),
        ("macosx_11_0_arm64", "2.6.0", (13, 0)),
        ("macosx_14_0_arm64", "2.12.0", (14, 0)),
        ("macosx_15_0_arm64", "2.16.0", (15, 0)),
        (None, "2.14.1", (14, 0)),
        (None, "1.11.0", None),
    ],
)
def test_the_macos_that_a_torch_needs(
    tag: str | None, torch: str, needed: tuple[int, int] | None
) -> None:
    assert macos_needed(replace(M4, torch_tag=tag), torch) == needed
