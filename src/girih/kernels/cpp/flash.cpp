// Attention of many queries of one sequence: a few of them at a time pass over the keys, a stripe at a time, with the
// largest score so far and the sum of weights (Dao et al., arXiv 2205.14135). All numbers come in pairs of bfloat16.
#include "vectors.h"

constexpr int QUERIES = 4, ACROSS = 4, STRIPE = ACROSS * LANES;

// Queries [heads, tokens, width / 2] and keys [kept heads, stripes, width / 2, STRIPE] in pairs of features, values
// [kept heads, stripes, STRIPE / 2, width] in pairs of keys; out is [tokens, heads, width].
struct Flash {
    const int32_t *q, *k, *v;
    float *out, scale;
    int64_t heads, group, width, tokens, stripes, seen, more;  // the first query sees so many keys, each after it more
};

// Scores of queries with a stripe of keys, of which they see some, as weights; `rest` is what those before are worth now.
INLINE void weigh(const Flash& of, const int32_t* query, const int32_t* key, int32_t seen, int32_t (*weights)[STRIPE / 2], float* largest,
                  float* sums, float* rest) {
    Floats scores[QUERIES][ACROSS] = {};
    multiply(query, of.width / 2, key, STRIPE, of.width / 2, scores);
    each<QUERIES>([&](auto n) ALWAYS {
        Floats most = spread(largest[n]), sum = {};
        each<ACROSS>([&](auto a) ALWAYS {
            const auto hidden = a * LANES + NUMBERS >= seen + n * static_cast<int32_t>(of.more);
            scores[n][a] = hidden ? spread(-INFINITY) : scores[n][a] * of.scale;
            most = scores[n][a] > most ? scores[n][a] : most;
        });
        const float before = largest[n];
        largest[n] = largest_of(most);
        each<ACROSS>([&](auto a) ALWAYS {
            const Floats weight = exponential(scores[n][a] - largest[n]);
            sum += weight, narrow_lanes(weight, weights[n] + a * LANES / 2);
        });
        rest[n] = exponential(spread(before - largest[n]))[0], sums[n] = sums[n] * rest[n] + sum_of(sum);
    });
}

// STRIPE features of the values of a stripe, weighted, onto what is mixed already.
INLINE void mix(const int32_t* value, int64_t width, const int32_t (*weights)[STRIPE / 2], const float* rest, Floats* mixed) {
    Floats sums[QUERIES][ACROSS] = {};
    multiply(weights[0], STRIPE / 2, value, width, STRIPE / 2, sums);
    each_pair<QUERIES, ACROSS>([&](auto n, auto a) ALWAYS { mixed[n * ACROSS + a] = mixed[n * ACROSS + a] * rest[n] + sums[n][a]; });
}

// QUERIES of one head from a token on.
void tile(const Flash& of, int64_t head, int64_t token) {
    const int64_t row = of.width / 2, from = head / of.group * of.stripes * STRIPE * row, parts = of.width / STRIPE;
    static thread_local std::vector<Floats> mixed;
    mixed.assign(QUERIES * ACROSS * parts, Floats{});
    float largest[QUERIES], sums[QUERIES] = {}, rest[QUERIES];
    std::fill_n(largest, QUERIES, -INFINITY);
    for (int64_t k = 0, seen = of.seen + token * of.more; k < std::min(seen + (QUERIES - 1) * of.more, of.stripes * STRIPE); k += STRIPE) {
        int32_t weights[QUERIES][STRIPE / 2];
        weigh(of, of.q + (head * of.tokens + token) * row, of.k + from + k * row, seen - k, weights, largest, sums, rest);
        for (int64_t w = 0; w < parts; ++w) mix(of.v + from + k * row + w * STRIPE, of.width, weights, rest, &mixed[w * QUERIES * ACROSS]);
    }
    for (int64_t n = 0; n < QUERIES; ++n) {
        float* out = of.out + ((token + n) * of.heads + head) * of.width;
        for (int64_t w = 0; w < parts * ACROSS; ++w) store(out + w * LANES, mixed[(w / ACROSS * QUERIES + n) * ACROSS + w % ACROSS] / sums[n]);
    }
}

// The tokens are a multiple of QUERIES, the width one of STRIPE.
EXPORT void girih_flash(const Flash* of, int threads) {
#pragma omp parallel for collapse(2) schedule(dynamic, 8) num_threads(threads)
    for (int64_t head = 0; head < of->heads; ++head) {
        for (int64_t token = 0; token < of->tokens; token += QUERIES) tile(*of, head, token);
    }
}
