"""Tries a custom workload before any training: one step and one evaluated batch, on a copy.

Without it, an error in ``score`` or ``pictures`` would appear only after a whole epoch. The run's
own objects are not touched, whatever the user's code keeps in them: the copy is built anew and
discarded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import psutil
import torch
from torch.utils._pytree import tree_leaves

from mpstui.domain.class_path import class_path
from mpstui.domain.errors import FieldError
from mpstui.engine.data.feed import Batch
from mpstui.engine.evaluate import draw_pictures
from mpstui.engine.setup import Setup
from mpstui.engine.sides import preserve_run, rebuild
from mpstui.runs.user_code import USER_ERRORS, describe_error

from .custom import call_hook, hook_name
from .scores import check_counts, describe

T = TypeVar("T")

MOST_SAMPLES = 64
"""Samples of the test batch; fewer if the run's test batches are smaller."""

COPIES = 6
"""Least free memory, in sizes of the model: the copy's weights, gradients and optimizer state."""

PICTURES = "pairs of a kind and a tensor (rows, columns, height, width)"


def check_contract(setup: Setup) -> None:
    """Take a step, and evaluate a batch, with a copy of a custom workload's run.

    Built-in workloads are not checked, nor is a model for whose copy there is no memory.

    Raises:
        FieldError: When a method raises an error or returns something else than the contract says;
            the message has the class, the method and the user's line.
        DataError: When a batch can't be loaded.
    """
    if class_path(setup.config.workload) is None or not _has_room(setup):
        return
    with preserve_run(setup):
        training_batch = next(setup.batches(1, 0, 1)).clone()
        size = min(setup.config.test_batch_size, MOST_SAMPLES)
        test_batch = next(setup.pipeline.test(size)).clone()
        copy = rebuild(setup, setup.backend, setup.config.precision)
        copy = replace(copy, pipeline=setup.pipeline)
        copy.model.train()
        _check_step(copy, training_batch)
        copy.model.eval()
        ratios = _call(copy, "score", lambda: copy.score(test_batch))
        check_counts(ratios, hook_name(copy.workload, "score"))
        _call(copy, "pictures", lambda: _check_pictures(copy))


def _check_step(setup: Setup, batch: Batch) -> None:
    workload = setup.workload
    if setup.whole_step is not None:
        hook = "step" if workload.hook("step") is not None else "objective"
        _call(setup, hook, lambda: setup.take_whole_step(batch.content))
    else:
        objective = _call(setup, "objective", lambda: setup.objective(batch))
        if not objective.requires_grad:
            problem = f"{hook_name(workload, 'objective')} returns a tensor without a gradient"
            raise FieldError("workload", problem, "a value computed from the model's parameters")
        _call(setup, "objective", lambda: setup.backward(objective))
        _check_update(setup)
        scalers = (torch.amp.GradScaler,)
        if any(isinstance(leaf, scalers) for leaf in tree_leaves(vars(workload))):
            problem = f"{type(workload).__name__} has a GradScaler, which only its own step can use"
            raise FieldError("workload", problem, "a method step; or precision fp16 without one")
    _call(setup, "schedulers", setup.schedulers.after_step)


def _check_update(setup: Setup) -> None:
    """Step the optimizer; one that only checks in its code that it gets a closure needs a step."""
    workload = setup.workload
    try:
        setup.optimizer.step()
    except USER_ERRORS as error:
        hook = "optimizers" if workload.hook("optimizers") is not None else "optimizer"
        name = f"{hook_name(workload, hook)}: {type(setup.optimizer).__name__}.step()"
        allowed = "an optimizer whose step needs no closure; or a method step, which calls it"
        raise FieldError("workload", f"{name}: {describe_error(error)}", allowed) from error


def _check_pictures(setup: Setup) -> None:
    where = hook_name(setup.workload, "pictures")
    for pair in draw_pictures(setup):
        is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not is_pair or not isinstance(pair[0], str):
            raise FieldError("workload", f"{where} yields {describe(pair)}", PICTURES)
        if not isinstance(pair[1], torch.Tensor) or pair[1].dim() != 4:
            problem = f"{where} yields {pair[0]}, {describe(pair[1])}"
            raise FieldError("workload", problem, PICTURES)


def _call(setup: Setup, hook: str, call: Callable[[], T]) -> T:
    """Call a method of the workload; an error names the objective if there is no such method."""
    exists = hook in ("step", "objective") or setup.workload.hook(hook) is not None
    if exists or hook != "score":
        return call_hook(setup.workload, hook if exists else "objective", call)
    try:
        return call_hook(setup.workload, "objective", call)
    except FieldError as error:
        problem = f"{error.problem} (in evaluation mode, since there is no method score)"
        raise FieldError(error.field, problem, "a method score, or such an objective") from error


def _has_room(setup: Setup) -> bool:
    weights = sum(weight.numel() * weight.element_size() for weight in setup.model.parameters())
    free = min(psutil.virtual_memory().available, setup.backend.room())
    return free > COPIES * weights
