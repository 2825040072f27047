"""Mutants of logs, run directories, supervisors, turns, requests and processes."""

from __future__ import annotations

from .mutant import group

LOG = "runs/test_log.py runs/test_full_disk.py runs/test_supervisor.py"
SUPERVISOR = "runs/test_supervisor.py runs/test_log.py runs/test_full_disk.py"

MUTANTS = [
    *group(
        LOG,
        "runs/log.py",
        ("self._offset += end", "self._offset += len(block)"),
        ("block += file.readline(MOST_LINE)", "pass"),
        ("with self._lock:\n            self._write(line)", "self._write(line)"),
        (
            "rest = rest[self._file.write(rest) :]",
            "rest = rest[len(rest) * self._file.write(rest) :]",
        ),
        ("self._file.truncate(end)", "pass"),
        ('if self._file.read(1) != b"\\n":', "if False:"),
        ("return not os.path.samestat", "return os.path.samestat"),
    ),
    *group(
        LOG,
        "runs/control.py",
        ("if not is_full(error):", "if True:"),
        (".ljust(SIZE - 1)", ""),
    ),
    *group(
        LOG,
        "engine/event_recorder.py",
        (
            "self._log.append(event)\n            self.history.apply(event)\n            if",
            "self.history.apply(event)\n            self._log.append(event)\n            if",
        ),
        ("self._reserve.release()\n", "pass\n"),
        ("if not isinstance(event, BESIDE_TRAINING):", "if True:"),
    ),
    *group(
        SUPERVISOR,
        "runs/turns.py",
        ('if any(worker.state == "starting"', 'if all(worker.state == "starting"'),
        ("self._ring.append(worker)", "self._ring.insert(0, worker)"),
        ('worker.state in ("running", "yielding")', 'worker.state in ("running",)'),
        ('state not in ("starting", "yielding")', 'state not in ("starting",)'),
        ("if state != self._state:", "if False:"),
        ("or not is_awaited", ""),
        ("self._next_check = now + self._patience.interval", "pass"),
        ("and worker not in hung for worker in self._ring", "for worker in self._ring"),
    ),
    *group(
        SUPERVISOR,
        "runs/supervisor.py",
        ("block is None or self._logged or", "block is None or"),
        ("if worker_exited:", "if False:"),
        ("self._sent = True", "pass"),
        (
            'worker_exited = (\n            self._worker.state == "gone"\n        )  # read before '
            "the log, so that the log is complete if True\n"
            "        events = list(self._second.rest())",
            "events = list(self._second.rest())\n"
            '        worker_exited = self._worker.state == "gone"',
        ),
        ("except (OSError, LogError) as error:", "except ZeroDivisionError as error:"),
    ),
    *group(
        SUPERVISOR,
        "runs/workers.py",
        ("except (BrokenPipeError, OSError):", "except ZeroDivisionError:"),
        ('if self.state == "gone":', "if False:"),
        ("self.run.clear()", "pass"),
        (
            "except OSError as error:  # readers see",
            "except ZeroDivisionError as error:  # readers see",
        ),
    ),
    *group(
        "runs/test_log.py runs/test_requests.py",
        "runs/view.py",
        ("if exit is None and presence is not Presence.ENDED:", "if exit is None:"),
        ("if exit is not None and exit.killed:", "if False:"),
    ),
    *group(
        "runs/test_requests.py",
        "runs/rundir.py",
        (
            "for presence in (Presence.ALIVE, Presence.ELSEWHERE):",
            "for presence in (Presence.ALIVE,):",
        ),
        ("processes = (self.supervisor(), self.worker())", "processes = (self.supervisor(),)"),
    ),
    *group(
        "runs/test_requests.py",
        "runs/requests.py",
        ("if view.history.state.over:", "if False:"),
        ("if run.presence() is Presence.ELSEWHERE:", "if False:"),
        ("(run.supervisor(), run.worker())", "(run.worker(),)"),
        ("if process.presence is Presence.ALIVE:", "if True:"),
    ),
    *group(
        "processes/test_identity.py",
        "processes/identity.py",
        ("if self.ticks is not None:", "if False:"),
        ('state in (b"Z", b"X") or', ""),
        ("is_other = is_same_boot or", "is_other ="),
        ("self.boot.machine != here.machine", "True"),
        ("is_alive and is_same else", "is_alive else"),
    ),
    *group(
        "runs/test_files.py",
        "runs/files.py",
        ("missing_ok=True)\n        raise", "missing_ok=True)"),
    ),
]
