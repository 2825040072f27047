"""Copies of tensors and calls that are kept: the memory layout has to survive both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mpstui.ops.call import Call, Slot, capture
from mpstui.ops.storages import CPU, Copies, flat, key_of

BASE = torch.arange(24.0)
VIEWS = {
    "transposed": BASE.view(4, 6).t(),
    "sliced": BASE.view(4, 6)[1:, 2:5],
    "expanded": BASE[3:7].unsqueeze(0).expand(5, 4),
    "channels_last": torch.rand(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "overlapping": BASE.unfold(0, 4, 1),
    "0-d": BASE[7],
    "nothing": BASE[24:].view(0, 3),
}
ADDCMUL = torch.ops.aten.addcmul_.default


def _layout(tensor: torch.Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype


@pytest.mark.parametrize("name", VIEWS)
def test_a_copy_lies_in_memory_as_the_tensor_does(name: str) -> None:
    view = VIEWS[name]
    copy = Copies()(view)
    assert _layout(copy) == _layout(view)
    assert torch.equal(copy, view)
    assert copy.untyped_storage().nbytes() == view.untyped_storage().nbytes()
    assert not view.numel() or copy.untyped_storage().data_ptr() != BASE.data_ptr()


def test_copies_of_what_aliases_go_on_aliasing_and_leave_the_original_alone() -> None:
    base = torch.zeros(4, 3)
    whole, kept = Copies().tree([base, {"column": base[:, 1]}])
    kept["column"] += 7
    assert whole[:, 1].tolist() == [7.0] * 4
    assert not base.any()


def test_what_is_no_tensor_is_passed_on_and_a_copy_is_behind_no_autograd() -> None:
    copies = Copies()
    assert copies.tree((None, 3, "x", {"a": [1.5]})) == (None, 3, "x", {"a": [1.5]})
    assert not copies(torch.nn.Parameter(torch.ones(2)) * 2).requires_grad


def test_float64_copies_are_cast_where_they_float_and_lie_as_before() -> None:
    copies = Copies(torch.float64)
    cast, index = copies(VIEWS["sliced"]), copies(torch.tensor([3, 1]))
    assert _layout(cast) == (*_layout(VIEWS["sliced"])[:3], torch.float64)
    assert torch.equal(cast, VIEWS["sliced"].double())
    assert index.dtype == torch.int64
    assert copies(BASE.view(4, 6)).untyped_storage().data_ptr() == (
        cast.untyped_storage().data_ptr()
    )


def test_shared_is_only_what_nobody_writes_to_and_needs_no_cast() -> None:
    read, written = torch.ones(3), torch.zeros(6)
    copies = Copies(share=True, written=frozenset({key_of(written[2:])}))
    assert copies(read) is read
    copy = copies(written[:2])  # another view of the storage: writing to one changes both
    assert copy.data_ptr() != written.data_ptr()
    assert copies(written).data_ptr() == copy.data_ptr()
    cast = Copies(torch.float64, share=True)
    assert cast(read).dtype == torch.float64
    assert cast(torch.ones(3, dtype=torch.float64)).dtype == torch.float64
    assert Copies(share=False)(read) is not read


def test_a_sparse_tensor_is_copied_as_it_is() -> None:
    sparse = torch.eye(3).to_sparse()
    assert torch.equal(Copies(torch.float64)(sparse).to_dense(), torch.eye(3).double())


def test_the_copy_of_a_conjugate_view_is_conjugate() -> None:
    z = torch.randn(3, dtype=torch.complex64)
    assert torch.equal(Copies()(z.conj()).resolve_conj(), z.conj().resolve_conj())


def test_flat_is_the_whole_storage() -> None:
    assert torch.equal(flat(VIEWS["sliced"]), BASE)
    assert flat(VIEWS["sliced"]).data_ptr() == BASE.data_ptr()


def _call() -> Call:
    base = torch.arange(20.0)
    into, by = base[2:8].view(2, 3), base.view(4, 5)[:2, 2:]  # alias each other
    mask = torch.full((3,), 2.0).expand(2, 3)
    call = capture(ADDCMUL, (into, by, mask), {"value": 0.5})
    base.fill_(-1)  # what was captured is from before
    return call


def test_a_captured_call_keeps_storages_once_and_views_of_them() -> None:
    call = _call()
    assert call.op == "aten.addcmul_.default"
    assert call.function is ADDCMUL
    assert [storage.numel() for storage in call.storages] == [20, 3]
    assert call.slots == [
        Slot(0, (2, 3), (3, 1), 2),
        Slot(0, (2, 3), (5, 1), 2),
        Slot(1, (2, 3), (0, 1), 0),
    ]
    assert call.view(call.slots[0]).tolist() == [[2, 3, 4], [5, 6, 7]]
    assert call.describe_tensors()[1:] == (
        "float32 (2, 3), strides (5, 1), offset 2",
        "float32 (2, 3), strides (0, 1)",
    )


@pytest.mark.parametrize("saved", [False, True])
def test_its_arguments_are_made_afresh_each_time_also_from_a_file(
    saved: bool, tmp_path: Path
) -> None:
    call = _call()
    if saved:
        call.save(tmp_path / "call.pt")
        call = Call.load(tmp_path / "call.pt")
    for _ in range(2):  # the op writes over its arguments, not over what is kept
        (into, by, mask), kwargs = call.on()
        assert into.tolist() == [[2, 3, 4], [5, 6, 7]]
        assert (by.stride(), mask.stride(), kwargs) == ((5, 1), (0, 1), {"value": 0.5})
        assert into.untyped_storage().data_ptr() == by.untyped_storage().data_ptr()
        call.function(into, by, mask, **kwargs)


def test_dense_arguments_are_contiguous_and_share_nothing() -> None:
    (into, by, mask), _ = _call().on(dtype=torch.float64, dense=True)
    assert all(each.is_contiguous() and not each.storage_offset() for each in (into, by, mask))
    assert {each.dtype for each in (into, by, mask)} == {torch.float64}
    assert len({each.untyped_storage().data_ptr() for each in (into, by, mask)}) == 3
    assert by.tolist() == [[2, 3, 4], [7, 8, 9]]


def test_dtype_and_device_among_the_keywords_follow() -> None:
    keywords = {"dtype": torch.float32, "device": torch.device("meta")}
    call = capture(torch.ops.aten.ones.default, ([2],), keywords)
    assert call.on(dtype=torch.float64)[1] == {"dtype": torch.float64, "device": CPU}
    assert call.on()[1]["dtype"] == torch.float32
    whole = capture(torch.ops.aten.ones.default, ([2],), {"dtype": torch.int64})
    assert whole.on(dtype=torch.float64)[1]["dtype"] == torch.int64
