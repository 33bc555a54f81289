// The selective scan: h = exp(dt A) h + dt B x, y = (C h + D x) silu(z), dt = softplus(d); a vector is of channels.
#include "carried.h"

struct Channels {
    const float *rates, *skip;  // [states, stride] A over the natural logarithm of two; [stride] D
    int64_t stride, states, normed;
    const float *b_norm, *c_norm;  // weights of the RMS norms of B and C, or null
    float b_eps, c_eps;
};
struct Stream {
    const float* from;
    int64_t stride;
    const float* row(int64_t t) const { return from + t * stride; }
};
struct Streams { Stream x, dt, b, c, z; };
constexpr int64_t PIECE = 32;              // tokens after which other channels come
constexpr int64_t GROUP_OF = 8 * LANES;  // channels of one thread

// A vector of channels of at most PIECE tokens of a sequence; its states are in h.
INLINE void scan(const Channels& fixed, const Streams& in, float* y, int64_t channels, int64_t c, int64_t from, int64_t end, Floats* h) {
    const int64_t count = std::min<int64_t>(LANES, channels - c);
    const Floats skip = load<Floats>(fixed.skip + c);
    Floats steps[PIECE], driven[PIECE], sums[PIECE];
    for (int64_t t = from, i = 0; t < end; ++t, ++i) {  // on its own: one token waits for another in what comes next
        const Floats x = some(in.x.row(t) + c, count);
        steps[i] = softplus(some(in.dt.row(t) + c, count)), driven[i] = steps[i] * x, sums[i] = skip * x;
    }
    for (int64_t t = from, i = 0; t < end; ++t, ++i) {
        const float *b = in.b.row(t), *reads = in.c.row(t), *rates = fixed.rates + c;
        const Floats step = steps[i], own = driven[i];
        Floats sum = sums[i];
        for (int64_t n = 0; n < fixed.states; ++n, rates += fixed.stride) {
            h[n] = h[n] * power_of_two(step * load<Floats>(rates)) + own * b[n];
            sum += h[n] * reads[n];
        }
        sums[i] = sum;
    }
    for (int64_t t = from, i = 0; t < end; ++t, ++i) {
        const Floats z = some(in.z.row(t) + c, count);
        put_some(y + t * channels + c, sums[i] * z / (power_of_two(z * -1.44269504f) + 1.0f), count);
    }
}

// All rows are packed ones of [tokens]: x, d and z of `channels`, B and C of `states`, which are normed first where
// they are; y [tokens, channels]. The states at last are carried.
EXPORT void girih_selective(const Channels* fixed, const Streams* streams, const Carried* carried, float* y, int threads) {
    const int64_t channels = carried->channels, states = fixed->states, tokens = carried->tokens();
    static thread_local std::vector<float> made;
    Streams in = *streams;
    if (fixed->normed) {
        made.resize(2 * tokens * states);
        for (int64_t t = 0; t < tokens; ++t) {
            normed(in.b.row(t), states, false, fixed->b_norm, nullptr, fixed->b_eps, &made[2 * t * states]);
            normed(in.c.row(t), states, false, fixed->c_norm, nullptr, fixed->c_eps, &made[(2 * t + 1) * states]);
        }
        in.b = {made.data(), 2 * states}, in.c = {made.data() + states, 2 * states};
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t first = 0; first < channels; first += GROUP_OF) {
        static thread_local std::vector<Floats> held;
        held.resize(GROUP_OF / LANES * states);
        const int64_t end = std::min(channels, first + GROUP_OF);
        carried->each_one([&](const Carried::One& one) {
            const auto each_state = [&](auto step) ALWAYS {
                for (int64_t c = first, at = 0; c < end; c += LANES)
                    for (int64_t n = 0; n < states; ++n, ++at) step(held[at], n * channels + c, std::min<int64_t>(LANES, channels - c));
            };
            each_state([&](Floats& h, int64_t place, int64_t count) ALWAYS { h = one.prior ? some(one.prior + place, count) : Floats{}; });
            for (int64_t from = 0; from < one.tokens; from += PIECE)
                for (int64_t c = first; c < end; c += LANES)
                    scan(*fixed, in, y, channels, c, one.first + from, one.first + std::min(one.tokens, from + PIECE),
                         &held[(c - first) / LANES * states]);
            each_state([&](Floats& h, int64_t place, int64_t count) ALWAYS { put_some(one.last + place, h, count); });
        });
    }
}
