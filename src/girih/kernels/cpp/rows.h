// Rows on their way into a product: normed or gated, then rounded; and where products go.
#pragma once
#include "formats.h"

// From a column on, plus a bias and onto other rows of the same shape, unless these are null.
struct Out {
    const float *bias, *onto;
    float* values;
    int64_t column, stride;
    void put(int64_t row, int64_t first, int64_t count, const float* sums) const {
        const int64_t at = row * stride + column + first;
        for (int64_t i = 0; i < count; ++i) values[at + i] = sums[i] + (bias ? bias[column + first + i] : 0) + (onto ? onto[at + i] : 0);
    }
};

// What is done to a row before the product: nothing (0), RMS norm (1), layer norm (2), or an activation: silu (3),
// gelu (4), gelu by tanh (5), relu (6), its square (7). Where that is gated, a row is gate, then up, and becomes
// act(gate) * up; clamped (8) it is gate sigmoid(slope gate) (up + 1), gate at most a limit, up within it.
struct Before {
    int64_t kind, gated;
    const float *weight, *bias;
    float eps, limit, slope;
};

INLINE Floats activated(int64_t kind, Floats x) {
    if (kind == 3) return x / (exponential(-x) + 1.0f);
    if (kind == 5) return x / (exponential((x + x * x * x * 0.044715f) * -1.5957691216f) + 1.0f);
    if (kind >= 6) return (x < 0 ? Floats{} : x) * (kind == 7 ? x : spread(1.0f));
    // The error function within 2e-7: Abramowitz and Stegun 7.1.26.
    const Floats z = magnitude(x) * 0.70710678f, t = 1.0f / (z * 0.3275911f + 1.0f);
    const Floats sum = (((t * 1.061405429f - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f;
    const Floats tail = sum * t * exponential(-z * z) * 0.5f;
    return x * (x < 0 ? tail : 1.0f - tail);
}

// The sum of at(i), a vector from i on, over a row; the end of a row is read as if zeros followed.
template <class At> INLINE float row_sum(const float* x, int64_t count, At at) {
    Floats sum = {};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) sum += at(load<Floats>(x + i));
    float total = sum_of(sum);
    for (; i < count; ++i) total += at(spread(x[i]))[0];
    return total;
}
INLINE Floats gated(const Before& before, Floats gate, Floats up) {
    if (before.kind != 8) return activated(before.kind, gate) * up;
    gate = gate > before.limit ? spread(before.limit) : gate;
    up = up > before.limit ? spread(before.limit) : up < -before.limit ? spread(-before.limit) : up;
    return gate / (exponential(gate * -before.slope) + 1.0f) * (up + 1.0f);
}
INLINE void normed(const float* x, int64_t count, bool centred, const float* weight, const float* bias, float eps, float* out) {
    const float mean = centred ? row_sum(x, count, [](Floats v) { return v; }) / count : 0;
    const float squares = row_sum(x, count, [&](Floats v) { return (v - mean) * (v - mean); });
    const float scale = 1 / std::sqrt(squares / count + eps);
    for (int64_t i = 0; i < count; ++i) out[i] = (x[i] - mean) * scale * (weight ? weight[i] : 1);
    for (int64_t i = 0; bias && i < count; ++i) out[i] += bias[i];
}
inline void prepare(const Before& before, const float* x, int64_t count, float* out) {
    if (before.kind == 0) return void(std::memcpy(out, x, count * sizeof(float)));
    if (before.kind <= 2) return normed(x, count, before.kind == 2, before.weight, before.bias, before.eps, out);
    for (int64_t i = 0; i < count; i += LANES) {
        const Floats value = load<Floats>(x + i);
        store(out + i, before.gated ? gated(before, value, load<Floats>(x + count + i)) : activated(before.kind, value));
    }
}

constexpr int GROUP = 4;   // rows whose blocks lie side by side
constexpr int UNITS = 16;  // blocks of a group that lie together, then come the same of the next group

// Rows of x, as they are and in blocks of sixteen-bit integers in the order of the levels' pairs.
struct Rounded {
    int64_t rows, inputs, blocks, groups;
    bool keep, round;
    std::vector<float> values, scales, sums;
    std::vector<int32_t> pairs;

    void resize(int64_t new_rows, int64_t new_inputs, bool plain, bool packed) {
        rows = new_rows, inputs = new_inputs, blocks = inputs / BLOCK, groups = (rows + GROUP - 1) / GROUP, keep = plain, round = packed;
        const size_t places = round ? (blocks + UNITS - 1) / UNITS * UNITS * groups * GROUP : 0;
        values.resize(keep ? rows * inputs : 0), pairs.resize(places * PAIRS), scales.resize(places / UNITS), sums.resize(places);
    }
    const float* plain(int64_t row) const { return values.data() + row * inputs; }
    int64_t place(int64_t number, int64_t b) const { return ((b / UNITS * groups + number) * UNITS + b % UNITS) * GROUP; }

    // Take in one group of rows; where it has fewer, the rest is whatever was there.
    void take(const Before& before, const float* x, int64_t stride, int64_t number) {
        static thread_local std::vector<float> made;
        made.resize(inputs);
        for (int64_t n = 0, row = number * GROUP; n < GROUP && row < rows; ++n, ++row) {
            float* to = keep ? values.data() + row * inputs : made.data();
            prepare(before, x + row * stride, inputs, to);
            for (int64_t b = 0; round && b < blocks; b += UNITS) some_of(to + b * BLOCK, std::min<int64_t>(UNITS, blocks - b), place(number, b) + n);
        }
    }

    // Some blocks of a row share a scale.
    void some_of(const float* from, int64_t count, int64_t to) {
        Floats most = {}, odd = {};
        for (int64_t i = 0; i < count * BLOCK; i += LANES) {
            const Floats value = load<Floats>(from + i);
            most = magnitude(value) > most ? magnitude(value) : most, odd += value - value;
        }
        // A NaN or an infinity must reach the result: it is in the scale, whatever the integers are.
        const float largest = largest_of(most), inverse = largest > 1e-30f ? 32767 / largest : 0;
        scales[to / (UNITS * GROUP) * GROUP + to % GROUP] = largest / 32767 + sum_of(odd);
        for (int64_t b = 0; b < count; ++b, from += BLOCK, to += GROUP) {
            Ints sum = {};
            for (int v = 0; v < BLOCK / LANES; ++v) {
                const Ints whole = bits_as<Ints>(load<Floats>(from + v * LANES) * inverse + MAGIC) - bits_as<int32_t>(MAGIC);
                const Quads four = bits_as<Quads>(__builtin_convertvector(whole, Shorts));  // second and third change places
                store(&pairs[to * PAIRS + v * LANES / 2], (four & 0xFFFF00000000FFFF) | (four & 0xFFFF0000) << 16 | (four >> 16 & 0xFFFF0000));
                sum += whole;
            }
            sums[to] = sum_of(from_ints(sum));
        }
    }
};

// Outputs of a matrix from the first to the end, of a panel at the most, for all rows.
using Product = void (*)(const uint8_t*, int64_t, int64_t, const Rounded&, const Out&);
extern const Product PRODUCTS[];       // by format
constexpr int PACKED = 9;              // of these, the first
constexpr int VECTORS = 2, WIDTH = VECTORS * LANES;  // of matrix rows in a panel
constexpr int FEW = 16;                // rows up to which each thread reads one stretch of a matrix, and no panel is made
