// Products of the rows of each head with its own part of a matrix, for few rows: what brings the queries of latent
// attention to the latents, and what they mixed out of them.
#include "rows.h"

// N rows of a part times x, each a sum over the inputs.
template <int N, class Number> void along(const Number* part, int64_t inputs, const float* x, float* out) {
    Floats sums[N] = {};
    for (int64_t i = 0; i < inputs; i += LANES) {
        const Floats own = some(x + i, inputs - i);
        each<N>([&](auto n) ALWAYS { sums[n] += own * some(part + n * inputs + i, inputs - i); });
    }
    each<N>([&](auto n) ALWAYS { out[n] = sum_of(sums[n]); });
}
// N vectors of inputs: the sums over the rows of a part, each times its x.
template <int N, class Number> void down(const Number* part, int64_t outputs, int64_t inputs, int64_t left, const float* x, float* out) {
    Floats sums[N] = {};
    for (int64_t o = 0; o < outputs; ++o)
        each<N>([&](auto n) ALWAYS { sums[n] += x[o] * some(part + o * inputs + n * LANES, left - n * LANES); });
    each<N>([&](auto n) ALWAYS { put_some(out + n * LANES, sums[n], left - n * LANES); });
}
template <class Number>
void one_head(const void* weight, int64_t head, int64_t outputs, int64_t inputs, bool transposed, const float* x, float* out) {
    constexpr int N = 4;
    const Number* part = static_cast<const Number*>(weight) + head * outputs * inputs;
    int64_t i = 0;
    if (transposed) {
        for (; i + N * LANES <= inputs; i += N * LANES) down<N>(part + i, outputs, inputs, inputs - i, x, out + i);
        for (; i < inputs; i += LANES) down<1>(part + i, outputs, inputs, inputs - i, x, out + i);
    } else {
        for (; i + N <= outputs; i += N) along<N>(part + i * inputs, inputs, x, out + i);
        for (; i < outputs; ++i) along<1>(part + i * inputs, inputs, x, out + i);
    }
}

// A matrix [heads * outputs, inputs] (float32, bfloat16 or half: 0, 1, 2) and rows whose heads are so far apart, of
// `inputs` numbers each to `outputs`, or transposed of outputs to inputs.
EXPORT void girih_per_head(const void* weight, int64_t stored, int64_t tokens, int64_t heads, int64_t outputs, int64_t inputs, int64_t transposed,
                           const float* x, int64_t x_token, int64_t x_head, float* out, int64_t out_token, int64_t out_head, int threads) {
    const auto run = stored == 0 ? one_head<float> : stored == 1 ? one_head<Bfloat> : one_head<Half>;
#pragma omp parallel for schedule(static) num_threads(threads) if (tokens * heads * outputs * inputs > 1 << 14)
    for (int64_t h = 0; h < heads; ++h)
        for (int64_t t = 0; t < tokens; ++t)
            run(weight, h, outputs, inputs, transposed, x + t * x_token + h * x_head, out + t * out_token + h * out_head);
}
