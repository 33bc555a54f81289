// The state-space dual of Mamba-2 (Dao and Gu, arXiv 2405.21060): a token of each sequence, or many tokens in chunks
// whose products are of pairs of bfloat16; then gate and norm. The states h of a head are [states, width].
#include "carried.h"

constexpr int CHUNK = 64, HALF = CHUNK / 2, QUERIES = 4, ACROSS = 4;

struct Ssd {
    int64_t heads, width, states, groups, parts;       // parts of a row that are normed on their own
    const float *rate, *bias, *skip, *weight;          // of heads (the rate is -exp(a_log)), and of the norm
    float eps, least, most;
    int64_t inner() const { return heads * width; }
    int64_t group(int64_t h) const { return h / (heads / groups) * states; }
    float step(float dt, int64_t h) const {
        const float value = dt + bias[h];
        return std::min(std::max(value > 20 ? value : std::log1p(std::exp(value)), least), most);
    }
};
// Rows of tokens and their strides: x and z [heads, width], b and c [groups, states], dt [heads].
struct Tokens {
    const float *x, *z, *b, *c, *dt;
    int64_t x_row, z_row, b_row, c_row, dt_row;
    Tokens from(int64_t row) const { return {x + row * x_row, z + row * z_row, b + row * b_row, c + row * c_row, dt + row * dt_row, x_row, z_row, b_row, c_row, dt_row}; }
};
// Where h is read (-1: zeros) and written: by the row of the state that the spans name, or else by the sequence.
struct Places {
    const float* before;
    float* after;
    const int64_t *table, *spans;
    std::pair<const float*, float*> of(int64_t sequence, int64_t size) const {
        const int64_t* place = table + 2 * (spans ? spans[3 * sequence] : sequence);
        return {place[0] < 0 ? nullptr : before + place[0] * size, after + place[1] * size};
    }
};

void gate(const Ssd& ssd, const float* z, float* y) {
    const int64_t part = ssd.inner() / ssd.parts;
    const float* weight = ssd.weight;
    for (int64_t number = 0; number < ssd.parts; ++number, y += part, z += part, weight += part) {
        Floats squares = {};
        for (int64_t i = 0; i < part; i += LANES) {
            const Floats value = some(y + i, part - i) * activated(3, some(z + i, part - i));
            squares += value * value, put_some(y + i, value, part - i);
        }
        const float scale = 1 / std::sqrt(sum_of(squares) / part + ssd.eps);
        for (int64_t i = 0; i < part; i += LANES) put_some(y + i, some(y + i, part - i) * some(weight + i, part - i) * scale, part - i);
    }
}
// A function of the vectors of a head, ACROSS at a time.
template <class Run> INLINE void along(int64_t width, Run run) {
    int64_t p = 0;
    for (; p + ACROSS * LANES <= width; p += ACROSS * LANES) run(std::integral_constant<int, ACROSS>{}, p);
    for (; p < width; p += LANES) run(std::integral_constant<int, 1>{}, p);
}

// One token of each sequence: rows out [count, heads, width].
EXPORT void girih_ssd_step(const Ssd* of, const Tokens* tokens, const Places* places, int64_t count, float* out, int threads) {
    const Ssd& ssd = *of;
    const int64_t size = ssd.states * ssd.width;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t task = 0; task < count * ssd.heads; ++task) {
            const int64_t s = task / ssd.heads, head = task % ssd.heads;
            const Tokens t = tokens->from(s);
            const auto [old, next] = places->of(s, ssd.heads * size);
            const float *b = t.b + ssd.group(head), *c = t.c + ssd.group(head), *before = old ? old + head * size : nullptr;
            const float dt = ssd.step(t.dt[head], head), kept = std::exp(dt * ssd.rate[head]);
            float* after = next + head * size;
            along(ssd.width, [&](auto across, int64_t p) ALWAYS {
                Floats x[across], sums[across] = {};
                each<across>([&](auto a) ALWAYS { x[a] = load<Floats>(t.x + head * ssd.width + p + a * LANES); });
                for (int64_t n = 0, at = p; n < ssd.states; ++n, at += ssd.width) {
                    each<across>([&](auto a) ALWAYS {
                        const Floats h = (before ? load<Floats>(before + at + a * LANES) * kept : Floats{}) + x[a] * (dt * b[n]);
                        store(after + at + a * LANES, h), sums[a] += h * c[n];
                    });
                }
                each<across>([&](auto a) ALWAYS { store(out + task * ssd.width + p + a * LANES, sums[a] + x[a] * ssd.skip[head]); });
            });
        }
#pragma omp for schedule(static)
        for (int64_t s = 0; s < count; ++s) gate(ssd, tokens->from(s).z, out + s * ssd.inner());
    }
}

