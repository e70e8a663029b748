// The gradient of the sums, a step after the other from the last, and of the input.
#pragma once

#include "cells.h"
#include "states.h"

namespace tenor::TENOR_ISA {
namespace {

template <class Op>
struct Backward {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    using V = typename Op::V;
    static constexpr int W = width<acc>, PAIR = Op::PAIR;

    // The gradient of the sums of every row, and of the initial state; the steps in the other order.
    template <class C>
    static size_t backward(const Run& p, int unit, int d, int64_t from, int64_t to, char* memory) {
        const Layer& l = *p.layer;
        const int64_t n = to - from, hp = l.hp, kept = C::SLOTS * hp, sums = C::GATES * hp;
        const auto hid = backward_panels<Op>(l, l.direction[d].hid_back, l.hidden);
        Scratch scratch(memory);
        acc *dh = scratch.take<acc>(n * hp), *dc = scratch.take<acc>(C::HAS_CELL ? n * hp : 0), *c0 = scratch.take<acc>(C::HAS_CELL ? n * hp : 0);
        acc *mask = scratch.take<acc>(p.mask ? n * hp : 0), *masked = scratch.take<acc>(p.mask ? n * hp : 0);
        const char** a = scratch.take<const char*>(n);
        acc** row = scratch.take<acc*>(n);
        if (!memory) return scratch.bytes();
        [[maybe_unused]] const TilesInUse<Op> in_use;
        read_state(l, p.d_hn, d * p.batch + from, n, dh);
        if (C::HAS_CELL) {
            read_state(l, p.d_cn, d * p.batch + from, n, dc);
            read_state(l, p.c0, d * p.batch + from, n, c0);
        }
        if (p.mask) read_state(l, p.mask, d * p.batch + from, n, mask);
        acc* d_bias = static_cast<acc*>(p.d_bias) + int64_t(unit) * 2 * sums;
        memset(d_bias, 0, 2 * sums * sizeof(acc));

        const auto step_of = [&](int64_t s) { return d ? p.steps - 1 - s : s; };
        for (int64_t s = p.steps - 1; s >= 0; s--) {
            const int64_t t = step_of(s), live = most(0, least(n, p.live[t] - from));
            if (!live) continue;
            const int64_t place = d * p.rows + p.first[t] + from;
            const int64_t earlier = s ? most(0, least(n, p.live[step_of(s - 1)] - from)) : 0;  // sequences with a step before this
            const elem* keep = C::KEEPS_GATES ? static_cast<const elem*>(p.keep) + place * kept : nullptr;
            const auto* before = static_cast<const elem*>(p.before_raw) + place * hp;
            const acc* cells = C::HAS_CELL ? static_cast<const acc*>(p.cells) + place * hp : nullptr;
            const acc* cells_before = C::HAS_CELL && s ? static_cast<const acc*>(p.cells) + (d * p.rows + p.first[step_of(s - 1)] + from) * hp : nullptr;
            auto* d_sums = static_cast<elem*>(p.d_sums) + place * sums;
            auto* d_hidden = static_cast<elem*>(p.d_hidden) + place * sums;
            const int64_t wide = l.directions * l.hidden, at_out = (p.first[t] + from) * wide + d * l.hidden;
            const acc* d_out = p.d_out ? static_cast<const acc*>(p.d_out) + at_out : nullptr;
            const acc* out = C::KEEPS_GATES ? nullptr : static_cast<const acc*>(p.out) + at_out;
            const int64_t rows_ahead = s ? p.first[step_of(s - 1)] - p.first[t] : 0, cell_rows_ahead = s > 1 ? p.first[step_of(s - 2)] - p.first[step_of(s - 1)] : 0;
            for (int64_t j = 0; j < hp; j += W) {
                const int lanes = int(least(W, l.hidden - j));
                V total[C::GATES] = {}, total_hidden[C::GATES] = {};
                for (int64_t r = 0; r < live; r++) {
                    V g[C::GATES], gh[C::GATES], v = load(dh + r * hp + j), now{}, earlier_cell{};
                    if (d_out) v += load_part(d_out + r * wide + j, lanes);
                    if (C::HAS_CELL) {
                        now = load(cells + r * hp + j);
                        earlier_cell = load((r < earlier ? cells_before : c0) + r * hp + j);
                    }
                    if (keep) fetch<2>(keep + (r + rows_ahead) * kept + j * C::SLOTS, C::SLOTS * W * sizeof(elem));
                    if (C::HAS_CELL && s) fetch<2>(cells_before + (r + cell_rows_ahead) * hp + j, W * sizeof(acc));
                    if (d_out) fetch<2>(d_out + (r + rows_ahead) * wide + j, W * sizeof(acc));
                    const V h = C::SPLIT ? Op::load_elems(before + r * hp + j) : out ? load_part(out + r * wide + j, lanes) : V{};
                    store(dh + r * hp + j, C::backward(keep + (keep ? r * kept + j * C::SLOTS : 0), h, now, earlier_cell, v, C::HAS_CELL ? dc + r * hp + j : nullptr, g, gh));
                    for (int gate = 0; gate < C::GATES; gate++) {
                        g[gate] = real<acc>(g[gate], lanes);
                        if (C::SPLIT) gh[gate] = real<acc>(gh[gate], lanes);
                        Op::store_elems(d_sums + r * sums + j * C::GATES + gate * W, g[gate]);
                        total[gate] += g[gate];
                        if (C::SPLIT) {
                            Op::store_elems(d_hidden + r * sums + j * C::GATES + gate * W, gh[gate]);
                            total_hidden[gate] += gh[gate];
                        }
                    }
                }
                for (int gate = 0; gate < C::GATES; gate++) {
                    acc* at = d_bias + j * C::GATES + gate * W;
                    store(at, load(at) + total[gate]);
                    store(at + sums, load(at + sums) + (C::SPLIT ? total_hidden[gate] : total[gate]));
                }
            }
            acc* target = p.mask ? masked : dh;
            if (p.mask) memset(masked, 0, live * hp * sizeof(acc));
            for (int64_t r = 0; r < live; r++) a[r] = reinterpret_cast<const char*>(d_hidden + r * sums), row[r] = target + r * hp;
            const Cut<Op> cut(live);
            for (int panel = 0; panel < hid.count(); panel++) {
                int at[MOST_VECTORS];
                for (int v = 0; v < hid.vectors_of(panel); v++) at[v] = (panel * hid.a_panel + v) * W;
                multiply(hid, panel, cut, a, PAIR * sizeof(elem), row, at);
            }
            if (p.mask)
                for (int64_t i = 0; i < live * hp; i += W) store(dh + i, fma(load(mask + i), load(masked + i), load(dh + i)));
        }
        write_state(l, dh, d * p.batch + from, n, p.d_h0);
        if (C::HAS_CELL) write_state(l, dc, d * p.batch + from, n, p.d_c0);
        return scratch.bytes();
    }

