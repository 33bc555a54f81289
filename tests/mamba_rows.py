"""Tiny configs of Mamba for the list in families.py, and what must not be got wrong about it."""

from dataclasses import replace

import torch

from girih.kernels import conv, selective
from girih.spec import Branch, Mamba
from mutants import Mutant, Row, on, unbiased, zeroed

SIZE = dict(
    vocab_size=97, hidden_size=48, num_hidden_layers=3, state_size=5, layer_norm_epsilon=3e-2,
    time_step_rank=7, conv_kernel=4, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip


def alive(model):
    """Steps and rates like those of a trained model: some states fade at once, others do not.

    What is written into the states is large beside what goes past them.
    """
    made = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for layer in model.backbone.layers:
            mixer = layer.mixer
            rate = torch.arange(1, mixer.A_log.shape[1] + 1.0) / 2
            mixer.A_log.copy_(rate.log() + 0.3 * torch.randn(mixer.A_log.shape, generator=made))
            mixer.dt_proj.bias.copy_(-2 + torch.randn(mixer.dt_proj.bias.shape, generator=made))
            mixer.x_proj.weight.mul_(4)


def before(patch, module, name, change):
    """An operation computed of another call."""
    usual = getattr(module, name)
    patch.setattr(module, name, lambda call: usual(change(call)))


def silent_conv(patch):
    before(
        patch, conv, "conv", lambda call: replace(call, taps=replace(call.taps, activation=None))
    )


def gated_before(patch):
    """The skip beside the gate instead of behind it."""
    usual = selective.selective

    def selective_(call):
        skip_C = call.channels.skip_C
        bare = replace(call, channels=replace(call.channels, skip_C=skip_C * 0))
        y_TC, last = usual(bare)
        return y_TC + skip_C * call.x_TC, last

    patch.setattr(selective, "selective", selective_)


def swapped(*names):
    """Two parts of what is stored as one tensor, in the other order."""

    def patch_of(patch):
        def change(call):
            one, other = (getattr(call, name) for name in names)
            return replace(call, **{names[0]: other, names[1]: one})

        before(patch, selective, "selective", change)

    return Mutant(patch=patch_of)


def scan_of(change):
    """A mutant that scans another call."""
    return Mutant(patch=lambda patch: before(patch, selective, "selective", change))


def linear_steps(call):
    """Steps without their softplus: what its inverse makes of them is given."""
    return replace(call, dt_TC=torch.log(torch.expm1(call.dt_TC.abs() + 1e-3)))


def ungated(patch):
    """z as it is, without SiLU."""
    patch.setattr(selective, "silu", lambda z: z)


def reversed_taps(name, value):
    """The newest token under the first tap."""
    return value.flip(1) if name.endswith("conv.weight") else value


def rates(change):
    """Weights whose a_log is another."""
    return Mutant(weights=lambda name, value: change(value) if name.endswith("a_log") else value)


FACTS = {
    "no silu behind the convolution": Mutant(patch=silent_conv),
    "taps from the other end": Mutant(weights=reversed_taps),
    "x and z swapped": swapped("x_TC", "z_TC"),
    "B and C swapped": swapped("b_TN", "c_TN"),
    "no softplus": scan_of(linear_steps),
    "rates without exp": rates(lambda a_log: a_log.clamp_min(1e-2).log()),
    "rates by state alone": rates(lambda a_log: a_log.mean(0, keepdim=True).expand_as(a_log)),
    "no skip": Mutant(weights=zeroed(".skip")),
    "skip beside the gate": Mutant(patch=gated_before),
    "no silu of the gate": Mutant(patch=ungated),
    "epsilon": Mutant(spec=on(Branch, pre=lambda branch: replace(branch.pre, eps=1e-6))),
    **unbiased("conv", "dt_up"),
}
NORMED = {
    "no norm of dt, B and C": Mutant(spec=on(Mamba, norm=None)),
    "their epsilon": Mutant(spec=on(Mamba, norm=lambda mixer: replace(mixer.norm, eps=1e-6))),
}
MAMBA_ROWS = {
    "mamba": Row("mamba", SIZE, FACTS, redraw=alive),
    "mamba-biased": Row(
        "mamba",
        SIZE | dict(use_bias=True, use_conv_bias=False, tie_word_embeddings=False, expand=3),
        unbiased("x", "z", "o"),
        redraw=alive,
    ),
    "falcon-mamba": Row(
        "falcon_mamba", SIZE | dict(mixer_rms_eps=3e-1), FACTS | NORMED, redraw=alive
    ),
}
