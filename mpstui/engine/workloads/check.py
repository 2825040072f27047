"""The contract of a custom workload, checked with one test batch before any training.

Without it, an error in ``score`` or ``pictures`` would appear only after a whole epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from mpstui.domain.class_path import class_path
from mpstui.domain.errors import FieldError
from mpstui.engine.setup import Setup
from mpstui.runs.user_code import USER_ERRORS, describe_error

from .contract import Score

MOST_SAMPLES = 64
"""Samples of the test batch; fewer if the run's test batches are smaller."""

OBJECTIVE = "a 0-d tensor, such as a mean loss"
SCORE = "Score(loss_sum, correct): a 0-d tensor, and a 0-d count or None"
PICTURES = "pairs of a kind and a tensor (rows, columns, height, width)"


def check_contract(setup: Setup) -> None:
    """Call ``objective``, ``score`` and ``pictures`` of a custom workload once.

    Weights, buffers and torch's random numbers are the same afterwards. Built-in workloads are not
    checked.

    Raises:
        FieldError: When a hook raises an error or returns something else than its contract says;
            the message has the class, the hook and the user's line.
    """
    if class_path(setup.config.workload) is None:
        return
    rng_state, state = setup.backend.rng_state(), copy.deepcopy(setup.model.state_dict())
    setup.model.eval()
    try:
        batch = next(iter(setup.pipeline.test(min(setup.config.test_batch_size, MOST_SAMPLES))))
        with torch.no_grad():
            objective = _call(setup, "objective", lambda: setup.objective(*batch))
        if not _is_scalar(objective):
            raise _refusal(setup, f"objective returns {_describe(objective)}", OBJECTIVE)
        score = _call(setup, "score", lambda: setup.score(*batch))
        if not _is_score(score):
            raise _refusal(setup, f"score returns {_describe(score)}", SCORE)
        _call(setup, "pictures", lambda: _check_pictures(setup))
    finally:
        setup.model.load_state_dict(state)
        setup.model.train()
        setup.backend.set_rng_state(rng_state)


def _call(setup: Setup, hook: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except FieldError:
        raise
    except USER_ERRORS as error:
        allowed = "a method that takes a test batch without an error"
        raise _refusal(setup, f"{hook}: {describe_error(error)}", allowed) from error


def _check_pictures(setup: Setup) -> None:
    with torch.no_grad():
        for pair in setup.workload.pictures(setup.model, setup.pipeline.sample_inputs()):
            is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
            if not is_pair or not isinstance(pair[0], str):
                raise _refusal(setup, f"pictures yields {_describe(pair)}", PICTURES)
            if not isinstance(pair[1], torch.Tensor) or pair[1].dim() != 4:
                raise _refusal(setup, f"pictures yields {pair[0]}, {_describe(pair[1])}", PICTURES)


def _is_score(score: object) -> bool:
    if not isinstance(score, Score) or not _is_scalar(score.loss_sum):
        return False
    return score.correct is None or _is_scalar(score.correct)


def _is_scalar(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 0


def _refusal(setup: Setup, problem: str, allowed: str) -> FieldError:
    path = class_path(setup.config.workload)
    assert path is not None
    return FieldError("workload", f"{path.file}:{path.name}.{problem}", allowed)


def _describe(value: object) -> str:
    """Describe a value's type, and a tensor's shape, for a message."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of ({', '.join(_describe(item) for item in value)})"
    return type(value).__name__