    // d_x of rows from..to: both directions' gradients times W_ih.
    static size_t input_gradient(const Run& p, int64_t from, int64_t to, char* memory) {
        const Layer& l = *p.layer;
        const int64_t n = to - from, columns = p.in_columns, sums = l.gates * l.hp;
        Scratch scratch(memory);
        acc* sum = scratch.take<acc>(n * columns);
        const char** a = scratch.take<const char*>(n);
        acc** row = scratch.take<acc*>(n);
        if (!memory) return scratch.bytes();
        [[maybe_unused]] const TilesInUse<Op> in_use;
        const Cut<Op> cut(n);
        memset(sum, 0, n * columns * sizeof(acc));
        for (int d = 0; d < l.directions; d++) {
            const auto panels = backward_panels<Op>(l, l.direction[d].in_back, l.input);
            for (int64_t r = 0; r < n; r++) a[r] = reinterpret_cast<const char*>(static_cast<const elem*>(p.d_sums) + (d * p.rows + from + r) * sums), row[r] = sum + r * columns;
            for (int panel = 0; panel < panels.count(); panel++) {
                int at[MOST_VECTORS];
                for (int v = 0; v < panels.vectors_of(panel); v++) at[v] = (panel * panels.a_panel + v) * W;
                multiply(panels, panel, cut, a, PAIR * sizeof(elem), row, at);
            }
        }
        for (int64_t r = 0; r < n; r++) memcpy(static_cast<acc*>(p.d_x) + (from + r) * l.input, sum + r * columns, l.input * sizeof(acc));
        return scratch.bytes();
    }

    static size_t backward_any(const Run& p, int unit, int d, int64_t from, int64_t to, char* memory) {
        switch (p.layer->cell) {
            case Cell::lstm: return backward<Lstm<Op>>(p, unit, d, from, to, memory);
            case Cell::gru: return backward<Gru<Op>>(p, unit, d, from, to, memory);
            case Cell::rnn_tanh: return backward<Rnn<Op, false>>(p, unit, d, from, to, memory);
            case Cell::rnn_relu: break;
        }
        return backward<Rnn<Op, true>>(p, unit, d, from, to, memory);
    }
};

}  // namespace
}  // namespace tenor::TENOR_ISA
