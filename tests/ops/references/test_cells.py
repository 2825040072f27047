"""The cells, against torch's modules: their gates' gradients show in the weights'."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.ops.references.support import both, draw, grads, leaf, run, same  # isort: skip


@both
@pytest.mark.parametrize("biased", [True, False])
def test_an_lstm_cell(dtype: torch.dtype, biased: bool) -> None:
    cell = nn.LSTMCell(5, 6, biased, dtype=dtype)
    x, h, c = leaf(3, 5, dtype=dtype), leaf(3, 6, dtype=dtype), leaf(3, 6, dtype=dtype, seed=1)
    biases = (cell.bias_ih, cell.bias_hh) if biased else ()
    gates = x @ cell.weight_ih.t(), h @ cell.weight_hh.t()
    results = run("_thnn_fused_lstm_cell", *gates, c, *biases)
    same(results[:2], cell(x, (h, c)))
    hy, cy, kept = results
    assert hy is not None and cy is not None and kept is not None
    i, f, g, o = kept.chunk(4, 1)
    same([f * c + i * g, o * cy.tanh()], [cy, hy])
    for given in ((True, True), (True, False), (False, True)):
        grad = [draw(3, 6, dtype=dtype, seed=2 + n) if on else None for n, on in enumerate(given)]
        chosen = [out for out, on in zip(cell(x, (h, c)), given, strict=True) if on]
        leaves = (x, h, c, *cell.parameters())
        right = grads(chosen, leaves, [each for each in grad if each is not None])
        ours = run("_thnn_fused_lstm_cell_backward_impl", *grad, c, cy, kept, biased)
        of_gates, of_c, of_bias = ours
        assert of_gates is not None
        through = [of_gates @ cell.weight_ih, of_gates @ cell.weight_hh, of_c]
        weights = [of_gates.t() @ x, of_gates.t() @ h, *([of_bias] * 2 if biased else [])]
        same([*through, *weights], right)
        assert (of_bias is None) is not biased
        wanted = [of_gates, of_gates, of_c, of_bias, of_bias]
        same(run("_thnn_fused_lstm_cell_backward", *grad, c, cy, kept, biased), wanted)
    same(run("_thnn_fused_lstm_cell_backward_impl", None, None, c, cy, kept, biased), [None] * 3)


@both
@pytest.mark.parametrize("biased", [True, False])
def test_a_gru_cell(dtype: torch.dtype, biased: bool) -> None:
    cell = nn.GRUCell(5, 6, biased, dtype=dtype)
    x, h = leaf(3, 5, dtype=dtype), leaf(3, 6, dtype=dtype)
    biases = (cell.bias_ih, cell.bias_hh) if biased else ()
    gates = x @ cell.weight_ih.t(), h @ cell.weight_hh.t()
    hy, kept = run("_thnn_fused_gru_cell", *gates, h, *biases)
    same([hy], [cell(x, h)])
    given = draw(3, 6, dtype=dtype, seed=2)
    right = grads([cell(x, h)], (x, h, *cell.parameters()), [given])
    of_x, of_h, of_state, *of_biases = run("_thnn_fused_gru_cell_backward", given, kept, biased)
    assert of_x is not None and of_h is not None and of_state is not None
    through = [of_x @ cell.weight_ih, of_state + of_h @ cell.weight_hh]
    weights = [of_x.t() @ x, of_h.t() @ h, *(of_biases if biased else [])]
    same([*through, *weights], right)
    assert [each is None for each in of_biases] == [not biased] * 2
