"""The continuous-time linear state space: its discretisations, and that all forms are one."""

import pytest
import torch

from draw import distance
from girih.kernels import chunked, reference, state_space
from girih.kernels.state_space import Modes, StateSpaceCall, discretised

CHANNELS, PAIRS = 5, 3
COUNTS = (23, 1, 8, 16)
METHODS = ("zoh", "bilinear")
NAMES = ("a", "b", "c", "dt", "skip", "u", "prior")


def drawn(counts=COUNTS, seed=0, channels=CHANNELS, pairs=PAIRS):
    """A system, inputs and prior states in float64; modes that ring for some ten tokens."""
    made = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=made, dtype=torch.float64)

    a = torch.complex(-normal(channels, pairs).exp(), 3 * normal(channels, pairs))
    b, c = (torch.view_as_complex(normal(channels, pairs, 2)) for _ in range(2))
    values = dict(a=a, b=b, c=c, dt=normal(channels, 1).exp() / 5, skip=normal(channels))
    u, prior = normal(sum(counts), channels), normal(len(counts), channels, pairs, 2)
    return values | dict(u=u, prior=prior)


def call(values, method="zoh", counts=COUNTS):
    """The call of a drawn system."""
    decay, drive = discretised(values["a"], values["b"], values["dt"], method)
    modes = Modes(decay_CP=decay, drive_CP=drive, read_CP=values["c"], skip_C=values["skip"])
    return StateSpaceCall(u_TC=values["u"], counts=counts, modes=modes, prior_SCP2=values["prior"])


def dense(values, channel, method):
    """The matrices of one channel as a real system of twice as many numbers, discretised."""
    a, b = values["a"][channel], values["b"][channel]
    dt = values["dt"][channel]
    both = torch.cat([torch.diag(a.real), torch.diag(a.imag)], 1)
    a = torch.cat([both, torch.cat([-torch.diag(a.imag), torch.diag(a.real)], 1)])
    a, b = a.T, torch.cat([b.real, b.imag])
    one = torch.eye(len(a), dtype=torch.float64)
    if method == "bilinear":
        left = one - dt / 2 * a
        return torch.linalg.solve(left, one + dt / 2 * a), torch.linalg.solve(left, dt * b)
    kept = torch.linalg.matrix_exp(dt * a)
    return kept, torch.linalg.solve(a, (kept - one) @ b)


def by_matrices(values, method, counts=COUNTS):
    """Outputs and last states by the dense systems, channel by channel."""
    outputs, last, start = torch.empty_like(values["u"]), torch.empty_like(values["prior"]), 0
    for index, count in enumerate(counts):
        for channel in range(len(values["a"])):
            kept, taken = dense(values, channel, method)
            state = values["prior"][index, channel].T.flatten()
            read = values["c"][channel]
            read = 2 * torch.cat([read.real, -read.imag])
            for row in range(start, start + count):
                u = values["u"][row, channel]
                state = kept @ state + taken * u
                outputs[row, channel] = read @ state + values["skip"][channel] * u
            last[index, channel] = state.unflatten(0, (2, -1)).T
        start += count
    return outputs, last


@pytest.mark.parametrize("method", METHODS)
def test_the_recurrence_is_that_of_dense_matrices(method):
    values = drawn()
    for ours, theirs in zip(
        state_space.state_space(call(values, method)), by_matrices(values, method), strict=True
    ):
        assert distance(ours, theirs) <= 1e-12
    other = METHODS[1 - METHODS.index(method)]
    assert distance(ours, by_matrices(values, other)[1]) >= 1e-3


