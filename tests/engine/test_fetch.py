"""Fetching MNIST, from servers on this machine only."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import MNIST

from mpstui.engine import fetch as fetching
from mpstui.engine.data.digits import load_digits
from mpstui.runs.mnist_files import locate
from mpstui.runs.rundir import Dataset

PARTS = {"train": 10, "t10k": 4}


def packed(*shape: int) -> bytes:
    magic = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(magic + bytes(np.prod(shape)))


FILES = {
    **{f"{part}-images-idx3-ubyte.gz": packed(count, 28, 28) for part, count in PARTS.items()},
    **{f"{part}-labels-idx1-ubyte.gz": packed(count) for part, count in PARTS.items()},
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxies, no mirrors on the network, four small files; the socket's patience put back."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in FILES.items()]
    monkeypatch.setattr(MNIST, "resources", resources)
    before = socket.getdefaulttimeout()
    yield
    socket.setdefaulttimeout(before)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served as MNIST's only mirror."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)

    def handler(*arguments: Any) -> Quiet:
        return Quiet(*arguments, directory=str(folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        yield folder
        server.shutdown()
        serving.join()


def test_without_a_network_there_is_a_reason(tmp_path: Path) -> None:
    why = fetching.fetch(tmp_path / "data")
    assert why.startswith("the download failed: ")
    assert "refused" in why.lower() or "urlopen" in why
    assert "\n" not in why


def test_what_was_fetched_can_be_read(mirror: Path, tmp_path: Path) -> None:
    assert fetching.fetch(tmp_path / "data") == ""
    assert locate(tmp_path / "data") is not None
    data = load_digits(Dataset(source="mnist"), str(tmp_path / "data"))
    assert (len(data.train_labels), len(data.test_labels)) == (10, 4)


def test_nothing_is_printed_among_the_words_for_the_supervisor(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetching.fetch(tmp_path / "data")
    assert capsys.readouterr().out == ""


def test_a_file_with_a_wrong_sum_is_refused_and_not_left_as_data(
    mirror: Path, tmp_path: Path
) -> None:
    last = list(FILES)[-1]
    (mirror / last).write_bytes(FILES[last][:-5])
    folder = tmp_path / "data"
    assert "corrupted" in fetching.fetch(folder)
    assert locate(folder) is None
    (mirror / last).write_bytes(FILES[last])
    assert fetching.fetch(folder) == ""


def test_a_missing_file_on_the_mirror_is_a_reason(mirror: Path, tmp_path: Path) -> None:
    (mirror / "train-images-idx3-ubyte.gz").unlink()
    assert "404" in fetching.fetch(tmp_path / "data")


def test_a_server_that_speaks_no_http_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.getsockname()[1]}/"])

        def mumble() -> None:
            for _ in range(4):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"220 mail.hotel ESMTP\r\n")

        threading.Thread(target=mumble, daemon=True).start()
        why = fetching.fetch(tmp_path / "data")
    assert why.startswith("the download failed: ")
    assert "\n" not in why


def test_a_folder_that_cannot_be_made_is_a_reason(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands where the folder should be")
    assert fetching.fetch(tmp_path / "data").startswith("the download failed: ")


class Polls(threading.Event):
    """Done after so many polls, without waiting."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.left = polls

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize(
    ("sizes", "line"), [([250], "0.250"), ([250, 500], "0.750"), ([2000], "1.000")]
)
def test_progress_is_told_by_the_packed_files_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int], line: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(fetching, "_print", said.append)
    monkeypatch.setattr(fetching, "PACKED_BYTES", 1000)
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.gz").write_bytes(bytes(size))
    (tmp_path / "unpacked").write_bytes(bytes(700))
    fetching._watch(tmp_path, Polls(2))
    assert said == [f"fraction {line}"] * 2


def test_no_progress_is_told_before_there_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(fetching, "_print", said.append)
    fetching._watch(tmp_path / "not yet", Polls(3))
    assert said == []
