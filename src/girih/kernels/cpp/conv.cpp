// Short causal convolutions, each channel on its own: y[t] = sum over k of weight[k] * x[t - taps + 1 + k].
#include "carried.h"

struct Taps {
    const float *weight, *bias;  // [taps, channels], [channels] or null
    int64_t taps, silu;
};
constexpr int64_t PIECE = 64;  // tokens that are taken at once

// A vector of channels of some tokens of a sequence; what is before its first token is in `prior`.
INLINE void convolve(const Taps& taps, const Carried::One& one, const float* x, int64_t x_stride, float* y, int64_t channels,
                     int64_t c, int64_t from, int64_t end) {
    const int64_t before = taps.taps - 1, count = std::min<int64_t>(LANES, channels - c);
    const auto row = [&](int64_t t) ALWAYS {
        if (t >= 0) return some(x + t * x_stride + c, count);
        return one.prior ? some(one.prior + (t + before) * channels + c, count) : Floats{};
    };
    const auto tap = [&](int64_t k) ALWAYS { return some(taps.weight + k * channels + c, count); };
    const Floats bias = taps.bias ? some(taps.bias + c, count) : Floats{};
    for (int64_t t = from; t < end; ++t) {
        Floats sum = bias;
        if (t < before || count < LANES) for (int64_t k = 0; k <= before; ++k) sum += row(t - before + k) * tap(k);
        else for (int64_t k = 0; k <= before; ++k) sum += load<Floats>(x + (t - before + k) * x_stride + c) * load<Floats>(taps.weight + k * channels + c);
        put_some(y + t * channels + c, taps.silu ? activated(3, sum) : sum, count);
    }
    for (int64_t k = 0; end == one.tokens && k < before; ++k) put_some(one.last + k * channels + c, row(end - before + k), count);
}

// x [tokens, channels], rows `x_stride` apart -> y [tokens, channels]; the last rows of each sequence are carried.
EXPORT void girih_conv(const Taps* taps, const Carried* carried, const float* x, int64_t x_stride, float* y, int threads) {
    const int64_t channels = carried->channels, tokens = carried->tokens();
#pragma omp parallel num_threads(threads) if (tokens * channels > 16384)
    carried->each_one([&](const Carried::One& one) {
#pragma omp for collapse(2) schedule(static) nowait
        for (int64_t from = 0; from < one.tokens; from += PIECE)
            for (int64_t c = 0; c < channels; c += LANES)
                convolve(*taps, one, x + one.first * x_stride, x_stride, y + one.first * channels, channels, c,
                         from, std::min(one.tokens, from + PIECE));
    });
}