// What the heads of a group share in a chunk: pairs of c [CHUNK, states / 2], of b [states, HALF], and c b [CHUNK, CHUNK].
struct Shared {
    int32_t *c, *b;
    float* scores;
};
// The first of each pair of bfloat16, and the second.
INLINE Ints paired(Floats first, Floats second) {
#if WIDE == 512 && defined(__AVX512BF16__)
    const Ints numbers = (NUMBERS + 16) << 16 | NUMBERS;
    return (Ints)_mm512_permutexvar_epi16((__m512i)numbers, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#else
    const auto rounded = [](Floats x) ALWAYS { const Ints bits = bits_as<Ints>(x); return bits + 0x7FFF + (bits >> 16 & 1); };
    return (rounded(first) >> 16 & 0xFFFF) | (rounded(second) & static_cast<int32_t>(0xFFFF0000));
#endif
}
void share(const Ssd& ssd, const Tokens& t, int64_t group, int64_t count, const Shared& to) {
    const int64_t states = ssd.states, pairs = states / 2;
    static thread_local std::vector<int32_t> rows, lines;
    rows.resize(CHUNK * pairs), lines.resize(CHUNK * pairs);
    for (int64_t i = 0; i < CHUNK; ++i) {
        for (int64_t n = 0; n < states; n += LANES) {
            narrow_lanes(i < count ? load<Floats>(t.c + i * t.c_row + group * states + n) : Floats{}, to.c + i * pairs + n / 2);
            narrow_lanes(i < count ? load<Floats>(t.b + i * t.b_row + group * states + n) : Floats{}, &rows[i * pairs + n / 2]);
        }
        for (int64_t n = 0; n < pairs; ++n) lines[n * CHUNK + i] = rows[i * pairs + n];
    }
    for (int64_t n = 0; n < states; n += 2) {  // of each pair of states the first, then the second
        for (int64_t j = 0; j < HALF; ++j) {
            const uint32_t one = lines[n / 2 * CHUNK + 2 * j], other = lines[n / 2 * CHUNK + 2 * j + 1];
            to.b[n * HALF + j] = (one & 0xFFFF) | other << 16, to.b[(n + 1) * HALF + j] = one >> 16 | (other & 0xFFFF0000);
        }
    }
    for (int64_t i = 0; i < CHUNK; i += QUERIES) {
        for (int64_t j = 0; j < i + QUERIES; j += LANES) {
            Floats sums[QUERIES][1] = {};
            multiply(to.c + i * pairs, pairs, &lines[j], CHUNK, pairs, sums);
            each<QUERIES>([&](auto n) ALWAYS { store(to.scores + (i + n) * CHUNK + j, sums[n][0]); });
        }
    }
}

// A head over one chunk after the other.
struct Scan {
    const Ssd& ssd;
    int64_t head = 0;
    float* h = nullptr;
    float total[CHUNK], kept[CHUNK];                 // of the logarithm of the decay since the chunk began, and its exponential
    int32_t weights[CHUNK * HALF];                   // of tokens for tokens
    std::vector<float> raw;                          // x
    std::vector<int32_t> held, x, left;              // pairs of h, of dt x, and of what is left of it at the end

    explicit Scan(const Ssd& of)
        : ssd(of), raw(CHUNK * of.width), held(of.states / 2 * of.width), x(HALF * of.width), left(HALF * of.width) {}

    void begin(const Tokens& t, int64_t count, const float* scores) {
        const int64_t width = ssd.width;
        float dt[CHUNK], ends[CHUNK], sum = 0;
        for (int64_t j = 0; j < CHUNK; ++j) {
            dt[j] = j < count ? ssd.step(t.dt[j * t.dt_row + head], head) : 0;
            total[j] = sum += dt[j] * ssd.rate[head];
        }
        for (int64_t j = 0; j < CHUNK; j += LANES) store(kept + j, exponential(load<Floats>(total + j))), store(ends + j, exponential(sum - load<Floats>(total + j)));
        for (int64_t j = 0; j < CHUNK; j += 2) {
            for (int64_t p = 0; p < width; p += LANES) {
                const auto at = [&](int64_t row) ALWAYS {
                    const Floats value = row < count ? load<Floats>(t.x + row * t.x_row + head * width + p) : Floats{};
                    store(&raw[row * width + p], value);
                    return value * dt[row];
                };
                const Floats first = at(j), second = at(j + 1);
                store(&x[j / 2 * width + p], paired(first, second)), store(&left[j / 2 * width + p], paired(first * ends[j], second * ends[j + 1]));
            }
        }
        for (int64_t at = 0; at < ssd.states * width; at += 2 * width) {
            for (int64_t p = 0; p < width; p += LANES) store(&held[at / 2 + p], paired(load<Floats>(h + at + p), load<Floats>(h + at + width + p)));
        }
        for (int64_t i = 0; i < CHUNK; ++i) {
            for (int64_t j = 0; j < i / QUERIES * QUERIES + QUERIES; j += LANES) {
                const Floats weight = load<Floats>(scores + i * CHUNK + j) * exponential(total[i] - load<Floats>(total + j));
                narrow_lanes(NUMBERS > static_cast<int32_t>(i - j) ? Floats{} : weight, weights + i * HALF + j / 2);
            }
        }
    }
    void pass(int64_t count, const Shared& shared, float* out) {
        const int64_t width = ssd.width, pairs = ssd.states / 2;
        along(width, [&](auto across, int64_t p) ALWAYS {
            for (int64_t i = 0; i < count; i += QUERIES) {
                Floats sums[QUERIES][across] = {};
                multiply(shared.c + i * pairs, pairs, &held[p], width, pairs, sums);
                each_pair<QUERIES, across>([&](auto n, auto a) ALWAYS { sums[n][a] *= kept[i + n]; });
                multiply(weights + i * HALF, HALF, &x[p], width, (i + QUERIES) / 2, sums);
                each_pair<QUERIES, across>([&](auto n, auto a) ALWAYS {
                    const int64_t at = p + a * LANES;
                    if (i + n < count) store(out + (i + n) * ssd.inner() + head * width + at, sums[n][a] + load<Floats>(&raw[(i + n) * width + at]) * ssd.skip[head]);
                });
            }
            for (int64_t n = 0; n < ssd.states; n += QUERIES) {
                Floats sums[QUERIES][across] = {};
                multiply(shared.b + n * HALF, HALF, &left[p], width, HALF, sums);
                each_pair<QUERIES, across>([&](auto m, auto a) ALWAYS {
                    float* to = h + (n + m) * width + p + a * LANES;
                    store(to, load<Floats>(to) * kept[CHUNK - 1] + sums[m][a]);
                });
            }
        });
    }
};

// Sequences of so many tokens each, packed: rows out [tokens, heads, width]. States are a multiple of the lanes too.
EXPORT void girih_ssd_chunks(const Ssd* of, const Tokens* tokens, const Places* places, const int64_t* counts, int64_t sequences, float* out, int threads) {
    const Ssd& ssd = *of;
    const int64_t size = ssd.width * ssd.states, all = CHUNK * ssd.states / 2;
    std::vector<int64_t> rows(sequences + 1), firsts(sequences + 1);  // before each sequence, of tokens and of chunks
    for (int64_t s = 0; s < sequences; ++s) rows[s + 1] = rows[s] + counts[s], firsts[s + 1] = firsts[s] + (counts[s] + CHUNK - 1) / CHUNK;
    // Heads that go through a chunk one after the other: they share what lies in the cache.
    const int64_t together = std::clamp<int64_t>(sequences * ssd.heads / (4 * threads), 1, 8), blocks = (ssd.heads + together - 1) / together;
    const int64_t tasks = firsts[sequences] * ssd.groups;
    std::vector<int32_t> pairs(tasks * 2 * all);
    std::vector<float> scores(tasks * CHUNK * CHUNK);
    const auto shared = [&](int64_t i) { return Shared{&pairs[2 * i * all], &pairs[(2 * i + 1) * all], &scores[i * CHUNK * CHUNK]}; };
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < tasks; ++task) {
            const int64_t chunk = task / ssd.groups, s = std::upper_bound(firsts.begin(), firsts.end(), chunk) - firsts.begin() - 1;
            const int64_t at = (chunk - firsts[s]) * CHUNK;
            share(ssd, tokens->from(rows[s] + at), task % ssd.groups, std::min<int64_t>(CHUNK, counts[s] - at), shared(task));
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < sequences * blocks; ++task) {
            const int64_t s = task / blocks, from = task % blocks * together, end = std::min(ssd.heads, from + together);
            const auto [before, after] = places->of(s, ssd.heads * size);
            if (before) std::memcpy(after + from * size, before + from * size, (end - from) * size * sizeof(float));
            else std::fill_n(after + from * size, (end - from) * size, 0.0f);
            Scan scan(ssd);
            for (int64_t at = 0; at < counts[s]; at += CHUNK) {
                const int64_t count = std::min<int64_t>(CHUNK, counts[s] - at), chunk = firsts[s] + at / CHUNK;
                for (scan.head = from; scan.head < end; ++scan.head) {
                    const Shared own = shared(chunk * ssd.groups + ssd.group(scan.head) / ssd.states);
                    scan.h = after + scan.head * size;
                    scan.begin(tokens->from(rows[s] + at), count, own.scores), scan.pass(count, own, out + (rows[s] + at) * ssd.inner());
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows[sequences]; ++row) gate(ssd, tokens->from(row).z, out + row * ssd.inner());
    }
}
