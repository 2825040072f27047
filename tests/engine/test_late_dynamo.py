"""The compiler is imported once something compiles. Each case needs a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mpstui.processes.command import child_environment

BEFORE = """
import sys
import torch
from mpstui.engine.late_dynamo import import_dynamo_late

import_dynamo_late()
late = sys.modules["torch._dynamo"]
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.Adam(model.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
images = torch.randn(3, 4)

def step():
    optimizer.zero_grad()
    loss = model(images).square().sum()
    loss.backward()
    optimizer.step()
    return loss.item()

step()
scheduler.step()
optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo.utils" not in sys.modules
"""

AFTER = """
import torch._dynamo
assert sys.modules["torch._dynamo"] is torch._dynamo is not late
assert late.config is torch._dynamo.config
"""

SUBMODULE = """
import torch._dynamo.utils as utils
from torch._dynamo.utils import counters
assert sys.modules["torch._dynamo.utils"] is torch._dynamo.utils is utils is late.utils
assert utils.counters is counters
assert utils.__spec__.origin == utils.__file__
"""

MISSING = """
try:
    import torch._dynamo.nothing
except ModuleNotFoundError as error:
    assert error.name == "torch._dynamo.nothing"
else:
    raise AssertionError
"""

SET = """
torch._dynamo.suppress = True
assert sys.modules["torch._dynamo"].suppress
"""

COMPILED = """
import copy
before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
plain = [step() for _ in range(3)]
model.load_state_dict(before[0])
optimizer.load_state_dict(before[1])
compiled = torch.compile(step, backend="eager")
assert torch.allclose(torch.tensor([compiled() for _ in range(3)]), torch.tensor(plain))

from torch._dynamo.utils import counters
marked = [reason for reason in counters["graph_break"] if "Optimizer.zero_grad" in reason]
assert marked, "an optimizer's mark was lost"
"""

TRAINED = """
import tempfile
from pathlib import Path
from mpstui.domain.config import make_config
from mpstui.engine.set_up import set_up
from mpstui.engine.steps.base import train_step
from mpstui.engine.sweep import _endless
from mpstui.engine.worker import _import_ahead
from mpstui.runs.rundir import Dataset

_import_ahead(None)
config = make_config({"workload": "vae", "device": "cpu"})
setup = set_up(config, Dataset(source="embedded"), Path(tempfile.mkdtemp()))
train_step(setup, next(_endless(setup)))
assert "torch._dynamo.utils" not in __import__("sys").modules
"""


def succeed(code: str) -> None:
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, env=child_environment())
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("use", [SUBMODULE, MISSING, SET, COMPILED])
def test_its_first_use_imports_it_as_usual(use: str) -> None:
    succeed(BEFORE + use + AFTER)


def test_a_run_trains_without_it() -> None:
    succeed(TRAINED)
