"""aten.neg.default is wrong on cpu: the result is the input.

SIMULATED: the fault is there under `python -m mpstui.divergence.simulate neg-stride0 repro.py`.
Seen with torch 2.14.1+cu130; written by mpstui 0.1.0.
Exits with 1 where the fault is present, with 0 where it is not.
"""

import os
import subprocess
import sys
import tempfile

import torch

DEVICE = 'cpu'
torch.manual_seed(0)
s0 = torch.full((1,), -0.5)


def call(device, dtype=None):
    p0 = s0.to(device, dtype, copy=True)
    x0 = p0.as_strided((1, 2), (0, 0), 0)
    # public: torch.neg(x0)
    out = torch.ops.aten.neg.default(x0)
    return out


if "--reference" in sys.argv:
    torch.save(call("cpu", torch.float64), sys.argv[-1])
    sys.exit()
# In a process of its own: what is wrong in this one must not reach the reference.
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "want.pt")
    subprocess.run([sys.executable, __file__, "--reference", path], check=True)
    want = torch.load(path)
kept = []
kept.append(call(DEVICE))
bad = 0
for got in kept:
    print("got", got.flatten()[:8].tolist(), "want", want.flatten()[:8].tolist())
    got, want = got.cpu().double(), want.double()
    error = (got - want).abs().max()
    wrong = not error <= 0.001 * want.abs().max()
    bad += bool(wrong)
print("FAULTY" if bad else "right", f"{bad} of {len(kept)}")
sys.exit(int(bad > 0))
