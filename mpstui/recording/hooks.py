"""Hooks in torch that see each training step of code that knows nothing of mpstui.

Torch has global hooks for an optimizer's step. Backward, the DataLoader, the gradient scaler and a
module's mode have none, so their functions are wrapped. A wrapper passes everything through; if
the observer itself fails, recording ends and the user's code goes on. Hooks on every module are
left out: they slow each call and make ``torch.compile`` warn.

A wrapper inside of a function that ``torch.compile`` traces becomes a part of the compiled code. So
there it does nothing, but for a step, which is put into a list and reported afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from .late_import import on_import
from .observer import StepObserver


def _keep_from_compiler(function: Any) -> None:
    """Let ``torch.compile`` run a function, and what it calls, as plain Python.

    A compiled training step stops at ``backward()``, but would compile a wrapper of the user's.
    This is what torch's own ``skip_code`` does, whose import takes seconds.
    """
    with contextlib.suppress(ImportError):  # older than torch 2.7
        from torch._C._dynamo.eval_frame import (
            _FrameAction,
            _FrameExecStrategy,
            set_code_exec_strategy,
        )

        skip = _FrameExecStrategy(_FrameAction.SKIP, _FrameAction.SKIP)
        set_code_exec_strategy(function.__code__, skip)


class Hooks:
    """Installs the hooks, and removes them. Inactive in forked processes."""

    def __init__(self, observer: StepObserver) -> None:
        self._observer = observer
        self._active = False
        self._undo: list[Callable[[], None]] = []
        self._in_backward = self._in_mode = self._stepped = False
        self._compiled_steps: list[Optimizer] = []
        """Optimizers that stepped in compiled code, not reported yet."""

    def install(self) -> None:
        """Install the hooks."""
        self._active = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)
        self._wrap_backward()
        self._wrap(Optimizer, "__init__", self._created)
        self._wrap(Optimizer, "__setstate__", self._restored)
        self._wrap_zero_grad()
        self._wrap(torch.amp.GradScaler, "scale", self._scale)
        self._wrap(torch.amp.GradScaler, "step", self._scaler_step)
        for module in (torch.nn.utils, torch.nn.utils.clip_grad):
            self._wrap(module, "clip_grad_norm_", self._clip)
        if hasattr(torch.nn.utils, "clip_grads_with_norm_"):
            self._wrap(torch.nn.utils, "clip_grads_with_norm_", self._clip_with_norm)
        self._wrap(DataLoader, "__iter__", self._iterate)
        self._wrap_fetch()
        self._wrap_train()
        handles = (
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        )
        self._undo += [handle.remove for handle in handles]
        self._undo.append(on_import("torch.utils.tensorboard.writer", self._wrap_writer))

    def remove(self) -> None:
        """Remove the hooks."""
        with contextlib.suppress(KeyboardInterrupt):  # a stop after the last step
            self._report_compiled_steps()
        self._active = False
        while self._undo:
            self._undo.pop()()

    def _leave(self) -> None:
        """Become inactive, in a forked process."""
        self._active = False

    def _wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Replace a function by one that calls ``wrapper`` with it and its arguments."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not self._active or is_dynamo_compiling():
                return original(*args, **kwargs)
            return wrapper(original, *args, **kwargs)

        self._replace(owner, name, original, wrapped)

    def _replace(self, owner: Any, name: str, original: Any, wrapped: Any) -> None:
        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, original))

    def _end(self, error: Exception) -> None:
        """End the recording because the observer failed; the user's code goes on."""
        self._active = False
        self._observer.failed(error)

    def _notify(self, report: Callable[..., Any], *args: Any) -> Any:
        """Report to the observer; its own errors never reach the user's code."""
        if self._compiled_steps:
            self._report_compiled_steps()
        try:
            return report(*args)
        except Exception as error:  # noqa: BLE001 - recording must not break training
            self._end(error)

    def _report_compiled_steps(self) -> None:
        """Report steps of compiled code, before anything that comes after them."""
        steps = self._compiled_steps.copy()
        self._compiled_steps.clear()
        for optimizer in steps:
            self._after_step(optimizer, (), {})

    def _wrap_backward(self) -> None:
        """Wrap ``backward``; called at each step, so with as few calls as possible."""
        original, observer = torch.autograd.backward, self._observer
        begins, ended = observer.backward_begins, observer.backward_ended

        @functools.wraps(original)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._in_backward or not self._active:  # a checkpointed module's own backward
                return original(tensors, *args, **kwargs)
            if self._compiled_steps:
                self._report_compiled_steps()
            gradients = args[0] if args else kwargs.get("grad_tensors")
            try:
                begins(tensors, gradients, kwargs.get("inputs"))
            except Exception as error:  # noqa: BLE001 - recording must not break training
                self._end(error)
            self._in_backward = True
            succeeded = False
            try:
                result = original(tensors, *args, **kwargs)
                succeeded = True
                return result
            finally:
                self._in_backward = False
                if self._active:
                    self._notify(ended, succeeded)

        _keep_from_compiler(backward)
        self._replace(torch.autograd, "backward", original, backward)

    def _wrap_zero_grad(self) -> None:
        """Wrap ``zero_grad``; gradients that it sets to None are seen to be gone."""
        original = Optimizer.zero_grad

        @functools.wraps(original)
        def zero_grad(optimizer: Any, set_to_none: bool = True) -> Any:
            result = original(optimizer, set_to_none)
            if not set_to_none and self._active and not is_dynamo_compiling():
                self._notify(self._observer.gradients_cleared, optimizer)
            return result

        self._replace(Optimizer, "zero_grad", original, zero_grad)

    def _wrap_fetch(self) -> None:
        """Wrap the DataLoader's iterators; called at each step."""
        original, clock = _BaseDataLoaderIter.__next__, time.perf_counter
        is_grad_enabled = torch.is_grad_enabled

        @functools.wraps(original)
        def fetch(iterator: Any) -> Any:
            if not self._active:
                return original(iterator)
            observer = self._observer
            if observer.watches_fetch_begins or not is_grad_enabled():
                self._notify(observer.fetch_begins, iterator)
            start = clock()
            try:
                batch = original(iterator)
            except StopIteration:
                self._notify(observer.fetch_ended, iterator, None, clock() - start)
                raise
            seconds = clock() - start
            try:
                observer.fetch_ended(iterator, batch, seconds)
            except Exception as error:  # noqa: BLE001 - recording must not break training
                self._end(error)
            return batch

        self._replace(_BaseDataLoaderIter, "__next__", original, fetch)

    def _restored(self, original: Any, optimizer: Any, state: Any) -> None:
        original(optimizer, state)
        self._notify(self._observer.optimizer_restored, optimizer)

    def _created(self, original: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        original(optimizer, *args, **kwargs)
        self._notify(self._observer.optimizer_created, optimizer)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        if not self._active or is_dynamo_compiling():
            return None
        self._stepped = True
        if len(args) == 1 and not kwargs and not self._observer.watches_step_begins:
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        wrapped = self._notify(self._observer.step_begins, optimizer, closure)
        if wrapped is None:
            return None
        if len(args) > 1:
            return (args[0], wrapped, *args[2:]), kwargs
        return args, {**kwargs, "closure": wrapped}

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._active:
            return
        if is_dynamo_compiling():
            self._compiled_steps.append(optimizer)
            return
        try:
            self._observer.step_ended(optimizer)
        except Exception as error:  # noqa: BLE001 - recording must not break training
            self._end(error)

    def _scale(self, original: Any, scaler: Any, outputs: Any) -> Any:
        result = original(scaler, outputs)
        if result is not outputs:
            self._notify(self._observer.scaled, scaler, outputs, result)
        return result

    def _scaler_step(
        self, original: Any, scaler: Any, optimizer: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self._stepped = False
        result = original(scaler, optimizer, *args, **kwargs)
        if not self._stepped:
            self._notify(self._observer.step_skipped, optimizer)
        return result

    def _clip(
        self, original: Any, parameters: Any, max_norm: Any, norm_type: Any = 2.0, **kwargs: Any
    ) -> Any:
        if not isinstance(parameters, torch.Tensor):
            parameters = list(parameters)  # a generator can be read only once
        norm = original(parameters, max_norm, norm_type, **kwargs)
        self._note_clipping(norm if norm_type == 2 else None, parameters)
        return norm

    def _clip_with_norm(self, original: Any, parameters: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(parameters, torch.Tensor):
            parameters = list(parameters)
        result = original(parameters, *args, **kwargs)
        self._note_clipping(None, parameters)  # the script's own norm may be any
        return result

    def _note_clipping(self, norm: Any, parameters: Any) -> None:
        listed = [parameters] if isinstance(parameters, torch.Tensor) else parameters
        self._notify(self._observer.norm_computed, norm, listed)

    def _iterate(self, original: Any, loader: Any) -> Any:
        iterator = original(loader)
        self._notify(self._observer.loader_started, loader, iterator)
        return iterator

    def _wrap_train(self) -> None:
        """Wrap ``Module.train``, which calls itself for each of the module's children."""
        original = torch.nn.Module.train

        @functools.wraps(original)
        def train(module: Any, mode: bool = True) -> Any:
            if self._in_mode or not self._active or is_dynamo_compiling():
                return original(module, mode)
            before = module.training
            self._in_mode = True
            try:
                result = original(module, mode)
            finally:
                self._in_mode = False
            if before != mode:  # some frameworks call it at each step
                self._notify(self._observer.mode_changed, module, bool(mode))
            return result

        torch.nn.Module.train = train  # type: ignore[assignment, method-assign]
        self._undo.append(lambda: setattr(torch.nn.Module, "train", original))

    def _wrap_writer(self, module: Any) -> None:
        self._wrap(module.SummaryWriter, "add_scalar", self._add_scalar)
        self._wrap(module.SummaryWriter, "add_scalars", self._add_scalars)

    def _add_scalar(
        self, original: Any, writer: Any, tag: Any, scalar_value: Any, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(writer, tag, scalar_value, *args, **kwargs)
        self._notify(self._observer.scalar_logged, str(tag), scalar_value)
        return result

    def _add_scalars(
        self, original: Any, writer: Any, main_tag: Any, values: Any, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(writer, main_tag, values, *args, **kwargs)
        for tag, value in values.items():
            self._notify(self._observer.scalar_logged, f"{main_tag}/{tag}", value)
        return result
