// Words with frozen weights: their products with W_ih are looked up, and the outputs pooled as they come.
#pragma once

#include "cells.h"
#include "states.h"

namespace tenor::TENOR_ISA {
namespace {

template <class Op>
struct Reading {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    using V = typename Op::V;
    static constexpr int W = width<acc>, PAIR = Op::PAIR;

    // The sums of words that no step changes: W_ih times their vectors, and the biases.
    static size_t fold(const Layer& l, int d, const void* embedding, int64_t from, int64_t to, void* table, char* memory) {
        constexpr int64_t ROWS = 48;  // a multiple of every tile's rows
        const int64_t sums = l.slots * l.hp;
        const auto& w = l.direction[d];
        const auto in = forward_panels<Op>(l, w.in, l.ip);
        Scratch scratch(memory);
        acc* pre = scratch.take<acc>(ROWS * sums);
        elem* x = scratch.take<elem>(ROWS * l.ip);
        if (!memory) return scratch.bytes();
        [[maybe_unused]] const TilesInUse<Op> in_use;
        for (int64_t first = from; first < to; first += ROWS) {
            const int64_t n = least(ROWS, to - first);
            const char* a[ROWS];
            acc* row[ROWS];
            for (int64_t r = 0; r < n; r++) {
                convert_row<Op>(static_cast<const acc*>(embedding) + (first + r) * l.input, x + r * l.ip, l.input, l.ip);
                a[r] = reinterpret_cast<const char*>(x + r * l.ip), row[r] = pre + r * sums;
                memcpy(row[r], w.bias, sums * sizeof(acc));
            }
            const Cut<Op> cut(n);
            for (int panel = 0; panel < in.count(); panel++) {
                int at[MOST_VECTORS];
                for (int v = 0; v < in.vectors_of(panel); v++) {
                    const int vector = panel * in.a_panel + v;
                    at[v] = (vector / l.gates * l.slots + vector % l.gates) * W;
                }
                multiply(in, panel, cut, a, PAIR * sizeof(elem), row, at);
            }
            for (int64_t i = 0; i < n * sums; i += W) Op::store_elems(static_cast<elem*>(table) + first * sums + i, load(pre + i));
        }
        return scratch.bytes();
    }

