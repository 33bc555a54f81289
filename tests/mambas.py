"""Tiny specs of selective scans, rows of the list in specs.py."""

from girih.spec import Mamba, RMSNorm, ShortConv
from scans import scanning

MAMBA = Mamba(inner=40, states=5, rank=3, conv=ShortConv(width=4))
MAMBAS = {
    "mamba": scanning(MAMBA),
    "mamba-normed": scanning(
        Mamba(
            inner=23, states=4, rank=2, conv=ShortConv(width=3, biased=False),
            norm=RMSNorm(eps=1e-3), biased=True,
        )
    ),
    "mamba-weightless-norms": scanning(
        Mamba(
            inner=48, states=16, rank=4, conv=ShortConv(width=2),
            norm=RMSNorm(eps=1e-3, weighted=False),
        )
    ),
}  # fmt: skip
