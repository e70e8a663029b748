// The loops over time, for one instruction set (TENOR_ISA names it; CMakeLists.txt compiles this file once for each).
//
// Nothing of the standard library's templates is used here: the linker could hand a copy compiled for AVX-512 to the rest.
#include "cells.h"
#include "kernels.h"
#include "matmul.h"

namespace tenor::TENOR_ISA {
namespace {

template <class T>
struct Scratch {
    T* data;
    explicit Scratch(int64_t count) : data(static_cast<T*>(take(count * sizeof(T)))) {}
    ~Scratch() { give(data); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    operator T*() const { return data; }
};

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

template <class Op>
struct Sequence {
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    using V = typename Op::V;
    static constexpr int W = width<acc>, PAIR = Op::PAIR;

    // --- weights ---

    // `count` numbers, then zeros up to `padded`.
    static void convert_row(const acc* from, elem* to, int64_t count, int64_t padded) {
        int64_t i = 0;
        for (; i + W <= count; i += W) Op::store_elems(to + i, load(from + i));
        for (; i < padded; i++) to[i] = i < count ? to_elem<Op>(from[i]) : elem(0);
    }

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
                    convert_row(unit < l.hidden ? w + (gate * l.hidden + unit) * columns + first : w, part[lane], unit < l.hidden ? given : 0, count);
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
                convert_row(unit < l.hidden ? w + (gate * l.hidden + unit) * columns + first : w, part, unit < l.hidden ? given : 0, wide);
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
        pack_gates(l, static_cast<const acc*>(w.w_hh), l.hidden, l.hp, static_cast<elem*>(w.hid));
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

#if defined(__AVX512VNNI__)
    // W_hh, finite, in 8 bits, a scale a column (the greatest weight is 127).
    static void pack_8(const Layer& l, int d) {
        const auto& side = l.direction[d];
        const auto* w = static_cast<const acc*>(side.w_hh);
        const auto panels = forward_panels<S8>(l, side.hid_8, l.hp);
        auto* scale = static_cast<float*>(side.scale_8);
        auto* offset = static_cast<int32_t*>(side.offset_8);
        memset(const_cast<int8_t*>(panels.data), 0, l.gates * l.hp * l.hp);
        memset(scale, 0, l.slots * l.hp * sizeof(float));
        memset(offset, 0, l.slots * l.hp * sizeof(int32_t));
        for (int v = 0; v < panels.vectors; v++) {
            const int panel = v / panels.a_panel, gate = v % l.gates;
            for (int lane = 0; lane < W && int64_t(v / l.gates) * W + lane < l.hidden; lane++) {
                const int64_t unit = int64_t(v / l.gates) * W + lane;
                const acc* row = w + (gate * l.hidden + unit) * l.hidden;
                float greatest = 0;
                for (int64_t i = 0; i < l.hidden; i++) {
                    const float size = __builtin_fabsf(float(row[i]));
                    if (size > greatest) greatest = size;
                }
                const float step = greatest > 1e-30f ? greatest / 127 : 1;
                int32_t sum = 0;
                for (int64_t i = 0; i < l.hidden; i++) {
                    const auto q = int8_t(__builtin_rintf(float(row[i]) / step));
                    panels.line(panel, i / S8::PAIR, v - panel * panels.a_panel)[lane * S8::PAIR + i % S8::PAIR] = q;
                    sum += q;
                }
                const bool apart = l.slots > l.gates && gate == l.gates - 1;
                const int64_t at = (v / l.gates * l.slots + gate + apart) * W + lane;
                scale[at] = step / 127;
                offset[at] = -128 * sum;
            }
        }
    }
#endif

    // --- rows ---

    static void convert(const Run& p, int64_t from, int64_t to) {
        const Layer& l = *p.layer;
        for (int64_t n = from; n < to; n++)
            convert_row(static_cast<const acc*>(p.x_given) + n * l.input, static_cast<elem*>(const_cast<void*>(p.x)) + n * l.ip, l.input, l.ip);
    }

