// Mixtures of experts: which of them a row goes to, and the products of those that were chosen. Which these are is read
// from memory, so that the calls of a step can be made again with other choices.
#include "rows.h"

// The router's matrix [experts, inputs] (float32, bfloat16 or half: 0, 1, 2), and how it chooses.
struct Routing {
    const void* weight;
    const float *bias, *correction;
    int64_t stored, experts, inputs, top, sigmoid, renormalised, groups, kept, two;
    float scale;
};

template <class Number> float dot(const void* weights, int64_t row, const float* x, int64_t inputs) {
    const Number* own = static_cast<const Number*>(weights) + row * inputs;
    Floats sums[2] = {};
    for (int64_t i = 0; i < inputs; i += 2 * LANES)
        each<2>([&](auto half) ALWAYS { sums[half] += wide_lanes(own + i + half * LANES) * load<Floats>(x + i + half * LANES); });
    return sum_of(sums[0] + sums[1]);
}
// The place of the largest of some numbers, which is put out of the race. (A NaN never wins.)
inline int64_t taken(float* values, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; ++i) best = values[i] > values[best] || values[best] != values[best] ? i : best;
    values[best] = -INFINITY;
    return best;
}
inline void scored(const Routing& how, float* scores) {
    float most = -INFINITY, sum = 0;
    for (int64_t e = 0; e < how.experts; ++e) most = std::max(most, scores[e] += how.bias ? how.bias[e] : 0);
    for (int64_t e = 0; e < how.experts; ++e)
        sum += scores[e] = how.sigmoid ? 1 / (1 + std::exp(-scores[e])) : std::exp(scores[e] - most);
    for (int64_t e = 0; !how.sigmoid && e < how.experts; ++e) scores[e] /= sum;
}
// The experts of a row and their weights, from its scores.
inline void choose(const Routing& how, const float* scores, int64_t* chosen, float* weights) {
    static thread_local std::vector<float> race, groups;
    race.assign(scores, scores + how.experts);
    float odd = 0, sum = 0;  // a NaN must reach the result, whoever is chosen
    for (int64_t e = 0; e < how.experts; ++e) odd += scores[e] - scores[e], race[e] += how.correction ? how.correction[e] : 0;
    const int64_t size = how.experts / how.groups;
    groups.resize(how.groups);
    for (int64_t g = 0; how.groups > 1 && g < how.groups; ++g) {
        float best = -INFINITY, second = -INFINITY;
        for (int64_t e = g * size; e < (g + 1) * size; ++e)
            if (race[e] > best) second = best, best = race[e];
            else second = std::max(second, race[e]);
        groups[g] = how.two ? best + second : best;
    }
    std::vector<bool> kept(how.groups, how.groups == 1);
    for (int64_t n = 0; how.groups > 1 && n < how.kept; ++n) kept[taken(groups.data(), how.groups)] = true;
    for (int64_t e = 0; e < how.experts; ++e) race[e] = kept[e / size] ? race[e] : -INFINITY;
    for (int64_t n = 0; n < how.top; ++n) sum += weights[n] = scores[chosen[n] = taken(race.data(), how.experts)];
    for (int64_t n = 0; n < how.top; ++n) weights[n] = weights[n] / (how.renormalised ? sum + 1e-20f : 1) * how.scale + odd;
}

// Rows [rows, inputs] to the same normed, their scores [rows, experts], the chosen and their weights [rows, top].
EXPORT void girih_route(const Routing* how, const Before* before, const float* x, int64_t x_stride, int64_t rows, float* normed,
                        float* scores, int64_t* chosen, float* weights, int threads) {
    const int64_t experts = how->experts, inputs = how->inputs, all = rows * experts;
    constexpr float (*dots[])(const void*, int64_t, const float*, int64_t) = {dot<float>, dot<Bfloat>, dot<Half>};
#pragma omp parallel num_threads(threads) if (all * inputs > 1 << 17)
    {
#pragma omp for
        for (int64_t n = 0; n < rows; ++n) prepare(*before, x + n * x_stride, inputs, normed + n * inputs);
#pragma omp for
        for (int64_t n = 0; n < all; ++n) scores[n] = dots[how->stored](how->weight, n % experts, normed + n / experts * inputs, inputs);
#pragma omp for
        for (int64_t n = 0; n < rows; ++n) {
            scored(*how, scores + n * experts);
            choose(*how, scores + n * experts, chosen + n * how->top, weights + n * how->top);
        }
    }
}

