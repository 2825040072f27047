"""What an import error means: texts that people met, and real imports in a real process.

The texts are quoted from public threads; folders in them were shortened.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mpstui.doctor.checks import findings
from mpstui.doctor.checks.import_errors import MEANINGS
from mpstui.doctor.probes import gather
from mpstui.doctor.system import SystemProbes
from mpstui.domain.facts import ImportFact, TorchFacts
from mpstui.domain.findings import Finding
from mpstui.domain.machine import Machine, PythonEnvironment
from mpstui.processes.client import ProcessFailed
from mpstui.processes.command import child_environment

from tests.builders.machines import HEALTHY, LINUX, M4, NO_DRIVER, WINDOWS, Answers, torch  # isort: skip

REINSTALL = "--force-reinstall"
CONDA = replace(
    LINUX,
    environment=PythonEnvironment(
        executable="/opt/conda/envs/ml/bin/python", kind="conda", folder="/opt/conda/envs/ml"
    ),
)
ROSETTA = replace(M4, python_arch="x86_64", translated=True)
ON_13 = replace(M4, system="macOS 13.6")


def judged(machine: Machine, error: str, **fact: object) -> Finding:
    """The finding about a torch that cannot be imported."""

    class Broken(Answers):
        def torch_facts(self) -> TorchFacts:
            imported = ImportFact(package="torch", imported=False, error=error)
            raise ProcessFailed(error, replace(imported, **fact))

    found = findings(gather(Broken(machine, HEALTHY)))
    return next(each for each in found if each.id == "torch-installed")


def package(machine: Machine, name: str, error: str, **fact: object) -> dict[str, Finding]:
    """The findings where torch is fine and another package is not."""
    broken = replace(ImportFact(package=name, imported=False, error=error, version="1.0"), **fact)
    probes = Answers(machine, torch(NO_DRIVER, imports=(broken,)))
    return {each.id: each for each in findings(gather(probes))}


DLOPEN = "ImportError: dlopen(/x/site-packages/torch/_C.cpython-311-darwin.so, 0x0002): "

TEXTS = [
    # pytorch#78490, as torch writes it to stderr; the last line is what a dead process leaves.
    (
        replace(M4, torch_installer="pip"),
        "the process aborted (SIGABRT): OMP: Hint This means that multiple copies of the OpenMP "
        "runtime have been linked into the program. That is dangerous, since it can degrade",
        "two OpenMP runtimes",
        "-m venv clean",
    ),
    (
        M4,
        "OMP: Error #15: Initializing libiomp5.dylib, but found libomp.dylib already initialized.",
        "two OpenMP runtimes",
        "-m venv clean",
    ),
    # pytorch#134929
    (
        LINUX,
        "ImportError: /x/torch/lib/../../nvidia/cusparse/lib/libcusparse.so.12: undefined symbol: "
        "__nvJitLinkComplete_12_4, version libnvJitLink.so.12",
        "LD_LIBRARY_PATH puts another CUDA's libraries before the wheel's; they lack "
        "__nvJitLinkComplete_12_4",
        "unset LD_LIBRARY_PATH",
    ),
    # pytorch#131662; the words before the file's name are in the system's language.
    (
        WINDOWS,
        'OSError: [WinError 126] 找不到指定的模块。 Error loading "D:\\x\\torch\\fbgemm.dll" or '
        "one of its dependencies.",
        "Visual C++",
        "winget install Microsoft.VCRedist",
    ),
    # pytorch#59904
    (
        WINDOWS,
        "OSError: [WinError 1455] The paging file is too small for this operation to complete. "
        'Error loading "C:\\x\\torch\\lib\\cudnn_cnn_train64_8.dll" or one of its dependencies.',
        "no memory left",
        "",
    ),
    # pytorch#150724
    (
        LINUX,
        "ImportError: /lib64/libm.so.6: version `GLIBC_2.27' not found (required by /x/torch/lib/"
        "../../../../libcurand.so.10)",
        "glibc is older than torch needs (GLIBC_2.27)",
        "ldd --version",
    ),
    # pytorch#87279
    (
        CONDA,
        "ImportError: /usr/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.30' not found "
        "(required by /x/torch/lib/libtorch_python.so)",
        "libstdc++ that is loaded is older than torch needs (GLIBCXX_3.4.30)",
        "conda install -p /opt/conda/envs/ml -c conda-forge libstdcxx-ng",
    ),
    # dyld's form, with torch's library in it
    (
        ON_13,
        f"{DLOPEN}Symbol not found: _OBJC_CLASS_$_MTLResidencySetDescriptor\n  Referenced from: "
        "<6198> /x/torch/lib/libtorch_cpu.dylib (built for macOS 15.0 which is newer than running "
        "OS)\n  Expected in: </System/Library/Frameworks/Metal.framework/Versions/A/Metal>",
        "built for a newer macOS (15.0)",
        "",
    ),
    # asweigart/pyautogui#726 and python-pillow/Pillow#6910, with torch's file
    (
        M4,
        f"{DLOPEN}tried: '/x/_C.so' (mach-o file, but is an incompatible architecture (have "
        "'x86_64', need 'arm64'))",
        "made for another processor",
        REINSTALL,
    ),
    (
        ROSETTA,
        f"{DLOPEN}tried: '/x/_C.so' (mach-o file, but is an incompatible architecture (have "
        "(arm64), need (x86_64)))",
        "made for another processor",
        "",
    ),
    (LINUX, "the process was killed (SIGILL)", "processor lacks instructions", ""),
    (
        LINUX,
        "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
        "libcudnn.so.9 is missing: a package that torch requires",
        REINSTALL,
    ),
    (
        LINUX,
        "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory",
        "libgomp.so.1, a library of the system, is missing",
        "",
    ),
    (
        CONDA,
        "ImportError: /x/torch/lib/libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent",
        "MKL that is loaded is newer",
        "mkl<2024.1",
    ),
]


@pytest.mark.parametrize(("machine", "error", "cause", "command"), TEXTS)
def test_an_import_error_has_its_own_cause_and_remedy(
    machine: Machine, error: str, cause: str, command: str
) -> None:
    finding = judged(machine, error)
    assert finding.status.value == "fail"
    assert cause in finding.summary
    assert finding.remedy
    commands = " ".join(finding.commands)
    assert command in commands
    assert (REINSTALL in commands) == (command == REINSTALL)


def test_a_text_that_nobody_knows_gets_no_cause() -> None:
    finding = judged(LINUX, "ImportError: something that was never seen")
    assert finding.summary == "cannot be imported"
    assert "not one that mpstui knows" in finding.remedy


def test_only_a_mac_under_rosetta_is_sent_to_an_arm64_python() -> None:
    error = "have 'arm64', need 'x86_64'"
    text = f"{DLOPEN}(mach-o file, but is an incompatible architecture ({error}))"
    assert "arm64 Python" in judged(ROSETTA, text).remedy
    assert "arm64 Python" not in judged(M4, text).remedy


def test_files_that_are_gone_are_put_back_by_a_command_that_works() -> None:
    error = "ModuleNotFoundError: No module named 'torch'"
    finding = judged(LINUX, error, version="2.14.1")
    assert "its files are gone; its metadata, 2.14.1, is still there" in finding.summary
    (command,) = finding.commands
    assert command.startswith("/work/.venv/bin/python -m pip install --force-reinstall --no-deps ")
    assert command.endswith(" torch==2.14.1")
    local = judged(replace(LINUX, torch="2.14.1+cu126"), error, version="2.14.1+cu126")
    assert local.commands[0].endswith("--index-url https://download.pytorch.org/whl/cu126")


def test_what_comes_before_the_installed_torch_is_named() -> None:
    path = "/home/me/project/torch.py"
    finding = judged(LINUX, "AttributeError: x", path=path, shadows=True)
    assert finding.summary == f"cannot be imported: another torch comes first, {path}"
    assert f"Rename {path}" in finding.remedy
    assert finding.commands == ("unset PYTHONPATH",)


def test_another_torch_that_works_is_named_as_well() -> None:
    first = ImportFact(
        package="torch", imported=True, version="2.9.0", path="/opt/torch/__init__.py", shadows=True
    )
    probes = Answers(LINUX, torch(NO_DRIVER, version="2.9.0", imports=(first,)))
    found = {each.id: each for each in findings(gather(probes))}
    assert found["torch-installed"].status.value == "warn"
    assert "2.9.0 comes before the installed 2.14.1: /opt/torch" in found["torch-installed"].summary


# Beside torch

IMAGING = "ImportError: /x/PIL/_imaging.cpython-311-x86_64-linux-gnu.so: file too short"


@pytest.mark.parametrize(
    ("name", "error", "cause", "command"),
    [
        ("pillow", IMAGING, "a binary of pillow is damaged", "--no-cache-dir pillow"),
        (
            "pillow",  # piwheels/packages#252
            "ImportError: cannot import name '_imaging' from 'PIL' (/x/PIL/__init__.py)",
            "a binary of pillow is missing or does not fit this Python",
            "--no-cache-dir pillow",
        ),
        (
            "numpy",  # numpy/numpy#16057
            "ImportError: \n\nIMPORTANT: PLEASE READ THIS FOR ADVICE ON HOW TO SOLVE THIS ISSUE!\n"
            "\nImporting the numpy C-extensions failed.",
            "a binary of numpy is missing or does not fit this Python",
            "--no-cache-dir numpy",
        ),
        (
            "numpy",  # pytorch#135013, once a tensor is made from an array
            "RuntimeError: Numpy is not available",
            "different NumPy releases",
            "--upgrade numpy torch torchvision",
        ),
        (
            "torchvision",  # pytorch#122494
            "RuntimeError: operator torchvision::nms does not exist",
            "built for another torch",
            "--upgrade torch torchvision",
        ),
        (
            "torchvision",
            "ImportError: DLL load failed while importing _imaging: The specified module could not "
            "be found.",
            "Visual C++",
            "winget",
        ),
    ],
)
def test_every_package_that_a_worker_imports_is_judged(
    name: str, error: str, cause: str, command: str
) -> None:
    finding = package(LINUX, name, error)[f"{name}-installed"]
    assert finding.status.value == "fail"
    assert cause in finding.summary
    assert command in " ".join(finding.commands)
    if REINSTALL in finding.commands[0]:
        assert "torch" not in finding.commands[0]


def test_a_torchvision_that_fails_for_pillow_points_there() -> None:
    both = tuple(
        ImportFact(package=name, imported=False, error=IMAGING)
        for name in ("pillow", "torchvision")
    )
    found = {
        each.id: each for each in findings(gather(Answers(LINUX, torch(NO_DRIVER, imports=both))))
    }
    assert "since Pillow cannot" in found["torchvision-installed"].summary
    assert found["pillow-installed"].status.value == "fail"


def test_torchvision_is_not_ticked_before_it_was_imported() -> None:
    states: list[Finding] = []
    gather(
        Answers(LINUX, torch(NO_DRIVER)),
        lambda facts: states.extend(
            each for each in findings(facts) if each.id == "torchvision-installed"
        ),
    )
    assert [each.status.value for each in states[:2]] == ["unknown", "unknown"]


@pytest.mark.parametrize("row", MEANINGS, ids=lambda row: row.pattern[:30])
def test_every_row_says_where_its_text_is_from(row: object) -> None:
    assert re.compile(row.pattern)  # type: ignore[attr-defined]
    assert row.source  # type: ignore[attr-defined]


# Real processes


def imported(name: str, path: Path) -> list[ImportFact]:
    """What the probe's process says of a package, with a folder before all others."""
    script = (
        "import msgspec\nfrom mpstui.doctor.torch_probe.imports import import_package\n"
        f"import_package({name!r}, lambda fact: print(msgspec.json.encode(fact).decode()))"
    )
    child = child_environment()
    # An installed mpstui needs no PYTHONPATH of its own, so there may be none.
    child["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path), child.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=child, check=True
    )
    return [msgspec.json.decode(line, type=ImportFact) for line in done.stdout.splitlines()]


