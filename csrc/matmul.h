// C += A B for the shapes of recurrent layers: few rows, B used many times and so packed once.
//
// B [K, columns] lies in panels of up to 4 vectors of columns; in a panel all columns of one k stand side by side (of a
// pair of ks for bfloat16, as the dot product wants them). A tile of R rows by a panel's V vectors stays in registers over
// the whole of k. Rows of A and C are given by pointers, so any rows can be taken together. Where there is AMX (amx.h), its
// tile registers take what fills their 64 bytes along k, and the vectors the rest.
#pragma once

#include <cstddef>

#include "amx.h"

namespace tenor::TENOR_ISA {

constexpr int MOST_VECTORS = 4;

// Rows of a tile: accumulators, a panel's line and one broadcast must fit the registers (32 with AVX-512, else 16).
constexpr int tile_rows(int vectors) {
    constexpr bool many = BYTES == 64;
    return vectors == 4 ? (many ? 6 : 3) : vectors == 3 ? (many ? 8 : 4) : (many ? 8 : 5);
}
constexpr int MOST_ROWS = 8;

template <class Op>
struct Panels {
    using elem = typename Op::elem;
    static constexpr int64_t LINE = width<typename Op::acc> * Op::PAIR;  // elements of a line's vector
    const elem* data;
    int64_t k;    // lines of a panel: K / PAIR
    int vectors;  // of columns in all
    int a_panel;  // vectors of a panel (the last may have fewer), at most MOST_VECTORS
    int count() const { return (vectors + a_panel - 1) / a_panel; }
    int vectors_of(int panel) const { return panel == count() - 1 ? vectors - panel * a_panel : a_panel; }
    const elem* at(int panel) const { return data + panel * a_panel * k * LINE; }

    // Lines of a panel that fill tiles. They come first, 16 of one vector side by side; the others stand as without tiles.
    int64_t tiled() const { return TILED<Op> ? k / TILE_ROWS * TILE_ROWS : 0; }
    // Where to write line i of a panel's vector v.
    elem* line(int panel, int64_t i, int v) const {
        elem* base = const_cast<elem*>(at(panel));
        const int64_t wide = vectors_of(panel), tiled_lines = tiled();
        return base + (i < tiled_lines ? v * tiled_lines + i : i * wide + v) * LINE;
    }
};

template <class Op, int R, int V>
void tile(int64_t k, const char* const* a, int64_t skip, int64_t step, const typename Op::elem* b, typename Op::acc* const* c, const int* at, const typename Op::acc* start) {
    constexpr int W = width<typename Op::acc>;
    const char* row[R];
    typename Op::V sum[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        row[r] = a[r] + skip;
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[r][v] = load((start ? start : c[r]) + at[v]);
    }
    do {  // k is at least 1
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            auto left = Op::left(row[r]);
            row[r] += step;
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sum[r][v] = Op::dot(sum[r][v], left, b + v * W * Op::PAIR);
        }
        b += V * W * Op::PAIR;
    } while (--k);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(c[r] + at[v], sum[r][v]);
}

template <class Op>
using Tile = void (*)(int64_t, const char* const*, int64_t, int64_t, const typename Op::elem*, typename Op::acc* const*, const int*, const typename Op::acc*);

template <class Op, int V>
Tile<Op> tile_of(int rows) {
    constexpr int most = tile_rows(V);
    switch (rows) {
        case 1: return tile<Op, 1, V>;
        case 2: return tile<Op, 2, V>;
        case 3: return tile<Op, 3, V>;
        case 4: return tile<Op, most < 4 ? most : 4, V>;
        case 5: return tile<Op, most < 5 ? most : 5, V>;
        case 6: return tile<Op, most < 6 ? most : 6, V>;
        case 7: return tile<Op, most < 7 ? most : 7, V>;
        default: return tile<Op, most, V>;
    }
}

template <class Op>
Tile<Op> tile_of(int rows, int vectors) {
    switch (vectors) {
        case 1: return tile_of<Op, 1>(rows);
        case 2: return tile_of<Op, 2>(rows);
        case 3: return tile_of<Op, 3>(rows);
        default: return tile_of<Op, 4>(rows);
    }
}

