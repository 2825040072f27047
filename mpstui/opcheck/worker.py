"""Checks a device's ops in a process of its own, because an op can abort or hang that process.

``python -m mpstui.opcheck.worker DEVICE`` prints an :class:`~mpstui.domain.ops.OpsMessage` a
line: how many cases there are, each case as it begins, and its result. Whatever torch or a driver
prints goes to stderr. ``--after CASE`` goes on behind the case that ended an earlier process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from mpstui.domain.catalogue import BY_ID, SIMULATED
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import FieldError
from mpstui.domain.ops import OpsMessage
from mpstui.processes.stdio import json_writer, take_stdout


def main(arguments: Sequence[str]) -> int:
    """Check a device; returns the exit status."""
    with take_stdout() as out:
        _check(_asked(arguments), json_writer(out))
    return 0


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mpstui.opcheck.worker")
    parser.add_argument("device")
    parser.add_argument("--after", metavar="CASE")
    parser.add_argument("--only", action="append", metavar="ROW", choices=sorted(BY_ID))
    parser.add_argument("--simulate", metavar="FAULT", choices=SIMULATED)
    asked = parser.parse_args(arguments)
    try:
        parse_device(asked.device)
    except FieldError as error:
        parser.error(str(error))
    return asked


def _check(asked: argparse.Namespace, send: Callable[[OpsMessage], None]) -> None:
    # With it, ops that MPS lacks would run on the CPU, and the CPU would be judged.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    from mpstui.backends import open_backend
    from mpstui.faults.library import FAULTS

    from .cases import check
    from .everyday import everyday
    from .triggers import triggers

    warnings.simplefilter("ignore")  # that a layout is slow is no news here
    backend = open_backend(parse_device(asked.device))
    backend.set_precision("float32")
    rows = [case for case in triggers() if not asked.only or case.id in asked.only]
    # What takes gigabytes comes last: it also takes time.
    cases = [
        *(case for case in rows if not case.needs_bytes),
        *([] if asked.only else everyday(backend.dtypes())),
        *(case for case in rows if case.needs_bytes),
    ]
    names = [case.id for case in cases]
    # A name that is not there would begin anew, with the case that ended the process.
    first = names.index(asked.after) + 1 if asked.after else 0
    fault = FAULTS[asked.simulate] if asked.simulate else contextlib.nullcontext
    send(OpsMessage(planned=len(cases)))
    for place, case in enumerate(cases[first:], first + 1):
        send(OpsMessage(begun=case.id))
        send(OpsMessage(done=place, result=check(case, backend, fault)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
