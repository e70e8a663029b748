// The weights of a layer in the order in which products read them: panels (matmul.h) for the forward pass, for the backward pass,
// and in 8 bits.
#pragma once

#include "kernels.h"
#include "matmul.h"

namespace tenor::TENOR_ISA {
namespace {

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

template <class Op>
typename Op::elem to_elem(typename Op::acc x) {
    typename Op::elem lanes[width<typename Op::acc>];
    Op::store_elems(lanes, broadcast(x));
    return lanes[0];
}

// The panels of a layer. Gates of one block go into one panel; the RNN's single gate takes four blocks.
template <class Op>
Panels<Op> forward_panels(const Layer& l, const void* data, int64_t k) {
    return {static_cast<const typename Op::elem*>(data), k / Op::PAIR, int(l.blocks) * l.gates, l.gates == 1 ? MOST_VECTORS : l.gates};
}
template <class Op>
Panels<Op> backward_panels(const Layer& l, const void* data, int64_t columns) {
    constexpr int W = width<typename Op::acc>;
    return {static_cast<const typename Op::elem*>(data), l.gates * l.hp / Op::PAIR, int((columns + W - 1) / W), MOST_VECTORS};
}

// `count` numbers, then zeros up to `padded`.
template <class Op>
void convert_row(const typename Op::acc* from, typename Op::elem* to, int64_t count, int64_t padded) {
    constexpr int W = width<typename Op::acc>;
    int64_t i = 0;
    for (; i + W <= count; i += W) Op::store_elems(to + i, load(from + i));
    for (; i < padded; i++) to[i] = i < count ? to_elem<Op>(from[i]) : typename Op::elem(0);
}

// The input's width in 8 bits: four go into one product.
int64_t in_8_width(const Layer& l) { return (l.input + 3) / 4 * 4; }

template <class Op>
struct Packing {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    static constexpr int W = width<acc>, PAIR = Op::PAIR;

    // Write w [gates * hidden, columns] as panels over k = column. A block of columns at a time, converted and then turned.
    static void pack_gates(const Layer& l, const acc* w, int64_t columns, int64_t k, elem* data) {
        constexpr int64_t CHUNK = 64;  // a multiple of every PAIR; W rows of it stay in the first cache level
        const auto panels = forward_panels<Op>(l, data, k);
        elem part[W][CHUNK];
        for (int v = 0; v < panels.vectors; v++) {
            const int panel = v / panels.a_panel, gate = v % l.gates;
            for (int64_t first = 0; first < k; first += CHUNK) {
                const int64_t count = least(CHUNK, k - first), given = most(0, least(count, columns - first));
                for (int lane = 0; lane < W; lane++) {
                    const int64_t unit = int64_t(v / l.gates) * W + lane;
                    convert_row<Op>(unit < l.hidden ? w + (gate * l.hidden + unit) * columns + first : w, part[lane], unit < l.hidden ? given : 0, count);
                }
                for (int64_t i = 0; i < count; i += PAIR) {
                    elem* line = panels.line(panel, (first + i) / PAIR, v - panel * panels.a_panel);
                    for (int lane = 0; lane < W; lane++) memcpy(line + lane * PAIR, &part[lane][i], PAIR * sizeof(elem));
                }
            }
        }
    }

    // Write the same w as panels over k = gate and unit (block, gate, lane), its columns as columns.
    static void pack_columns(const Layer& l, const acc* w, int64_t columns, elem* data) {
        const auto panels = backward_panels<Op>(l, data, columns);
        const int64_t k = l.gates * l.hp;
        elem part[MOST_VECTORS * W];
        for (int panel = 0; panel < panels.count(); panel++) {
            const int64_t wide = panels.vectors_of(panel) * W, first = int64_t(panel) * panels.a_panel * W, given = least(wide, columns - first);
            for (int64_t i = 0; i < k; i++) {
                const int64_t unit = i / (W * l.gates) * W + i % W, gate = i / W % l.gates;
                convert_row<Op>(unit < l.hidden ? w + (gate * l.hidden + unit) * columns + first : w, part, unit < l.hidden ? given : 0, wide);
                for (int v = 0; v < panels.vectors_of(panel); v++) {
                    elem* line = panels.line(panel, i / PAIR, v) + i % PAIR;
                    for (int lane = 0; lane < W; lane++) line[lane * PAIR] = part[v * W + lane];
                }
            }
        }
    }