def test_a_pillow_whose_binary_is_broken_says_so(tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("__version__ = '0.1'\n")
    suffix = next(iter(__import__("importlib.machinery").machinery.EXTENSION_SUFFIXES))
    (tmp_path / "PIL" / f"_imaging{suffix}").write_text("broken")
    (tmp_path / "PIL" / "Image.py").write_text("from . import _imaging\n")
    begun, fact = imported("pillow", tmp_path)
    assert (begun.imported, begun.error) == (None, "")
    assert (fact.imported, fact.shadows) == (False, True)
    assert fact.path == str(tmp_path / "PIL" / "__init__.py")
    assert fact.error.startswith("ImportError: ")


def test_the_installed_pillow_is_fine(tmp_path: Path) -> None:
    begun, fact = imported("pillow", tmp_path)
    assert (fact.imported, fact.shadows, fact.error) == (True, False, "")
    assert fact.version == begun.version


def test_a_file_called_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("print('my experiments')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ProcessFailed) as caught:
        SystemProbes().torch_facts()
    assert caught.value.imported is not None
    assert caught.value.imported.path == str(tmp_path / "torch.py")
    assert caught.value.imported.shadows


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to name")
def test_a_package_whose_import_ends_the_process_leaves_torchs_answer() -> None:
    script = (
        "import msgspec, os\n"
        f"print({msgspec.json.encode(HEALTHY).decode()!r})\n"
        'print(\'{"package":"numpy","imported":true}\')\n'
        'print(\'{"package":"pillow","imported":null}\', flush=True)\n'
        "os.write(2, b'OMP: Error #15: Initializing libomp.dylib'); os.abort()"
    )
    facts = SystemProbes((sys.executable, "-c", script)).torch_facts()
    numpy, pillow = facts.imports
    assert (numpy.imported, pillow.imported) == (True, False)
    assert "SIGABRT" in pillow.error and "OMP: Error #15" in pillow.error
    killed = script.replace("os.abort()", "os.kill(os.getpid(), 9)")
    facts = SystemProbes((sys.executable, "-c", killed)).torch_facts()
    assert facts.imports[1].imported is None


@pytest.mark.slow
def test_what_is_installed_here_is_imported() -> None:
    facts = SystemProbes().torch_facts()
    assert [(fact.package, fact.imported, fact.shadows) for fact in facts.imports] == [
        (name, True, False) for name in ("torch", "numpy", "pillow", "torchvision")
    ]
