// The gated delta rule, token after token: S = decay S, S += beta k (v - k S), and q S is read, normed and gated. The
// columns of a state do not meet, so a few of them at a time pass through many tokens within the nearest cache.
#include "carried.h"

struct Rule {
    int64_t heads, key_heads, key, value, decays, sigmoid;  // decays: of a head, one or as many as a key is wide
    const float *a_log, *bias, *norm;                       // [heads], [heads * decays], [value]
    float eps;
};
struct Stream {
    const float* from;
    int64_t stride;
    const float* row(int64_t t) const { return from + t * stride; }
};
struct Streams { Stream qkv, f, beta, gate; };
constexpr int64_t PIECE = 32;                      // tokens after which other columns come
constexpr int SPANS = 4, COLUMNS = SPANS * LANES;  // of columns

// What the rows of a state meet in one token: [key] each.
struct Met { float *decay, *erase, *k, *q; };  // erase: decay times k

// One row of so many numbers brought to a length.
INLINE void to_length(const float* from, int64_t count, float length, float* to) {
    const float scale = length / std::sqrt(row_sum(from, count, [](Floats x) { return x * x; }) + 1e-6f);
    for (int64_t i = 0; i < count; ++i) to[i] = from[i] * scale;
}
INLINE void meet(const Rule& rule, const Streams& in, int64_t t, int64_t h, Met to) {
    const int64_t key = rule.key, own = h / (rule.heads / rule.key_heads);
    const float *q = in.qkv.row(t) + own * key, *f = in.f.row(t) + h * rule.decays, rate = -std::exp(rule.a_log[h]);
    to_length(q, key, 1 / std::sqrt(static_cast<float>(key)), to.q);
    to_length(q + rule.key_heads * key, key, 1, to.k);
    for (int64_t i = 0; i < rule.decays; i += LANES) {
        const int64_t count = rule.decays - i;
        put_some(to.decay + i, exponential(rate * softplus(some(f + i, count) + some(rule.bias + h * rule.decays + i, count))), count);
    }
    for (int64_t i = rule.decays; i < key; ++i) to.decay[i] = to.decay[0];
    for (int64_t i = 0; i < key; ++i) to.erase[i] = to.decay[i] * to.k[i];
}

using Columns = Floats[SPANS];
// What one token's keys find in the columns.
INLINE void find(const float* erase, const float* state, int64_t key, Columns& found) {
    each<SPANS>([&](auto v) ALWAYS { found[v] = Floats{}; });
    for (int64_t r = 0; r < key; ++r)
        each<SPANS>([&](auto v) ALWAYS { found[v] += load<Floats>(state + r * COLUMNS + v * LANES) * spread(erase[r]); });
}
// The columns after one token, what it reads, and what the keys of the next one find, all in one pass.
INLINE void pass(const Met& met, const float* erase_next, const Columns& written, float* state, int64_t key, Columns& read, Columns& found) {
    Columns sum = {}, next = {};
    for (int64_t r = 0; r < key; ++r, state += COLUMNS) {
        const Floats decay = spread(met.decay[r]), k = spread(met.k[r]), q = spread(met.q[r]), erase = spread(erase_next[r]);
        each<SPANS>([&](auto v) ALWAYS {
            const Floats value = load<Floats>(state + v * LANES) * decay + k * written[v];
            store(state + v * LANES, value), sum[v] += value * q, next[v] += value * erase;
        });
    }
    each<SPANS>([&](auto v) ALWAYS { read[v] = sum[v], found[v] = next[v]; });
}

// Some columns [key, width], `stride` apart in memory, and in one piece of COLUMNS each; without memory they are zeros.
INLINE void take(const float* from, int64_t stride, int64_t key, int64_t width, float* to) {
    for (int64_t r = 0; r < key; ++r)
        for (int64_t i = 0; i < COLUMNS; i += LANES) store(to + r * COLUMNS + i, from && i < width ? some(from + r * stride + i, width - i) : Floats{});
}
INLINE void give(const float* from, int64_t stride, int64_t key, int64_t width, float* to) {
    for (int64_t r = 0; r < key; ++r)
        for (int64_t i = 0; i < width; i += LANES) put_some(to + r * stride + i, load<Floats>(from + r * COLUMNS + i), width - i);
}

// What a head has read, normed and multiplied by the activation of the gate.
INLINE void finish(const Rule& rule, const float* gate, float* y) {
    const float squares = row_sum(y, rule.value, [](Floats x) { return x * x; });
    const float scale = 1 / std::sqrt(squares / rule.value + rule.eps);
    for (int64_t i = 0; i < rule.value; i += LANES) {
        const int64_t count = rule.value - i;
        const Floats z = some(gate + i, count), open = rule.sigmoid ? 1.0f / (exponential(-z) + 1.0f) : activated(3, z);
        put_some(y + i, some(y + i, count) * scale * some(rule.norm + i, count) * open, count);
    }
}

// Some tokens of a sequence in one head, whose state goes from `prior` (null: zeros) to `last`, [key, value].
void piece_of(const Rule& rule, const Streams& in, int64_t h, int64_t first, int64_t tokens, const float* prior, float* last, float* y) {
    static thread_local std::vector<float> held;
    const int64_t key = rule.key, value = rule.value, stride = rule.heads * value;
    held.resize((PIECE * 4 + COLUMNS) * key + LANES);
    float *state = held.data(), *rows = state + COLUMNS * key;
    const auto met = [&](int64_t t) { float* at = rows + t * 4 * key; return Met{at, at + key, at + 2 * key, at + 3 * key}; };
    for (int64_t t = 0; t < tokens; ++t) meet(rule, in, first + t, h, met(t));
    y += first * stride + h * value;
    for (int64_t c = 0; c < value; c += COLUMNS) {
        const int64_t width = std::min<int64_t>(COLUMNS, value - c);
        Columns found, read, written;
        take(prior ? prior + c : nullptr, value, key, width, state);
        find(met(0).erase, state, key, found);
        for (int64_t t = 0; t < tokens; ++t) {
            const float *v = in.qkv.row(first + t) + 2 * rule.key_heads * key + h * value + c;
            const Floats beta = spread(1 / (1 + std::exp(-in.beta.row(first + t)[h])));
            for (int n = 0; n < SPANS; ++n) written[n] = n * LANES < width ? beta * (some(v + n * LANES, width - n * LANES) - found[n]) : Floats{};
            pass(met(t), met(std::min(t + 1, tokens - 1)).erase, written, state, key, read, found);
            for (int n = 0; n * LANES < width; ++n) put_some(y + t * stride + c + n * LANES, read[n], width - n * LANES);
        }
        give(state, value, key, width, last + c);
    }
    for (int64_t t = 0; t < tokens; ++t) finish(rule, in.gate.row(first + t) + h * value, y + t * stride);
}

// Packed rows [tokens, ...] -> y [tokens, heads * value]; the states [heads, key, value] are carried.
EXPORT void girih_delta(const Rule* rule, const Carried* carried, const Streams* in, float* y, int threads) {
    const int64_t size = rule->key * rule->value;
#pragma omp parallel num_threads(threads)
    carried->each_one([&](const Carried::One& one) {
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t h = 0; h < rule->heads; ++h)
            for (int64_t from = 0; from < one.tokens; from += PIECE) {
                float* last = one.last + h * size;
                const float* prior = from ? last : one.prior ? one.prior + h * size : nullptr;
                piece_of(*rule, *in, h, one.first + from, std::min(PIECE, one.tokens - from), prior, last, y);
            }
    });
}