    // [count, hidden] of the user's -> [count, hp], or zeros.
    static void read_state(const Layer& l, const void* from, int64_t place, int64_t count, acc* to) {
        for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < l.hp; j += W)
                store(to + r * l.hp + j, from ? load_part(static_cast<const acc*>(from) + (place + r) * l.hidden + j, int(least(W, l.hidden - j))) : V{});
    }
    static void write_state(const Layer& l, const acc* from, int64_t place, int64_t count, void* to) {
        if (!to) return;
        for (int64_t r = 0; r < count; r++) memcpy(static_cast<acc*>(to) + (place + r) * l.hidden, from + r * l.hp, l.hidden * sizeof(acc));
    }

    // Padding units stay 0 whatever the input holds: infinity times a padding weight, 0, is NaN, and would reach every unit a step later.
    static V real(V v, int lanes) {
        if (lanes == W) return v;
        acc all[W];
        store(all, v);
        return load_part(all, lanes);
    }

    // --- forward ---

    // Where the vectors of a panel stand among a row's sums.
    template <class C>
    static void places(int first_vector, int count, bool hidden, int* at) {
        for (int v = 0; v < count; v++) {
            const int gate = (first_vector + v) % C::GATES, block = (first_vector + v) / C::GATES;
            at[v] = (block * C::SLOTS + (hidden ? C::HIDDEN_SLOT[gate] : gate)) * W;
        }
    }

