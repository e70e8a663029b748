// What the engine asks of the kernels. Plain data and function pointers only: this header is compiled for several
// instruction sets, and an inline function here could be linked from a file whose instructions the CPU lacks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenor {

enum class Cell : int { lstm, gru, rnn_tanh, rnn_relu };
enum class Type : int { f32, bf16, f64 };  // of what is multiplied; sums, states and cells are float (f64: double)

// One layer with its packed weights. Units lie in blocks of `lanes`, the gates of a block side by side; `hp` is the hidden
// size and `ip` the input size rounded up to whole blocks, and to whole pairs or tiles. Padding units have weights, states and gradients of 0.
struct Layer {
    Cell cell;
    int64_t input, hidden;
    int directions;
    int lanes, pair, gates, slots;  // slots: sums kept apart (the GRU has one more than gates)
    int64_t blocks, hp, ip;
    struct Direction {
        const void *w_ih, *w_hh, *b_ih, *b_hh;  // torch's layout [gates * hidden, ...]; biases may be null
        void *in, *hid, *bias;                  // panels and [slots * hp] for the forward pass
        void *in_back, *hid_back;               // panels of the transposed weights for the backward pass
        void *hid_8, *scale_8, *offset_8;       // 8-bit panels; [slots * hp] float and int32: what a sum counts, and where it starts
        void* in_8;                             // 8-bit panels of the input too, where that is a state; their products add up to the same sums
    } direction[2];
};

// One call over packed rows: time-major, lengths descending. D directions, N rows in all, B sequences. acc is float or double,
// elem the type that is multiplied. A null pointer: not there, or not wanted.
struct Run {
    const Layer* layer;
    int64_t batch, steps, rows;
    const int64_t* live;   // [steps] sequences at each step
    const int64_t* first;  // [steps] place of a step's first row

    const void* x_given;               // [N, input] acc
    const void* x;                     // [N, ip] elem; x_given itself where nothing needs converting
    const void *h0, *c0, *mask;        // [D, B, hidden] acc
    void *out, *hn, *cn;               // [N, D * hidden], [D, B, hidden] acc

    // Reading words with frozen weights: the input's product, bias included, is looked up; and the outputs may be pooled at once.
    const int64_t* ids;     // [N], in the place of x
    const void* table[2];   // a direction: [vocabulary, slots * hp] elem
    void* pooled;           // [B, 2 * D * hidden] acc: greatest and mean value, in the place of out

    // Kept for the backward pass; null for inference.
    void* before;      // [D, N, hp] elem: h before each token, masked: what the recurrent product read
    void* before_raw;  // the same without the mask, where a cell needs it (GRU); else `before`
    void* keep;        // [D, N, slots * hp] elem: the gates; the RNN's backward pass reads `out`
    void* cells;       // [D, N, hp] acc

    const void *d_out, *d_hn, *d_cn;
    void *d_sums, *d_hidden;           // [D, N, gates * hp] elem: gradient of the two products; equal but for the GRU
    void *d_x, *d_h0, *d_c0;
    void* d_bias;                      // [units, 2, gates * hp] acc
    void *d_w_ih, *d_w_hh;             // [ranges, D, gates * hp, padded columns] acc
    int64_t in_columns;                // padded columns of d_w_ih
    int ranges, units;
    bool eight_bits;  // the recurrent product in 8 bits, for inference from zero states
};

// Rows of one step of a layer of one direction with frozen weights.
struct Rows {
    int64_t count;
    const void* from;  // [count, wide] acc: what is multiplied, zeros beyond the layer's own
    int64_t wide;      // whole vectors
    void* sums;        // [count, slots * hp] acc, of 8-bit products int32
    bool eight_bits, back;
};

struct Weights {  // one direction's parameters in torch's layout, or (of gradients) where to write; biases may be null
    void *w_ih, *w_hh, *b_ih, *b_hh;
};

struct Kernels {
    int lanes;
    int whole;  // the input's elements are filled up to a multiple of it with zeros
    int pair;
    size_t elem, acc;
    void (*pack_forward)(const Layer&, int direction);
    void (*pack_backward)(const Layer&, int direction);
    void (*pack_8)(const Layer&, int direction);                                                    // null where the instruction set has no 8-bit products
    void (*convert)(const Run&, int64_t from, int64_t to);                                          // x_given -> x
    void (*cell)(const Layer&, const void* table, const int64_t* words, const Rows&, void* h, void* c);  // sums -> states [count, hp]; words null: `sums` has the input's product
    void (*collect)(const Run&, int direction, const int* units, int unit_count, const Weights&);  // sum the parts, torch's layout

    // With null for `memory` these do nothing; -> how many bytes they need there, 64 bytes aligned.
    size_t (*fold)(const Layer&, int direction, const void* embedding, int64_t from, int64_t to, void* table, char* memory);  // words from..to of [vocabulary, input]
    size_t (*read)(const Run&, int direction, int64_t from, int64_t to, char* memory);                                        // sequences from..to, of words
    size_t (*forward)(const Run&, int direction, int64_t from, int64_t to, char* memory);                                     // sequences from..to
    size_t (*product)(const Layer&, bool hidden, const Rows&, char* memory);                                                  // sums += from W_hh, or W_ih
    size_t (*backward)(const Run&, int unit, int direction, int64_t from, int64_t to, char* memory);
    size_t (*input_gradient)(const Run&, int64_t from, int64_t to, char* memory);  // rows from..to
    size_t (*weight_gradient)(const Run&, int range, int direction, int64_t from, int64_t to, char* memory);
};

// Activations on arrays, for the test of their error bounds.
struct Activations {
    void (*tanh)(const float*, float*, int64_t);
    void (*sigmoid)(const float*, float*, int64_t);
};

struct Traits {  // what the instructions multiply. bfloat16 without them is converted, and 8 bits are not there
    bool bfloat16, int8;
};

struct Isa {
    const char* name;
    Traits traits;
    const Kernels* kernels[3];  // by Type
    Activations activations;
};

}  // namespace tenor
