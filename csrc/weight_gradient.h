// The gradients of weights and biases, from those of the sums: of ranges of rows, then their total in torch's layout.
#pragma once

#include "states.h"

namespace tenor::TENOR_ISA {
namespace {

template <class Op>
struct WeightGradient {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    static constexpr int W = width<acc>, PAIR = Op::PAIR;

    // PAIR rows -> their elements side by side: columns from..to of each, zeros past `given`.
    static void interleave(const elem* const* rows, int64_t from, int64_t to, int64_t given, elem* out) {
        const int64_t stop = least(to, given);
        int64_t i = from;
        if constexpr (PAIR == 1) {
            if (stop > from) memcpy(out, rows[0] + from, (stop - from) * sizeof(elem));
            i = most(from, stop);
        } else {
            for (; i + W <= stop; i += W) store_pairs(out + (i - from) * 2, pairs(rows[0] + i, rows[1] + i));
            for (; i < stop; i++) {
                out[(i - from) * 2] = rows[0][i];
                out[(i - from) * 2 + 1] = rows[1][i];
            }
        }
        if (i < to) memset(out + (i - from) * PAIR, 0, (to - i) * PAIR * sizeof(elem));
    }

    // What is multiplied with the gradient of the sums: [N, given] with rows `stride` apart; and where the product goes, [gates * hp, columns].
    struct Factor {
        const elem* rows;
        int64_t stride, given, columns;
        acc* d_w;
    };

    // Rows at a time. With 256 a panel of the factor is 32 KB; tiles of AMX read it from the second level as fast, and touch d_w less often.
    static constexpr int64_t CHUNK = TILED<Op> ? 512 : 256;

    // The gradients and a factor as products read them, a row of zeros for both, and where their rows stand.
    struct Arrays {
        elem *left, *right, *zero;
        const char** a;
        acc** row;
    };

    // d_w of each factor += (gradient of the sums)^T factor, over rows from..to.
    static void outer(const Layer& l, const elem* d_sums, const Factor* factors, int count, int64_t from, int64_t to, const Arrays& arrays) {
        constexpr int64_t WHOLE = TILED<Op> ? TILE_ROWS * PAIR : PAIR;  // rows are filled up with zeros to a multiple of it
        const int64_t sums = l.gates * l.hp;
        elem *const left = arrays.left, *const right = arrays.right, *const zero = arrays.zero;
        const char** const a = arrays.a;
        acc** const row = arrays.row;
        // With tiles so few of its columns at a time that they stay in the first cache level: tiles of `right` come from the second as fast.
        const int64_t together = TILED<Op> ? 2 * TILE_ROWS : sums;
        [[maybe_unused]] const TilesInUse<Op> in_use;
        for (int64_t i = 0; i < sums; i++) a[i] = reinterpret_cast<const char*>(left + i * (TILED<Op> ? CHUNK : PAIR));
        for (int64_t at_row = from; at_row < to; at_row += CHUNK) {
            const int64_t rows = least(CHUNK, to - at_row), filled = (rows + WHOLE - 1) / WHOLE * WHOLE;
            const auto row_of = [&](const elem* all, int64_t stride, int64_t i) { return i < rows ? all + (at_row + i) * stride : zero; };
            if constexpr (TILED<Op>) {
                const elem* block[WHOLE];
                for (int64_t i = 0; i < filled; i += WHOLE) {
                    for (int64_t k = 0; k < WHOLE; k++) block[k] = row_of(d_sums, sums, i + k);
                    for (int64_t j = 0; j < sums; j += W) turn(block, j, left + j * CHUNK + i, CHUNK);
                }
            } else
                for (int64_t i = 0; i < filled; i += PAIR) {
                    const elem* grads[PAIR];
                    for (int k = 0; k < PAIR; k++) grads[k] = row_of(d_sums, sums, i + k);
                    interleave(grads, 0, sums, sums, left + i * sums);
                }
            for (int f = 0; f < count; f++) {
                const Factor& factor = factors[f];
                const Panels<Op> panels{right, filled / PAIR, int(factor.columns / W), MOST_VECTORS};
                for (int64_t i = 0; i < filled; i += PAIR) {
                    const elem* values[PAIR];
                    for (int k = 0; k < PAIR; k++) values[k] = row_of(factor.rows, factor.stride, i + k);
                    for (int v = 0; v < panels.vectors; v++)
                        interleave(values, int64_t(v) * W, int64_t(v + 1) * W, factor.given, panels.line(v / MOST_VECTORS, i / PAIR, v % MOST_VECTORS));
                }
                for (int64_t i = 0; i < sums; i++) row[i] = factor.d_w + i * factor.columns;
                for (int64_t first = 0; first < sums; first += together) {
                    const Cut<Op> cut(least(together, sums - first));
                    for (int panel = 0; panel < panels.count(); panel++) {
                        int at[MOST_VECTORS];
                        for (int v = 0; v < panels.vectors_of(panel); v++) at[v] = (panel * panels.a_panel + v) * W;
                        multiply(panels, panel, cut, a + first, (TILED<Op> ? 1 : sums) * PAIR * sizeof(elem), row + first, at);
                    }
                }
            }
        }
    }

