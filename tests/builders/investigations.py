"""A constructed investigation, as the article's VAE might give one; nothing here was measured."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from msgspec.structs import replace

from mpstui.domain.investigation import (
    Evidence,
    Investigation,
    Lockstep,
    LossCurve,
    OpAtFault,
    ProgressMessage,
    Stage,
    Verdict,
)
from mpstui.investigate.client import InvestigationProcess, OnProgress
from mpstui.investigate.request import InvestigationFolder

from tests.waiting import PATIENCE  # isort: skip

CONSTRUCTED_REPORT = "# Constructed report\n\naten.neg.default, constructed\n"
CONSTRUCTED_REPRO = '''\
"""Constructed: neg of an expanded tensor."""

import torch

x = torch.tensor(1.0).expand(4, 3)  # strides (0, 0)
assert torch.equal(-x.to("mps"), (-x).to("mps"))
'''

CONSTRUCTED_VAE = Investigation(
    workload="vae",
    device="cpu@fault=neg-stride0",
    device_name="constructed",
    torch="2.14.1",
    run="20261123-070000-vae-0000-2-cpu-fault-neg-stride0",
    verdict=Verdict.FAULTY_OP,
    kind="wrong result",
    summary="aten.neg.default returns its input when that is expanded (strides 0), in backward of "
    "step 1: the KL term pushes the wrong way.",
    remedy="call .contiguous() before the sum is taken, or train on the CPU until it is mended",
    op=OpAtFault(
        op="aten.neg.default",
        phase="backward",
        index=61,
        step=1,
        where="output",
        error=2.0,
        cpu_error=0.0,
        values="2,560 of 2,560 values are wrong",
        symptom="the result is the input",
        source="mpstui/engine/workloads/vae.py:76",
        code="divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())",
        parameters=("fc21.weight", "fc21.bias", "fc22.weight", "fc22.bias"),
        inputs=("float32 (128, 20), strides (0, 0)",),
    ),
    lockstep=Lockstep(
        step=1,
        loss=549.93,
        cpu_loss=549.93,
        loss_gap=0.0,
        gradient_gap=0.31,
        gradient_of="fc22.weight",
        update_gap=2.0,
        update_of="fc22.weight",
        phase="backward",
    ),
    evidence=(
        Evidence(tried="the same call alone", outcome="wrong 3 of 3 times"),
        Evidence(tried="with contiguous inputs", outcome="right"),
        Evidence(tried="in a fresh process", outcome="wrong 3 of 3 times"),
        Evidence(tried="another torch device", outcome="not here: there is none"),
    ),
    suspects=("aten.exp.default", "aten.native_batch_norm.default"),
    ops_checked=231,
    steps_checked=1,
    unreferenced=("aten._fused_adam_.default (the CPU has no such op)",),
    curves=(
        LossCurve(
            device="cpu",
            first_step=1,
            losses=(550.0, 470.1, 400.2, 352.9, 310.0, 288.3, 271.0, 262.7, 251.9, 247.1),
        ),
        LossCurve(
            device="cpu@fault=neg-stride0",
            first_step=1,
            losses=(550.0, 480.0, 470.4, 699.0, 4705.0, 9.1e4, 1.8e8, None, None, None),
        ),
    ),
    known=("neg-stride0",),
    repro="repro.py",
    repro_note="6 lines; it failed in a fresh process",
    notes=("The fault is simulated: it was asked for with @fault=neg-stride0.",),
    seconds={
        "prepare": 2.1,
        "lockstep": 0.9,
        "ops": 7.4,
        "repeat": 11.2,
        "shrink": 20.6,
        "report": 0.1,
    },
)

CONSTRUCTED_NOTHING = Investigation(
    workload="mnist",
    device="mps",
    device_name="constructed",
    torch="2.14.1",
    run="20261123-070000-mnist-0000-2-mps",
    verdict=Verdict.NOTHING,
    summary="In 20 steps no op was further from float64 than rounding explains, and the losses "
    "agree.",
    lockstep=Lockstep(
        step=20,
        loss=0.71,
        cpu_loss=0.71,
        loss_gap=1.4e-6,
        gradient_gap=2.2e-5,
        gradient_of="conv1.weight",
    ),
    ops_checked=2240,
    steps_checked=20,
    unreferenced=("aten._fused_adadelta_.default (the CPU has no such op)",),
    seconds={"prepare": 2.2, "lockstep": 6.0, "ops": 28.3, "report": 0.1},
)

CONSTRUCTED_MESSAGES = (
    ProgressMessage(stage=Stage.PREPARE, text="building the run on both"),
    ProgressMessage(
        stage=Stage.PREPARE, text="450,000 parameters, the same weights on both", done=True
    ),
    ProgressMessage(stage=Stage.LOCKSTEP, text="step 1"),
    ProgressMessage(
        stage=Stage.LOCKSTEP,
        text="step 1: losses agree, gradients do not: backward",
        done=True,
    ),
    ProgressMessage(stage=Stage.OPS, text="op 61 of 231: aten.neg.default", fraction=61 / 231),
)

CONSTRUCTED_DONE = (
    ProgressMessage(stage=Stage.OPS, text="231 ops checked; aten.neg.default is wrong", done=True),
    ProgressMessage(
        stage=Stage.REPEAT, text="wrong alone, right with contiguous inputs", done=True
    ),
    ProgressMessage(stage=Stage.SHRINK, text="neg of 4 × 3 values still fails", done=True),
    ProgressMessage(stage=Stage.REPORT, text="report.md and repro.py", done=True),
)


class ConstructedInvestigating(InvestigationProcess):
    """Reports messages, waits for ``go_on``, reports the rest, and returns its finding."""

    def __init__(
        self,
        finding: Investigation = CONSTRUCTED_VAE,
        messages: Sequence[ProgressMessage] = CONSTRUCTED_MESSAGES,
        rest: Sequence[ProgressMessage] | None = None,
        waits: bool = False,
        files: bool = True,
        error: Exception | None = None,
    ) -> None:
        self._finding, self._messages, self._error = finding, messages, error
        self._rest = CONSTRUCTED_DONE if rest is None else rest
        self._files = files
        self.has_reported = threading.Event()
        """Set when all messages before the wait are reported."""
        self.go_on = threading.Event()
        self.stopped = False
        self.folders: list[InvestigationFolder] = []
        if not waits:
            self.go_on.set()

    def __call__(self, folder: InvestigationFolder) -> ConstructedInvestigating:
        self.folders.append(folder)
        return self

    def run(self, tell: OnProgress) -> Investigation:
        for message in self._messages:
            tell(message)
        self.has_reported.set()
        assert self.go_on.wait(PATIENCE)
        if self._error is not None:
            raise self._error
        if self.stopped:
            return replace(
                self._finding,
                verdict=Verdict.NOTHING,
                summary="the investigation ended early: stopped",
                error="stopped",
                op=None,
                seconds={},
            )
        for message in self._rest:
            tell(message)
        folder = self.folders[-1]
        if self._files:
            folder.report.write_text(CONSTRUCTED_REPORT)
            folder.repro.write_text(CONSTRUCTED_REPRO)
        folder.write_finding(self._finding)
        return self._finding

    def stop(self) -> None:
        self.stopped = True
        self.go_on.set()
