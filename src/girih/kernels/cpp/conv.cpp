// Short causal convolutions, each channel on its own: y[t] = sum over k of weight[k] * x[t - taps + 1 + k].
#include "carried.h"

struct Taps {
    const float *weight, *bias;  // [taps, channels], [channels] or null
    int64_t taps, silu;
};
// A vector of channels of one token; its row and those before it are `stride` apart, the last at `newest`.
INLINE void convolve(const Taps& taps, const float* newest, int64_t stride, int64_t channels, int64_t c, int64_t count, float* y) {
    Floats sum = taps.bias ? some(taps.bias + c, count) : Floats{};
    const float *row = newest + c - (taps.taps - 1) * stride, *tap = taps.weight + c;
    for (int64_t k = 0; k < taps.taps; ++k, row += stride, tap += channels) sum += some(row, count) * some(tap, count);
    put_some(y + c, taps.silu ? activated(3, sum) : sum, count);
}
inline void convolve_row(const Taps& taps, const float* newest, int64_t stride, int64_t channels, float* y) {
    int64_t c = 0;
    for (; c + LANES <= channels; c += LANES) convolve(taps, newest, stride, channels, c, LANES, y);
    if (c < channels) convolve(taps, newest, stride, channels, c, channels - c, y);
}

// x [tokens, channels], rows `stride` apart -> y [tokens, channels]; the last rows of each sequence are carried.
EXPORT void girih_conv(const Taps* taps, const Carried* carried, const float* x, int64_t stride, float* y, int threads) {
    const int64_t channels = carried->channels, before = carried->rows;
#pragma omp parallel num_threads(threads) if (carried->tokens() > 8)
    carried->each_one([&](const Carried::One& one) {
        const float* own = x + one.first * stride;
        float* to = y + one.first * channels;
#pragma omp for schedule(static) nowait
        for (int64_t t = before; t < one.tokens; ++t) convolve_row(*taps, own + t * stride, stride, channels, to + t * channels);
#pragma omp single nowait
        {
            // The first tokens see what was before the sequence, as does what is carried on where they are few.
            static thread_local std::vector<float> held;
            held.assign(2 * before * channels, 0);
            const size_t bytes = channels * sizeof(float);
            const int64_t first = std::min(before, one.tokens);
            if (one.prior) std::memcpy(held.data(), one.prior, before * bytes);
            for (int64_t t = 0; t < first; ++t) std::memcpy(&held[(before + t) * channels], own + t * stride, bytes);
            for (int64_t t = 0; t < first; ++t) convolve_row(*taps, &held[(before + t) * channels], channels, channels, to + t * channels);
            for (int64_t k = 0, t = one.tokens - before; k < before; ++k, ++t)
                std::memcpy(one.last + k * channels, t < before ? &held[(before + t) * channels] : own + t * stride, bytes);
        }
    });
}
