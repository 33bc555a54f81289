// What a layer carries of each sequence from step to step, whatever its length: rows of as many channels.
#pragma once
#include "rows.h"

// Places of `rows` times `channels` numbers, and those that a row of the table reads (-1: zeros) and writes.
struct Carried {
    float* memory;
    const int64_t *table, *spans;  // [rows of the state, 2]; [sequences, 3]: row, tokens before, new tokens
    int64_t sequences, rows, channels;

    struct One {
        const float* prior;  // null: zeros
        float* last;
        int64_t first, tokens;  // of the packed ones
    };
    // Calls step(one) for each sequence, in order.
    template <class Step> void each_one(Step step) const {
        int64_t first = 0;
        for (const int64_t* span = spans; span < spans + 3 * sequences; first += span[2], span += 3) {
            const int64_t *places = table + 2 * span[0], size = rows * channels;
            step(One{places[0] < 0 ? nullptr : memory + places[0] * size, memory + places[1] * size, first, span[2]});
        }
    }
    int64_t tokens() const {
        int64_t sum = 0;
        for (int64_t s = 0; s < sequences; ++s) sum += spans[3 * s + 2];
        return sum;
    }
};
