"""Checks a device's ops in a separate process, because an op can abort or hang it.

``python -m mpstui.opcheck.worker DEVICE`` prints one :class:`~mpstui.domain.ops.OpsMessage` per
line: the number of cases, each case when it starts, and its result. Output of torch or a driver
goes to stderr. ``--after CASE`` continues after the case that ended an earlier process.
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
from mpstui.processes.parent import end_with_parent
from mpstui.processes.stdio import json_writer, take_stdout


def main(arguments: Sequence[str]) -> int:
    """Check a device; returns the exit status."""
    end_with_parent()
    with take_stdout() as out:
        _check(_parse_arguments(arguments), json_writer(out))
    return 0


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mpstui.opcheck.worker")
    parser.add_argument("device")
    parser.add_argument("--after", metavar="CASE")
    parser.add_argument("--only", action="append", metavar="ROW", choices=sorted(BY_ID))
    parser.add_argument("--simulate", metavar="FAULT", choices=SIMULATED)
    options = parser.parse_args(arguments)
    try:
        parse_device(options.device)
    except FieldError as error:
        parser.error(str(error))
    return options


def _check(options: argparse.Namespace, send: Callable[[OpsMessage], None]) -> None:
    # Otherwise ops that MPS lacks would run on the CPU, and the CPU would be checked.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    from mpstui.backends import open_backend
    from mpstui.faults.library import FAULTS

    from .cases import check
    from .everyday import everyday
    from .triggers import triggers

    warnings.simplefilter("ignore")  # about slow layouts
    backend = open_backend(parse_device(options.device))
    backend.set_precision("float32")
    rows = [case for case in triggers() if not options.only or case.id in options.only]
    # Cases that need gigabytes run last because they also take time.
    cases = [
        *(case for case in rows if not case.needs_bytes),
        *([] if options.only else everyday(backend.dtypes())),
        *(case for case in rows if case.needs_bytes),
    ]
    names = [case.id for case in cases]
    # An unknown name must fail: starting over would end the process again.
    first = names.index(options.after) + 1 if options.after else 0
    fault = FAULTS[options.simulate] if options.simulate else contextlib.nullcontext
    send(OpsMessage(planned=len(cases)))
    for number, case in enumerate(cases[first:], first + 1):
        send(OpsMessage(begun=case.id))
        send(OpsMessage(done=number, result=check(case, backend, fault)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
