"""Whether an investigation names simulated faults right, how long it takes, and what it costs.

``python -m tests.benchmarks.investigate [--only FAULT]… [--json]``: each simulated fault on a model
in training that reaches it, to the end: the op, the phase, the line or the parameter, the shrunk
repro, run in a fresh process with the fault and without. Then the check's slow-down against plain
steps, alternating in one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from mpstui.domain.config import make_config
from mpstui.domain.investigation import Investigation
from mpstui.investigate.progress import ProgressReporter
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.investigate.search import Search
from mpstui.investigate.start import BEGINNING, Start
from mpstui.investigate.twin import Twin, build
from mpstui.modes.shadow import Shadow
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import take_step
from mpstui.runs.rundir import Dataset

from tests.builders.specimens import REACHES, SPECIMENS, Reached, twin_of  # isort: skip

ARTICLE = (
    Reached("neg-stride0", "vae", "aten.neg.default", "backward", "divergence = -0.5"),
    Reached("bce-backward", "vae", "binary_cross_entropy_backward", "backward", "cross_entropy("),
)
ALTERNATIONS = 15
"""Plain and checked steps, in turn."""


class Row(NamedTuple):
    """One fault on one model."""

    fault: str
    model: str
    op: str
    op_right: bool
    phase_right: bool
    place_right: bool
    verdict: str
    symptom: str
    seconds: float
    repro: str

    @property
    def right(self) -> bool:
        """Whether all was named right."""
        return self.op_right and self.phase_right and self.place_right


def twin(model: str, device: str) -> Twin:
    """A model by name: one of the program's, or a specimen."""
    if model in SPECIMENS:
        return twin_of(model, device)
    config = make_config({"workload": model, "device": device})
    return build(config, Dataset(source="embedded"), Path())


def investigated(reached: Reached) -> Row:
    """Investigate one fault, and hold the finding against what is known."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subject = twin(reached.specimen, f"cpu@fault={reached.fault}")
        request = InvestigationRequest(config=subject.config, steps=4)
        search = Search(
            subject, request, InvestigationFolder(Path(folder)), ProgressReporter(lambda _: None)
        )
        finding = search.run(Start((BEGINNING,), None))
        return _row(reached, finding, time.perf_counter() - began)


def _row(reached: Reached, finding: Investigation, seconds: float) -> Row:
    op = finding.op
    named = (op.op, op.phase, op.code, op.parameters) if op else ("", "", "", ())
    return Row(
        reached.fault,
        reached.specimen,
        named[0],
        bool(op) and reached.op in named[0],
        reached.phase == named[1],
        reached.line in named[2] and (not reached.parameter or reached.parameter in named[3]),
        finding.verdict.value,
        op.symptom if op else "",
        seconds,
        finding.repro_note,
    )


def slow_down(model: str) -> dict[str, Any]:
    """A checked step's time as a multiple of a plain step's: median and quartiles."""
    side, draws = twin(model, "cpu"), SharedRandom(1)
    shadow = Shadow(draws)
    batch = side.device.place(side.batch(1))

    def seconds(checked: bool) -> float:
        shadow.restart(1)
        shadow.findings = []
        began = time.perf_counter()
        if checked:
            with shadow:
                take_step(side.device, batch)
        else:
            take_step(side.device, batch)
        return time.perf_counter() - began

    for checked in (False, True):
        seconds(checked)
    pairs = [(seconds(False), seconds(True)) for _ in range(ALTERNATIONS)]
    low, middle, high = statistics.quantiles([b / a for a, b in pairs], n=4)
    plain = statistics.median(a for a, _ in pairs)
    return {"model": model, "plain_ms": plain * 1e3, "times": middle, "quartiles": [low, high]}


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    wanted = [r for r in (*ARTICLE, *REACHES) if not asked.only or r.fault in asked.only]
    rows = []
    for reached in wanted:
        rows.append(investigated(reached))
        if not asked.json:
            _print_row(rows[-1], first=len(rows) == 1)
    slow = [slow_down(model) for model in ("vae", "mnist")]
    if asked.json:
        document = {"faults": [row._asdict() for row in rows], "slow_down": slow}
        print(json.dumps(document, indent=2))
        return
    right = sum(row.right for row in rows)
    took = sorted(row.seconds for row in rows)
    print(f"\n{right} of {len(rows)} named right; {took[0]:.0f} to {took[-1]:.0f} s each")
    for each in slow:
        low, high = each["quartiles"]
        said = f"{each['times']:.1f}× ({low:.1f} to {high:.1f})"
        print(f"the check on {each['model']}: {said} a plain step of {each['plain_ms']:.1f} ms")


def _print_row(row: Row, first: bool) -> None:
    if first:
        print("| fault | model | op | phase | place | verdict | looks like | seconds | repro |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    marks = ["✓" if right else "✗" for right in (row.op_right, row.phase_right, row.place_right)]
    print(
        f"| {row.fault} | {row.model} | {marks[0]} `{row.op}` | {marks[1]} | {marks[2]} "
        f"| {row.verdict} | {row.symptom} | {row.seconds:.0f} | {row.repro} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