FORMS = {
    "convolution": chunked.convolved,
    "chunks": lambda made: chunked.state_space(made, 8),
    "odd-chunks": lambda made: chunked.state_space(made, 7),
    "chunks-of-one": lambda made: chunked.state_space(made, 1),
    "one-chunk": chunked.state_space,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("counts", [COUNTS, (1, 1, 1)], ids=str)
def test_every_form_is_the_recurrence(form, counts):
    asked = call(drawn(counts), counts=counts)
    for ours, right in zip(FORMS[form](asked), state_space.state_space(asked), strict=True):
        assert distance(ours, right) <= 1e-10


@pytest.mark.parametrize("form", ["chunks", "convolution"])
@pytest.mark.parametrize("method", METHODS)
def test_every_form_has_the_gradients_of_the_recurrence(form, method):
    found = []
    for run in (FORMS[form], state_space.state_space):
        values = {name: value.requires_grad_() for name, value in drawn().items()}
        y, last = run(call(values, method))
        (y.square().sum() + (last * torch.arange(2)).sum()).backward()
        found.append({name: torch.view_as_real(value.grad.resolve_conj()) if value.is_complex()
                      else value.grad for name, value in values.items()})  # fmt: skip
    assert set(found[0]) == set(NAMES)
    for name in NAMES:
        assert distance(found[0][name], found[1][name]) <= 1e-10, name


def test_gradients_of_the_recurrence_are_those_of_differences():
    values = drawn((3, 2), channels=2, pairs=2)
    given = [values[name].requires_grad_() for name in NAMES]

    def run(*parts):
        return state_space.state_space(call(dict(zip(NAMES, parts, strict=True)), counts=(3, 2)))

    assert torch.autograd.gradcheck(run, given)


@pytest.mark.parametrize("cut", [1, 7, 8, 22])
@pytest.mark.parametrize("form", ["chunks", "convolution", "odd-chunks"])
def test_a_sequence_goes_on_where_it_ended(form, cut):
    values = drawn((23,))
    whole, last = state_space.state_space(call(values, counts=(23,)))
    first, between = FORMS[form](call(values | dict(u=values["u"][:cut]), counts=(cut,)))
    later = values | dict(u=values["u"][cut:], prior=between)
    second, ours = FORMS[form](call(later, counts=(23 - cut,)))
    assert distance(torch.cat([first, second]), whole) <= 1e-10
    assert distance(ours, last) <= 1e-10


def test_strangers_in_a_batch_change_nothing():
    values = drawn()
    before = [form(call(values)) for form in FORMS.values()]
    values["u"][COUNTS[0] + 1 :][:8] = torch.nan
    values["prior"][2] = torch.nan
    for form, (y, last) in zip(FORMS.values(), before, strict=True):
        now, ended = form(call(values))
        kept = torch.ones(len(y), dtype=torch.bool)
        kept[COUNTS[0] + 1 :][:8] = False
        assert torch.equal(now[kept], y[kept]) and now[~kept].isnan().all()
        assert torch.equal(ended[[0, 1, 3]], last[[0, 1, 3]]) and ended[2].isnan().all()


def test_float32_and_short_steps_lose_few_digits():
    """Of a short step, a mode takes a small difference of large numbers."""
    values = drawn()
    values["dt"] = values["dt"] / 1000
    right = discretised(values["a"], values["b"], values["dt"], "zoh")[1]
    single = [values[name].to(torch.complex64) for name in "ab"]
    ours = discretised(*single, values["dt"].float(), "zoh")[1]
    assert float(((ours - right) / right).abs().max()) <= 1e-6
    low = call({name: value.to(torch.complex64 if value.is_complex() else torch.float32)
                for name, value in drawn().items()})  # fmt: skip
    for form in (state_space.state_space, *FORMS.values()):
        for ours, right in zip(form(low), by_matrices(drawn(), "zoh"), strict=True):
            assert distance(ours, right) <= 3e-6


def held(values, density):
    """The same signal sampled more densely, with shorter steps: what it is stands still between."""
    dense = values["u"].repeat_interleave(density, 0)
    return values | dict(u=dense, dt=values["dt"] / density)


def test_another_sampling_rate_needs_no_other_weights():
    """Zero-order hold is exact; the error of trapezoids falls by four as steps are halved."""
    values = drawn((20,))
    exact = state_space.state_space(call(values, "zoh", (20,)))[0]
    errors = []
    for density in (8, 16, 32):
        finer, counts = held(values, density), (20 * density,)
        ours = [chunked.state_space(call(finer, method, counts))[0] for method in METHODS]
        assert distance(ours[0][density - 1 :: density], exact) <= 1e-10
        errors.append(distance(ours[1][density - 1 :: density], exact))
    assert 3.8 < errors[0] / errors[1] < 4.2 and 3.8 < errors[1] / errors[2] < 4.2, errors


def test_refusals_are_in_words():
    assert (
        chunked.refuses("linear", None) == state_space.refuses("linear", None) == "it has no linear"
    )
    assert chunked.refuses("state_space", call(drawn())) is None
    assert reference.refuses("linear", None) is None
