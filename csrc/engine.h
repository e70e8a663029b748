// Layers and calls: memory and threads around the kernels. No Python here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "packed.h"

namespace tenor {

class PackedLayer {
  public:
    // `weights`, a direction each, are packed and not needed afterwards but by `fold` and `pack_8`. Without w_hh: a product with W_ih alone. None: a layer for `backward` alone.
    PackedLayer(const std::string& isa, Cell cell, Type type, int64_t input, int64_t hidden, int directions, const std::vector<Weights>& weights);

    struct Pointers {
        const void *x, *h0, *c0, *mask;
        void *out, *hn, *cn;
    };
    // What a forward pass over so many rows keeps for the backward pass.
    size_t kept_bytes(int64_t rows, bool masked) const;

    // `kept`: room for kept_bytes; null: nothing will be differentiated.
    void forward(const Packed& rows, const Pointers& at, void* kept, int threads) const;

    struct Cotangents {
        const void *d_out, *d_hn, *d_cn;
        void *d_x, *d_h0, *d_c0;
        std::vector<Weights> d_weights;  // empty: not wanted
    };
    // rows, at, weights, kept: as in the forward pass; of `at`, the final states are not needed, and `out` by the RNN alone.
    void backward(const Packed& rows, const Pointers& at, const void* kept, const std::vector<Weights>& weights, const Cotangents& to, int threads) const;

    // Look words up instead of multiplying their vectors: embedding [vocabulary, input], for `read`. eight_bits: of its
    // recurrent product. The weights given to the constructor must still be there.
    void fold(const void* embedding, int64_t vocabulary, bool eight_bits, int threads);

    // W_hh in 8 bits, and W_ih where the input is a state too.
    void pack_8(bool input_too);

    // From zero states over word ids [N], each below the vocabulary. pooled [B, 2 * D * hidden] or null, hn [D, B, hidden] or null.
    void read(const Packed& rows, const int64_t* ids, void* pooled, void* hn, int threads) const;

    const Kernels& kernels() const { return *kernels_; }
    const Layer& layer() const { return layer_; }
    const void* table() const { return table_[0]; }

  private:
    const Kernels* kernels_;
    Layer layer_{};
    std::unique_ptr<Block> panels_, tables_, eight_;
    bool eight_bits_ = false;
    const void* table_[2] = {};

    struct Kept {  // where its parts stand
        size_t x, before, before_raw, gates, cells, all;
    };
    Kept kept(int64_t rows, bool masked) const;
    Run run_over(const Packed& rows, const Pointers& at, std::vector<int64_t>& first) const;
    void keep_in(Run& run, char* room, bool masked) const;
    std::vector<std::pair<int64_t, int64_t>> tiles(const Run& run, int threads) const;
};

}  // namespace tenor
