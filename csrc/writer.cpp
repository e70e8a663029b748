#include "writer.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "parallel.h"

namespace tenor {

namespace {

template <class T>
T* at(const std::unique_ptr<Block>& block, int64_t place = 0) {
    return reinterpret_cast<T*>(block->data()) + place;
}

}  // namespace

Writer::Writer(const std::string& isa, Cell cell, Type type, int64_t input, int64_t hidden, int64_t vocabulary, const std::vector<Weights>& layers, const void* embedding, const Weights& output, bool eight_bits, int threads)
    : vocabulary_(vocabulary), eight_bits_(eight_bits) {
    for (size_t i = 0; i < layers.size(); i++) {
        layers_.push_back(std::make_unique<PackedLayer>(isa, cell, type, i ? hidden : input, hidden, 1, std::vector<Weights>{layers[i]}));
        if (!i)
            layers_[0]->fold(embedding, vocabulary, eight_bits, threads);
        else if (eight_bits)
            layers_[i]->pack_8(true);
    }
    output_ = std::make_unique<PackedLayer>(isa, Cell::rnn_tanh, type, hidden, vocabulary, 1, std::vector<Weights>{output});
}

void Writer::begin(int64_t rows, const float* h, const float* c, const float* logits) {
    rows_ = 0, steps_ = 0;  // should memory fail
    h_.clear(), c_.clear(), sums_.clear();
    for (size_t i = 0; i < layers_.size(); i++) {
        const Layer& l = layers_[i]->layer();
        const int64_t sums = l.slots * l.hp;
        h_.push_back(std::make_unique<Block>(rows * l.hp * 4)), c_.push_back(std::make_unique<Block>(rows * l.hp * 4)), sums_.push_back(std::make_unique<Block>(rows * sums * 4));
        memset(h_[i]->data(), 0, rows * l.hp * 4), memset(c_[i]->data(), 0, rows * l.hp * 4), memset(sums_[i]->data(), 0, rows * sums * 4);
        for (int64_t r = 0; r < rows; r++) {
            memcpy(at<float>(h_[i], r * l.hp), h + (i * rows + r) * l.hidden, l.hidden * 4);
            if (c) memcpy(at<float>(c_[i], r * l.hp), c + (i * rows + r) * l.hidden, l.hidden * 4);
            if (eight_bits_) memcpy(at<float>(sums_[i], r * sums), l.direction[0].offset_8, sums * 4);
        }
    }
    logits_ = std::make_unique<Block>(rows * output_->layer().hp * 4);
    for (int64_t r = 0; r < rows; r++) memcpy(logits_of(r), logits + r * vocabulary_, vocabulary_ * 4);
    rows_ = rows;
    each_part([this](const Part& part) { multiply(0, true, part, true); }, 1);
}

float* Writer::logits_of(int64_t row) const { return at<float>(logits_, row * output_->layer().hp); }

Rows Writer::rows_of(size_t layer, const Part& part, bool back) const {
    const Layer& l = layers_[layer]->layer();
    return {part.to - part.from, nullptr, l.hp, at<float>(sums_[layer], part.from * l.slots * l.hp), eight_bits_, back};
}

// The layer's sums += the product with its own states, or with those of the layer below.
void Writer::multiply(size_t layer, bool hidden, const Part& part, bool back) {
    const PackedLayer& from = *layers_[layer];
    Rows rows = rows_of(layer, part, back);
    rows.from = at<float>(h_[hidden ? layer : layer - 1], part.from * rows.wide);
    from.kernels().product(from.layer(), hidden, rows, part.memory);
}

// One step: words [rows of the part] -> logits. A stack reads each weight once a step, so what is not in the second cache level comes from
// farther away each time. Every other step therefore reads the weights in reverse, those read last first: what is still near is read near.
// For that the first layer's product with its states is taken a step early.
void Writer::read(const int64_t* words, const Part& part, bool back) {
    const size_t count = layers_.size();
    const auto cell = [&](size_t i) {
        const PackedLayer& layer = *layers_[i];
        const int64_t place = part.from * layer.layer().hp;
        layer.kernels().cell(layer.layer(), layer.table(), i ? nullptr : words, rows_of(i, part, false), at<float>(h_[i], place), at<float>(c_[i], place));
    };
    cell(0);
    if (!back) multiply(0, true, part, false);
    for (size_t i = count; back && --i > 0;) multiply(i, true, part, true);
    for (size_t i = 1; i < count; i++) {
        multiply(i, false, part, back);
        if (!back) multiply(i, true, part, false);
        cell(i);
    }
    if (back) multiply(0, true, part, true);
    const Layer& l = output_->layer();
    for (int64_t r = part.from; r < part.to; r++) memcpy(logits_of(r), l.direction[0].bias, l.hp * 4);
    const int64_t wide = layers_[0]->layer().hp;
    output_->kernels().product(l, false, {part.to - part.from, at<float>(h_[count - 1], part.from * wide), wide, logits_of(part.from), false, false}, part.memory);
}

// Rows in parts, a thread each, with the memory that the kernels need.
void Writer::each_part(const std::function<void(const Part&)>& work, int threads) {
    constexpr int64_t LEAST = 8;  // rows: with fewer, two threads read the weights twice for little
    std::vector<Task> tasks;
    split(rows_, std::max<int64_t>(1, std::min<int64_t>(threads, rows_ / LEAST)), [&](int64_t from, int64_t to) {
        tasks.emplace_back([=, this, &work] {
            size_t bytes = 0;
            const Rows rows{to - from, nullptr, 0, nullptr, eight_bits_, false};
            for (const auto& layer : layers_)
                for (const bool hidden : {false, true}) bytes = std::max(bytes, layer->kernels().product(layer->layer(), hidden, rows, nullptr));
            const Block memory(std::max(bytes, output_->kernels().product(output_->layer(), false, {to - from, nullptr, 0, nullptr, false, false}, nullptr)));
            work({from, to, memory.data()});
        });
    });
    run_all(tasks, threads);
}

void Writer::step(const int64_t* words, float* logits, int threads) {
    each_part([&, this](const Part& part) {
        read(words + part.from, part, steps_ % 2);
        for (int64_t r = part.from; r < part.to; r++) memcpy(logits + r * vocabulary_, logits_of(r), vocabulary_ * 4);
    }, threads);
    steps_++;
}

void Writer::write(int64_t steps, const double* chances, const Drawing& how, int64_t* words, int threads) {
    each_part([&, this](const Part& part) {
        std::vector<double> shares;
        std::vector<int64_t> order;
        for (int64_t s = 0; s < steps; s++) {
            int64_t* drawn = words + s * rows_;
            for (int64_t r = part.from; r < part.to; r++) drawn[r] = draw(logits_of(r), vocabulary_, how, chances[s * rows_ + r], shares, order);
            read(drawn + part.from, part, (steps_ + s) % 2);
        }
    }, threads);
    steps_ += steps;
}

}  // namespace tenor
