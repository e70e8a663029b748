// Intel's AMX: eight tile registers of up to 16 rows of 64 bytes, and an instruction that multiplies two of them.
//
// In a product C += A B, tiles 0 to 3 hold C (16 columns each), 4 and 5 rows of A, 6 and 7 sixteen lines of a panel (matmul.h),
// which lie as the instruction wants them. Two heights of tiles are in use at a time, so that any number of rows is cut into
// nearly equal tiles without shaping the registers anew: that takes as long as 10 products (44 ns on a Xeon of 2023).
// A row's sums are taken in the order of k whatever tile it is in. Denormal operands count as 0, as with AVX512-BF16.
#pragma once

#include "simd.h"

namespace tenor::TENOR_ISA {

constexpr int TILE_ROWS = 16, TILE_BYTES = 64;

template <class Op>
constexpr bool TILED = false;

// How rows are cut into tiles: `tiles[0]` of them of height[0], `tiles[1]` of height[1], in turn as long as there are both.
template <class Op>
struct Cut {
    int rows;
    explicit Cut(int64_t count) : rows(int(count)) {}
};

#if defined(__AMX_TILE__)
template <>
constexpr bool TILED<BF16> = true;
template <>
constexpr bool TILED<S8> = true;

struct TileCut {
    int rows, height[2], tiles[2];

    // Shapes this thread's registers. Another cut, or another library's use of them, ends it.
    explicit TileCut(int64_t count) : rows(int(count)) {
        if (!rows) return;
        const int all = (rows + TILE_ROWS - 1) / TILE_ROWS, low = rows / all, higher = rows % all;
        height[0] = low + (higher > 0), height[1] = low;
        tiles[0] = higher ? higher : all / 2, tiles[1] = all - tiles[0];
        struct {
            uint8_t palette = 1, start = 0, none[14] = {};
            uint16_t bytes[16] = {};
            uint8_t rows[16] = {};
        } shape;
        for (int tile = 0; tile < 8; tile++) shape.bytes[tile] = TILE_BYTES, shape.rows[tile] = TILE_ROWS;
        for (int tile = 0; tile < 6; tile++) shape.rows[tile] = uint8_t(height[tile < 4 ? tile / 2 : tile - 4]);
        _tile_loadconfig(&shape);
    }
};
template <>
struct Cut<BF16> : TileCut {
    using TileCut::TileCut;
};
template <>
struct Cut<S8> : TileCut {
    using TileCut::TileCut;
};

// The registers' memory back to the system, which then need not save it; after a thread's last product.
struct TilesInUse {
    ~TilesInUse() { _tile_release(); }
};

// Tiles of one height (SIDE 0 or 1) or of both, side by side in `rows` (SIDE 2), by one or two vectors of columns.
// a, c: the first row of each height. b: the first vector's first line; `line` bytes from one to the next.
template <class Op, int SIDE, int V>
void tile_product(int64_t whole, const char* const* a, int64_t a_stride, const char* b, int64_t line, typename Op::acc* const* c, int64_t c_stride, const int* at, const typename Op::acc* start) {
    constexpr bool FIRST = SIDE != 1, SECOND = SIDE != 0, WIDE = V == 2;
    const auto from = [&](int side, int v) { return (start ? start : c[side]) + at[v]; };
    const int64_t from_stride = start ? 0 : c_stride;
    if constexpr (FIRST) _tile_loadd(0, from(0, 0), from_stride);
    if constexpr (FIRST && WIDE) _tile_loadd(1, from(0, 1), from_stride);
    if constexpr (SECOND) _tile_loadd(2, from(1, 0), from_stride);
    if constexpr (SECOND && WIDE) _tile_loadd(3, from(1, 1), from_stride);
#define TENOR_TIMES(sum, left, right)          \
    if constexpr (Op::PAIR == 2)               \
        _tile_dpbf16ps(sum, left, right);      \
    else                                       \
        _tile_dpbusd(sum, left, right)
    for (int64_t k = 0; k < whole; k++, b += TILE_ROWS * line) {
        if constexpr (FIRST) _tile_loadd(4, a[0] + k * TILE_BYTES, a_stride);
        _tile_loadd(6, b, line);
        if constexpr (FIRST) { TENOR_TIMES(0, 4, 6); }
        if constexpr (SECOND) {
            _tile_loadd(5, a[1] + k * TILE_BYTES, a_stride);
            TENOR_TIMES(2, 5, 6);
        }
        if constexpr (WIDE) {
            _tile_loadd(7, b + TILE_BYTES, line);
            if constexpr (FIRST) { TENOR_TIMES(1, 4, 7); }
            if constexpr (SECOND) { TENOR_TIMES(3, 5, 7); }
        }
    }
#undef TENOR_TIMES
    if constexpr (FIRST) _tile_stored(0, c[0] + at[0], c_stride);
    if constexpr (FIRST && WIDE) _tile_stored(1, c[0] + at[1], c_stride);
    if constexpr (SECOND) _tile_stored(2, c[1] + at[0], c_stride);
    if constexpr (SECOND && WIDE) _tile_stored(3, c[1] + at[1], c_stride);
}

// matmul.h's multiply for the first whole * TILE_ROWS lines of a panel. Strides: of A in bytes, of C in elements.
template <class Op>
void multiply_tiles(int64_t whole, int vectors, const TileCut& cut, const char* a, int64_t a_stride, const typename Op::elem* panel, typename Op::acc* c, int64_t c_stride, const int* at, const typename Op::acc* start) {
    const int64_t line = vectors * TILE_BYTES, c_bytes = c_stride * int64_t(sizeof *c);
    const char* b = reinterpret_cast<const char*>(panel);
    __asm__ volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from memory
    for (int left[2] = {cut.tiles[0], cut.tiles[1]}; left[0] || left[1];) {
        const int first = left[0] ? cut.height[0] : 0, second = left[1] ? cut.height[1] : 0;
        const char* rows[2] = {a, a + first * a_stride};
        typename Op::acc* sums[2] = {c, c + first * c_stride};
        for (int v = 0; v < vectors; v += 2) {
            const char* columns = b + v * TILE_BYTES;
            const auto product = [&](auto with_two, auto with_one) { (v + 1 < vectors ? with_two : with_one)(whole, rows, a_stride, columns, line, sums, c_bytes, at + v, start); };
            if (first && second)
                product(tile_product<Op, 2, 2>, tile_product<Op, 2, 1>);
            else if (first)
                product(tile_product<Op, 0, 2>, tile_product<Op, 0, 1>);
            else
                product(tile_product<Op, 1, 2>, tile_product<Op, 1, 1>);
        }
        left[0] -= first > 0, left[1] -= second > 0;
        a += (first + second) * a_stride, c += (first + second) * c_stride;
    }
}
#else
struct TilesInUse {};
#endif

}  // namespace tenor::TENOR_ISA
