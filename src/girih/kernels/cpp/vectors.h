// Vectors of as many 32-bit lanes as this processor adds at once, and the few operations on them that C++ has no
// words for. Without the instructions named here the same code is plain C++.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>
#if defined(__AVX512BW__) && defined(__AVX512DQ__)
#define WIDE 512
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define WIDE 256
#else
#define WIDE 0
#endif
#if WIDE
#include <immintrin.h>
#endif
#define INLINE static inline __attribute__((always_inline))
#define ALWAYS __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))

constexpr int LANES = WIDE == 512 ? 16 : 8;
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int16_t Shorts __attribute__((vector_size(LANES * 2)));
typedef uint64_t Quads __attribute__((vector_size(LANES * 2)));

// step(0), ..., step(N - 1) without a loop: arrays indexed so become registers.
template <class Step, int... I>
INLINE void each_of(Step&& step, std::integer_sequence<int, I...>) { (step(std::integral_constant<int, I>{}), ...); }
template <int N, class Step> INLINE void each(Step&& step) { each_of(step, std::make_integer_sequence<int, N>{}); }
template <int N, int M, class Step> INLINE void each_pair(Step&& step) {
    each<N>([&](auto n) ALWAYS { each<M>([&](auto m) ALWAYS { step(n, m); }); });
}

template <class Vector, class Place> INLINE Vector load(const Place* from) {
    Vector out;
    std::memcpy(&out, from, sizeof out);
    return out;
}
template <class Vector, class Place> INLINE void store(Place* to, Vector value) { std::memcpy(to, &value, sizeof value); }
// As many numbers as a vector has lanes or fewer are written.
INLINE void put_some(float* to, Floats value, int64_t count) {
    if (count >= LANES) return store(to, value);
    std::memcpy(to, &value, count * sizeof(float));
}
template <class To, class From> INLINE To bits_as(From from) { return load<To>(&from); }
INLINE Floats spread(float value) { return value - Floats{}; }
INLINE Ints spread(int32_t value) { return value - Ints{}; }
const Ints NUMBERS = [] { Ints out = {}; for (int i = 0; i < LANES; ++i) out[i] = i; return out; }();  // 0, 1, 2, ...
INLINE Floats magnitude(Floats a) { return bits_as<Floats>(bits_as<Ints>(a) & 0x7FFFFFFF); }
INLINE Floats from_ints(Ints value) { return __builtin_convertvector(value, Floats); }
template <class Join> INLINE float joined(Floats a, Join join) {
    typedef float Four __attribute__((vector_size(16)));
    Four parts[LANES / 4];
    store(parts, a);
    for (int i = 1; i < LANES / 4; ++i) parts[0] = join(parts[0], parts[i]);
    return join(join(parts[0][0], parts[0][1]), join(parts[0][2], parts[0][3]));
}
INLINE float sum_of(Floats a) { return joined(a, [](auto x, auto y) ALWAYS { return x + y; }); }
INLINE float largest_of(Floats a) { return joined(a, [](auto x, auto y) ALWAYS { return x > y ? x : y; }); }

// What a table has for each byte of a vector, all of which are below sixteen.
INLINE Ints looked_up(const uint8_t (&table)[16], Ints codes) {
#if WIDE == 512
    return (Ints)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(load<__m128i>(table)), (__m512i)codes);
#elif WIDE == 256
    return (Ints)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load<__m128i>(table)), (__m256i)codes);
#else
    uint8_t bytes[sizeof codes];
    store(bytes, codes);
    for (uint8_t& byte : bytes) byte = table[byte];
    return load<Ints>(bytes);
#endif
}
// The same value in a register: compilers would read it again from memory for each use, and the reads are the bound.
INLINE Ints kept(Ints value) {
#if WIDE
    __asm__("" : "+v"(value));
#endif
    return value;
}
// Each lane holds two sixteen-bit integers; sum += first * first + second * second. (As assembly, since compilers put
// the sums off until their parts no longer fit the registers.)
INLINE void add_pairs(Ints& sum, Ints a, Ints b) {
#if WIDE == 512 && defined(__AVX512VNNI__)
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#elif WIDE
    Ints product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(sum), "=&v"(product) : "v"(a), "v"(b));
#else
    sum += ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}
// The same for two bfloat16.
INLINE void add_pairs(Floats& sum, Ints a, Ints b) {
#if WIDE == 512 && defined(__AVX512BF16__)
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#else
    constexpr int32_t high = 0xFFFF0000;
    sum += bits_as<Floats>(a << 16) * bits_as<Floats>(b << 16) + bits_as<Floats>(a & high) * bits_as<Floats>(b & high);
#endif
}
// Rows of pairs, `row` apart, times as many lines of ACROSS vectors, `line` apart, added to the sums.
template <int ROWS, int ACROSS, class Sum>
INLINE void multiply(const int32_t* rows, int64_t row, const int32_t* lines, int64_t line, int count, Sum (&sums)[ROWS][ACROSS]) {
    for (int i = 0; i < count; ++i, lines += line) {
        Ints own[ACROSS];
        each<ACROSS>([&](auto a) ALWAYS { own[a] = kept(load<Ints>(lines + a * LANES)); });
        each_pair<ROWS, ACROSS>([&](auto n, auto a) ALWAYS { add_pairs(sums[n][a], own[a], spread(rows[n * row + i])); });
    }
}

