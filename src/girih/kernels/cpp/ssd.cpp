// The state-space dual of Mamba-2 (Dao and Gu, arXiv 2405.21060): a token of each sequence in place, or many tokens in chunks whose products are of
// pairs of bfloat16; then the gate and the norm. A head remembers h [features, states].
#include "rows.h"

constexpr int CHUNK = 64, HALF = CHUNK / 2, QUERIES = 4, ACROSS = 4;

struct Ssd {
    int64_t heads, features, states, groups, parts;    // parts: of a row, each with a norm
    const float *rate, *bias, *skip, *weight;          // of heads (the rate is -exp(a_log)); of the norm
    float eps, least, most;
    int64_t inner() const { return heads * features; }
    float step(float dt, int64_t h) const {
        const float value = dt + bias[h];
        return std::min(std::max(value > 20 ? value : std::log1p(std::exp(value)), least), most);
    }
};
// Rows of tokens: x [heads, features], z alike, b and c [groups, states], dt [heads]; their strides are in the same order.
struct Tokens { const float *x, *z, *b, *c, *dt; int64_t x_row, z_row, b_row, c_row, dt_row; };
// Where h lies: of a row of the state (which the spans name; without them that of the sequence), the place to read, -1 for zeros, and to write.
struct Places {
    const float* before;
    float* after;
    const int64_t *table, *spans;
    const int64_t* of(int64_t sequence) const { return table + 2 * (spans ? spans[3 * sequence] : sequence); }
};

// A row of what was read: multiplied by silu(z), and normed.
void gate(const Ssd& ssd, const float* z, float* y) {
    const int64_t inner = ssd.inner(), part = inner / ssd.parts;
    int64_t i = 0;
    for (; i + LANES <= inner; i += LANES) store(y + i, load<Floats>(y + i) * activated(3, load<Floats>(z + i)));
    for (; i < inner; ++i) y[i] *= activated(3, spread(z[i]))[0];
    for (i = 0; i < inner; i += part) normed(y + i, part, false, ssd.weight + i, nullptr, ssd.eps, y + i);
}

// One feature of a head, h [states], moved on by a token; what is read of it.
INLINE float moved(const float* before, float* after, int64_t states, float kept, float new_x, const float* b, const float* c) {
    const auto move = [&](Floats h, int64_t n) ALWAYS { return h * kept + load<Floats>(b + n) * new_x; };
    Floats sum = {};
    int64_t n = 0;
    for (; n + LANES <= states; n += LANES) {
        const Floats h = move(before ? load<Floats>(before + n) : Floats{}, n);
        store(after + n, h), sum += h * load<Floats>(c + n);
    }
    float total = sum_of(sum);
    for (; n < states; ++n) after[n] = (before ? before[n] * kept : 0) + new_x * b[n], total += after[n] * c[n];
    return total;
}

EXPORT void girih_ssd_step(const Ssd* of, const Tokens* tokens, const Places* places, int64_t count, float* out, int threads) {
    const Ssd& ssd = *of;
    const Tokens& t = *tokens;
    const int64_t size = ssd.features * ssd.states, each_group = ssd.heads / ssd.groups;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t task = 0; task < count * ssd.heads; ++task) {
            const int64_t s = task / ssd.heads, h = task % ssd.heads, *place = places->of(s);
            const float* before = place[0] < 0 ? nullptr : places->before + (place[0] * ssd.heads + h) * size;
            float *after = places->after + (place[1] * ssd.heads + h) * size, *to = out + s * ssd.inner() + h * ssd.features;
            const float dt = ssd.step(t.dt[s * t.dt_row + h], h), kept = std::exp(dt * ssd.rate[h]), *x = t.x + s * t.x_row + h * ssd.features;
            const float *b = t.b + s * t.b_row + h / each_group * ssd.states, *c = t.c + s * t.c_row + h / each_group * ssd.states;
            for (int64_t p = 0; p < ssd.features; ++p, after += ssd.states) {
                to[p] = moved(before, after, ssd.states, kept, dt * x[p], b, c) + ssd.skip[h] * x[p];
                before += before ? ssd.states : 0;
            }
        }
#pragma omp for schedule(static)
        for (int64_t s = 0; s < count; ++s) gate(ssd, t.z + s * t.z_row, out + s * ssd.inner());
    }
}

