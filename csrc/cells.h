// What each cell does to one row's block of W units, forward and backward, after the products.
//
// `sums` are SLOTS vectors, W_ih x + b + W_hh h. The GRU's reset gate acts on W_hn h + b_hn alone, so that sum
// has a slot of its own. GATES are torch's, in torch's order; HIDDEN_SLOT says where the recurrent product of each gate goes.
// References: LSTM, Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; GRU, Cho et al. 2014
// (arXiv 1406.1078v1 with the reset gate after the product, as cuDNN and torch have it); RNN, Elman 1990.
// Gates: how near tanh and sigmoid are taken (activations.h), forward.
#pragma once

#include "activations.h"

namespace tenor::TENOR_ISA {

template <class Op, class Gates = Exact>
struct Lstm {
    using V = typename Op::V;
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    static constexpr int GATES = 4, SLOTS = 4, W = width<acc>;
    static constexpr int HIDDEN_SLOT[4] = {0, 1, 2, 3};
    static constexpr bool HAS_CELL = true, SPLIT = false, KEEPS_GATES = true;

    // keep: SLOTS * W elements for the backward pass, or null. -> h
    static V forward(const V* sums, V, acc* cell, elem* keep) {
        const V i = Gates::sigmoid(sums[0]), f = Gates::kept(sums[1]), g = Gates::tanh(sums[2]), o = Gates::sigmoid(sums[3]);
        const V c = fma(f, load(cell), i * g);
        store(cell, c);
        if (keep) {
            Op::store_elems(keep, i);
            Op::store_elems(keep + W, f);
            Op::store_elems(keep + 2 * W, g);
            Op::store_elems(keep + 3 * W, o);
        }
        return o * Gates::tanh(c);
    }

    // h: before the step (GRU) or after it (RNN). d: GATES vectors, the gradient of the sums.
    // -> the part of dh that goes to the step before without a product
    static V backward(const elem* keep, V, V c, V c_before, V dh, acc* dcell, V* d, V*) {
        const V one = broadcast(acc(1));
        const V i = Op::load_elems(keep), f = Op::load_elems(keep + W), g = Op::load_elems(keep + 2 * W), o = Op::load_elems(keep + 3 * W);
        const V t = tanh(c);
        const V dc = fma(dh * o, one - t * t, load(dcell));
        d[0] = dc * g * i * (one - i);
        d[1] = dc * c_before * f * (one - f);
        d[2] = dc * i * (one - g * g);
        d[3] = dh * t * o * (one - o);
        store(dcell, dc * f);
        return V{};
    }
};

template <class Op, class Gates = Exact>
struct Gru {
    using V = typename Op::V;
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    static constexpr int GATES = 3, SLOTS = 4, W = width<acc>;
    static constexpr int HIDDEN_SLOT[3] = {0, 1, 3};
    static constexpr bool HAS_CELL = false, SPLIT = true, KEEPS_GATES = true;  // SPLIT: the gradient of the two products differs

    static V forward(const V* sums, V h, acc*, elem* keep) {
        const V r = Gates::sigmoid(sums[0]), z = Gates::kept(sums[1]), q = sums[3];
        const V n = Gates::tanh(fma(r, q, sums[2]));
        if (keep) {
            Op::store_elems(keep, r);
            Op::store_elems(keep + W, z);
            Op::store_elems(keep + 2 * W, n);
            Op::store_elems(keep + 3 * W, q);
        }
        return fma(z, h - n, n);
    }

    static V backward(const elem* keep, V h_before, V, V, V dh, acc*, V* d, V* d_hidden) {
        const V one = broadcast(acc(1));
        const V r = Op::load_elems(keep), z = Op::load_elems(keep + W), n = Op::load_elems(keep + 2 * W), q = Op::load_elems(keep + 3 * W);
        const V dn = dh * (one - z) * (one - n * n);
        d[0] = d_hidden[0] = dn * q * r * (one - r);
        d[1] = d_hidden[1] = dh * (h_before - n) * z * (one - z);
        d[2] = dn;
        d_hidden[2] = dn * r;
        return dh * z;
    }
};

template <class Op, bool RELU, class Gates = Exact>
struct Rnn {
    using V = typename Op::V;
    using acc = typename Op::acc;
    using elem = typename Op::elem;
    static constexpr int GATES = 1, SLOTS = 1, W = width<acc>;
    static constexpr int HIDDEN_SLOT[1] = {0};
    static constexpr bool HAS_CELL = false, SPLIT = false, KEEPS_GATES = false;  // the output is all its derivative needs

    static V forward(const V* sums, V, acc*, elem*) {
        const V x = sums[0];
        if constexpr (RELU)
            return x < acc(0) ? V{} : x;  // NaN stays
        else
            return Gates::tanh(x);
    }

    static V backward(const elem*, V h, V, V, V dh, acc*, V* d, V*) {
        if constexpr (RELU)
            d[0] = h > acc(0) ? dh : V{};
        else
            d[0] = dh * (broadcast(acc(1)) - h * h);
        return V{};
    }
};

}  // namespace tenor::TENOR_ISA
