// Products of a few rows with a matrix of packed blocks: out = x * transpose(weight).
//
// Rows of x are first rounded to sixteen bits in blocks of 32, each with a scale of its own; a
// product of blocks is then one of integers, times the scales. (Eight bits would be no faster, and
// their rounding shows in the text.) Block layouts: ggml-common.h of ggml. Without the vector
// instructions named here the same loops run as plain C++.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>
#define VECTORS 1
#endif

namespace {

constexpr int BLOCK = 32;
constexpr float LARGEST = 32767;
constexpr int MOST_ROWS = 8;  // of x at a time: their sums stay in registers

float from_half(const uint8_t* bytes) {
    uint16_t bits;
    std::memcpy(&bits, bytes, 2);
#if defined(VECTORS)
    return _cvtsh_ss(bits);
#else
    // Moved into the place of a float32, the exponent is too small by 112: a product mends that,
    // for subnormal numbers too. The largest exponent stands for infinity and NaN.
    uint32_t wide = static_cast<uint32_t>(bits & 0x7FFF) << 13;
    float value;
    std::memcpy(&value, &wide, 4);
    value *= 0x1p112f;
    if ((bits & 0x7C00) == 0x7C00) value = (bits & 0x3FF) ? NAN : INFINITY;
    return bits & 0x8000 ? -value : value;
#endif
}

float from_bfloat(uint16_t bits) {
    uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

uint16_t to_bfloat(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
    return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// A row of x in blocks of sixteen-bit integers.
struct Rounded {
    std::vector<int16_t> values;
    std::vector<float> scales;
    std::vector<float> sums;  // of the values before rounding

    void take(const void* x, int64_t start, int64_t count, bool bfloat) {
        const int64_t blocks = count / BLOCK;
        values.resize(count);
        scales.resize(blocks);
        sums.resize(blocks);
        for (int64_t b = 0; b < blocks; ++b) {
            float wide[BLOCK];
            for (int i = 0; i < BLOCK; ++i) {
                const int64_t at = start + b * BLOCK + i;
                wide[i] = bfloat ? from_bfloat(static_cast<const uint16_t*>(x)[at])
                                 : static_cast<const float*>(x)[at];
            }
            block(b, wide);
        }
    }

    void block(int64_t b, const float* wide) {
        float most = 0, sum = 0;
        for (int i = 0; i < BLOCK; ++i) {
            most = std::fmax(most, std::fabs(wide[i]));
            sum += wide[i];
        }
        const float inverse = most > 0 ? LARGEST / most : 0;
        for (int i = 0; i < BLOCK; ++i) {
            values[b * BLOCK + i] = static_cast<int16_t>(std::nearbyint(wide[i] * inverse));
        }
        // A NaN or an infinity must reach the result: it is in the sum, whatever the integers are.
        scales[b] = std::isfinite(sum) ? most / LARGEST : sum - sum;
        sums[b] = sum;
    }
};

// Levels: the signed integers of one block of weights. Sum: partial sums of a row.
#if defined(__AVX512BW__) && defined(VECTORS)
using Levels = __m512i;
using Sum = __m512;
inline Sum zero() { return _mm512_setzero_ps(); }
inline float total(Sum sum) { return _mm512_reduce_add_ps(sum); }
inline Levels widened(__m256i bytes) { return _mm512_cvtepi8_epi16(bytes); }
inline Levels times(const Levels& levels, int first, int second) {
    const __m512i scales = _mm512_inserti64x4(_mm512_set1_epi16(static_cast<int16_t>(first)),
                                              _mm256_set1_epi16(static_cast<int16_t>(second)), 1);
    return _mm512_mullo_epi16(levels, scales);
}
inline Sum plus(Sum sum, const Levels& levels, const int16_t* x, float scale) {
    const __m512i dot = _mm512_madd_epi16(levels, _mm512_loadu_si512(x));
    return _mm512_fmadd_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(dot), sum);
}
#elif defined(VECTORS)
struct Levels {
    __m256i first, second;
};
using Sum = __m256;
inline Sum zero() { return _mm256_setzero_ps(); }
inline float total(Sum sum) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline Levels widened(__m256i bytes) {
    return {_mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)),
            _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1))};
}
inline Levels times(const Levels& levels, int first, int second) {
    return {_mm256_mullo_epi16(levels.first, _mm256_set1_epi16(static_cast<int16_t>(first))),
            _mm256_mullo_epi16(levels.second, _mm256_set1_epi16(static_cast<int16_t>(second)))};
}
inline Sum plus(Sum sum, const Levels& levels, const int16_t* x, float scale) {
    const __m256i* other = reinterpret_cast<const __m256i*>(x);
    const __m256i dot =
        _mm256_add_epi32(_mm256_madd_epi16(levels.first, _mm256_loadu_si256(other)),
                         _mm256_madd_epi16(levels.second, _mm256_loadu_si256(other + 1)));
    return _mm256_fmadd_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(dot), sum);
}
#else
struct Levels {
    int16_t values[BLOCK];
};
using Sum = float;
inline Sum zero() { return 0; }
inline float total(Sum sum) { return sum; }
inline Levels times(const Levels& levels, int first, int second) {
    Levels out;
    for (int i = 0; i < BLOCK; ++i) {
        out.values[i] = static_cast<int16_t>(levels.values[i] * (i < BLOCK / 2 ? first : second));
    }
    return out;
}
inline Sum plus(Sum sum, const Levels& levels, const int16_t* x, float scale) {
    int64_t dot = 0;
    for (int i = 0; i < BLOCK; ++i) dot += static_cast<int32_t>(levels.values[i]) * x[i];
    return sum + scale * static_cast<float>(dot);
}
#endif

