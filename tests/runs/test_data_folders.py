"""Data folders as people have them: one that is named is used or refused, never passed over."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import DataError, FieldError
from mpstui.engine.data.digits import describe, load_digits
from mpstui.engine.data.idx import read_idx
from mpstui.investigate.client import create_folder
from mpstui.investigate.request import InvestigationRequest
from mpstui.runs.dataset import check_data, decide
from mpstui.runs.mnist_files import MnistFiles, contents, locate
from mpstui.runs.paths import embedded_mnist, named_folder
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.runs.store import RunStore
from tests.builders.machines import M4

NAMES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
EMBEDDED = {name: gzip.decompress((embedded_mnist() / f"{name}.gz").read_bytes()) for name in NAMES}


class Network:
    """Counts the downloads that are asked for, and answers with a reason or with ''."""

    def __init__(self, problem: str = "no network") -> None:
        self.problem = problem
        self.folders: list[Path] = []

    def __call__(self, folder: Path, on_progress: object) -> str:
        self.folders.append(folder)
        return self.problem


def lay(folder: Path, spelled: str = "{}") -> Path:
    """Lay the four files of the embedded digits into a folder, under other names."""
    folder.mkdir(parents=True)
    for name, content in EMBEDDED.items():
        packed = spelled.endswith(".gz")
        path = folder / spelled.format(name, dotted=name.replace("-idx", ".idx"), up=name.upper())
        path.write_bytes(gzip.compress(content, 1) if packed else content)
    return folder


def decided(folder: Path | str, dataset: str = "auto", network: Network | None = None) -> Dataset:
    config = make_config({"dataset": dataset, "data_dir": str(folder)})
    return decide(config, lambda stage, fraction: None, network or Network())


def refusal(folder: Path | str, **values: object) -> FieldError:
    config = make_config({"data_dir": str(folder), **values})
    with pytest.raises(FieldError) as caught:
        check_data(config)
    return caught.value


def test_the_embedded_digits_are_there() -> None:
    assert locate(embedded_mnist()) == MnistFiles(
        *(embedded_mnist() / f"{name}.gz" for name in NAMES)
    )


@pytest.mark.parametrize(
    ("below", "named", "spelled"),
    [
        ("MNIST/raw", "", "{}"),
        ("MNIST/raw", "", "{}.gz"),
        ("MNIST/raw", "MNIST", "{}"),
        ("MNIST/raw", "MNIST/raw", "{}.gz"),
        ("", "", "{}"),
        ("", "", "{}.gz"),
        ("mnist", "", "{}.gz"),
        ("MNIST/raw", "", "{dotted}"),
        ("MNIST/raw", "", "{up}"),
        ("Mnist/Raw", "", "{up}.gz"),
    ],
)
def test_the_four_files_are_used_where_people_have_them(
    tmp_path: Path, below: str, named: str, spelled: str
) -> None:
    data = tmp_path / "data"
    lay(data / below if below else data, spelled)
    check_data(make_config({"data_dir": str(data / named)}))
    for dataset in ("auto", "mnist"):
        network = Network()
        chosen = decided(data / named, dataset, network)
        assert chosen == Dataset(source="mnist", folder=str(data / named))
        assert network.folders == []
    # The counts are the files'. They are part of MNIST, so nothing calls them full MNIST.
    assert load_digits(chosen, "").description == (
        "digits in MNIST's format, 5,000 training images each visited 12 times an epoch, "
        "2,000 test images"
    )


def test_the_unpacked_file_wins_and_a_part_that_is_missing_makes_none(tmp_path: Path) -> None:
    data = lay(tmp_path / "data")
    for name in NAMES:
        (data / f"{name}.gz").write_bytes(b"half a download")
    files = locate(data)
    assert files is not None
    assert [path.name for path in files] == list(NAMES)
    for name in (NAMES[2], f"{NAMES[2]}.gz"):
        (data / name).unlink()
    assert locate(data) is None


def test_a_folder_with_something_else_is_refused_and_says_what_is_there(tmp_path: Path) -> None:
    lay(tmp_path / "fashion/FashionMNIST/raw")
    lay(tmp_path / "emnist/EMNIST/raw", "emnist-letters-{}")
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/train.csv").write_text("label,pixel0\n5,0\n")
    (tmp_path / "mnist.npz").write_bytes(b"PK")
    (tmp_path / "void").mkdir()
    for name, there in {
        "fashion": "contains FashionMNIST/",
        "emnist": "contains EMNIST/",
        "csv": "contains train.csv",
        "mnist.npz": "is a file",
        "void": "is empty",
        "nowhere": "does not exist",
    }.items():
        error = refusal(tmp_path / name)
        assert error.field == "data_dir"
        assert f"{tmp_path / name} {there}" in str(error)
        assert "train-images-idx3-ubyte" in error.allowed
        assert contents(tmp_path / name) == there


def test_a_mistyped_folder_is_not_created(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    for dataset in ("auto", "mnist"):
        config = make_config({"dataset": dataset, "data_dir": str(tmp_path / "dta")})
        with pytest.raises(FieldError, match="does not exist"):
            store.create(config, parse_devices("cpu"), M4, datetime(2026, 1, 2))
    assert list(tmp_path.iterdir()) == []


def test_nothing_goes_to_the_network_unasked(tmp_path: Path) -> None:
    network = Network("")
    assert decided("", "auto", network) == Dataset(source="embedded")
    assert decided("", "embedded", network) == Dataset(source="embedded")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is empty" in decided(empty, "auto", network).error
    assert network.folders == []


def test_mnist_is_downloaded_into_the_folder_that_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    check_data(make_config({"dataset": "mnist", "data_dir": str(empty)}))
    network = Network("the download failed: no route")
    error = decided(empty, "mnist", network).error
    assert network.folders == [empty]
    for part in ("no route", "train-images-idx3-ubyte", "embedded"):
        assert part in error
    # A download that says it is done but leaves no files is no data either.
    assert "is empty" in decided(empty, "mnist", Network("")).error


def test_the_programs_own_folder_is_used_by_mnist_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    lay(tmp_path / "data" / "MNIST" / "raw")
    network = Network()
    assert decided("", "mnist", network) == Dataset(source="mnist", folder=str(tmp_path / "data"))
    assert decided("", "auto", network) == Dataset(source="embedded")
    assert network.folders == []


def test_a_folder_that_would_not_be_read_is_refused(tmp_path: Path) -> None:
    data = lay(tmp_path / "data")
    assert "embedded reads no folder" in str(refusal(data, dataset="embedded"))
    own = tmp_path / "own.py"
    own.write_text("class Net:\n    def datasets(self): ...\n")
    assert "its own datasets" in str(refusal(data, workload=f"{own}:Net"))


def test_an_investigation_without_a_run_reads_the_folder_too(tmp_path: Path) -> None:
    config = make_config({"data_dir": str(tmp_path / "dta")})
    with pytest.raises(FieldError, match="does not exist"):
        create_folder(InvestigationRequest(config=config), datetime(2026, 1, 2), tmp_path / "out")
    data = lay(tmp_path / "data")
    config = make_config({"data_dir": str(data)})
    folder = create_folder(
        InvestigationRequest(config=config), datetime(2026, 1, 2), tmp_path / "out"
    )
    assert RunDir(folder.path).dataset() == Dataset(source="mnist", folder=str(data))


def test_a_torn_file_is_named_and_not_replaced_by_other_data(tmp_path: Path) -> None:
    data = lay(tmp_path / "data", "{}.gz")
    torn = data / f"{NAMES[0]}.gz"
    torn.write_bytes(torn.read_bytes()[:20_000])
    with pytest.raises(DataError, match=f"{torn.name}: not a complete gzip file"):
        load_digits(decided(data), "")


def test_mnists_own_digits_are_full_mnist_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zlib

    from mpstui.engine.data import digits

    images = read_idx(embedded_mnist() / f"{NAMES[2]}.gz", 3)
    monkeypatch.setattr(digits, "TEST_IMAGES_CRC32", zlib.crc32(images.tobytes()))
    monkeypatch.setattr(digits, "EPOCH_SAMPLES", 5_000)
    data = lay(tmp_path / "data")
    whole = "full MNIST, 5,000 training and 2,000 test images"
    assert load_digits(decided(data), "").description == whole
    content = bytearray(EMBEDDED[NAMES[2]])
    content[-1] ^= 1
    (data / NAMES[2]).write_bytes(content)
    assert load_digits(decided(data), "").description.startswith("digits in MNIST's format, 5,000")


@given(st.integers(1, 200_000), st.integers(1, 50_000))
def test_a_description_counts_what_is_there(training: int, test: int) -> None:
    text = describe("digits", training, test)
    assert f"{training:,} training" in text
    assert f"{test:,} test images" in text
    assert ("visit" in text) == (training != 60_000)


def test_a_home_that_nobody_has_is_a_folder_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_folder("~nobody-of-this-name/x") == tmp_path / "~nobody-of-this-name/x"
    assert named_folder("~/x") == Path.home() / "x"
    assert named_folder("x") == tmp_path / "x"