template <class Op>
void multiply_rest(const Panels<Op>&, int panel, int rows, const char* const* a, int64_t step, typename Op::acc* const* c, const int* at, const typename Op::acc* start);

// One row by a panel's tiles, on the vectors: for 8 bits alone, whose sums are exact, so that this gives what the tile registers do.
template <class Op, int V>
void one_row(const Panels<Op>& b, int panel, const char* a, typename Op::acc* c, const int* at, const typename Op::acc* start) {
    constexpr int CHAINS = 2;  // a vector: one sum would wait for itself
    const int64_t lines = b.tiled();
    const auto* from = b.at(panel);
    typename Op::V sum[V][CHAINS] = {};
    for (int v = 0; v < V; v++) sum[v][0] = load(start + at[v]);
    for (int64_t i = 0; i < lines; i += CHAINS)
        for (int chain = 0; chain < CHAINS; chain++) {
            const auto left = Op::left(a + (i + chain) * Op::PAIR);
            for (int v = 0; v < V; v++) sum[v][chain] = Op::dot(sum[v][chain], left, from + (v * lines + i + chain) * b.LINE);
        }
    for (int v = 0; v < V; v++) store(c + at[v], sum[v][0] + sum[v][1]);
}

// c[r][at[v] ...] += a[r] times one panel, for all rows. `step`: bytes from one k (or pair of ks) of a row of A to the next.
// `start`: what every row's sums begin with, in the place of what stands in c. Where Op is TILED, rows of A are equally far
// apart, and so are those of C; a row's own ks stand side by side; and `cut` is the last one that was made.
template <class Op>
void multiply(const Panels<Op>& b, int panel, const Cut<Op>& cut, const char* const* a, int64_t step, typename Op::acc* const* c, const int* at, const typename Op::acc* start = nullptr) {
    const int vectors = b.vectors_of(panel), rows = cut.rows;
    if (!rows) return;
    if constexpr (TILED<Op>) {
        if constexpr (Op::PAIR == 4)
            if (b.tiled() && rows == 1) {
                (vectors == 4 ? one_row<Op, 4> : vectors == 3 ? one_row<Op, 3> : vectors == 2 ? one_row<Op, 2> : one_row<Op, 1>)(b, panel, a[0], c[0], at, start ? start : c[0]);
                return multiply_rest(b, panel, rows, a, step, c, at, static_cast<const typename Op::acc*>(nullptr));
            }
        if (b.tiled()) {
            const Term term{b.tiled() / TILE_ROWS, a[0], rows > 1 ? a[1] - a[0] : 0, reinterpret_cast<const char*>(b.at(panel))};
            using acc = typename Op::acc;
            const Sums<acc> sums{c[0], rows > 1 ? c[1] - c[0] : 0, at, start ? start : c[0], start || rows == 1 ? 0 : c[1] - c[0], at};
            multiply_tiles<Op>(&term, 1, vectors, cut, sums);
            start = nullptr;
        }
    }
    multiply_rest(b, panel, rows, a, step, c, at, start);
}

// The same for the lines that fill no tile: all of them where Op is not TILED.
template <class Op>
void multiply_rest(const Panels<Op>& b, int panel, int rows, const char* const* a, int64_t step, typename Op::acc* const* c, const int* at, const typename Op::acc* start) {
    const int64_t tiled = b.tiled(), k = b.k - tiled;
    if (!k) return;
    const int vectors = b.vectors_of(panel), most = tile_rows(vectors), tiles = (rows + most - 1) / most;
    for (int t = 0, first = 0; t < tiles; t++) {
        const int here = (rows - first + tiles - t - 1) / (tiles - t);  // nearly equal tiles: a small last one would wait on itself
        tile_of<Op>(here, vectors)(k, a + first, tiled * step, step, b.at(panel) + tiled * vectors * Panels<Op>::LINE, c + first, at, start);
        first += here;
    }
}

}  // namespace tenor::TENOR_ISA
