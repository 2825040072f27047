"""Whether every extra can be installed from wheels, on systems that are not here.

``python -m tests.resolve [--python VERSION]…`` asks uv's resolver, which reads the package index's
metadata and downloads no wheel. It needs the network and the ``dev`` extra, takes some minutes, and
is not part of the quick suite. All extras are resolved at once, since what solves them together
solves each; only when that fails is each one resolved alone, to name the one at fault. It exits
with 1 when an extra cannot be resolved, and when a platform that is said to have no torch has one
by now.

Pip's own settings (an index, constraints) do not count; uv's do (``UV_INDEX_URL`` and others).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SHOWN = ("torch", "torchvision", "macmon-lib", "zeus-apple-silicon", "nvidia-ml-py", "tensorboard")
"""Packages whose versions are printed."""

_LIMIT_SECONDS = 300


class Platform(NamedTuple):
    """A system to resolve for."""

    name: str
    triple: str
    """As uv calls it."""
    macos: str = ""
    """The oldest macOS that wheels may ask for."""
    has_torch: bool = True
    """False where the doctor and the README say that no torch of ours can be had."""


PLATFORMS = (
    Platform("macOS 13 arm64", "aarch64-apple-darwin", "13.0"),
    Platform("macOS 14 arm64", "aarch64-apple-darwin", "14.0"),
    Platform("Windows x86_64", "x86_64-pc-windows-msvc"),
    Platform("Linux aarch64", "aarch64-manylinux_2_28"),
    Platform("macOS 14 x86_64", "x86_64-apple-darwin", "14.0", has_torch=False),
    Platform("Windows arm64", "aarch64-pc-windows-msvc", has_torch=False),
)


class Outcome(NamedTuple):
    """What the resolver said."""

    resolved: bool
    words: str
    """The versions that matter, or the first line of why not."""


def extras() -> list[str]:
    """The names of our extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"])


def command(platform: Platform, python: str, chosen: Sequence[str]) -> list[str]:
    """What asks uv for some extras together."""
    words = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    words += ["--no-annotate", "--only-binary", ":all:", "--python-version", python]
    words += ["--python-platform", platform.triple]
    return [*words, *(f"--extra={extra}" for extra in chosen), "pyproject.toml"]


def resolve(platform: Platform, python: str, chosen: Sequence[str]) -> Outcome:
    """Ask the resolver for one platform and Python, and some extras together."""
    environment = {**os.environ}
    if platform.macos:
        environment["MACOSX_DEPLOYMENT_TARGET"] = platform.macos
    done = subprocess.run(
        command(platform, python, chosen),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return Outcome(True, versions(done.stdout))
    return Outcome(False, reason(done.stderr))


def versions(compiled: str) -> str:
    """Of a compiled list of requirements, those that matter."""
    pairs = re.findall(r"^([\w.-]+)==([\w.+!-]+)", compiled, re.MULTILINE)
    return " ".join(f"{name}=={version}" for name, version in pairs if name in SHOWN)


def reason(stderr: str) -> str:
    """Why there is no solution, in one line."""
    line = " ".join(stderr.split())
    cause = re.search(r"Because .*?(?= and | we can conclude|$)", line)
    return (cause[0] if cause else line)[:200]


def at_fault(platform: Platform, python: str) -> list[tuple[str, Outcome]]:
    """Which extras have no solution; an empty name stands for none of them."""
    alone = [
        (extra, resolve(platform, python, [extra] if extra else [])) for extra in ("", *extras())
    ]
    return [(extra, outcome) for extra, outcome in alone if not outcome.resolved]


def check(platform: Platform, python: str) -> tuple[bool, list[str]]:
    """Whether one platform and Python are as documented, and the lines that say so."""
    label = f"{platform.name}, Python {python}"
    outcome = resolve(platform, python, extras() if platform.has_torch else [])
    if not platform.has_torch:
        good = not outcome.resolved and "torch" in outcome.words
        words = f"no torch, as documented: {outcome.words}" if good else outcome.words
    else:
        good, words = outcome.resolved, f"every extra: {outcome.words}"
    if good:
        return True, [f"OK   {label}: {words}"]
    faults = at_fault(platform, python) if platform.has_torch else [("", outcome)]
    faults = faults or [("all together", outcome)]
    return False, [f"FAIL {label} [{extra}]: {fault.words}" for extra, fault in faults]


def main(arguments: Sequence[str]) -> int:
    """Check all, print the lines, and return 1 when something is not as documented."""
    parser = argparse.ArgumentParser(
        description="Resolve every extra for systems that are not here"
    )
    parser.add_argument("--python", action="append", choices=PYTHONS)
    pythons = parser.parse_args(arguments).python or PYTHONS
    pairs = [(platform, python) for platform in PLATFORMS for python in pythons]
    failed = 0
    # The resolver mostly waits for the network.
    with ThreadPoolExecutor(4) as pool:
        for good, lines in pool.map(lambda pair: check(*pair), pairs):
            failed += not good
            print("\n".join(lines), flush=True)
    print(f"{len(pairs) - failed} of {len(pairs)} as documented")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