    // Sequences from..to of one direction over words with frozen weights. A panel's product goes to a block, and its units' gates, states
    // and pooling are done before the next one's: all of it stays in the first cache level.
    // H: the type of the recurrent product, Op or S8.
    template <class C, class H>
    static size_t read(const Run& p, int d, int64_t from, int64_t to, char* memory) {
        constexpr bool EIGHT = H::PAIR == 4;
        using sum = typename H::acc;
        constexpr int64_t SOON = 6;  // sequences ahead, into the first cache level what the step before fetched into the second: 3 % of the time of LSTM 224 in 8 bits on a Zen 5
        enum { STATE, CELL, GREATEST, TOTAL, KINDS };  // of one row's block of units, side by side
        const Layer& l = *p.layer;
        const int64_t n = to - from, hp = l.hp, sums = C::SLOTS * hp;
        const auto& w = l.direction[d];
        const auto hid = forward_panels<H>(l, EIGHT ? w.hid_8 : w.hid, hp);
        const int64_t block_size = hid.a_panel / C::GATES * C::SLOTS * W;
        Scratch scratch(memory);
        acc* states = scratch.take<acc>(n * hp * KINDS);  // [block of units, row, kind, lane]
        sum *block = scratch.take<sum>(n * block_size), *zeros = scratch.take<sum>(block_size);
        auto* operands = scratch.take<typename H::elem>(2 * n * hp);
        const elem** words = scratch.take<const elem*>(2 * n);
        const char** a = scratch.take<const char*>(n);
        sum** row = scratch.take<sum*>(n);
        if (!memory) return scratch.bytes();
        memset(zeros, 0, block_size * sizeof(sum));
        memset(states, 0, n * hp * KINDS * sizeof(acc));
        for (int64_t i = 0; i < n * l.blocks; i++) store(states + (i * KINDS + GREATEST) * W, broadcast(-acc(__builtin_inf())));
        for (int64_t r = 0; r < n; r++) row[r] = block + r * block_size;
        [[maybe_unused]] const TilesInUse<H> in_use;
        Cut<H> cut(0);

        const auto step_of = [&](int64_t s) { return d ? p.steps - 1 - s : s; };
        const auto live_at = [&](int64_t s) { return s < p.steps ? most(0, least(n, p.live[step_of(s)] - from)) : 0; };
        const auto look_up = [&](int64_t s, int64_t live) {
            const elem** found = words + s % 2 * n;
            for (int64_t r = 0; r < live; r++) found[r] = static_cast<const elem*>(p.table[d]) + p.ids[p.first[step_of(s)] + from + r] * sums;
            return found;
        };
        int64_t ready = 0;  // sequences whose operand of this step stands already
        const elem** word = look_up(0, live_at(0));
        for (int64_t s = 0; s < p.steps; s++) {
            const int64_t live = live_at(s), next = live_at(s + 1), both = least(live, next);
            typename H::elem *now = operands + s % 2 * n * hp, *then = operands + (s + 1) % 2 * n * hp;
            for (int64_t i = ready * hp; i < live * hp; i += W) H::store_elems(now + i, V{});  // those that begin here
            for (int64_t r = 0; r < live; r++) a[r] = reinterpret_cast<const char*>(now + r * hp);
            const elem** next_word = look_up(s + 1, next);
            cut.cover(live);
            for (int i = 0; i < hid.count(); i++) {
                const int panel = s % 2 ? hid.count() - 1 - i : i;  // there and back: the panel read last is still in the first cache level
                const int64_t from_unit = int64_t(panel) * hid.a_panel / C::GATES * W;
                int at[MOST_VECTORS];
                places<C>(0, hid.vectors_of(panel), true, at);
                multiply(hid, panel, cut, a, H::PAIR * sizeof(typename H::elem), row, at, EIGHT ? static_cast<const sum*>(w.offset_8) + from_unit * C::SLOTS : zeros);
                for (int b = 0; b < hid.vectors_of(panel) / C::GATES; b++) {
                    const int64_t j = from_unit + b * W;
                    const int lanes = int(least(W, l.hidden - j));
                    for (int64_t r = 0; r < live; r++) {
                        if (r + SOON < live) fetch<3>(word[r + SOON] + j * C::SLOTS, C::SLOTS * W * sizeof(elem));
                        V of[C::SLOTS];
                        for (int slot = 0; slot < C::SLOTS; slot++) of[slot] = Op::load_elems(word[r] + j * C::SLOTS + slot * W);
                        for (int slot : C::HIDDEN_SLOT) {
                            const sum* product = row[r] + (b * C::SLOTS + slot) * W;
                            if constexpr (EIGHT)
                                of[slot] = fma(H::value(product), load(static_cast<const float*>(w.scale_8) + j * C::SLOTS + slot * W), of[slot]);
                            else
                                of[slot] += load(product);
                        }
                        acc* state = states + (j / W * n + r) * KINDS * W;
                        const V v = real<acc>(C::forward(of, load(state), state + CELL * W, nullptr), lanes);
                        store(state, v);
                        if (C::HAS_CELL) store(state + CELL * W, real<acc>(load(state + CELL * W), lanes));
                        if (p.pooled) {
                            store(state + GREATEST * W, at_least(load(state + GREATEST * W), v));  // NaN is taken, and a state that is NaN stays NaN
                            store(state + TOTAL * W, load(state + TOTAL * W) + v);
                        }
                        if (r < both) {
                            H::store_elems(then + r * hp + j, v);
                            fetch<2>(next_word[r] + j * C::SLOTS, C::SLOTS * W * sizeof(elem));
                        }
                    }
                }
            }
            ready = both, word = next_word;
        }
        for (int64_t r = 0, t = p.steps; r < n; r++) {
            while (t && p.live[t - 1] <= from + r) t--;  // t: the sequence's length; it falls as r grows
            const int64_t wide = l.directions * l.hidden;
            for (int64_t j = 0; j < l.hidden; j++) {
                const acc* state = states + (j / W * n + r) * KINDS * W + j % W;
                if (p.hn) static_cast<acc*>(p.hn)[(d * p.batch + from + r) * l.hidden + j] = state[STATE * W];
                if (!p.pooled) continue;
                acc* to_row = static_cast<acc*>(p.pooled) + (from + r) * 2 * wide + d * l.hidden + j;
                to_row[0] = state[GREATEST * W];
                to_row[wide] = state[TOTAL * W] / acc(t);
            }
        }
        return scratch.bytes();
    }

    // C8: the same cell, as it is read in 8 bits.
    template <class C, class C8>
    static size_t read_either(const Run& p, int d, int64_t from, int64_t to, char* memory) {
#if defined(TENOR_HAS_S8)
        if constexpr (PAIR == 2)
            if (p.eight_bits) return read<C8, S8>(p, d, from, to, memory);
#endif
        return read<C, Op>(p, d, from, to, memory);
    }

    static size_t read_any(const Run& p, int d, int64_t from, int64_t to, char* memory) {
        switch (p.layer->cell) {
            case Cell::lstm: return read_either<Lstm<Op>, Lstm<Op, Rough>>(p, d, from, to, memory);
            case Cell::gru: return read_either<Gru<Op>, Gru<Op, Rough>>(p, d, from, to, memory);
            case Cell::rnn_tanh: return read_either<Rnn<Op, false>, Rnn<Op, false, Rough>>(p, d, from, to, memory);
            case Cell::rnn_relu: break;
        }
        return read<Rnn<Op, true>, Op>(p, d, from, to, memory);  // its states have no bound for 8 bits
    }
};

}  // namespace
}  // namespace tenor::TENOR_ISA