// What the heads of a group share in a chunk: pairs of c [CHUNK, states / 2], of b [states, CHUNK / 2], and c b [CHUNK, CHUNK].
struct Shared {
    int32_t *c, *b;
    float* scores;
};
INLINE Ints paired(Floats first, Floats second) {
    const auto rounded = [](Ints bits) ALWAYS { return bits + 0x7FFF + (bits >> 16 & 1); };
    return (rounded(bits_as<Ints>(first)) >> 16 & 0xFFFF) | (rounded(bits_as<Ints>(second)) & static_cast<int32_t>(0xFFFF0000));
}
void share(const Ssd& ssd, const float* b, int64_t b_row, const float* c, int64_t c_row, int64_t count, const Shared& to) {
    const int64_t states = ssd.states, pairs = states / 2;
    static thread_local std::vector<int32_t> rows, lines;
    rows.resize(CHUNK * pairs), lines.resize(CHUNK * pairs);
    for (int64_t i = 0; i < CHUNK; ++i) {
        for (int64_t n = 0; n < states; n += LANES) {
            narrow_lanes(i < count ? load<Floats>(c + i * c_row + n) : Floats{}, to.c + i * pairs + n / 2);
            narrow_lanes(i < count ? load<Floats>(b + i * b_row + n) : Floats{}, &rows[i * pairs + n / 2]);
        }
        for (int64_t n = 0; n < pairs; ++n) lines[n * CHUNK + i] = rows[i * pairs + n];
    }
    const uint16_t* values = reinterpret_cast<const uint16_t*>(rows.data());
    for (int64_t n = 0; n < states; ++n) {
        for (int64_t j = 0; j < HALF; ++j) to.b[n * HALF + j] = values[2 * j * states + n] | uint32_t(values[(2 * j + 1) * states + n]) << 16;
    }
    for (int64_t i = 0; i < CHUNK; i += QUERIES) {
        for (int64_t j = 0; j < i + QUERIES; j += LANES) {
            Floats sums[QUERIES][1] = {};
            multiply(to.c + i * pairs, pairs, &lines[j], CHUNK, pairs, sums);
            for (int n = 0; n < QUERIES; ++n) store(to.scores + (i + n) * CHUNK + j, sums[n][0]);
        }
    }
}

// A head in the chunks of a sequence, from h [states, features] on.
struct Scan {
    const Ssd& ssd;
    int64_t head;
    std::vector<float>& h;
    std::vector<int32_t> held, x, left;  // pairs of h [states / 2, features], of dt x and of what is left of it at the end [CHUNK / 2, features]
    float total[CHUNK], dt[CHUNK];       // logarithms of the decay since the chunk began
    alignas(64) int32_t weights[CHUNK * HALF];

    Scan(const Ssd& of, int64_t head, std::vector<float>& h)
        : ssd(of), head(head), h(h), held(of.states / 2 * of.features), x(HALF * of.features), left(HALF * of.features) {}

    void begin(const Tokens& t, int64_t count, const Shared& shared) {
        const int64_t width = ssd.features;
        float sum = 0;
        for (int64_t j = 0; j < CHUNK; ++j) {
            dt[j] = j < count ? ssd.step(t.dt[j * t.dt_row + head], head) : 0;
            total[j] = sum += dt[j] * ssd.rate[head];
        }
        for (int64_t j = 0; j < CHUNK; j += 2) {
            const Floats ends = exponential(j + 1 < CHUNK ? Floats{total[CHUNK - 1] - total[j], total[CHUNK - 1] - total[j + 1]} : Floats{});
            for (int64_t p = 0; p < width; p += LANES) {
                const auto at = [&](int64_t i) ALWAYS { return i < count ? load<Floats>(t.x + i * t.x_row + head * width + p) * dt[i] : Floats{}; };
                const Floats first = at(j), second = at(j + 1);
                store(&x[j / 2 * width + p], paired(first, second)), store(&left[j / 2 * width + p], paired(first * ends[0], second * ends[1]));
            }
        }
        for (int64_t n = 0; n < ssd.states; n += 2) {
            for (int64_t p = 0; p < width; p += LANES) store(&held[n / 2 * width + p], paired(load<Floats>(&h[n * width + p]), load<Floats>(&h[(n + 1) * width + p])));
        }
        for (int64_t i = 0; i < count; ++i) {
            for (int64_t j = 0; j < i / QUERIES * QUERIES + QUERIES; j += LANES) {
                const Floats weight = load<Floats>(shared.scores + i * CHUNK + j) * exponential(total[i] - load<Floats>(total + j));
                narrow_lanes(NUMBERS > static_cast<int32_t>(i - j) ? Floats{} : weight, weights + i * HALF + j / 2);
            }
        }
    }
    // ACROSS vectors of features from p on: of what each token reads, and of h after the chunk.
    template <int A> void pass(const Tokens& t, int64_t count, const Shared& shared, int64_t p, float* out) {
        const int64_t width = ssd.features, pairs = ssd.states / 2;
        for (int64_t i = 0; i < count; i += QUERIES) {
            Floats sums[QUERIES][A] = {};
            multiply(shared.c + i * pairs, pairs, &held[p], width, pairs, sums);
            each_pair<QUERIES, A>([&](auto n, auto a) ALWAYS { sums[n][a] *= exponential(spread(total[i + n])); });
            multiply(weights + i * HALF, HALF, &x[p], width, (i + QUERIES) / 2, sums);
            each<QUERIES>([&](auto n) ALWAYS {
                const float* own = t.x + (i + n) * t.x_row + head * width + p;
                for (int a = 0; i + n < count && a < A; ++a)
                    store(out + (i + n) * ssd.inner() + head * width + p + a * LANES, sums[n][a] + load<Floats>(own + a * LANES) * ssd.skip[head]);
            });
        }
        const float kept = std::exp(total[CHUNK - 1]);
        for (int64_t n = 0; n < ssd.states; n += QUERIES) {
            Floats sums[QUERIES][A] = {};
            multiply(shared.b + n * HALF, HALF, &left[p], width, HALF, sums);
            each_pair<QUERIES, A>([&](auto m, auto a) ALWAYS {
                float* to = &h[(n + m) * width + p + a * LANES];
                store(to, load<Floats>(to) * kept + sums[m][a]);
            });
        }
    }
};

