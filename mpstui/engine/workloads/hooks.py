"""Refuses methods that look like hooks but are none, so that nothing is silently ignored.

A method of the user's class (or a value like ``normalise``) that mpstui never uses is refused if it
has a name of another framework or is a misspelt hook, unless the user's own code uses that name.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from typing import Any

from mpstui.domain.errors import FieldError
from mpstui.runs.class_source import ClassSource, origin

from .contract import EXCLUSIVE, Workload

HOOKS = {
    "model": "model()",
    "objective": "objective(model, batch)",
    "datasets": "datasets() -> (training, test)",
    "loaders": "loaders() -> (training, test)",
    "collate": "collate(items)",
    "optimizer": "optimizer(model, config)",
    "optimizers": "optimizers(model)",
    "schedulers": "schedulers(*optimizers)",
    "step": "step(model, batch, optimizers)",
    "score": "score(model, batch)",
    "pictures": "pictures(model, images)",
    "state_dict": "state_dict()",
    "load_state_dict": "load_state_dict(state)",
    "normalise": "normalise = (mean, standard deviation)",
    "per_sample": "per_sample = True",
    "steps_per_epoch": "steps_per_epoch = N",
    "test_steps": "test_steps = N",
}
"""The hooks, with their arguments or values."""

VALUES = ("normalise", "per_sample", "steps_per_epoch", "test_steps")
"""Hooks that are no methods."""

OTHERS = {
    **dict.fromkeys(
        ("scheduler", "lr_scheduler", "lr_schedulers", "get_scheduler", "build_scheduler"),
        "schedulers",
    ),
    **dict.fromkeys(("lr_scheduler_step", "make_scheduler", "create_scheduler"), "schedulers"),
    **dict.fromkeys(("collate_fn", "collator", "data_collator", "collate_batch"), "collate"),
    **dict.fromkeys(("training_step", "train_step", "optimizer_step", "train_batch"), "step"),
    **dict.fromkeys(("validation_step", "test_step", "val_step", "eval_step"), "score"),
    **dict.fromkeys(("evaluation_step", "compute_metrics", "metrics"), "score"),
    **dict.fromkeys(("configure_optimizers", "get_optimizers", "build_optimizers"), "optimizers"),
    **dict.fromkeys(("optimiser", "get_optimizer", "build_optimizer"), "optimizer"),
    **dict.fromkeys(("make_optimizer", "create_optimizer", "configure_optimizer"), "optimizer"),
    **dict.fromkeys(("train_dataloader", "val_dataloader", "test_dataloader"), "loaders"),
    **dict.fromkeys(("dataloader", "dataloaders", "data_loader", "data_loaders"), "loaders"),
    **dict.fromkeys(("loader", "train_loader", "test_loader", "get_dataloaders"), "loaders"),
    **dict.fromkeys(("dataset", "train_dataset", "test_dataset"), "datasets"),
    **dict.fromkeys(("get_dataset", "get_datasets", "build_dataset", "make_datasets"), "datasets"),
    **dict.fromkeys(("loss", "loss_fn", "loss_func", "loss_function", "criterion"), "objective"),
    **dict.fromkeys(("compute_loss", "get_loss", "calc_loss", "forward"), "objective"),
    **dict.fromkeys(("get_model", "build_model", "make_model", "create_model"), "model"),
    "configure_model": "model",
    "normalize": "normalise",
    "on_save_checkpoint": "state_dict",
    "on_load_checkpoint": "load_state_dict",
}
"""Names of other frameworks, with the hook that does the same."""

SIMILAR = 0.9
"""The least similarity of a misspelt hook: ``optimzer`` has 0.94, but ``mode`` only 0.89."""


def check_hooks(cls: type) -> None:
    """Check the methods of a user's class, and of its bases in the user's files.

    Raises:
        FieldError: If one looks like a hook but is none, or two hooks exclude each other; the
            message has the line and the hook meant.
    """
    owners = [base for base in cls.__mro__ if origin(base) is not None]
    members = {name: base for base in reversed(owners) for name in vars(base)}
    for first, second in EXCLUSIVE.items():
        are_set = all(getattr(cls, name, None) is not None for name in (first, second))
        # A subclass may replace one by the other.
        if are_set and members.get(first) is members.get(second) is not None:
            problem = f"{_place(cls, members[second], second)} is one of two: it also has {first}"
            raise FieldError("workload", problem, f"{first} or {second}")
    suspects = {
        name: hook
        for name, base in members.items()
        if (hook := meant_hook(name))
        and (hook in VALUES or _is_method(vars(base)[name]))
        and not _overrides(cls, name)
    }
    uses = _uses_of(cls) if suspects else set()
    for name, hook in suspects.items():
        if name not in uses:
            problem = f"{_place(cls, members[name], name)} is no hook, and nothing uses it"
            raise FieldError("workload", problem, f"{HOOKS[hook]}, or a name that starts with _")


def meant_hook(name: str) -> str | None:
    """Return the hook that a method's name probably means; None if it is one, or means none."""
    if name.startswith("_") or name in HOOKS or hasattr(Workload, name):
        return None
    if name in OTHERS:
        return OTHERS[name]
    close = difflib.get_close_matches(name, HOOKS, n=1, cutoff=SIMILAR)
    swapped = [hook for hook in HOOKS if sorted(hook) == sorted(name)]
    return next(iter(close or swapped), None)


def _is_method(value: Any) -> bool:
    return callable(value) or isinstance(value, (staticmethod, classmethod))


def _overrides(cls: type, name: str) -> bool:
    """Return whether a method belongs to a base class from elsewhere, such as a torch module."""
    return any(name in vars(base) for base in cls.__mro__ if origin(base) is None)


def _uses_of(cls: type) -> set[str]:
    """Return the names that the user's code uses, other than by defining them.

    These are attributes that it reads, names in the body of a class, and strings, for ``getattr``.
    """
    source = origin(cls)
    if source is None:
        return set()
    texts = [source.text, *(module.text or b"" for module in source.surroundings.modules)]
    return {name for text in texts for name in _uses(ast.parse(text))}


def _uses(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()):
                yield name
            case ast.Constant(value=str(text)):
                yield text
            case ast.ClassDef(body=statements):
                for statement in statements:
                    if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                        yield from _loads(statement)
                    else:
                        for decorator in statement.decorator_list:
                            yield from _loads(decorator)


def _loads(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id


def _place(cls: type, owner: type, name: str) -> str:
    """Return a method with its file and line: ``/a/my_model.py:98, Mine.scheduler``."""
    file, line = _definition(owner, name)
    return f"{file}{'' if line is None else f':{line}'}, {cls.__name__}.{name}"


def _definition(owner: type, name: str) -> tuple[str, int | None]:
    """Return the file of a class, and the line in it that defines a member."""
    source = origin(owner)
    assert source is not None  # it is one of the user's
    file, text = _file_of(owner, source)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.name == owner.__name__:
            for statement in node.body:
                if name in _bindings(statement):
                    return file, statement.lineno
    return file, None


def _bindings(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _file_of(owner: type, source: ClassSource) -> tuple[str, bytes]:
    for module in source.surroundings.modules:
        if module.name == owner.__module__:
            return module.file, module.text or b""
    return str(source.file), source.text
