"""Whether an investigation accuses what is wrong, and nothing else, over faults from files.

``python -m tests.benchmarks.investigate_cases DIR [--only FAULT]… [--device cpu]``: DIR holds
``faults/cases.py`` with ``faults/wl.py``, and ``bugs/silent/faults.py`` with ``work.py``: simulated
faults as context managers, and small workloads that reach them. Each is investigated as a user
would, in processes of its own, repro included. A line each, then the counts.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mpstui.domain.config import make_config
from mpstui.domain.investigation import Investigation, Verdict
from mpstui.investigate.client import InvestigationClient, create_folder
from mpstui.investigate.request import InvestigationRequest


class Case(NamedTuple):
    """A fault on a workload, and what is wrong there."""

    fault: str
    workload: str
    op: str
    """A part of its name; empty where it lies beyond what is looked at."""
    phase: str = "forward"
    why: str = ""
    """Why it cannot be found."""


FAULTS = ("faults/cases.py", "faults/wl.py")
SILENT = ("bugs/silent/faults.py", "bugs/silent/work.py")

CASES: dict[tuple[str, str], tuple[Case, ...]] = {
    FAULTS: (
        Case("SdpaCausalLast", "Former", "_scaled_dot_product"),
        Case("SdpaBackwardKey", "Former", "_scaled_dot_product", "backward"),
        Case("GroupNormWeightGrad", "ConvNorm", "native_group_norm_backward", "backward"),
        Case("TransposedConvBias", "ConvNorm", "convolution"),
        Case("ChannelsLastConvBackward", "ConvNormCL", "convolution_backward", "backward"),
        Case("RunningVarBiased", "ConvNorm", "native_batch_norm"),
        Case("LstmForgetGate", "Recurrent", "mkldnn_rnn_layer"),
        Case("SigmoidInplaceStrided", "Recurrent", "sigmoid_"),
        Case("EmbeddingDuplicates", "Bag", "embedding_dense_backward", "backward"),
        Case("NllTotalWeight", "Bag", "nll_loss_forward"),
        Case("BilinearAligned", "UNet", "upsample_bilinear2d"),
        Case("CatOffset", "UNet", "cat"),
        Case("ReflectBackward", "UNet", "reflection_pad2d_backward", "backward"),
        Case("AdamSqStale", "FormerAdamW", "addcmul_", "optimizer"),
        Case("AdamSqStale", "FormerAdamWForeach", "_foreach_addcmul_", "optimizer"),
        Case("FusedLast", "FormerAdamWFused", "_fused_adamw_", "optimizer"),
        Case("MomentumDouble", "ConvNormSgd", "mul_", "optimizer"),
        Case("ScatterAddLast", "Scatter", "scatter_add_"),
        Case("FillFirstRow", "Fill", "masked_fill_"),
        Case("CopyBroadcastRow", "Write", "copy_"),
        Case("ArgmaxLast", "Pick", "argmax"),
        Case("WhereBroadcast", "Choose", "where"),
        Case("StdBiased", "Spread", "std"),
        Case("LogsumexpSkips", "Lse", "logsumexp"),
        Case("MeanCount", "Choose", "mean"),
        Case("DropoutHalf", "Drop", "bernoulli_"),
        Case("RandnNarrow", "Noise", "randn_like"),
        Case("BernoulliPairs", "Drop", "bernoulli_"),
        Case("NormalIgnoresStd", "Normal", "normal"),
        Case("MultinomialUniform", "Pairs", "multinomial"),
        Case("IntCastRounds", "Integers", "_to_copy"),
        Case("EverySeventhGelu", "Former", "gelu"),
        Case("LateSilu", "Eight", "", why="from the 150th call on; 20 steps have fewer"),
        Case("OddBatchAddmm", "FormerOdd", "", why="every batch here has 64 items"),
        Case("LargeAdd", "Former", "add"),
        Case("BorderlineNorm", "Former", "", why="5e-4 off: within the tolerance, listed"),
        Case("NanLayerNormGrad", "Former", "native_layer_norm_backward", "backward"),
        Case("SquaresFlushed", "FormerAdamW", "addcmul_", "optimizer"),
        Case("ClipNorm", "FormerClip", "norm", "optimizer"),
        Case("CustomGrad", "Custom", "softshift_backward", "backward"),
        Case("CumsumRestart", "Run", "cumsum"),
        Case("TanhBackwardOnce", "Run", "tanh_backward", "backward"),
        Case("EvalNorm", "ConvNorm", "native_batch_norm", "evaluation"),
    ),
    SILENT: (
        Case("DepthwiseBatch", "Depthwise", "convolution"),
        Case("GroupNormBackwardNan", "GroupNormed", "native_group_norm_backward", "backward"),
        Case("BatchNormSlice", "SlicedNorm", "native_batch_norm"),
        Case("MaskedFillMemoryOrder", "MaskedAttention", "masked_fill_"),
        Case("DeconvStride", "Deconv", "convolution"),
        Case("EmbeddingLastWins", "Tokens", "embedding_dense_backward", "backward"),
        Case("OneMinusRounds", "Gate", "rsub"),
        Case("NoMaxPool3d", "Volume", "max_pool3d_with_indices"),
        Case("ArgmaxMinimum", "Plain", "argmax", "evaluation"),
    ),
}


def outcome(case: Case, finding: Investigation) -> str:
    """How a finding stands to the truth: ``right``, ``accuses another`` or its verdict."""
    op = finding.op
    named = op is not None and bool(case.op) and case.op in op.op and op.phase == case.phase
    if named and finding.verdict.blames_device:
        return "right"
    if finding.verdict in (Verdict.FAULTY_OP, Verdict.STATE_DEPENDENT):
        return "accuses another"
    if finding.verdict in (Verdict.LOWER_PRECISION, Verdict.DIVERGES_ON_CPU):
        return "excused"
    return str(finding.verdict.value)


def investigated(folder: Path, files: tuple[str, str], case: Case, device: str) -> Investigation:
    """Investigate one case in processes of its own."""
    faults, workloads = (folder / name for name in files)
    spec = f"{device}@fault={faults}:{case.fault}"
    config = make_config({"workload": f"{workloads}:{case.workload}", "device": spec})
    with tempfile.TemporaryDirectory() as out:
        request = InvestigationRequest(config=config)
        return InvestigationClient(create_folder(request, datetime.now(), Path(out))).run(
            lambda _: None
        )


def main() -> None:
    """Investigate them all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    for files, cases in CASES.items():
        for case in cases:
            if options.only and case.fault not in options.only:
                continue
            began = time.perf_counter()
            finding = investigated(options.folder.resolve(), files, case, options.device)
            result = outcome(case, finding)
            counts[result] += 1
            op = f"{finding.op.op} in {finding.op.phase}" if finding.op else ""
            print(
                f"{result:16} {case.fault:24} {case.workload:20} {finding.verdict.value}: {op} "
                f"[{finding.repro_note}] {case.why} {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    print(", ".join(f"{count} {result}" for result, count in counts.most_common()))


if __name__ == "__main__":
    main()
