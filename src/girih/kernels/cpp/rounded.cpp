// What surrounds products that another library makes of bfloat16: rows on their way in, and what comes out.
#include "rows.h"

// Rows [rows, inputs], `stride` apart, prepared and rounded.
EXPORT void girih_round(const Before* before, const float* x, int64_t stride, int64_t rows, int64_t inputs, Bfloat* out, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        static thread_local std::vector<float> made;
        made.resize(inputs + LANES);
        prepare(*before, x + row * stride, inputs, made.data());
        Bfloat* to = out + row * inputs;
        int64_t i = 0;
        for (; i + LANES <= inputs; i += LANES) narrow_lanes(load<Floats>(&made[i]), to + i);
        for (; i < inputs; ++i) narrow(made[i], to + i);
    }
}
// Products [rows, count] become the columns from `column` on of rows `stride` apart, plus a bias and onto other such rows.
EXPORT void girih_widen(const Bfloat* products, int64_t rows, int64_t count, const float* bias, const float* onto, float* out,
                        int64_t column, int64_t stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        const Bfloat* from = products + row * count;
        const int64_t at = row * stride + column;
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) {
            Floats sum = wide_lanes(from + i);
            if (bias) sum += load<Floats>(bias + column + i);
            store(out + at + i, onto ? sum + load<Floats>(onto + at + i) : sum);
        }
        for (; i < count; ++i) out[at + i] = bits_as<float>(from[i].bits << 16) + (bias ? bias[column + i] : 0) + (onto ? onto[at + i] : 0);
    }
}
