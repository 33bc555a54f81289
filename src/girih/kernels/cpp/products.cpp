// Products of rows with matrices that stay in their blocks: out = x * transpose(matrix).
//
// Rows of x are rounded to sixteen bits, a scale for every UNITS blocks of 32, so that a product of blocks is
// one of integers, times the scales. (Eight bits would be no faster, and their rounding shows in the text.) Few rows of
// x read the tiles as they are; for many, some tiles at a time are taken apart into a panel that stays in the cache.
#include "rows.h"

constexpr int AHEAD = 8192;  // bytes of a matrix that are on their way while others are used

// N rows of x over one unit of a tile row: added to their sums, VECTORS apart.
template <class F, int N, class Unit> INLINE void direct_unit(Tile tile, Unit unit, const Rounded& x, int64_t here, Floats* sums) {
    const auto place = [&](int n) ALWAYS { return here + n / GROUP * UNITS * GROUP + n % GROUP; };  // of the nth row from here on
    Floats own[N] = {};
    each<F::scales>([&](auto part) ALWAYS {
        constexpr int chains = N == 1 ? 4 : 1;  // a sum waits for the one before it
        Ints dot[N * chains] = {};
        const auto step = [&](auto p) ALWAYS {
            const Ints level = kept(F::pair(tile, unit, p));
            each<N>([&](auto n) ALWAYS { add_pairs(dot[n + p % chains], level, spread(x.pairs[place(n) * PAIRS + p])); });
        };
        constexpr int count = PAIRS / F::scales;
        each<count>([&](auto p) ALWAYS { step(std::integral_constant<int, part * count + p>{}); });
        each<chains - 1>([&](auto c) ALWAYS { dot[0] += dot[c + 1]; });
        const Floats scale = F::scale(tile, unit, part);
        each<N>([&](auto n) ALWAYS { own[n] += from_ints(dot[n]) * scale; });
    });
    const Floats minimum = F::minima ? F::minimum(tile, unit) : Floats{};
    each<N>([&](auto n) ALWAYS {
        const Floats all = F::minima ? own[n] + minimum * x.sums[place(n)] : own[n];
        sums[n * VECTORS] += all * x.scales[here / (UNITS * GROUP) * GROUP + n];
    });
}
template <class F, int N> void direct(Tile tile, const Rounded& x, int64_t number, Floats* sums) {
    sums += number * GROUP * VECTORS;
    for (int64_t b = 0; b < x.blocks; b += F::units, tile += F::tile) {
        // Where the bytes come faster than they are used, the processor fetches them by itself.
        for (int ahead = 0; F::size < BLOCK * F::units && ahead < F::tile; ahead += 64) __builtin_prefetch(tile + AHEAD + ahead, 0, 2);
        const auto one = [&](auto unit) ALWAYS { direct_unit<F, N>(tile, unit, x, x.place(number, b + unit), sums); };
        if constexpr (N == 1) each<F::units>(one);
        else for (int unit = 0; unit < F::units; ++unit) one(unit);
    }
}

struct Panel {
    int32_t levels[UNITS * PAIRS][VECTORS][LANES];
    Floats scales[UNITS * 2][VECTORS], minima[UNITS][VECTORS];
};
template <class F> void take_apart(Tile tile, int units, int v, Panel& panel) {
    for (int u = 0; u < units; tile += F::tile) {
        for (int unit = 0; unit < F::units; ++unit, ++u) {
            for (int p = 0; p < PAIRS; ++p) store(panel.levels[u * PAIRS + p][v], F::pair(tile, unit, p));
            for (int s = 0; s < F::scales; ++s) panel.scales[u * F::scales + s][v] = F::scale(tile, unit, s);
            if (F::minima) panel.minima[u][v] = F::minimum(tile, unit);
        }
    }
}
// A group of rows of x, from block `from` on, over a panel: added to their sums [VECTORS]. (The sums stay in memory:
// the registers are for the integers.)
template <int SCALES, bool MINIMA>
void pass(const Panel& panel, int units, const Rounded& x, int64_t number, int64_t from, Floats* sums) {
    Floats own[GROUP][VECTORS] = {};
    for (int u = 0; u < units; ++u) {
        const int64_t here = x.place(number, from + u);
        each<SCALES>([&](auto part) ALWAYS {
            Ints dot[GROUP][VECTORS] = {};
            const int first = part * PAIRS / SCALES;
            multiply(&x.pairs[here * PAIRS + first], PAIRS, &panel.levels[u * PAIRS + first][0][0], WIDTH, PAIRS / SCALES, dot);
            each_pair<GROUP, VECTORS>([&](auto n, auto v) ALWAYS { own[n][v] += from_ints(dot[n][v]) * panel.scales[u * SCALES + part][v]; });
        });
        if (MINIMA) each_pair<GROUP, VECTORS>([&](auto n, auto v) ALWAYS { own[n][v] += panel.minima[u][v] * x.sums[here + n]; });
    }
    const float* scales = &x.scales[x.place(number, from) / UNITS];
    each_pair<GROUP, VECTORS>([&](auto n, auto v) ALWAYS { sums[n * VECTORS + v] += own[n][v] * scales[n]; });
}