#if defined(VECTORS)
inline Levels bytes(const uint8_t* packed) {
    return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed)));
}
// Sixteen bytes hold the first sixteen values in their low halves, the others in their high ones.
inline Levels nibbles(const uint8_t* packed, int offset) {
    const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed));
    const __m128i mask = _mm_set1_epi8(15);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), mask);
    const __m256i levels = _mm256_set_m128i(high, _mm_and_si128(both, mask));
    return widened(_mm256_sub_epi8(levels, _mm256_set1_epi8(static_cast<char>(offset))));
}
#else
inline Levels bytes(const uint8_t* packed) {
    Levels out;
    for (int i = 0; i < BLOCK; ++i) out.values[i] = static_cast<int8_t>(packed[i]);
    return out;
}
inline Levels nibbles(const uint8_t* packed, int offset) {
    Levels out;
    for (int i = 0; i < BLOCK / 2; ++i) {
        out.values[i] = static_cast<int16_t>((packed[i] & 15) - offset);
        out.values[i + BLOCK / 2] = static_cast<int16_t>((packed[i] >> 4) - offset);
    }
    return out;
}
#endif

// The sixteen low halves, then the sixteen high ones, with a fifth bit each.
inline Levels five_bits(const uint8_t* fifth, const uint8_t* packed, int offset) {
    uint32_t bits;
    std::memcpy(&bits, fifth, 4);
    uint8_t out[BLOCK];
    for (int i = 0; i < BLOCK / 2; ++i) {
        out[i] = static_cast<uint8_t>(((packed[i] & 15) | (bits >> i & 1) << 4) - offset);
        out[i + 16] = static_cast<uint8_t>(((packed[i] >> 4) | (bits >> (i + 16) & 1) << 4) - offset);
    }
    return bytes(out);
}

// Each format: bytes of a block, units of 32 values in it, and for the values of a unit
// weight = scale * level + minimum.
struct Q4_0 {
    static constexpr int size = 18, units = 1;
    static Levels levels(const uint8_t* block, int) { return nibbles(block + 2, 8); }
    static float scale(const uint8_t* block, int) { return from_half(block); }
    static float minimum(const uint8_t*, int) { return 0; }
};
struct Q4_1 {
    static constexpr int size = 20, units = 1;
    static Levels levels(const uint8_t* block, int) { return nibbles(block + 4, 0); }
    static float scale(const uint8_t* block, int) { return from_half(block); }
    static float minimum(const uint8_t* block, int) { return from_half(block + 2); }
};
struct Q5_0 {
    static constexpr int size = 22, units = 1;
    static Levels levels(const uint8_t* block, int) { return five_bits(block + 2, block + 6, 16); }
    static float scale(const uint8_t* block, int) { return from_half(block); }
    static float minimum(const uint8_t*, int) { return 0; }
};
struct Q5_1 {
    static constexpr int size = 24, units = 1;
    static Levels levels(const uint8_t* block, int) { return five_bits(block + 4, block + 8, 0); }
    static float scale(const uint8_t* block, int) { return from_half(block); }
    static float minimum(const uint8_t* block, int) { return from_half(block + 2); }
};
struct Q8_0 {
    static constexpr int size = 34, units = 1;
    static Levels levels(const uint8_t* block, int) { return bytes(block + 2); }
    static float scale(const uint8_t* block, int) { return from_half(block); }
    static float minimum(const uint8_t*, int) { return 0; }
};
// Eight units; two halves, then six bits of scale and of minimum for each unit.
struct K {
    static float scale(const uint8_t* block, int unit) {
        const uint8_t* six = block + 4;
        const int bits = unit < 4 ? six[unit] & 63 : (six[unit + 4] & 15) | (six[unit - 4] >> 6) << 4;
        return from_half(block) * static_cast<float>(bits);
    }
    static float minimum(const uint8_t* block, int unit) {
        const uint8_t* six = block + 4;
        const int bits = unit < 4 ? six[unit + 4] & 63 : (six[unit + 4] >> 4) | (six[unit] >> 6) << 4;
        return -from_half(block + 2) * static_cast<float>(bits);
    }
};
struct Q4_K : K {
    static constexpr int size = 144, units = 8;
    static Levels levels(const uint8_t* block, int unit) {
        const uint8_t* packed = block + 16 + unit / 2 * BLOCK;
        uint8_t out[BLOCK];
        if (unit % 2) for (int i = 0; i < BLOCK; ++i) out[i] = packed[i] >> 4;
        else for (int i = 0; i < BLOCK; ++i) out[i] = packed[i] & 15;
        return bytes(out);
    }
};
struct Q5_K : K {
    static constexpr int size = 176, units = 8;
    static Levels levels(const uint8_t* block, int unit) {
        const uint8_t *high = block + 16, *packed = block + 48 + unit / 2 * BLOCK;
        const int shift = unit % 2 * 4;
        uint8_t out[BLOCK];
        for (int i = 0; i < BLOCK; ++i) {
            out[i] = static_cast<uint8_t>((packed[i] >> shift & 15) | (high[i] >> unit & 1) << 4);
        }
        return bytes(out);
    }
};
// Four low bits, two high ones, and a signed scale for each half of a unit.
struct Q6_K {
    static constexpr int size = 210, units = 8;
    static Levels levels(const uint8_t* block, int unit) {
        const int group = unit / 4, part = unit % 4, shift = part / 2 * 4;
        const uint8_t* low = block + group * 64 + part % 2 * BLOCK;
        const uint8_t* high = block + 128 + group * BLOCK;
        uint8_t out[BLOCK];
        for (int i = 0; i < BLOCK; ++i) {
            const int level = (low[i] >> shift & 15) | (high[i] >> 2 * part & 3) << 4;
            out[i] = static_cast<uint8_t>(level - 32);
        }
        const int8_t* scales = reinterpret_cast<const int8_t*>(block + 192) + unit * 2;
        return times(bytes(out), scales[0], scales[1]);
    }
    static float scale(const uint8_t* block, int) { return from_half(block + 208); }
    static float minimum(const uint8_t*, int) { return 0; }
};

