// Layers and calls: memory, threads and the choice of instruction set around the kernels. No Python here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels.h"

namespace tenor {

std::vector<std::string> instruction_sets();  // those that this CPU has, best first
const Isa& instruction_set(const std::string& name);

struct Weights {  // addresses of one direction's parameters in torch's layout, or (in gradients) where to write
    void *w_ih, *w_hh, *b_ih, *b_hh;
};

// A block from the pool, given back at the end.
class Block {
  public:
    explicit Block(size_t bytes) : data_(take(bytes)) {}
    ~Block() { give(data_); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    char* data() const { return static_cast<char*>(data_); }

  private:
    void* data_;
};

class PackedLayer;

// A forward call's inputs and what it kept for the backward pass.
struct Call {
    Run run{};
    std::vector<int64_t> live, first;
    std::unique_ptr<Block> x, kept;
};

class PackedLayer {
  public:
    PackedLayer(const std::string& isa, Cell cell, Type type, int64_t input, int64_t hidden, const std::vector<Weights>& weights);

    struct Pointers {
        const void *x, *h0, *c0, *mask;
        void *out, *hn, *cn;
    };
    // batch_sizes: as in torch's PackedSequence. -> the call, if it is to be differentiated
    std::unique_ptr<Call> forward(const int64_t* batch_sizes, int64_t steps, int64_t batch, const Pointers& at, bool keep, int threads) const;

    struct Cotangents {
        const void *d_out, *d_hn, *d_cn;
        void *d_x, *d_h0, *d_c0;
        std::vector<Weights> d_weights;  // empty: not wanted
    };
    // `weights`: as given to the constructor, unchanged since.
    void backward(const Call& call, const Pointers& at, const std::vector<Weights>& weights, const Cotangents& to, int threads) const;

    // Look words up instead of multiplying their vectors: embedding [vocabulary, input], for `read`. eight_bits: of its
    // recurrent product. The weights given to the constructor must still be there.
    void fold(const void* embedding, int64_t vocabulary, bool eight_bits, int threads);

    // From zero states over word ids [N], each below the vocabulary. pooled [B, 2 * D * hidden] or null, hn [D, B, hidden] or null.
    void read(const int64_t* batch_sizes, int64_t steps, int64_t batch, const int64_t* ids, void* pooled, void* hn, int threads) const;

  private:
    const Kernels* kernels_;
    Layer layer_{};
    std::unique_ptr<Block> panels_, tables_, eight_;
    bool eight_bits_ = false;
    const void* table_[2] = {};

    std::vector<std::pair<int64_t, int64_t>> tiles(const Run& run, int threads) const;
};

}  // namespace tenor