    // The sums of words that no step changes: W_ih times their vectors, and the biases.
    static void fold(const Layer& l, int d, const void* embedding, int64_t from, int64_t to, void* table) {
        constexpr int64_t ROWS = 48;  // a multiple of every tile's rows
        const int64_t sums = l.slots * l.hp;
        const auto& w = l.direction[d];
        const auto in = forward_panels<Op>(l, w.in, l.ip);
        Scratch<acc> pre(ROWS * sums);
        Scratch<elem> x(ROWS * l.ip);
        [[maybe_unused]] const TilesInUse<Op> in_use;
        for (int64_t first = from; first < to; first += ROWS) {
            const int64_t n = least(ROWS, to - first);
            const char* a[ROWS];
            acc* row[ROWS];
            for (int64_t r = 0; r < n; r++) {
                convert_row(static_cast<const acc*>(embedding) + (first + r) * l.input, x + r * l.ip, l.input, l.ip);
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
    }

    // A panel of a step: bias + x W_ih + h W_hh -> c[r], a block for this panel alone. x: its first row; h: all, equally far apart.
    // The input fills its tiles (`whole` below), so nothing of it is left for the vectors.
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
    static void forward(const Run& p, int d, int64_t from, int64_t to) {
        const Layer& l = *p.layer;
        const int64_t n = to - from, hp = l.hp, sums = C::SLOTS * hp;
        const int64_t room = most(n, 131072 / int64_t(sums * sizeof(acc)));  // rows of sums; 128 KB, an eighth of Zen 4's L2
        const auto& w = l.direction[d];
        const auto in = forward_panels<Op>(l, w.in, l.ip), hid = forward_panels<Op>(l, w.hid, hp);
        Scratch<acc> h(n * hp), c(C::HAS_CELL ? n * hp : 1), mask(p.mask ? n * hp : 1), pre(room * sums);
        Scratch<elem> spare(p.before ? 1 : 2 * n * hp);
        Scratch<const char*> a(room);
        Scratch<acc*> row(room);
        // With tiles, a step of many rows takes both products at once, and its sums go to a block that stays in the first cache level.
        constexpr bool AT_ONCE = TILED<Op>;
        const int64_t block_size = hid.a_panel / C::GATES * C::SLOTS * W;
        Scratch<acc> block(AT_ONCE ? n * block_size : 1);
        Scratch<acc*> block_row(AT_ONCE ? n : 1);
        for (int64_t r = 0; AT_ONCE && r < n; r++) block_row[r] = block + r * block_size;
        Scratch<elem> gathered(AT_ONCE ? room * l.ip : 1);
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
                multiply(in, panel, ahead, a.data, PAIR * sizeof(elem), row.data, at);
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
                        both_products<C>(in, hid, panel, cut, static_cast<const elem*>(p.x) + (p.first[step_of(i)] + from) * l.ip, a.data, static_cast<const acc*>(w.bias), block_row.data);
                    else
                        multiply(hid, panel, cut, a.data, PAIR * sizeof(elem), row.data, at);
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
                            const V v = real(C::forward(of, load(state), cell, keep ? keep + r * sums + j * C::SLOTS : nullptr), lanes);
                            store(state, v);
                            if (C::HAS_CELL) store(cell, real(load(cell), lanes));
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
    }

    // --- reading ---

    // Sequences from..to of one direction over words with frozen weights. A panel's product goes to a block, and its units' gates, states
    // and pooling are done before the next one's: all of it stays in the first cache level.
    // H: the type of the recurrent product, Op or S8.
    template <class C, class H>
    static void read(const Run& p, int d, int64_t from, int64_t to) {
        constexpr bool EIGHT = H::PAIR == 4;
        using sum = typename H::acc;
        enum { STATE, CELL, GREATEST, TOTAL, KINDS };  // of one row's block of units, side by side
        const Layer& l = *p.layer;
        const int64_t n = to - from, hp = l.hp, sums = C::SLOTS * hp;
        const auto& w = l.direction[d];
        const auto hid = forward_panels<H>(l, EIGHT ? w.hid_8 : w.hid, hp);
        const int64_t block_size = hid.a_panel / C::GATES * C::SLOTS * W;
        Scratch<acc> states(n * hp * KINDS);  // [block of units, row, kind, lane]
        Scratch<sum> block(n * block_size), zeros(block_size);
        Scratch<typename H::elem> operands(2 * n * hp);
        Scratch<const elem*> words(2 * n);
        Scratch<const char*> a(n);
        Scratch<sum*> row(n);
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
                multiply(hid, panel, cut, a.data, H::PAIR * sizeof(typename H::elem), row.data, at, EIGHT ? static_cast<const sum*>(w.offset_8) + from_unit * C::SLOTS : zeros.data);
                for (int b = 0; b < hid.vectors_of(panel) / C::GATES; b++) {
                    const int64_t j = from_unit + b * W;
                    const int lanes = int(least(W, l.hidden - j));
                    for (int64_t r = 0; r < live; r++) {
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
                        const V v = real(C::forward(of, load(state), state + CELL * W, nullptr), lanes);
                        store(state, v);
                        if (C::HAS_CELL) store(state + CELL * W, real(load(state + CELL * W), lanes));
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
    }

    // --- backward ---

    // The gradient of the sums of every row, and of the initial state; the steps in the other order.
    template <class C>
    static void backward(const Run& p, int unit, int d, int64_t from, int64_t to) {
        const Layer& l = *p.layer;
        const int64_t n = to - from, hp = l.hp, kept = C::SLOTS * hp, sums = C::GATES * hp;
        const auto hid = backward_panels<Op>(l, l.direction[d].hid_back, l.hidden);
        Scratch<acc> dh(n * hp), dc(C::HAS_CELL ? n * hp : 1), c0(C::HAS_CELL ? n * hp : 1), mask(p.mask ? n * hp : 1), masked(p.mask ? n * hp : 1);
        Scratch<const char*> a(n);
        Scratch<acc*> row(n);
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
                        earlier_cell = load((r < earlier ? cells_before : c0.data) + r * hp + j);
                    }
                    if (keep) fetch<2>(keep + (r + rows_ahead) * kept + j * C::SLOTS, C::SLOTS * W * sizeof(elem));
                    if (C::HAS_CELL && s) fetch<2>(cells_before + (r + cell_rows_ahead) * hp + j, W * sizeof(acc));
                    if (d_out) fetch<2>(d_out + (r + rows_ahead) * wide + j, W * sizeof(acc));
                    const V h = C::SPLIT ? Op::load_elems(before + r * hp + j) : out ? load_part(out + r * wide + j, lanes) : V{};
                    store(dh + r * hp + j, C::backward(keep + (keep ? r * kept + j * C::SLOTS : 0), h, now, earlier_cell, v, C::HAS_CELL ? dc + r * hp + j : nullptr, g, gh));
                    for (int gate = 0; gate < C::GATES; gate++) {
                        g[gate] = real(g[gate], lanes);
                        if (C::SPLIT) gh[gate] = real(gh[gate], lanes);
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
                multiply(hid, panel, cut, a.data, PAIR * sizeof(elem), row.data, at);
            }
            if (p.mask)
                for (int64_t i = 0; i < live * hp; i += W) store(dh + i, fma(load(mask + i), load(masked + i), load(dh + i)));
        }
        write_state(l, dh, d * p.batch + from, n, p.d_h0);
        if (C::HAS_CELL) write_state(l, dc, d * p.batch + from, n, p.d_c0);
    }

    // d_x of rows from..to: both directions' gradients times W_ih.
    static void input_gradient(const Run& p, int64_t from, int64_t to) {
        const Layer& l = *p.layer;
        const int64_t n = to - from, columns = p.in_columns, sums = l.gates * l.hp;
        Scratch<acc> sum(n * columns);
        Scratch<const char*> a(n);
        Scratch<acc*> row(n);
        [[maybe_unused]] const TilesInUse<Op> in_use;
        const Cut<Op> cut(n);
        memset(sum, 0, n * columns * sizeof(acc));
        for (int d = 0; d < l.directions; d++) {
            const auto panels = backward_panels<Op>(l, l.direction[d].in_back, l.input);
            for (int64_t r = 0; r < n; r++) a[r] = reinterpret_cast<const char*>(static_cast<const elem*>(p.d_sums) + (d * p.rows + from + r) * sums), row[r] = sum + r * columns;
            for (int panel = 0; panel < panels.count(); panel++) {
                int at[MOST_VECTORS];
                for (int v = 0; v < panels.vectors_of(panel); v++) at[v] = (panel * panels.a_panel + v) * W;
                multiply(panels, panel, cut, a.data, PAIR * sizeof(elem), row.data, at);
            }
        }
        for (int64_t r = 0; r < n; r++) memcpy(static_cast<acc*>(p.d_x) + (from + r) * l.input, sum + r * columns, l.input * sizeof(acc));
    }

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

    // d_w of each factor += (gradient of the sums)^T factor, over rows from..to.
    static void outer(const Layer& l, const elem* d_sums, const Factor* factors, int count, int64_t from, int64_t to) {
        // Rows at a time. With 256 a panel of the factor is 32 KB; tiles of AMX read it from the second level as fast, and touch d_w less often.
        constexpr int64_t CHUNK = TILED<Op> ? 512 : 256;
        constexpr int64_t WHOLE = TILED<Op> ? TILE_ROWS * PAIR : PAIR;  // rows are filled up with zeros to a multiple of it
        const int64_t sums = l.gates * l.hp;
        int64_t widest = sums;
        for (int f = 0; f < count; f++) widest = most(widest, most(factors[f].stride, factors[f].columns));
        Scratch<elem> zero(widest), left(CHUNK * sums), right(CHUNK * widest);
        memset(zero, 0, widest * sizeof(elem));
        Scratch<const char*> a(sums);
        Scratch<acc*> row(sums);
        // With tiles so few of its columns at a time that they stay in the first cache level: tiles of `right` come from the second as fast.
        const int64_t together = TILED<Op> ? 2 * TILE_ROWS : sums;
        [[maybe_unused]] const TilesInUse<Op> in_use;
        for (int64_t i = 0; i < sums; i++) a[i] = reinterpret_cast<const char*>(left + i * (TILED<Op> ? CHUNK : PAIR));
        for (int64_t at_row = from; at_row < to; at_row += CHUNK) {
            const int64_t rows = least(CHUNK, to - at_row), filled = (rows + WHOLE - 1) / WHOLE * WHOLE;
            const auto row_of = [&](const elem* all, int64_t stride, int64_t i) { return i < rows ? all + (at_row + i) * stride : zero.data; };
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

    static void weight_gradient(const Run& p, int range, int d, int64_t from, int64_t to) {
        const Layer& l = *p.layer;
        const int64_t sums = l.gates * l.hp, part = (range * l.directions + d) * sums, rows = d * p.rows;
        const Factor factors[2] = {
            {static_cast<const elem*>(p.x), l.ip, l.input, p.in_columns, static_cast<acc*>(p.d_w_ih) + part * p.in_columns},
            {static_cast<const elem*>(p.before) + rows * l.hp, l.hp, l.hp, l.hp, static_cast<acc*>(p.d_w_hh) + part * l.hp},
        };
        for (const Factor& f : factors) memset(f.d_w, 0, sums * f.columns * sizeof(acc));
        const auto *d_sums = static_cast<const elem*>(p.d_sums) + rows * sums, *d_hidden = static_cast<const elem*>(p.d_hidden) + rows * sums;
        if (d_sums == d_hidden) return outer(l, d_sums, factors, 2, from, to);
        outer(l, d_sums, factors, 1, from, to);
        outer(l, d_hidden, factors + 1, 1, from, to);
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

    template <class C>
    static void read_either(const Run& p, int d, int64_t from, int64_t to) {
#if defined(__AVX512VNNI__)
        if constexpr (PAIR == 2)
            if (p.eight_bits) return read<C, S8>(p, d, from, to);
#endif
        read<C, Op>(p, d, from, to);
    }

    static void read_any(const Run& p, int d, int64_t from, int64_t to) {
        switch (p.layer->cell) {
            case Cell::lstm: return read_either<Lstm<Op>>(p, d, from, to);
            case Cell::gru: return read_either<Gru<Op>>(p, d, from, to);
            case Cell::rnn_tanh: return read_either<Rnn<Op, false>>(p, d, from, to);
            case Cell::rnn_relu: return read<Rnn<Op, true>, Op>(p, d, from, to);  // its states have no bound for 8 bits
        }
    }
    static void forward_any(const Run& p, int d, int64_t from, int64_t to) {
        switch (p.layer->cell) {
            case Cell::lstm: return forward<Lstm<Op>>(p, d, from, to);
            case Cell::gru: return forward<Gru<Op>>(p, d, from, to);
            case Cell::rnn_tanh: return forward<Rnn<Op, false>>(p, d, from, to);
            case Cell::rnn_relu: return forward<Rnn<Op, true>>(p, d, from, to);
        }
    }
    static void backward_any(const Run& p, int unit, int d, int64_t from, int64_t to) {
        switch (p.layer->cell) {
            case Cell::lstm: return backward<Lstm<Op>>(p, unit, d, from, to);
            case Cell::gru: return backward<Gru<Op>>(p, unit, d, from, to);
            case Cell::rnn_tanh: return backward<Rnn<Op, false>>(p, unit, d, from, to);
            case Cell::rnn_relu: return backward<Rnn<Op, true>>(p, unit, d, from, to);
        }
    }

#if !defined(__AVX512VNNI__)
    static constexpr void (*pack_8)(const Layer&, int) = nullptr;
#endif
    static constexpr int WHOLE = TILED<Op> ? TILE_BYTES / int(sizeof(elem)) : PAIR;
    static constexpr Kernels kernels = {W, WHOLE, PAIR, sizeof(elem), sizeof(acc), pack_forward, pack_backward, pack_8, fold, read_any, convert, forward_any, backward_any, input_gradient, weight_gradient, collect};
};

template <Vec<float> (*F)(Vec<float>)>
void over(const float* x, float* y, int64_t count) {
    for (int64_t i = 0; i < count; i += width<float>) {
        const int n = int(least(width<float>, count - i));
        store_part(y + i, F(load_part(x + i, n)), n);
    }
}

#define TENOR_STRING(x) #x
#define TENOR_NAME(x) TENOR_STRING(x)

}  // namespace

extern const Isa isa;
const Isa isa = {TENOR_NAME(TENOR_ISA), {&Sequence<F32>::kernels, &Sequence<BF16>::kernels, &Sequence<F64>::kernels}, {over<tanh>, over<sigmoid>}};

}  // namespace tenor::TENOR_ISA