    static size_t weight_gradient(const Run& p, int range, int d, int64_t from, int64_t to, char* memory) {
        const Layer& l = *p.layer;
        const int64_t sums = l.gates * l.hp, part = (range * l.directions + d) * sums, rows = d * p.rows;
        const int64_t widest = most(sums, most(most(l.ip, p.in_columns), l.hp));
        Scratch scratch(memory);
        const Arrays arrays = {
            scratch.take<elem>(CHUNK * sums), scratch.take<elem>(CHUNK * widest), scratch.take<elem>(widest), scratch.take<const char*>(sums), scratch.take<acc*>(sums),
        };
        if (!memory) return scratch.bytes();
        memset(arrays.zero, 0, widest * sizeof(elem));
        const Factor factors[2] = {
            {static_cast<const elem*>(p.x), l.ip, l.input, p.in_columns, static_cast<acc*>(p.d_w_ih) + part * p.in_columns},
            {static_cast<const elem*>(p.before) + rows * l.hp, l.hp, l.hp, l.hp, static_cast<acc*>(p.d_w_hh) + part * l.hp},
        };
        for (const Factor& f : factors) memset(f.d_w, 0, sums * f.columns * sizeof(acc));
        const auto *d_sums = static_cast<const elem*>(p.d_sums) + rows * sums, *d_hidden = static_cast<const elem*>(p.d_hidden) + rows * sums;
        if (d_sums == d_hidden)
            outer(l, d_sums, factors, 2, from, to, arrays);
        else {
            outer(l, d_sums, factors, 1, from, to, arrays);
            outer(l, d_hidden, factors + 1, 1, from, to, arrays);
        }
        return scratch.bytes();
    }

    static void collect(const Run& p, int d, const int* units, int unit_count, const Weights& to) {
        const Layer& l = *p.layer;
        const int64_t sums = l.gates * l.hp;
        for (int64_t unit = 0; unit < l.hidden; unit++)
            for (int gate = 0; gate < l.gates; gate++) {
                const int64_t inside = (unit / W * l.gates + gate) * W + unit % W, outside = gate * l.hidden + unit;
                const auto add = [&](const void* parts, int64_t columns, int64_t wanted, void* into) {
                    if (!into) return;
                    acc* line = static_cast<acc*>(into) + outside * wanted;
                    for (int range = 0; range < p.ranges; range++) {
                        const acc* part = static_cast<const acc*>(parts) + ((range * l.directions + d) * sums + inside) * columns;
                        for (int64_t i = 0; i < wanted; i++) line[i] = range ? line[i] + part[i] : part[i];
                    }
                };
                add(p.d_w_ih, p.in_columns, l.input, to.w_ih);
                add(p.d_w_hh, l.hp, l.hidden, to.w_hh);
                for (int side = 0; side < 2; side++) {
                    auto* bias = static_cast<acc*>(side ? to.b_hh : to.b_ih);
                    if (!bias) continue;
                    acc total = 0;
                    for (int u = 0; u < unit_count; u++) total += static_cast<const acc*>(p.d_bias)[(int64_t(units[u]) * 2 + side) * sums + inside];
                    bias[outside] = total;
                }
            }
    }
};

}  // namespace
}  // namespace tenor::TENOR_ISA
