"""The report: complete, readable as text, and without anybody's name in it."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest
import torch
from msgspec.structs import asdict, replace

from mpstui.cli.parser import build_parser
from mpstui.domain.config import default_config, make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.events import AlarmRaised, DivergenceDetected, StepChecked
from mpstui.domain.investigation import (
    Evidence,
    Investigation,
    Lockstep,
    LossCurve,
    OpAtFault,
    Verdict,
)
from mpstui.investigate.bad_step import first_bad_step
from mpstui.investigate.command import OMITTED, command_of
from mpstui.investigate.isolate import worst_value
from mpstui.investigate.report import curves, format_report, write_report
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.investigate.search import steps_to_inspect
from mpstui.investigate.versions import package_versions
from mpstui.ops.judge import judge
from mpstui.runs.log import LogWriter
from mpstui.runs.own_settings import own_settings
from mpstui.runs.privacy import without_names
from mpstui.runs.rundir import RunDir

from tests.builders.machines import M4  # isort: skip

OP = OpAtFault(
    op="aten.neg.default",
    phase="backward",
    index=40,
    step=1,
    where="output",
    error=2.0,
    cpu_error=0.0,
    values="2,560 of 2,560 values are wrong",
    symptom="the result is the input",
    source="vae.py:74",
    code="divergence = …",
    parameters=("fc21.weight",),
    inputs=("float32 (128, 20), strides (0, 0)",),
)
FOUND = Investigation(
    workload="vae",
    device="mps",
    device_name="constructed",
    torch="2.14.1",
    verdict=Verdict.FAULTY_OP,
    kind="wrong result",
    summary="aten.neg.default is wrong.",
    op=OP,
    lockstep=Lockstep(
        step=1, loss=550.9, cpu_loss=550.9, loss_gap=0.0, gradient_gap=None, gradient_of="fc22.bias"
    ),
    evidence=(Evidence(tried="a | b", outcome="wrong"),),
    known=("neg-stride0",),
    ops_checked=155,
    steps_checked=1,
    unreferenced=("aten.odd.default",),
)


def test_all_that_a_maintainer_asks_for_is_there() -> None:
    text = format_report(FOUND, M4, "import torch\n", "mpstui investigate …")
    for part in (
        *("aten.neg.default", "vae.py:74", "fc21.weight", "float32 (128, 20), strides (0, 0)"),
        *("the result is the input", "a \\| b", "```python\nimport torch\n```", "not finite"),
        *("torch 2.14.1", M4.name, "aten.odd.default", "155 ops of 1 step ", "does nothing"),
    ):
        assert part in text, part


def test_it_says_that_draws_were_replaced() -> None:
    text = format_report(FOUND, M4, "", "mpstui investigate …")
    assert "are checked by their range, moments and neighbours" in text
    assert "replaced by the CPU's" in text


def test_without_an_op_it_says_what_there_is() -> None:
    clean = replace(FOUND, op=None, kind="", verdict=Verdict.NOTHING, known=(), evidence=())
    text = format_report(clean, M4, "", "mpstui investigate …")
    assert text.startswith("### vae on mps: nothing found")
    assert "#### The op" not in text and "```python" not in text


def test_no_home_folder_and_no_user_gets_into_the_file(tmp_path: Path) -> None:
    home = os.path.expanduser("~")
    found = replace(FOUND, notes=(f"SIMULATED fault {home}/secret/faults.py:Mine",))
    request = InvestigationRequest(
        config=make_config({"workload": "vae", "device": "cpu", "lr": 0.5})
    )
    write_report(InvestigationFolder(tmp_path), request, found)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "secret" not in text and f"{home}/" not in text
    assert "mpstui investigate --workload vae --device cpu --lr 0.5" in text


def _asked(folder: Path, **settings: object) -> str:
    """The command of a report."""
    config = make_config({"workload": "vae", "device": "cpu", **settings})
    return command_of(InvestigationRequest(config=config, run=str(folder), steps=7))


def test_the_command_has_every_setting_and_names_the_run(tmp_path: Path) -> None:
    run = tmp_path / "20261126-vae"
    run.mkdir()
    (run / "config.toml").write_text('workload = "vae"\ndevice = "cpu"\n', encoding="utf-8")
    text = _asked(run, gamma=0.5, epochs=3, test_batch_size=50, seed=4)
    first, _, second = text.splitlines()
    assert first == "mpstui investigate --from 20261126-vae --steps 7"
    assert second.startswith("mpstui investigate --workload vae --device cpu --steps 7")
    for flag in ("--gamma 0.5", "--epochs 3", "--test-batch-size 50", "--seed 4"):
        assert flag in second
    assert "--lr" not in second
    first, *_ = _asked(run, device="cpu@fault=neg-stride0").splitlines()
    assert first.endswith("--from 20261126-vae --device cpu@fault=neg-stride0 --steps 7")


def test_the_command_names_own_files_as_they_are_copied(tmp_path: Path) -> None:
    fault = Path(__file__).with_name("faults.py")
    config = make_config({"workload": "vae", "device": f"cpu@fault={fault}:Race"})
    note, command = command_of(InvestigationRequest(config=config)).splitlines()
    assert command == "mpstui investigate --workload vae --device cpu@fault=fault.py:Race"
    assert note == "# fault.py: the copies beside this report"


def test_the_command_has_the_settings_of_the_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    def __init__(self, width=1, depth=2, lr=0.02): pass\n")
    own = own_settings(f"{file}:Mine")
    config = make_config({"workload": f"{file}:Mine", "lr": 0.001}).on(
        parse_device("cpu@set.width=3"), "", own
    )
    config = replace(config, settings={**config.settings, "depth": 4})
    _, command = command_of(InvestigationRequest(config=config)).splitlines()
    assert command == (
        "mpstui investigate --workload workload.py:Mine --device cpu@set.width=3 --lr 0.001 "
        "--set depth=4"
    )


def test_every_setting_of_the_command_is_one_that_it_takes() -> None:
    flags = {
        f"--{name.replace('_', '-')}" for name in asdict(default_config()) if name not in OMITTED
    }
    parser = build_parser()
    for flag in sorted(flags):
        value = [] if flag == "--compile" else ["cpu"]
        with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
            parser.parse_args(["investigate", flag, *value, "--nothing-of-the-kind"])
        assert said.getvalue().strip().endswith("unrecognized arguments: --nothing-of-the-kind"), (
            flag
        )


def test_long_lists_are_shortened() -> None:
    many = tuple(f"float32 ({n},)" for n in range(150))
    op = replace(OP, inputs=many, parameters=tuple(f"w{n}" for n in range(30)))
    text = format_report(replace(FOUND, op=op), M4, "", "mpstui investigate …")
    assert "- inputs: float32 (0,); float32 (1,); … 148 more\n" in text
    assert "`w0`, `w1`, … 28 more\n" in text


def test_the_worst_value_the_public_call_and_what_the_repro_printed_are_there() -> None:
    judgement = judge(
        [("output", torch.tensor([[1.0, 2.0], [3.0, -4.0]]))],
        [("output", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))],
        lambda: [torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)],
        lambda: [torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)],
    )
    op = replace(OP, worst=worst_value(judgement), public="torch.neg(self)")
    found = replace(FOUND, op=op, repro_output="got [1.0]\nFAULTY 1 of 1")
    text = format_report(found, M4, "import torch\n", "mpstui investigate …")
    assert "- farthest off: [1, 1]: -4 where 4 is right\n" in text
    assert "- call: `torch.neg(self)`\n" in text
    assert "It prints:\n\n```\ngot [1.0]\nFAULTY 1 of 1\n```" in text


@pytest.mark.parametrize(
    ("op", "lockstep", "words"),
    [
        ("forward", "backward", "differs in backward: what aten.neg.default gets wrong in forward"),
        ("forward", "", "agrees; what aten.neg.default gets wrong is too small to show in it"),
        ("forward", "forward", "differs in forward. Loss"),
        ("optimizer", "backward", "differs in backward. Loss"),
    ],
)
def test_lockstep_says_why_it_differs_elsewhere(op: str, lockstep: str, words: str) -> None:
    assert FOUND.lockstep is not None
    found = replace(
        FOUND, op=replace(OP, phase=op), lockstep=replace(FOUND.lockstep, phase=lockstep)
    )
    assert words in format_report(found, M4, "", "mpstui investigate …")


def test_the_environment_is_what_a_maintainer_asks_for_and_nobodys() -> None:
    found = package_versions(M4)
    text = format_report(FOUND, M4, "", "mpstui investigate …", found)
    assert f"PyTorch: {torch.__version__} (git " in text
    assert f"OS: {M4.system} {M4.arch}\nCPU: {M4.name}" in text
    assert f"Threads: {torch.get_num_threads()} in an op" in text
    assert "Devices: " in text and "Built with: " in text
    assert without_names(text) == text


def test_curves_share_a_scale_that_is_logarithmic_where_it_has_to_be() -> None:
    flat, steep = (1.0, 1.0, 1.0), (1.0, 1e4, None)
    lines = curves([LossCurve(device="a", first_step=5, losses=flat)])
    assert lines == ["a  ▁▁▁  1.0000 → 1.0000, steps 5–7"]
    log, _, last = curves(
        [LossCurve(device=n, first_step=1, losses=c) for n, c in (("a", flat), ("b", steep))]
    )
    assert log == "(log scale)"
    assert last.startswith("b  ▁█✗  ") and last.endswith("steps 1–3")


def test_a_run_went_wrong_at_the_first_thing_that_its_log_says(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert first_bad_step(run) is None
    with LogWriter(run.events) as log:
        log.append(DivergenceDetected(at=1.0, step=601, value="nan", last_finite=None))
        log.append(
            AlarmRaised(
                at=2.0, step=420, value=9.0, other=1.0, gap=8.0, against="cpu", policy="continue"
            )
        )
    assert first_bad_step(run) == 420
    with LogWriter(run.events) as log:
        log.append(StepChecked(at=3.0, step=7, loss_gap=0.0))
        assert first_bad_step(run) == 420  # one that agrees
        log.append(StepChecked(at=3.0, step=94, phase="backward", gradient_gap=0.2))
    assert first_bad_step(run) == 94


@pytest.mark.parametrize(
    ("done", "count", "bad", "looked_at"),
    [
        (0, 3, None, [1, 2, 3]),
        (0, 3, 2, [1, 2, 3]),
        (10, 3, 12, [11, 12, 13]),
        (10, 2, 14, [11, 12, 14, 15]),
        (10, 3, 5, [11, 12, 13]),  # the alarm is behind us
        (0, 20, 1, list(range(1, 21))),
    ],
)
def test_the_first_steps_are_looked_at_and_those_where_it_went_wrong(
    done: int, count: int, bad: int | None, looked_at: list[int]
) -> None:
    assert steps_to_inspect(done, count, bad) == looked_at
