// A recurrent stack that writes: it looks its last word up, makes a step and draws the next word, many times in one call.
#pragma once

#include "drawing.h"
#include <functional>

#include "engine.h"

namespace tenor {

class Writer {
  public:
    // layers: one direction each, the first reads embedding [vocabulary, input]; output: w_ih [vocabulary, hidden] and b_ih. All is packed, and not needed afterwards.
    // eight_bits: the recurrent layers' products, of cells whose states are at most 1; the output keeps `type`.
    Writer(const std::string& isa, Cell cell, Type type, int64_t input, int64_t hidden, int64_t vocabulary, const std::vector<Weights>& layers, const void* embedding, const Weights& output, bool eight_bits, int threads);

    // Rows that go on from h (and c) [L, rows, hidden] and logits [rows, vocabulary], all float.
    void begin(int64_t rows, const float* h, const float* c, const float* logits);
    // Read words [rows] -> logits [rows, vocabulary].
    void step(const int64_t* words, float* logits, int threads);
    // Draw and read `steps` words a row. chances [steps, rows] from 0 to 1 -> words [steps, rows].
    void write(int64_t steps, const double* chances, const Drawing& how, int64_t* words, int threads);

  private:
    std::vector<std::unique_ptr<PackedLayer>> layers_;
    std::unique_ptr<PackedLayer> output_;
    int64_t vocabulary_, rows_ = 0;
    bool eight_bits_;
    int64_t steps_ = 0;                                    // made so far
    std::vector<std::unique_ptr<Block>> h_, c_, sums_;     // a layer: [rows, hp], [rows, slots * hp]
    std::unique_ptr<Block> logits_;                        // [rows, vocabulary in whole vectors]

    struct Part {  // rows from..to, which one thread takes through all steps
        int64_t from, to;
        char* memory;
    };
    Rows rows_of(size_t layer, const Part& part, bool back) const;
    void multiply(size_t layer, bool hidden, const Part& part, bool back);
    void read(const int64_t* words, const Part& part, bool back);
    float* logits_of(int64_t row) const;
    void each_part(const std::function<void(const Part&)>& work, int threads);
};

}  // namespace tenor
