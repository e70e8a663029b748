// One step of a layer with frozen weights, for the few rows of a model that writes. Its two products and its cell are apart: the
// product with h needs nothing of the step it belongs to but the states before, so whoever calls may take it early (writer.cpp).
#pragma once

#include "cells.h"
#include "states.h"

namespace tenor::TENOR_ISA {
namespace {

template <class Op>
struct Writing {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    using V = typename Op::V;
    static constexpr int W = width<acc>;

    // sums += from W, all panels, the last one first where `back`. H: the type of the product, Op or S8.
    template <class C, class H>
    static size_t product(const Layer& l, bool hidden, const Rows& p, char* memory) {
        constexpr bool EIGHT = H::PAIR == 4;
        using sum = typename H::acc;
        const int64_t n = p.count, k = hidden ? l.hp : EIGHT ? in_8_width(l) : l.ip, pitch = (k + W - 1) / W * W, sums = C::SLOTS * l.hp;
        const auto& w = l.direction[0];
        const auto panels = forward_panels<H>(l, hidden ? (EIGHT ? w.hid_8 : w.hid) : (EIGHT ? w.in_8 : w.in), k);
        Scratch scratch(memory);
        auto* operands = scratch.take<typename H::elem>(n * pitch);
        const char** a = scratch.take<const char*>(n);
        sum** row = scratch.take<sum*>(n);
        if (!memory) return scratch.bytes();
        [[maybe_unused]] const TilesInUse<H> in_use;
        for (int64_t r = 0; r < n; r++) {
            for (int64_t i = 0; i < pitch; i += W) H::store_elems(operands + r * pitch + i, i < p.wide ? load(static_cast<const acc*>(p.from) + r * p.wide + i) : V{});
            a[r] = reinterpret_cast<const char*>(operands + r * pitch), row[r] = static_cast<sum*>(p.sums) + r * sums;
        }
        const Cut<H> cut(n);
        for (int i = 0; i < panels.count(); i++) {
            const int panel = p.back ? panels.count() - 1 - i : i;
            int at[MOST_VECTORS];
            places<C>(panel * panels.a_panel, panels.vectors_of(panel), hidden, at);
            multiply(panels, panel, cut, a, H::PAIR * sizeof(typename H::elem), row, at);
        }
        return scratch.bytes();
    }

    // The states after the step, from its sums, which then stand as before any product. words: rows of `table` [.., slots * hp]; null: x was multiplied.
    template <class C, bool EIGHT>
    static void cell(const Layer& l, const void* table, const int64_t* words, const Rows& p, void* h, void* c) {
        const int64_t hp = l.hp, sums = C::SLOTS * hp;
        const auto& w = l.direction[0];
        for (int64_t r = 0; r < p.count; r++)
            for (int64_t j = 0; j < hp; j += W) {
                const int lanes = int(least(W, l.hidden - j));
                V of[C::SLOTS];
                for (int slot = 0; slot < C::SLOTS; slot++) {
                    const int64_t at = j * C::SLOTS + slot * W;
                    of[slot] = words ? Op::load_elems(static_cast<const elem*>(table) + words[r] * sums + at) : load(static_cast<const acc*>(w.bias) + at);
#if defined(TENOR_HAS_S8)
                    if constexpr (EIGHT) {
                        auto* from = static_cast<int32_t*>(p.sums) + r * sums + at;
                        of[slot] = fma(S8::value(from), load(static_cast<const float*>(w.scale_8) + at), of[slot]);
                        store(from, load(static_cast<const int32_t*>(w.offset_8) + at));
                        continue;
                    }
#endif
                    acc* from = static_cast<acc*>(p.sums) + r * sums + at;
                    of[slot] += load(from);
                    store(from, V{});
                }
                acc *state = static_cast<acc*>(h) + r * hp + j, *cells = C::HAS_CELL ? static_cast<acc*>(c) + r * hp + j : nullptr;
                const V v = real<acc>(C::forward(of, load(state), cells, nullptr), lanes);
                store(state, v);
                if (C::HAS_CELL) store(cells, real<acc>(load(cells), lanes));
            }
    }

    template <class C>
    static size_t product_of(const Layer& l, bool hidden, const Rows& p, char* memory) {
#if defined(TENOR_HAS_S8)
        if constexpr (Op::PAIR == 2)
            if (p.eight_bits) return product<C, S8>(l, hidden, p, memory);
#endif
        return product<C, Op>(l, hidden, p, memory);
    }
    template <class C>
    static void cell_of(const Layer& l, const void* table, const int64_t* words, const Rows& p, void* h, void* c) {
        if constexpr (Op::PAIR == 2)
            if (p.eight_bits) return cell<C, true>(l, table, words, p, h, c);
        cell<C, false>(l, table, words, p, h, c);
    }

    static size_t product_any(const Layer& l, bool hidden, const Rows& p, char* memory) {
        switch (l.cell) {
            case Cell::lstm: return product_of<Lstm<Op>>(l, hidden, p, memory);
            case Cell::gru: return product_of<Gru<Op>>(l, hidden, p, memory);
            default: return product_of<Rnn<Op, false>>(l, hidden, p, memory);
        }
    }
    static void cell_any(const Layer& l, const void* table, const int64_t* words, const Rows& p, void* h, void* c) {
        switch (l.cell) {
            case Cell::lstm: return cell_of<Lstm<Op>>(l, table, words, p, h, c);
            case Cell::gru: return cell_of<Gru<Op>>(l, table, words, p, h, c);
            case Cell::rnn_tanh: return cell_of<Rnn<Op, false>>(l, table, words, p, h, c);
            case Cell::rnn_relu: return cell<Rnn<Op, true>, false>(l, table, words, p, h, c);
        }
    }
};

}  // namespace
}  // namespace tenor::TENOR_ISA