// Matrices and the state hold float32 (as it is), half precision or bfloat16 (as sixteen bits).
struct Half { uint16_t bits; };
struct Bfloat { uint16_t bits; };
INLINE Floats wide_lanes(const float* from) { return load<Floats>(from); }
INLINE Floats wide_lanes(const Bfloat* from) {
    return bits_as<Floats>(__builtin_convertvector(load<Shorts>(from), Ints) << 16);
}
INLINE Floats wide_lanes(const Half* from) {
#if WIDE == 512
    return (Floats)_mm512_cvtph_ps(load<__m256i>(from));
#elif WIDE == 256
    return (Floats)_mm256_cvtph_ps(load<__m128i>(from));
#else
    typedef _Float16 Halves __attribute__((vector_size(LANES * 2)));
    return __builtin_convertvector(load<Halves>(from), Floats);
#endif
}
// As many numbers as a vector has lanes or fewer: those beyond them are zero.
template <class Number> INLINE Floats some(const Number* from, int64_t count) {
    if (count >= LANES) return wide_lanes(from);
    Number held[LANES] = {};
    std::memcpy(held, from, count * sizeof(Number));
    return wide_lanes(held);
}
// Sixteen bits of each, rounded to even, a NaN perhaps to an infinity.
INLINE void narrow_lanes(Floats value, void* to) {
    const Ints bits = bits_as<Ints>(value);
    store(to, __builtin_convertvector((bits + 0x7FFF + (bits >> 16 & 1)) >> 16, Shorts));
}
INLINE void narrow(float value, float* to) { *to = value; }
INLINE void narrow(float value, Bfloat* to) {
    const uint32_t bits = bits_as<uint32_t>(value), even = bits + 0x7FFF + (bits >> 16 & 1);
    to->bits = static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : even >> 16);
}

// e to the power of x, within 2e-7 of it; beyond what float32 holds, its ends. (The range is reduced by powers of two,
// then comes the series to the sixth power. To add MAGIC takes from a number what stands behind its point.)
constexpr float MAGIC = 12582912.0f;
INLINE Floats exponential(Floats x) {
    x = x < -87.0f ? spread(-87.0f) : x;
    x = x > 88.0f ? spread(88.0f) : x;
    const Floats shifted = x * 1.44269504f + MAGIC, whole = shifted - MAGIC;
    const Floats rest = x - whole * 0.693145752f - whole * 1.42860677e-6f;
    Floats sum = rest * (1 / 720.0f) + 1 / 120.0f;
    sum = (((sum * rest + 1 / 24.0f) * rest + 1 / 6.0f) * rest + 0.5f) * rest * rest + rest + 1.0f;
    return sum * bits_as<Floats>((bits_as<Ints>(shifted) - bits_as<int32_t>(MAGIC) + 127) << 23);
}
// 2 to the power of x, within 2e-7 of it; zero below what float32 holds. Nearly 1 close to zero: no step of a long
// product of such powers is off by more than the rounding of x.
INLINE Floats power_of_two(Floats x) {
#if WIDE == 512
    const Floats whole = (Floats)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    x = x < -126.0f ? spread(-126.0f) : x;
    const Floats shifted = x + MAGIC, whole = shifted - MAGIC;
#endif
    const Floats rest = x - whole;
    const Floats sum = (((rest * 1.32647e-3f + 9.67151e-3f) * rest + 5.550734e-2f) * rest + 0.24022242f) * rest + 0.69314698f;
#if WIDE == 512
    return (Floats)_mm512_scalef_ps((__m512)(sum * rest + 1.0f), (__m512)whole);
#else
    return (sum * rest + 1.0f) * bits_as<Floats>((bits_as<Ints>(shifted) - bits_as<int32_t>(MAGIC) + 127) << 23);
#endif
}
// The logarithm of 1 + u, within 2e-8 of it, for u from 0 to 1.
INLINE Floats log_of_one_and(Floats u) {
    const Floats s = u / (u + 2.0f), q = s * s;
    Floats sum = q * (1 / 13.0f) + 1 / 11.0f;
    sum = ((((sum * q + 1 / 9.0f) * q + 1 / 7.0f) * q + 1 / 5.0f) * q + 1 / 3.0f) * q + 1.0f;
    return 2.0f * s * sum;
}
INLINE Floats softplus(Floats x) {
    return (x < 0 ? Floats{} : x) + log_of_one_and(power_of_two(magnitude(x) * -1.44269504f));
}
