// Attention of one query for each sequence over what is remembered, and what comes before it: head norms, rotation, and
// the append to the state, keys and values each, which lies in pages: [pages, heads, entries of a page, width].
#include "rows.h"

struct Span { int64_t row, start, count; };  // of the state; tokens remembered; new ones
// The sequence of a packed token, and its place among the new ones.
std::pair<const Span*, int64_t> placed(const Span* span, int64_t token) {
    while (token >= span->count) token -= span++->count;
    return {span, token};
}
struct State {
    void *keys, *values;
    const int64_t *table, number, page_stride, head_stride, kept, page, pages;  // table: [sequences, pages]; number: float32 (0) or bfloat16 (1)
    int64_t at(int64_t row, int64_t h, int64_t i, int64_t w) const { return table[row * pages + i / page] * page_stride + h * head_stride + i % page * w; }
};
struct Heads {
    int64_t query, kept, width, rotary, step, apart;  // rotary: pairs that are rotated, the ith of them step * i and `apart` from it
    const float *query_norm, *key_norm;          // weights [width], or null
    float eps;
};

// One head, normed and rotated.
void turn(const Heads& heads, const float* from, const float* norm, const float* cosines, const float* sines, float* __restrict to) {
    if (norm) normed(from, heads.width, false, norm, nullptr, heads.eps, to);
    else std::memcpy(to, from, heads.width * sizeof(float));
    for (int64_t p = 0; p < heads.rotary; ++p) {
        float &one = to[p * heads.step], &other = to[p * heads.step + heads.apart], first = one;
        one = first * cosines[p] - other * sines[p], other = other * cosines[p] + first * sines[p];
    }
}

// Keys of one task (what threads share does not depend on their number), and queries that read a key together (many of
// them where there are: a sum waits for the one before it).
constexpr int PART = 256, TOGETHER = 4, MANY = 8;

// Softmax of N queries over some keys: of each the largest score, the sum of its weights, and the values so mixed. The
// width is a multiple of the lanes.
template <int N, class Number>
void attend(const float* queries, const Number* keys, const Number* values, int64_t count, int64_t width, float scale,
            float* largest, float* sums, float* out) {
    float weights[N][PART + LANES];
    for (auto& row : weights) std::fill_n(row + count, LANES, -INFINITY);
    for (int64_t k = 0; k < count; ++k) {
        Floats dots[N] = {};
        for (int64_t i = 0; i < width; i += LANES) {
            const Floats part = wide_lanes(keys + k * width + i);
            each<N>([&](auto n) ALWAYS { dots[n] += part * load<Floats>(queries + n * width + i); });
        }
        each<N>([&](auto n) ALWAYS { weights[n][k] = sum_of(dots[n]); });
    }
    for (int n = 0; n < N; ++n) {
        const float most = *std::max_element(weights[n], weights[n] + count);
        Floats sum = {};
        for (int64_t k = 0; k < count; k += LANES) {
            const Floats score = load<Floats>(&weights[n][k]), weight = exponential((score - most) * scale);
            const Floats real = score == -INFINITY ? Floats{} : weight;
            store(&weights[n][k], real), sum += real;
        }
        largest[n] = most, sums[n] = sum_of(sum);
    }
    for (int64_t i = 0; i < width; i += LANES) {
        Floats mixed[N] = {};
        for (int64_t k = 0; k < count; ++k) {
            const Floats value = wide_lanes(values + k * width + i);
            each<N>([&](auto n) ALWAYS { mixed[n] += value * weights[n][k]; });
        }
        each<N>([&](auto n) ALWAYS { store(out + n * width + i, mixed[n]); });
    }
}

// The queries [group, width] of one key head over one part of what a sequence remembers.
template <class Number>
void attend_all(const Heads& heads, const State& state, int64_t at, int64_t count, const float* queries, float scale,
                float* largest, float* sums, float* out) {
    const Number *keys = static_cast<const Number*>(state.keys) + at, *values = static_cast<const Number*>(state.values) + at;
    for (int64_t left = heads.query / heads.kept, n; left > 0; left -= n) {
        n = left >= MANY ? MANY : std::min<int64_t>(TOGETHER, left);
        const auto run = n == MANY ? attend<MANY, Number> : n == 4 ? attend<4, Number> : n == 3 ? attend<3, Number> : n == 2 ? attend<2, Number> : attend<1, Number>;
        run(queries, keys, values, count, heads.width, scale, largest, sums, out);
        queries += n * heads.width, out += n * heads.width, largest += n, sums += n;
    }
}

template <class Number> void write(void* to, int64_t at, const float* from, int64_t width) {
    for (Number *place = static_cast<Number*>(to) + at, *end = place + width; place < end; ++place) narrow(*from++, place);
}

