"""The process of a recorded script: the script's own main thread, and a thread for requests.

Its supervisor gives turns over pipes; without one (``--foreground``) stdin, stdout and stderr are
the user's terminal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mpstui.engine.alarms import Alarms, follow_supervisor
from mpstui.engine.gate import Gate
from mpstui.engine.supervisor_pipes import message_sender, supervisor_messages, take_pipes
from mpstui.processes.parent import die_with_parent, end_with_parent
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import ScriptCommand

from .as_main import enter_command, run_as_main, strip_own_frames
from .session import RecordingSession


def main(argv: Sequence[str]) -> None:
    """Run a script and record it; ends as the script does."""
    parser = argparse.ArgumentParser(prog="mpstui.recording.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("--foreground", action="store_true")
    arguments = parser.parse_args(argv)
    run = RunDir(arguments.run)
    command = run.script()
    if command is None:
        parser.error(f"{arguments.run}: holds no script.json")
    if arguments.foreground:
        end_with_parent()
        session = RecordingSession(run, Gate())
    else:
        die_with_parent()
        output, input_fd = take_pipes()
        # As on a terminal: lines appear in the log panel when they are printed.
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        gate = Gate(send=message_sender(output), takes_turns=True)
        session = RecordingSession(run, gate)
        alarms = Alarms(run, gate, session.events)
        messages = supervisor_messages(input_fd)
        follow_supervisor(messages, gate, alarms)
    record_script(session, command)


def record_script(session: RecordingSession, command: ScriptCommand) -> None:
    """Run a command in this thread and record it.

    The script's errors come through: the interpreter prints their tracebacks, without mpstui's
    frames, and ends as it does for a script that is run alone.
    """
    enter_command(command)
    session.start(command.seed)
    print_error = sys.excepthook

    def print_stripped(kind: type[BaseException], error: BaseException, trace: object) -> None:
        strip_own_frames(error)
        hook = print_error if sys.excepthook is print_stripped else sys.excepthook
        hook(kind, error, error.__traceback__)

    sys.excepthook = print_stripped
    try:
        run_as_main(command.script, command.arguments)
    except SystemExit as error:
        code = error.code
        session.outcome(None, code if isinstance(code, int) else int(code is not None))
        raise
    except BaseException as error:
        session.outcome(error, 1)
        raise
