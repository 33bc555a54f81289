// The block formats, tiled: the blocks that as many rows as a vector has lanes have at one place lie together, first
// their half-precision numbers, then their words of four bytes, a vector of each. A product with a tile then needs no
// sum across lanes. The bytes are those of the file, in another order. Layouts of the blocks: ggml-common.h of ggml.
#pragma once
#include "vectors.h"

constexpr int BLOCK = 32, PAIRS = 16;
typedef int16_t Levels __attribute__((vector_size(LANES * 4)));
using Tile = const uint8_t*;

// Every format cuts a block into units of 32 values, value = scale * level + minimum. Levels come in pairs, sixteen
// bits each: of four neighbouring values the first and third make a pair, then the second and fourth. Formats with two
// scales have one for each sixteen values of a unit.
template <int HALVES, int FIRST_HALF, int WORDS, int FIRST_WORD, int UNITS, int SCALES, bool MINIMA>
struct Format {
    static constexpr int halves = HALVES, first_half = FIRST_HALF, words = WORDS, first_word = FIRST_WORD;
    static constexpr int units = UNITS, scales = SCALES, size = HALVES * 2 + WORDS * 4, tile = size * LANES;
    static constexpr bool minima = MINIMA;
    INLINE Floats half(Tile tile, int index) { return wide_lanes(reinterpret_cast<const Half*>(tile) + index * LANES); }
    INLINE Ints word(Tile tile, int index) { return load<Ints>(tile + (HALVES * 2 + index * 4) * LANES); }
    INLINE Floats scale(Tile tile, int, int) { return half(tile, 0); }
    INLINE Floats minimum(Tile tile, int) { return half(tile, 1); }
};

// The low or high half of the bytes of a word: a pair.
INLINE Ints nibbles(Ints word, int high, int odd) { return (word >> (8 * odd + 4 * high)) & 0x000F000F; }
// A word whose bit `from`, and what is above it, gets to `to`.
INLINE Ints moved(Ints word, int from, int to) { return from < to ? word << (to - from) : word >> (from - to); }
INLINE Ints less(Ints levels, int16_t offset) { return bits_as<Ints>(bits_as<Levels>(levels) - offset); }

// Sixteen bytes hold the first sixteen values in their low halves, the others in their high ones.
struct Q4_0 : Format<1, 0, 4, 2, 1, 1, false> {
    INLINE Ints pair(Tile tile, int, int p) { return less(nibbles(word(tile, p / 2 % 4), p / 8, p % 2), 8); }
};
struct Q4_1 : Format<2, 0, 4, 4, 1, 1, true> {
    INLINE Ints pair(Tile tile, int, int p) { return nibbles(word(tile, p / 2 % 4), p / 8, p % 2); }
};
// The same with a fifth bit for each value, bit k of the first word for value k.
template <class Base> INLINE Ints five_bits(Tile tile, int p) {
    const int first = p / 2 * 4 + p % 2;
    const Ints bits = Base::word(tile, 0), fifth = (moved(bits, first, 4) & 0x10) | (moved(bits, first + 2, 20) & 0x100000);
    return nibbles(Base::word(tile, 1 + p / 2 % 4), p / 8, p % 2) | fifth;
}
struct Q5_0 : Format<1, 0, 5, 2, 1, 1, false> {
    INLINE Ints pair(Tile tile, int, int p) { return less(five_bits<Q5_0>(tile, p), 16); }
};
struct Q5_1 : Format<2, 0, 5, 4, 1, 1, true> {
    INLINE Ints pair(Tile tile, int, int p) { return five_bits<Q5_1>(tile, p); }
};
struct Q8_0 : Format<1, 0, 8, 2, 1, 1, false> {
    INLINE Ints pair(Tile tile, int, int p) {
        const Levels bytes = bits_as<Levels>(word(tile, p / 2));
        return bits_as<Ints>(p % 2 ? bytes >> 8 : (bytes << 8) >> 8);
    }
};
// Three words hold six bits of scale and of minimum for each of eight units; 32 bytes hold two units.
template <int WORDS>
struct K : Format<2, 0, WORDS, 4, 8, 1, true> {
    using Base = Format<2, 0, WORDS, 4, 8, 1, true>;
    INLINE Floats six(Tile tile, int unit, int minimum) {
        const int shift = unit % 4 * 8;
        const Ints own = Base::word(tile, minimum) >> shift, low = Base::word(tile, 2) >> (shift + 4 * minimum);
        return from_ints(unit < 4 ? own & 63 : (low & 15) | ((own >> 6) & 3) << 4);
    }
    INLINE Floats scale(Tile tile, int unit, int) { return Base::half(tile, 0) * six(tile, unit, 0); }
    INLINE Floats minimum(Tile tile, int unit) { return -Base::half(tile, 1) * six(tile, unit, 1); }
    INLINE Ints low(Tile tile, int first, int unit, int p) {
        return nibbles(Base::word(tile, first + unit / 2 * 8 + p / 2), unit % 2, p % 2);
    }
};
struct Q4_K : K<35> {
    INLINE Ints pair(Tile tile, int unit, int p) { return low(tile, 3, unit, p); }
};
struct Q5_K : K<43> {
    INLINE Ints pair(Tile tile, int unit, int p) {
        return low(tile, 11, unit, p) | (moved(word(tile, 3 + p / 2), 8 * (p % 2) + unit, 4) & 0x00100010);
    }
};
// Four low bits, two high ones, and a signed scale for each sixteen values. The words of scales come first, then for
// each half of the block those of the high bits and of the low ones.
struct Q6_K : Format<1, 208, 52, 0, 8, 2, false> {
    INLINE Floats scale(Tile tile, int unit, int second) {
        return half(tile, 0) * from_ints((word(tile, unit / 2) << (24 - unit % 2 * 16 - second * 8)) >> 24);
    }
    INLINE Ints pair(Tile tile, int unit, int p) {
        const int group = 4 + unit / 4 * 24, part = unit % 4;
        const Ints low = nibbles(word(tile, group + 8 + part % 2 * 8 + p / 2), part / 2, p % 2);
        return less(low | (moved(word(tile, group + p / 2), 8 * (p % 2) + 2 * part, 4) & 0x00300030), 32);
    }
};
// Four-bit floats, doubled, behind an exponent, which is a bfloat16 here. (In the table, twelve is added to each: it has
// no signs, and what it makes of the other half of a pair is taken off with the twelve.)
struct MXFP4 : Format<1, 0, 4, 2, 1, 1, false> {
    static constexpr uint8_t VALUES[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    INLINE Floats scale(Tile tile, int, int) { return wide_lanes(reinterpret_cast<const Bfloat*>(tile)); }
    INLINE Ints pair(Tile tile, int, int p) { return less(looked_up(VALUES, nibbles(word(tile, p / 2 % 4), p / 8, p % 2)), 12 * 257); }
};
