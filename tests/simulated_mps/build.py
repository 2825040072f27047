"""Compiles the simulated device, once for each torch version.

``python -m tests.simulated_mps`` does it alone. The library lies in the user's cache folder,
outside the tree.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
SOURCES = ("device.cpp", "ops.cpp")
# Not optimised: it compiles in a third of the time, and runs its ops in torch's own kernels.
FLAGS = ("-std=c++20", "-O0", "-fPIC")


class Unavailable(Exception):
    """The device cannot be built here; the message says why."""


def build() -> Path:
    """Compile the device unless it is there already, and give the library's path.

    Raises:
        Unavailable: This is not Linux, there is no compiler, no torch, or the compiler refuses the
            sources.
    """
    if sys.platform != "linux":
        raise Unavailable("it is made for Linux: a Mac's torch has MPS itself")
    import fcntl  # Windows has none

    compiler = _compiler()
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Unavailable("torch is not installed")
    torch = Path(spec.origin).parent
    folder = platformdirs.user_cache_path("mpstui-tests") / "simulated_mps"
    library = folder / f"{importlib.metadata.version('torch')}-{_digest(torch)}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes that start at the same time build once
        if not library.exists():
            _compile(compiler, torch, library)
    return library


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise Unavailable("no C++ compiler: neither CXX, g++, c++ nor clang++")


def _digest(torch: Path) -> str:
    parts = [(HERE / name).read_bytes() for name in ("simulated.h", *SOURCES)]
    parts += [" ".join(FLAGS).encode(), str(torch).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _compile(compiler: str, torch: Path, library: Path) -> None:
    include = torch / "include"
    flags = [*FLAGS, f"-I{include}", f"-I{include / 'torch/csrc/api/include'}"]
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        objects = [Path(scratch) / f"{name}.o" for name in SOURCES]
        started = [
            subprocess.Popen(
                [compiler, *flags, "-c", str(HERE / name), "-o", str(target)],
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
            for name, target in zip(SOURCES, objects, strict=True)
        ]
        errors = [process.communicate()[1] for process in started]
        if any(process.returncode for process in started):
            raise Unavailable(f"{compiler} refuses the sources:\n" + "\n".join(errors)[-4000:])
        link = [compiler, "-shared", *map(str, objects), "-o", str(Path(scratch) / "device.so")]
        link += [f"-L{torch / 'lib'}", f"-Wl,-rpath,{torch / 'lib'}", "-ltorch_cpu", "-lc10"]
        linked = subprocess.run(link, capture_output=True, encoding="utf-8", check=False)
        if linked.returncode:
            raise Unavailable(f"{compiler} cannot link:\n{linked.stderr[-4000:]}")
        os.replace(Path(scratch) / "device.so", library)