template <class F, int N>
void row(const uint8_t* weight, int64_t blocks, const Rounded* x, float* out) {
    Sum sums[N];
    float rests[N];
    for (int n = 0; n < N; ++n) sums[n] = zero(), rests[n] = 0;
    for (int64_t b = 0; b < blocks; ++b, weight += F::size) {
        for (int unit = 0; unit < F::units; ++unit) {
            const int64_t at = b * F::units + unit;
            const Levels levels = F::levels(weight, unit);
            const float scale = F::scale(weight, unit), minimum = F::minimum(weight, unit);
            for (int n = 0; n < N; ++n) {
                const int16_t* values = x[n].values.data() + at * BLOCK;
                sums[n] = plus(sums[n], levels, values, scale * x[n].scales[at]);
                rests[n] += minimum * x[n].sums[at];
            }
        }
    }
    for (int n = 0; n < N; ++n) out[n] = total(sums[n]) + rests[n];
}

template <class F>
void rows(const uint8_t* weight, int64_t blocks, const Rounded* x, int count, float* out) {
    switch (count) {
        case 1: return row<F, 1>(weight, blocks, x, out);
        case 2: return row<F, 2>(weight, blocks, x, out);
        case 3: return row<F, 3>(weight, blocks, x, out);
        case 4: return row<F, 4>(weight, blocks, x, out);
        case 5: return row<F, 5>(weight, blocks, x, out);
        case 6: return row<F, 6>(weight, blocks, x, out);
        case 7: return row<F, 7>(weight, blocks, x, out);
        default: return row<F, 8>(weight, blocks, x, out);
    }
}

template <class F>
void product(const uint8_t* weight, int64_t outputs, int64_t inputs, const std::vector<Rounded>& x,
             void* out, bool bfloat, int threads) {
    const int64_t blocks = inputs / (BLOCK * F::units);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < outputs; ++o) {
        for (size_t start = 0; start < x.size(); start += MOST_ROWS) {
            const int count = static_cast<int>(std::min<size_t>(MOST_ROWS, x.size() - start));
            float sums[MOST_ROWS];
            rows<F>(weight + o * blocks * F::size, blocks, x.data() + start, count, sums);
            for (int n = 0; n < count; ++n) {
                const int64_t at = static_cast<int64_t>(start + n) * outputs + o;
                if (bfloat) static_cast<uint16_t*>(out)[at] = to_bfloat(sums[n]);
                else static_cast<float*>(out)[at] = sums[n];
            }
        }
    }
}

}  // namespace

// x [count, inputs] and out [count, outputs], contiguous, float32 or bfloat16.
extern "C" void girih_product(int format, const uint8_t* weight, int64_t outputs, int64_t inputs,
                              const void* x, int64_t count, void* out, int bfloat, int threads) {
    static thread_local std::vector<Rounded> rounded;
    rounded.resize(count);
    for (int64_t n = 0; n < count; ++n) rounded[n].take(x, n * inputs, inputs, bfloat);
    switch (format) {
        case 0: return product<Q4_0>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 1: return product<Q4_1>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 2: return product<Q5_0>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 3: return product<Q5_1>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 4: return product<Q8_0>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 5: return product<Q4_K>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 6: return product<Q5_K>(weight, outputs, inputs, rounded, out, bfloat, threads);
        case 7: return product<Q6_K>(weight, outputs, inputs, rounded, out, bfloat, threads);
    }
}