// The outputs of VECTORS tile rows for all rows of x.
template <class F> void outputs_of(Tile tiles, int64_t first, int64_t end, const Rounded& x, const Out& out) {
    static thread_local Panel panel;
    static thread_local std::vector<Floats> held;
    held.assign(x.groups * GROUP * VECTORS, Floats{});
    Floats* sums = held.data();
    const int64_t tile_row = x.blocks / F::units * F::tile;
    const int vectors = first + LANES < end ? 2 : 1;
    tiles += first / LANES * tile_row;
    for (int v = 0; x.rows <= FEW && v < vectors; ++v, tiles += tile_row) {
        int64_t number = 0;
        for (; number + 2 <= x.groups; number += 2) direct<F, 8>(tiles, x, number, sums + v);
        if (number < x.groups) (x.rows == number * GROUP + 1 ? direct<F, 1> : direct<F, 4>)(tiles, x, number, sums + v);
    }
    for (int64_t from = 0; x.rows > FEW && from < x.blocks; from += UNITS) {
        const int units = static_cast<int>(std::min<int64_t>(UNITS, x.blocks - from));
        for (int v = 0; v < vectors; ++v) take_apart<F>(tiles + v * tile_row + from / F::units * F::tile, units, v, panel);
        for (int64_t n = 0; n < x.groups; ++n) pass<F::scales, F::minima>(panel, units, x, n, from, sums + n * GROUP * VECTORS);
    }
    for (int64_t n = 0; n < x.rows; ++n) out.put(n, first, end - first, reinterpret_cast<float*>(sums + n * VECTORS));
}

// The same for a plain matrix, a row of which is read once for every N rows of x.
template <class Number, int N>
void dots(const Number* weights, int64_t o, const Rounded& x, int64_t row, const Out& out) {
    Floats sums[2][N] = {};
    int64_t i = 0;
    for (; i + 2 * LANES <= x.inputs; i += 2 * LANES) {
        each<2>([&](auto half) ALWAYS {
            const Floats weight = wide_lanes(weights + i + half * LANES);
            each<N>([&](auto n) ALWAYS { sums[half][n] += weight * load<Floats>(x.plain(row + n) + i + half * LANES); });
        });
    }
    for (; i < x.inputs; i += LANES) {
        const int64_t count = std::min<int64_t>(LANES, x.inputs - i);
        Number rest[LANES] = {};
        std::memcpy(rest, weights + i, count * sizeof(Number));
        each<N>([&](auto n) ALWAYS { sums[0][n] += wide_lanes(rest) * some(x.plain(row + n) + i, count); });
    }
    for (int n = 0; n < N; ++n) {
        const float total = sum_of(sums[0][n] + sums[1][n]);
        out.put(row + n, o, 1, &total);
    }
}
template <class Number>
void plain_outputs_of(const uint8_t* matrix, int64_t first, int64_t end, const Rounded& x, const Out& out) {
    for (int64_t o = first; o < end; ++o) {
        const Number* weights = reinterpret_cast<const Number*>(matrix) + o * x.inputs;
        int64_t row = 0;
        for (; row + 4 <= x.rows; row += 4) dots<Number, 4>(weights, o, x, row, out);
        for (; row < x.rows; ++row) dots<Number, 1>(weights, o, x, row, out);
    }
}

const Product PRODUCTS[] = {outputs_of<Q4_0>, outputs_of<Q4_1>, outputs_of<Q5_0>, outputs_of<Q5_1>, outputs_of<Q8_0>,
                                outputs_of<Q4_K>, outputs_of<Q5_K>, outputs_of<Q6_K>, outputs_of<MXFP4>, plain_outputs_of<Bfloat>, plain_outputs_of<Half>};

struct Matrix {
    const uint8_t* data;  // tiles, or plain numbers
    int64_t format, outputs;
};


// How many rows of a matrix a tile holds.
EXPORT int girih_lanes() { return LANES; }

// Several matrices of as many inputs, in packed ones a multiple of BLOCK, times the same rows, plus a bias [sum of outputs] and onto rows like the result
// (both may be null): out [rows, sum of outputs], float32.
EXPORT void girih_products(const Matrix* matrices, int64_t count, const Before* before, const float* x, int64_t x_stride,
                               int64_t rows, int64_t inputs, const float* bias, const float* onto, float* out, int threads) {
    bool plain = false, packed = false;
    int64_t panels = 0, outputs = 0;
    for (const Matrix* m = matrices; m < matrices + count; ++m) {
        (m->format < PACKED ? packed : plain) = true;
        panels += (m->outputs + WIDTH - 1) / WIDTH, outputs += m->outputs;
    }
    static thread_local Rounded held;
    Rounded& rounded = held;  // of this thread, in the others too
    rounded.resize(rows, inputs, plain, packed);
    if (rounded.groups == 1) rounded.take(*before, x, x_stride, 0);
    // Of few rows of x the bound is the memory, of which each thread then reads one stretch.
    const int64_t stretch = rows > FEW ? 1 : (panels + threads - 1) / threads;
#pragma omp parallel num_threads(threads)
    {
        if (rounded.groups > 1)
#pragma omp for schedule(static)
            for (int64_t number = 0; number < rounded.groups; ++number) rounded.take(*before, x, x_stride, number);
#pragma omp for schedule(dynamic, stretch)
        for (int64_t number = 0; number < panels; ++number) {
            int64_t column = 0, panel = number;
            const Matrix* matrix = matrices;
            for (int64_t own; own = (matrix->outputs + WIDTH - 1) / WIDTH, panel >= own; ++matrix) panel -= own, column += matrix->outputs;
            const int64_t first = panel * WIDTH, end = std::min(matrix->outputs, first + WIDTH);
            PRODUCTS[matrix->format](matrix->data, first, end, rounded, {bias, onto, out, column, outputs});
        }
    }
}