// Sequences of so many tokens each. Features and states are multiples of the lanes.
EXPORT void girih_ssd_chunks(const Ssd* of, const Tokens* tokens, const Places* places, const int64_t* counts, int64_t sequences, float* out, int threads) {
    const Ssd& ssd = *of;
    const int64_t width = ssd.features, states = ssd.states, size = width * states, all = CHUNK * states / 2;
    std::vector<int64_t> firsts(sequences + 1), chunks(sequences + 1);
    for (int64_t s = 0; s < sequences; ++s) firsts[s + 1] = firsts[s] + counts[s], chunks[s + 1] = chunks[s] + (counts[s] + CHUNK - 1) / CHUNK;
    static thread_local std::vector<int32_t> c, b;
    static thread_local std::vector<float> scores;
    const int64_t tasks = chunks[sequences] * ssd.groups;
    c.resize(tasks * all), b.resize(tasks * all), scores.resize(tasks * CHUNK * CHUNK);
    int32_t *c_all = c.data(), *b_all = b.data();
    float* scores_all = scores.data();
    const auto shared = [&](int64_t chunk, int64_t g) { const int64_t i = chunk * ssd.groups + g; return Shared{c_all + i * all, b_all + i * all, scores_all + i * CHUNK * CHUNK}; };
    const auto from = [&](int64_t row) { Tokens t = *tokens; t.x += row * t.x_row, t.z += row * t.z_row, t.b += row * t.b_row, t.c += row * t.c_row, t.dt += row * t.dt_row; return t; };
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < tasks; ++task) {
            const int64_t chunk = task / ssd.groups, g = task % ssd.groups;
            const int64_t s = std::upper_bound(chunks.begin(), chunks.end(), chunk) - chunks.begin() - 1, at = (chunk - chunks[s]) * CHUNK;
            const Tokens t = from(firsts[s] + at);
            share(ssd, t.b + g * states, t.b_row, t.c + g * states, t.c_row, std::min<int64_t>(CHUNK, counts[s] - at), shared(chunk, g));
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < sequences * ssd.heads; ++task) {
            const int64_t s = task / ssd.heads, head = task % ssd.heads, *place = places->of(s);
            const float* before = place[0] < 0 ? nullptr : places->before + (place[0] * ssd.heads + head) * size;
            float* after = places->after + (place[1] * ssd.heads + head) * size;
            static thread_local std::vector<float> h;
            h.assign(size, 0.0f);
            for (int64_t i = 0; before && i < size; ++i) h[i % states * width + i / states] = before[i];
            Scan scan(ssd, head, h);
            for (int64_t at = 0; at < counts[s]; at += CHUNK) {
                const Tokens t = from(firsts[s] + at);
                const int64_t count = std::min<int64_t>(CHUNK, counts[s] - at);
                const Shared own = shared(chunks[s] + at / CHUNK, head / (ssd.heads / ssd.groups));
                scan.begin(t, count, own);
                float* to = out + (firsts[s] + at) * ssd.inner();
                int64_t p = 0;
                for (; p + ACROSS * LANES <= width; p += ACROSS * LANES) scan.pass<ACROSS>(t, count, own, p, to);
                for (; p < width; p += LANES) scan.pass<1>(t, count, own, p, to);
            }
            for (int64_t i = 0; i < size; ++i) after[i] = h[i % states * width + i / states];
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < firsts[sequences]; ++row) gate(ssd, tokens->z + row * tokens->z_row, out + row * ssd.inner());
    }
}
