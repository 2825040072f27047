from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mpstui.domain.errors import DataError
from mpstui.engine.data.digits import load_digits
from mpstui.engine.data.idx import read_idx
from mpstui.runs.rundir import Dataset

MNIST = Dataset(source="mnist")
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    magic = bytes((0, 0, 8, array.ndim))
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def digits(count: int) -> npt.NDArray[np.uint8]:
    return np.arange(count * 784, dtype=np.int64).astype(np.uint8).reshape(count, 28, 28)


def fill(
    data_dir: Path,
    labels: tuple[int, ...] = (3, 1, 4, 1, 5),
    images: npt.NDArray[np.uint8] | None = None,
    packed: bool = False,
) -> Path:
    """Lay full MNIST's four files, five images each, into a data folder; returns the folder."""
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pictures = digits(5) if images is None else images
    for part in ("train", "t10k"):
        for kind, array in (
            ("images-idx3", pictures),
            ("labels-idx1", np.asarray(labels, dtype=np.uint8)),
        ):
            content, name = idx(array), f"{part}-{kind}-ubyte"
            if packed:
                content, name = gzip.compress(content), f"{name}.gz"
            (raw / name).write_bytes(content)
    return raw


def test_a_hand_made_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x03\x07\x00\xff")
    assert read_idx(path, 1).tolist() == [7, 0, 255]


@quick
@given(
    array=arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, max_side=5)), packed=st.booleans()
)
def test_what_is_written_is_read(
    tmp_path: Path, array: npt.NDArray[np.uint8], packed: bool
) -> None:
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = read_idx(path, array.ndim)
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_anywhere_is_refused_by_name(tmp_path: Path, packed: bool) -> None:
    whole = idx(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    content = gzip.compress(whole) if packed else whole
    path = tmp_path / ("cut.gz" if packed else "cut")
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError) as caught:
            read_idx(path, 3)
        assert str(path) in str(caught.value)
    path.write_bytes(content)
    assert read_idx(path, 3).shape == (2, 2, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00",  # floats
        b"\x00\x00\x08\x03\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x05",  # images
        b"\x00\x00\x08\x01\x00\x00\x00\x01\x05\x05",  # one byte too many
        b"<html>Sign in to the hotel's network</html>",
        b"",
    ],
)
def test_what_is_no_label_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(DataError, match="labels"):
        read_idx(path, 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: missing"):
        read_idx(tmp_path / "nowhere", 1)


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx(digits(3))))
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        path = tmp_path / "images.gz"
        path.write_bytes(bytes(broken))
        try:
            read = read_idx(path, 3)
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert np.array_equal(read, digits(3))


@quick
@given(
    content=st.one_of(
        st.binary(max_size=64),
        st.binary(max_size=40).map(lambda rest: b"\x00\x00\x08\x03" + rest),
        st.lists(
            st.sampled_from([0, 1, 2, 28, 2**16, 2**31, 2**32 - 1]), min_size=3, max_size=3
        ).map(lambda sizes: b"\x00\x00\x08\x03" + struct.pack(">3I", *sizes)),
    ),
    packed=st.sampled_from(["", ".gz", "packed.gz"]),
)
def test_any_bytes_give_an_array_or_a_data_error(
    tmp_path: Path, content: bytes, packed: str
) -> None:
    path = tmp_path / f"any{packed}"
    path.write_bytes(gzip.compress(content) if packed == "packed.gz" else content)
    try:
        assert read_idx(path, 3).ndim == 3
    except DataError as error:
        assert str(path) in str(error)


def packed(start: bytes, zeros: int) -> bytes:
    packer, block = zlib.compressobj(1, wbits=31), bytes(1 << 20)
    parts = [packer.compress(start), *(packer.compress(block) for _ in range(zeros >> 20))]
    return b"".join((*parts, packer.flush()))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed(b"\x00\x00\x08\x03" + struct.pack(">3I", 5, 28, 28), 1 << 28), "more bytes of"),
        (packed(b"\x00\x00\x08\x03" + struct.pack(">3I", 2**20, 28, 28), 1 << 20), "promises 8"),
        (packed(b"\x00\x00\x08\x03" + struct.pack(">3I", 2**19, 28, 28), 1 << 10), "0 bytes of"),
    ],
)
def test_no_more_is_unpacked_than_the_header_promises(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "images.gz").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=words):
            read_idx(tmp_path / "images.gz", 3)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sizes", [(0, 2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1, 0)])
def test_absurd_sizes_with_no_data_are_refused(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    path = tmp_path / "images"
    path.write_bytes(b"\x00\x00\x08\x03" + struct.pack(">3I", *sizes))
    with pytest.raises(DataError, match="images"):
        read_idx(path, 3)


def test_the_embedded_subset_is_read_once() -> None:
    """A sweep builds a run for each of its points."""
    embedded = Dataset(source="embedded")
    assert load_digits(embedded, "auto") is load_digits(embedded, "elsewhere")


def test_the_embedded_subset_is_balanced() -> None:
    data = load_digits(Dataset(source="embedded"), "")
    assert data.train_images.shape == (5000, 28, 28)
    assert data.test_images.shape == (2000, 28, 28)
    assert data.train_images.dtype == torch.uint8
    assert data.train_labels.dtype == torch.int64
    assert torch.bincount(data.train_labels).tolist() == [500] * 10
    assert len(data.test_labels) == 2000
    assert set(data.test_labels.tolist()) == set(range(10))
    assert "each visited 12 times" in data.description


@pytest.mark.parametrize("packed", [False, True])
def test_full_files_are_read_plain_and_packed(tmp_path: Path, packed: bool) -> None:
    fill(tmp_path, packed=packed)
    data = load_digits(MNIST, str(tmp_path))
    assert np.array_equal(data.train_images.numpy(), digits(5))
    assert data.test_labels.tolist() == [3, 1, 4, 1, 5]
    assert data.description == (
        "digits in MNIST's format, 5 training images each visited 12,000 times an epoch, "
        "5 test images"
    )


def test_the_plain_file_wins_over_the_packed_one(tmp_path: Path) -> None:
    raw = fill(tmp_path)
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(b"half a download")
    assert load_digits(MNIST, str(tmp_path)).train_labels.tolist() == [3, 1, 4, 1, 5]


def test_labels_and_images_must_be_as_many(tmp_path: Path) -> None:
    fill(tmp_path, labels=(1, 2, 3))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: 3 labels for 5 images"):
        load_digits(MNIST, str(tmp_path))


def test_a_label_above_nine_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, labels=(1, 2, 3, 10, 5))
    with pytest.raises(DataError, match="label 10; allowed: 0 to 9"):
        load_digits(MNIST, str(tmp_path))


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, labels=(), images=np.zeros((0, 28, 28), np.uint8))
    with pytest.raises(DataError, match="0 labels for 0 images"):
        load_digits(MNIST, str(tmp_path))


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, images=np.zeros((5, 28, 27), np.uint8))
    with pytest.raises(DataError, match="allowed: 28×28"):
        load_digits(MNIST, str(tmp_path))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    (fill(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"lacks MNIST/raw/t10k-labels-idx1-ubyte;"):
        load_digits(MNIST, str(tmp_path))


def test_a_failed_fetch_is_passed_on_in_its_words() -> None:
    with pytest.raises(DataError, match=r"^dataset: no network$"):
        load_digits(Dataset(source="mnist", error="dataset: no network"), "")
