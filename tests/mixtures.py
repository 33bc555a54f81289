"""Tiny specs with mixtures of experts."""

from dataclasses import replace

from girih.spec import (
    MLP,
    ClampedGate,
    Experts,
    Router,
    RouterGroups,
    SharedExpert,
)

MIXED = Experts(count=7, hidden=20, activation="silu", router=Router(top=3))
SIGMOID = Router(
    top=3,
    scores="sigmoid",
    corrected=True,
    groups=RouterGroups(count=4, kept=2, by="two largest"),
    scale=2.5,
)
CLAMPED = ClampedGate(limit=1.5, slope=1.702)


def mixtures(decoder):
    """A decoder for each kind of router and expert."""
    many = replace(MIXED, count=12, router=SIGMOID)
    largest = RouterGroups(count=3, kept=2, by="largest")
    shared = SharedExpert(mlp=MLP(hidden=28, activation="silu"))
    plain = replace(MIXED, activation="relu2", gated=False, shared=shared)
    return {
        "experts": decoder(mlp=MIXED),
        "experts-not-renormalised": decoder(
            mlp=replace(MIXED, router=Router(top=3, renormalised=False))
        ),
        "experts-in-groups": decoder(mlp=replace(many, shared=shared)),
        "experts-in-groups-by-largest": decoder(
            mlp=replace(many, router=Router(top=3, groups=largest, scale=4.0, renormalised=False))
        ),
        "experts-shared-gated": decoder(mlp=replace(MIXED, shared=replace(shared, gated=True))),
        "experts-clamped": decoder(
            mlp=replace(MIXED, activation=CLAMPED, biased=True, router=Router(top=2, biased=True))
        ),
        "experts-plain": decoder(mlp=plain),
        "experts-all": decoder(mlp=replace(MIXED, count=3, biased=True)),
    }
