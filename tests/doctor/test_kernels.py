from __future__ import annotations

from msgspec.structs import replace

from mpstui.doctor.checks import findings
from mpstui.doctor.torch_probe.kernels import mps_kernels
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding, Status
from mpstui.kernel_tables.tables import kernel_table

from tests.builders.machines import AT_REST, LINUX, M4, MPS, torch  # isort: skip

KERNELS = tuple(sorted(kernel_table("2.14.1").mps))


def finding(*kernels: str, version: str = "2.14.1", mac: bool = True) -> Finding:
    facts = DoctorFacts(
        machine=M4 if mac else LINUX,
        conditions=AT_REST,
        torch=replace(torch(MPS), version=version, mps_kernels=kernels),
        torch_state="known",
    )
    return next(one for one in findings(facts) if one.id == "mps-kernels")


def test_a_torch_with_the_kernels_of_its_table_is_ok() -> None:
    assert finding(*KERNELS).status is Status.OK
    assert finding(*KERNELS).summary == "914 ops, as in the table of torch 2.14.1"


def test_a_difference_is_a_warning_that_names_the_ops_of_both_sides() -> None:
    warning = finding(*(set(KERNELS) - {"relu", "add.Tensor"}), "mode")
    assert warning.status is Status.WARN
    assert warning.summary == "3 ops are not as in the table of torch 2.14.1"
    assert "2 in the table alone: add.Tensor, relu." in warning.reason
    assert "1 in this torch alone: mode." in warning.reason


def test_many_differences_are_counted() -> None:
    reason = finding("relu").reason
    assert reason.startswith("913 in the table alone: ")
    assert reason.endswith(" and 908 more.")


def test_a_version_without_a_table_is_not_held_against_another_ones() -> None:
    warning = finding(*KERNELS, version="2.16.0.dev20261101")
    assert warning.status is Status.UNKNOWN
    assert warning.summary == "no table for torch 2.16.0.dev20261101"


def test_it_does_not_arise_off_the_mac_or_without_mps() -> None:
    assert finding(*KERNELS, mac=False).status is Status.NOT_APPLICABLE
    assert finding().status is Status.NOT_APPLICABLE


def test_the_probe_names_ops_without_their_namespace() -> None:
    names = mps_kernels()
    assert list(names) == sorted(names)
    assert not any("::" in name for name in names)