// The matrices of all experts [outputs, ...], so many bytes apart, and their biases [experts, outputs] or null.
struct Stack {
    const uint8_t* data;
    int64_t format, outputs, apart;
    const float* bias;
};
// Up, or gate and up, into the hidden features, what is done to these, and down out of them.
struct Mixture {
    int64_t count, inputs, hidden;
    Stack into[2], down;
    const Before* between;
};
// The rows of one expert, side by side.
struct Share {
    int64_t expert, first, count;
    Rounded rows;
};

// The products of stacks with the rows of every share, side by side: out [all rows, sum of outputs].
inline void products(const Stack* stacks, int64_t count, std::vector<Share>& shares, size_t own, int64_t outputs, int64_t stretch, float* out) {
    int64_t panels = 0;
    for (const Stack* s = stacks; s < stacks + count; ++s) panels += (s->outputs + WIDTH - 1) / WIDTH;
    const int64_t all = own * panels;
#pragma omp for schedule(dynamic, std::max<int64_t>(1, all / stretch))
    for (int64_t number = 0; number < all; ++number) {
        const Share& share = shares[number / panels];
        int64_t column = 0, panel = number % panels;
        const Stack* stack = stacks;
        for (int64_t ours; ours = (stack->outputs + WIDTH - 1) / WIDTH, panel >= ours; ++stack) panel -= ours, column += stack->outputs;
        const int64_t first = panel * WIDTH, end = std::min(stack->outputs, first + WIDTH);
        const float* bias = stack->bias ? stack->bias + share.expert * stack->outputs - column : nullptr;
        const Out to{bias, nullptr, out + share.first * outputs, column, outputs};
        PRODUCTS[stack->format](stack->data + share.expert * stack->apart, first, end, share.rows, to);
    }
}

// Rows [tokens, inputs] to the weighted sums of what the chosen experts [tokens, top] make of them, onto rows like the
// result (which may be null).
EXPORT void girih_experts(const Mixture* all, const float* x, int64_t x_stride, int64_t tokens, int64_t top, const int64_t* chosen,
                          const float* weights, const float* onto, float* out, int threads) {
    static thread_local std::vector<Share> held;
    static thread_local std::vector<int64_t> order, places;
    static thread_local std::vector<float> gathered, hidden;
    const Before nothing{};
    const int64_t pairs = tokens * top, inputs = all->inputs, width = all->into[0].outputs * all->count;
    order.resize(pairs), places.resize(pairs), gathered.resize(pairs * inputs), hidden.resize(pairs * width);
    for (int64_t n = 0; n < pairs; ++n) order[n] = n;
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return chosen[a] < chosen[b]; });
    size_t own = 0;
    for (int64_t n = 0; n < pairs; ++n) {
        places[order[n]] = n;
        if (own && held[own - 1].expert == chosen[order[n]]) { ++held[own - 1].count; continue; }
        if (held.size() == own) held.emplace_back();
        held[own].expert = chosen[order[n]], held[own].first = n, held[own++].count = 1;
    }
    std::vector<Share>& shares = held;  // of this thread, in the others too
    const std::vector<int64_t>&from = order, &to = places;
    float *rows = gathered.data(), *inner = hidden.data();
    const int64_t stretch = pairs <= FEW ? threads : pairs * 1024;  // of few rows each thread reads one of every matrix
#pragma omp parallel num_threads(threads)
    {
        const auto take = [&](const Stack* stacks, int64_t count, const Before& before, const float* values, int64_t stride, int64_t wide) {
            bool plain = false, packed = false;
            for (const Stack* s = stacks; s < stacks + count; ++s) (s->format < PACKED ? packed : plain) = true;
#pragma omp for schedule(dynamic)
            for (size_t s = 0; s < own; ++s) {
                shares[s].rows.resize(shares[s].count, wide, plain, packed);
                for (int64_t number = 0; number < shares[s].rows.groups; ++number)
                    shares[s].rows.take(before, values + shares[s].first * stride, stride, number);
            }
        };
#pragma omp for
        for (int64_t n = 0; n < pairs; ++n) std::memcpy(rows + n * inputs, x + from[n] / top * x_stride, inputs * sizeof(float));
        take(all->into, all->count, nothing, rows, inputs, inputs);
        products(all->into, all->count, shares, own, width, stretch, inner);
        take(&all->down, 1, *all->between, inner, width, all->hidden);
        products(&all->down, 1, shares, own, inputs, stretch, rows);
#pragma omp for
        for (int64_t t = 0; t < tokens; ++t) {
            float* sum = out + t * inputs;
            for (int64_t i = 0; i < inputs; ++i) sum[i] = onto ? onto[t * inputs + i] : 0;
            for (int64_t k = t * top; k < (t + 1) * top; ++k)
                for (int64_t i = 0; i < inputs; ++i) sum[i] += weights[k] * rows[to[k] * inputs + i];
        }
    }
}
