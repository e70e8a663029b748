// All steps of a layer, the hidden states kept for the backward pass or not.
#pragma once

#include "cells.h"
#include "states.h"

namespace tenor::TENOR_ISA {
namespace {

template <class Op>
struct Forward {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    using V = typename Op::V;
    static constexpr int W = width<acc>, PAIR = Op::PAIR;

    static void convert(const Run& p, int64_t from, int64_t to) {
        const Layer& l = *p.layer;
        for (int64_t n = from; n < to; n++)
            convert_row<Op>(static_cast<const acc*>(p.x_given) + n * l.input, static_cast<elem*>(const_cast<void*>(p.x)) + n * l.ip, l.input, l.ip);
    }

    // A panel of a step: bias + x W_ih + h W_hh -> c[r], a block for this panel alone. x: its first row; h: all, equally far apart.
    // The input fills its tiles (`whole` in sequence.cpp), so nothing of it is left for the vectors.
    template <class C>
    static void both_products(const Panels<Op>& in, const Panels<Op>& hid, int panel, const Cut<Op>& cut, const elem* x, const char* const* h, const acc* bias, acc* const* c) {
        if constexpr (TILED<Op>) {
            const int vectors = hid.vectors_of(panel), first = panel * hid.a_panel;
            int to_x[MOST_VECTORS], to_h[MOST_VECTORS], start_x[MOST_VECTORS], start_h[MOST_VECTORS];
            places<C>(0, vectors, false, to_x), places<C>(0, vectors, true, to_h);
            places<C>(first, vectors, false, start_x), places<C>(first, vectors, true, start_h);
            int shared = 0;
            while (shared < vectors && to_x[shared] == to_h[shared]) shared++;  // the rest, the GRU's n, keeps its two sums apart
            const int64_t stride = cut.rows > 1 ? c[1] - c[0] : 0;
            const Term terms[2] = {
                {in.tiled() / TILE_ROWS, reinterpret_cast<const char*>(x), in.k * PAIR * int64_t(sizeof(elem)), reinterpret_cast<const char*>(in.at(panel))},
                {hid.tiled() / TILE_ROWS, h[0], cut.rows > 1 ? h[1] - h[0] : 0, reinterpret_cast<const char*>(hid.at(panel))},
            };
            const Sums<acc> to_both{c[0], stride, to_x, bias, 0, start_x}, to_hidden{c[0], stride, to_h, bias, 0, start_h};
            multiply_tiles<Op>(terms, 2, shared, cut, to_both);
            if (shared < vectors) {
                multiply_tiles<Op>(terms, 1, vectors - shared, cut, to_both, shared);
                multiply_tiles<Op>(terms + 1, 1, vectors - shared, cut, to_hidden, shared);
            }
            multiply_rest<Op>(hid, panel, cut.rows, h, PAIR * sizeof(elem), c, to_h, nullptr);
        }
    }

