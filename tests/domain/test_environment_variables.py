"""Variables, each read as the library reads it."""

from __future__ import annotations

import ctypes
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.environment_variables import (
    EFFECTS,
    MPS_FALLBACK,
    VARIABLES,
    Variable,
    c_integer,
    c_number,
)

BY_NAME = {variable.name: variable for variable in EFFECTS}

MPS_VARIABLES = {
    # Every PYTORCH_… name with MPS in it in libtorch_cpu.dylib of torch 2.15.0
    # (strings -n 4 torch/lib/libtorch_cpu.dylib).
    "PYTORCH_DEBUG_MPS_ALLOCATOR",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "PYTORCH_MPS_DISABLE_PREFILL_ATTENTION",
    "PYTORCH_MPS_FAST_MATH",
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
    "PYTORCH_MPS_LOG_PROFILE_INFO",
    "PYTORCH_MPS_LOW_WATERMARK_RATIO",
    "PYTORCH_MPS_METAL_VERSION",
    "PYTORCH_MPS_PREFER_METAL",
    "PYTORCH_MPS_TRACE_SIGNPOSTS",
}


def test_every_variable_that_torchs_library_reads_for_mps_is_looked_at() -> None:
    assert set(VARIABLES) >= MPS_VARIABLES
    assert len(set(VARIABLES)) == len(VARIABLES)
    assert all(variable.source for variable in (*EFFECTS, MPS_FALLBACK))


@pytest.mark.parametrize(
    ("variable", "on", "off"),
    [
        # get_env(name) != "0": MPSFallback.mm and its like
        (MPS_FALLBACK, ["", "1", "00", "false", " 0"], ["0"]),
        (BY_NAME["PYTORCH_MPS_FAST_MATH"], ["", "1", "no"], ["0"]),
        (BY_NAME["PYTORCH_MPS_DISABLE_PREFILL_ATTENTION"], ["", "1"], ["0"]),
        # has_env(name): LinearAlgebra.mm
        (BY_NAME["PYTORCH_MPS_PREFER_METAL"], ["", "0", "1"], []),
        # strtol(value, nullptr, 0), a set of bits
        (BY_NAME["PYTORCH_DEBUG_MPS_ALLOCATOR"], ["1", "0x4", "8 "], ["", "0", "yes"]),
        (BY_NAME["PYTORCH_MPS_LOG_PROFILE_INFO"], ["31"], ["", "0"]),
        (BY_NAME["PYTORCH_MPS_TRACE_SIGNPOSTS"], ["2"], ["", "0"]),
        # "Ignoring PYTORCH_MPS_METAL_VERSION=", …, ", expected 3.1, 3.2 or 4.0"
        (BY_NAME["PYTORCH_MPS_METAL_VERSION"], ["3.1", "3.2", "4.0"], ["", "3.0", "4"]),
        # check_env(name): 0 and 1 only
        (BY_NAME["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"], ["1"], ["", "0", "true"]),
        (BY_NAME["PYTORCH_NVML_BASED_CUDA_CHECK"], ["1"], ["", "0", "true"]),
        (BY_NAME["NVIDIA_TF32_OVERRIDE"], ["0"], ["", "1"]),
        (BY_NAME["CUDA_LAUNCH_BLOCKING"], ["1"], ["", "0"]),
        (BY_NAME["KMP_DUPLICATE_LIB_OK"], ["TRUE", "true", "1", "T", "yes", "on"], ["", "0", "o"]),
    ],
    ids=lambda value: value.name if isinstance(value, Variable) else "",
)
def test_a_value_counts_as_the_library_counts_it(
    variable: Variable, on: list[str], off: list[str]
) -> None:
    assert [value for value in on if not variable.acts(value)] == []
    assert [value for value in off if variable.acts(value)] == []


ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
NUMBERS = st.text("0123456789.eExX+- abfinty", max_size=8)


@pytest.mark.skipif(sys.platform == "win32", reason="another C library")
@given(ASCII | NUMBERS)
def test_numbers_are_read_as_c_reads_them(text: str) -> None:
    c = ctypes.CDLL(None)
    c.strtod.restype, c.strtod.argtypes = ctypes.c_double, [ctypes.c_char_p, ctypes.c_void_p]
    c.strtol.restype = ctypes.c_long
    c.strtol.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
    assert c_integer(text) == c.strtol(text.encode(), None, 0)
    if "x" not in text.lower():  # hexadecimal fractions are left out
        wanted = c.strtod(text.encode(), None)
        assert c_number(text) == wanted or (math.isnan(wanted) and math.isnan(c_number(text)))