// Packed rows [tokens, heads * width] of queries, keys and values, `stride` apart: the queries normed and rotated into
// out [tokens, heads, width], the keys likewise into the state, the values as they are. Cosines and sines are
// [tokens, rotary].
EXPORT void girih_append(const Heads* heads, const State* state, const Span* spans, int64_t tokens, const float* rows, int64_t stride,
                         const float* cosines, const float* sines, float* out, int threads) {
    const auto put = state->number ? write<Bfloat> : write<float>;
#pragma omp parallel for schedule(static) num_threads(threads) if (tokens > 2)
    for (int64_t token = 0; token < tokens; ++token) {
        static thread_local std::vector<float> turned;
        turned.resize(heads->width);
        const auto [span, place] = placed(spans, token);
        const float *row = rows + token * stride, *cosine = cosines + token * heads->rotary, *sine = sines + token * heads->rotary;
        float* to = out + token * heads->query * heads->width;
        for (int64_t h = 0; h < heads->query; ++h, row += heads->width, to += heads->width) turn(*heads, row, heads->query_norm, cosine, sine, to);
        for (int64_t h = 0; h < heads->kept; ++h, row += heads->width) {
            const int64_t at = state->at(span->row, h, (span->start + place) % state->kept, heads->width);
            turn(*heads, row, heads->key_norm, cosine, sine, turned.data());
            put(state->keys, at, turned.data(), heads->width), put(state->values, at, row + heads->kept * heads->width, heads->width);
        }
    }
}

// Of latent attention: rows of queries, each head `plain` numbers and then those that are rotated, which go behind the
// first `rank` of a query in out [tokens, heads, rank + width]; and rows of latents and the keys beside them, which are
// normed, rotated and appended to the state, where they are one entry.
EXPORT void girih_latent(const Heads* heads, const Before* norm, const State* state, const Span* spans, int64_t tokens, int64_t rank, int64_t plain,
                         const float* q, int64_t q_stride, const float* kv, int64_t kv_stride, const float* cosines, const float* sines, float* out) {
    const int64_t own = plain + heads->width, width = rank + heads->width;
    static thread_local std::vector<float> entry;
    entry.resize(width);
    for (int64_t token = 0; token < tokens; ++token, q += q_stride, kv += kv_stride, cosines += heads->rotary, sines += heads->rotary) {
        for (int64_t h = 0; h < heads->query; ++h, out += width) turn(*heads, q + h * own + plain, nullptr, cosines, sines, out + rank);
        prepare(*norm, kv, rank, entry.data()), turn(*heads, kv + rank, nullptr, cosines, sines, entry.data() + rank);
        const auto [span, place] = placed(spans, token);
        (state->number ? write<Bfloat> : write<float>)(state->keys, state->at(span->row, 0, (span->start + place) % state->kept, width), entry.data(), width);
    }
}

// One query [heads, width] for each span over all that it remembers and its new entry: out [spans, heads, width].
EXPORT void girih_attend(const Heads* heads, const State* state, const Span* spans, int64_t count, const float* q, float scale, float* out, int threads) {
    // A part of the keys lies in one page, of which there are `each` parts.
    const int64_t width = heads->width, group = heads->query / heads->kept, each = (state->page + PART - 1) / PART;
    const auto newest = [&](int64_t s) { return std::min(spans[s].start, state->kept - 1); };  // its place, or the last of a full window
    const auto parts_of = [&](int64_t s) { return newest(s) / state->page * each + newest(s) % state->page / PART + 1; };
    int64_t parts = 0;
    for (int64_t s = 0; s < count; ++s) parts = std::max(parts, parts_of(s));
    const int64_t tasks = count * heads->kept * parts;
    static thread_local std::vector<float> held;
    held.resize(tasks * group * (width + 2));
    float *mixed = held.data(), *largest = mixed + tasks * group * width, *sums = largest + tasks * group;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (tasks > 1)
    for (int64_t t = 0; t < tasks; ++t) {
        const int64_t head = t % heads->kept, p = t / heads->kept % parts, s = t / heads->kept / parts;
        if (p >= parts_of(s)) continue;
        const int64_t inside = p % each * PART, from = p / each * state->page + inside;
        (state->number ? attend_all<Bfloat> : attend_all<float>)(
            *heads, *state, state->at(spans[s].row, head, from, width), std::min({int64_t(PART), state->page - inside, newest(s) + 1 - from}),
            q + (s * heads->query + head * group) * width, scale, largest + t * group, sums + t * group, mixed + t * group * width);
    }
    for (int64_t h = 0; h < count * heads->query; ++h) {
        const int64_t s = h / heads->query, own = parts_of(s);
        const int64_t first = s * parts * heads->query + h % heads->query, next = heads->query;  // its results of each part
        float most = largest[first], total = 0, *to = out + h * width;
        for (int64_t p = 1; p < own; ++p) most = std::max(most, largest[first + p * next]);
        std::fill_n(to, width, 0.0f);
        for (int64_t p = 0, at = first; p < own; ++p, at += next) {
            const float share = own == 1 ? 1 : std::exp((largest[at] - most) * scale);
            total += share * sums[at];
            for (int64_t i = 0; i < width; ++i) to[i] += share * mixed[at * width + i];
        }
        for (int64_t i = 0; i < width; ++i) to[i] /= total;
    }
}
