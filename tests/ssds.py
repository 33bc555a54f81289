"""Tiny specs of Mamba-2, rows of the list in specs.py."""

from dataclasses import replace

from girih.spec import Mamba2, RMSNorm, ShortConv
from scans import scanning

MAMBA2 = Mamba2(
    heads=6, head_dim=5, states=7, conv=ShortConv(width=4), norm=RMSNorm(eps=1e-3)
)  # fmt: skip
SSDS = {
    "mamba2": scanning(MAMBA2),
    "mamba2-groups": scanning(replace(MAMBA2, groups=3, norm_groups=2, biased=True)),
    "mamba2-limits": scanning(
        replace(
            MAMBA2, head_dim=16, states=16, conv=ShortConv(width=2, biased=False), groups=2,
            norm_groups=6, least_step=0.4, most_step=0.9,
        )
    ),
}  # fmt: skip