    static void pack_forward(const Layer& l, int d) {
        const auto& w = l.direction[d];
        pack_gates(l, static_cast<const acc*>(w.w_ih), l.input, l.ip, static_cast<elem*>(w.in));
        if (w.w_hh) pack_gates(l, static_cast<const acc*>(w.w_hh), l.hidden, l.hp, static_cast<elem*>(w.hid));
        auto* bias = static_cast<acc*>(w.bias);
        memset(bias, 0, l.slots * l.hp * sizeof(acc));
        for (int64_t unit = 0; unit < l.hidden; unit++)
            for (int gate = 0; gate < l.gates; gate++) {
                acc* block = bias + unit / W * l.slots * W + unit % W;
                const bool apart = l.slots > l.gates && gate == l.gates - 1;  // the GRU's n: b_hn is inside the reset gate
                if (w.b_ih) block[gate * W] += static_cast<const acc*>(w.b_ih)[gate * l.hidden + unit];
                if (w.b_hh) block[(gate + apart) * W] += static_cast<const acc*>(w.b_hh)[gate * l.hidden + unit];
            }
    }

    static void pack_backward(const Layer& l, int d) {
        const auto& w = l.direction[d];
        if (w.in_back) pack_columns(l, static_cast<const acc*>(w.w_ih), l.input, static_cast<elem*>(w.in_back));
        pack_columns(l, static_cast<const acc*>(w.w_hh), l.hidden, static_cast<elem*>(w.hid_back));
    }

#if defined(TENOR_HAS_S8)
    struct Side {  // one of a layer's two matrices on its way to 8 bits
        const Panels<S8> panels;
        const acc* w;
        int64_t columns;
        bool hidden;
        // Whose weights a sum has of it; -1: none. (The GRU's n has a sum for each of its products.)
        int gate(const Layer& l, int slot) const { return l.slots == l.gates || slot < l.gates - 1 ? slot : slot == l.gates - 1 + hidden ? l.gates - 1 : -1; }
        const acc* row(const Layer& l, int64_t unit, int slot) const { return w + (gate(l, slot) * l.hidden + unit) * columns; }
    };

    // W_hh, and W_ih where in_8 is there, finite, in 8 bits, a scale a sum: the greatest weight is 127, or two side by side are it together, and with rounding 128 at most.
    static void pack_8(const Layer& l, int d) {
        const auto& side = l.direction[d];
        auto* scale = static_cast<float*>(side.scale_8);
        auto* offset = static_cast<int32_t*>(side.offset_8);
        const Side sides[2] = {
            {forward_panels<S8>(l, side.hid_8, l.hp), static_cast<const acc*>(side.w_hh), l.hidden, true},
            {forward_panels<S8>(l, side.in_8, in_8_width(l)), static_cast<const acc*>(side.w_ih), l.input, false},
        };
        const int count = side.in_8 ? 2 : 1;
        for (int i = 0; i < count; i++) memset(const_cast<int8_t*>(sides[i].panels.data), 0, l.gates * l.hp * sides[i].panels.k * S8::PAIR);
        memset(scale, 0, l.slots * l.hp * sizeof(float));
        memset(offset, 0, l.slots * l.hp * sizeof(int32_t));
        for (int64_t unit = 0; unit < l.hidden; unit++)
            for (int slot = 0; slot < l.slots; slot++) {
                float greatest = 0;
                for (int i = 0; i < count; i++)
                    for (int64_t k = 0; sides[i].gate(l, slot) >= 0 && k < sides[i].columns; k++) {
                        const acc* w = sides[i].row(l, unit, slot) + k;
                        const float size = __builtin_fabsf(float(w[0])), two = S8::TWO_IN_16_BITS && k % 2 ? __builtin_fabsf(float(w[-1] + w[0])) : 0;
                        if (size > greatest) greatest = size;
                        if (two > greatest) greatest = two;
                    }
                const float step = greatest > 1e-30f ? greatest / 127 : 1;
                int32_t sum = 0;
                for (int i = 0; i < count; i++) {
                    const int gate = sides[i].gate(l, slot);
                    if (gate < 0) continue;
                    const auto& panels = sides[i].panels;
                    const int v = int(unit / W) * l.gates + gate, panel = v / panels.a_panel;
                    for (int64_t k = 0; k < sides[i].columns; k++) {
                        const auto q = int8_t(__builtin_rintf(float(sides[i].row(l, unit, slot)[k]) / step));
                        panels.line(panel, k / S8::PAIR, v - panel * panels.a_panel)[unit % W * S8::PAIR + k % S8::PAIR] = q;
                        sum += q;
                    }
                }
                const int64_t at = (unit / W * l.slots + slot) * W + unit % W;
                scale[at] = step / 127;
                offset[at] = -128 * sum;
            }
    }
#else
    static constexpr void (*pack_8)(const Layer&, int) = nullptr;
#endif
};

}  // namespace
}  // namespace tenor::TENOR_ISA