    // Sequences from..to of one direction, all steps. The input's product is taken for several steps at once, as many
    // rows as stay in the cache; then the steps follow one another.
    template <class C>
    static size_t forward(const Run& p, int d, int64_t from, int64_t to, char* memory) {
        const Layer& l = *p.layer;
        const int64_t n = to - from, hp = l.hp, sums = C::SLOTS * hp;
        const int64_t room = most(n, 131072 / int64_t(sums * sizeof(acc)));  // rows of sums; 128 KB, an eighth of Zen 4's L2
        const auto& w = l.direction[d];
        const auto in = forward_panels<Op>(l, w.in, l.ip), hid = forward_panels<Op>(l, w.hid, hp);
        Scratch scratch(memory);
        acc *h = scratch.take<acc>(n * hp), *c = scratch.take<acc>(C::HAS_CELL ? n * hp : 0), *mask = scratch.take<acc>(p.mask ? n * hp : 0), *pre = scratch.take<acc>(room * sums);
        elem* spare = scratch.take<elem>(p.before ? 0 : 2 * n * hp);
        const char** a = scratch.take<const char*>(room);
        acc** row = scratch.take<acc*>(room);
        // With tiles, a step of many rows takes both products at once, and its sums go to a block that stays in the first cache level.
        constexpr bool AT_ONCE = TILED<Op>;
        const int64_t block_size = hid.a_panel / C::GATES * C::SLOTS * W;
        acc* block = scratch.take<acc>(AT_ONCE ? n * block_size : 0);
        acc** block_row = scratch.take<acc*>(AT_ONCE ? n : 0);
        elem* gathered = scratch.take<elem>(AT_ONCE ? room * l.ip : 0);
        if (!memory) return scratch.bytes();
        for (int64_t r = 0; AT_ONCE && r < n; r++) block_row[r] = block + r * block_size;
        [[maybe_unused]] const TilesInUse<Op> in_use;
        read_state(l, p.h0, d * p.batch + from, n, h);
        if (C::HAS_CELL) read_state(l, p.c0, d * p.batch + from, n, c);
        if (p.mask) read_state(l, p.mask, d * p.batch + from, n, mask);

        const auto step_of = [&](int64_t s) { return d ? p.steps - 1 - s : s; };
        const auto live_at = [&](int64_t s) { return s < p.steps ? most(0, least(n, p.live[step_of(s)] - from)) : 0; };
        const auto operand = [&](void* all, int64_t s) -> elem* {
            if (!p.before) return spare + s % 2 * n * hp;
            return s < p.steps ? static_cast<elem*>(all) + (d * p.rows + p.first[step_of(s)] + from) * hp : nullptr;
        };
        const bool raw = p.before && p.before_raw != p.before;
        int64_t ready = 0;  // sequences whose operand of this step stands already
        for (int64_t s = 0, end = 0; s < p.steps; s = end) {
            const auto at_once = [&](int64_t i) { return AT_ONCE && live_at(i) >= TILE_ROWS; };
            int64_t count = 0;
            for (end = s + at_once(s); end < p.steps && (end == s || (count + live_at(end) <= room && !at_once(end) && !at_once(s))); end++) {
                const int64_t place = p.first[step_of(end)] + from;
                for (int64_t r = 0; r < live_at(end); r++, count++)
                    a[count] = reinterpret_cast<const char*>(static_cast<const elem*>(p.x) + (place + r) * l.ip), row[count] = pre + count * sums;
            }
            for (int64_t r = 0; r < count; r++) {
                if constexpr (AT_ONCE) a[r] = static_cast<const char*>(memcpy(gathered + r * l.ip, a[r], l.ip * sizeof(elem)));
                memcpy(row[r], w.bias, sums * sizeof(acc));
            }
            int at[MOST_VECTORS];
            const Cut<Op> ahead(count);
            for (int panel = 0; panel < (count ? in.count() : 0); panel++) {
                places<C>(panel * in.a_panel, in.vectors_of(panel), false, at);
                multiply(in, panel, ahead, a, PAIR * sizeof(elem), row, at);
            }
            acc* sum = pre;
            for (int64_t i = s; i < end; i++) {
                const int64_t live = live_at(i), next = live_at(i + 1);
                elem* now = operand(p.before, i);
                for (int64_t r = ready; r < live; r++)  // those that begin here
                    for (int64_t j = 0; j < hp; j += W) {
                        const V state = load(h + r * hp + j);
                        Op::store_elems(now + r * hp + j, p.mask ? state * load(mask + r * hp + j) : state);
                        if (raw) Op::store_elems(operand(p.before_raw, i) + r * hp + j, state);
                    }
                for (int64_t r = 0; r < live; r++) a[r] = reinterpret_cast<const char*>(now + r * hp), row[r] = sum + r * sums;
                const int64_t place = d * p.rows + p.first[step_of(i)] + from;
                elem* keep = C::KEEPS_GATES && p.before ? static_cast<elem*>(p.keep) + place * sums : nullptr;
                acc* cells = C::HAS_CELL && p.before ? static_cast<acc*>(p.cells) + place * hp : nullptr;
                acc* out = static_cast<acc*>(p.out) + (p.first[step_of(i)] + from) * l.directions * l.hidden + d * l.hidden;
                elem *then = operand(p.before, i + 1), *then_raw = raw ? operand(p.before_raw, i + 1) : nullptr;
                const Cut<Op> cut(live);
                const bool together = at_once(i);
                for (int panel = 0; panel < hid.count(); panel++) {
                    places<C>(panel * hid.a_panel, hid.vectors_of(panel), true, at);
                    if (AT_ONCE && together)
                        both_products<C>(in, hid, panel, cut, static_cast<const elem*>(p.x) + (p.first[step_of(i)] + from) * l.ip, a, static_cast<const acc*>(w.bias), block_row);
                    else
                        multiply(hid, panel, cut, a, PAIR * sizeof(elem), row, at);
                    const int blocks = hid.vectors_of(panel) / C::GATES;
                    const int64_t from_unit = int64_t(panel) * hid.a_panel / C::GATES * W;
                    for (int64_t j = from_unit, stop = j + blocks * W; j < stop; j += W) {
                        const int lanes = int(least(W, l.hidden - j));
                        for (int64_t r = 0; r < live; r++) {
                            acc* state = h + r * hp + j;
                            acc* cell = C::HAS_CELL ? c + r * hp + j : nullptr;
                            const acc* from_row = together ? block_row[r] + (j - from_unit) * C::SLOTS : row[r] + j * C::SLOTS;
                            V of[C::SLOTS];
                            for (int slot = 0; slot < C::SLOTS; slot++) of[slot] = load(from_row + slot * W);
                            const V v = real<acc>(C::forward(of, load(state), cell, keep ? keep + r * sums + j * C::SLOTS : nullptr), lanes);
                            store(state, v);
                            if (C::HAS_CELL) store(cell, real<acc>(load(cell), lanes));
                            if (cells) store(cells + r * hp + j, load(c + r * hp + j));
                            store_part(out + r * l.directions * l.hidden + j, v, lanes);
                            if (r < next) {
                                Op::store_elems(then + r * hp + j, p.mask ? v * load(mask + r * hp + j) : v);
                                if (raw) Op::store_elems(then_raw + r * hp + j, v);
                            }
                        }
                    }
                }
                sum += live * sums;
                ready = least(live, next);
            }
        }
        write_state(l, h, d * p.batch + from, n, p.hn);
        if (C::HAS_CELL) write_state(l, c, d * p.batch + from, n, p.cn);
        return scratch.bytes();
    }

    static size_t forward_any(const Run& p, int d, int64_t from, int64_t to, char* memory) {
        switch (p.layer->cell) {
            case Cell::lstm: return forward<Lstm<Op>>(p, d, from, to, memory);
            case Cell::gru: return forward<Gru<Op>>(p, d, from, to, memory);
            case Cell::rnn_tanh: return forward<Rnn<Op, false>>(p, d, from, to, memory);
            case Cell::rnn_relu: break;
        }
        return forward<Rnn<Op, true>>(p, d, from, to, memory);
    }
};

}  // namespace
}  // namespace tenor::TENOR_ISA
