#include "engine.h"

#include <algorithm>
#include <stdexcept>

#include "instruction_sets.h"
#include "parallel.h"

namespace tenor {

namespace {

// Multiply-adds below which a second thread costs more than it saves: about 50 microseconds of one core's float products.
constexpr double WORTH_A_THREAD = 2e6;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// The task of a kernel that needs memory: asked without any, it says how much.
template <class Kernel>
Task with_memory(Kernel kernel) {
    return [kernel] {
        const Block memory(kernel(nullptr));
        kernel(memory.data());
    };
}

}  // namespace

PackedLayer::PackedLayer(const std::string& isa, Cell cell, Type type, int64_t input, int64_t hidden, int directions, const std::vector<Weights>& weights)
    : kernels_(instruction_set(isa).kernels[int(type)]) {
    Layer& l = layer_;
    l.cell = cell;
    l.input = input, l.hidden = hidden, l.directions = directions;
    l.lanes = kernels_->lanes, l.pair = kernels_->pair;
    l.gates = cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1;
    l.slots = cell == Cell::gru ? 4 : l.gates;
    l.blocks = (hidden + l.lanes - 1) / l.lanes;
    l.hp = l.blocks * l.lanes, l.ip = round_up(input, kernels_->whole);
    if (weights.empty()) return;
    Carver carver;
    size_t in[2], hid[2], bias[2];
    for (int d = 0; d < l.directions; d++) {
        in[d] = carver.add(l.gates * l.hp * l.ip * kernels_->elem);
        hid[d] = carver.add(weights[d].w_hh ? l.gates * l.hp * l.hp * kernels_->elem : 0);
        bias[d] = carver.add(l.slots * l.hp * kernels_->acc);
    }
    panels_ = std::make_unique<Block>(carver.size());
    for (int d = 0; d < l.directions; d++) {
        const Weights& w = weights[d];
        char* base = panels_->data();
        l.direction[d] = {w.w_ih, w.w_hh, w.b_ih, w.b_hh, base + in[d], base + hid[d], base + bias[d], nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
        kernels_->pack_forward(l, d);
    }
}

// Sequences in contiguous parts of about the same number of rows, so that every thread has one for each direction.
std::vector<std::pair<int64_t, int64_t>> PackedLayer::tiles(const Run& run, int threads) const {
    const int64_t wanted = (threads + layer_.directions - 1) / layer_.directions;
    constexpr int64_t LEAST = 8;  // sequences: with fewer, a tile's rows are too few to keep the multipliers busy
    const int64_t parts = std::max<int64_t>(1, std::min(wanted, run.batch / LEAST));
    std::vector<std::pair<int64_t, int64_t>> found;
    std::vector<int64_t> lengths(run.batch);
    for (int64_t t = 0; t < run.steps; t++) lengths[run.live[t] - 1] = t + 1;  // the last sequence that is live at t
    for (int64_t b = run.batch - 2; b >= 0; b--) lengths[b] = std::max(lengths[b], lengths[b + 1]);
    int64_t from = 0, rows = 0;
    for (int64_t b = 0; b < run.batch; b++) {
        rows += lengths[b];
        const bool last = b + 1 == run.batch;
        if (last || (rows * parts >= run.rows * int64_t(found.size() + 1) && int64_t(found.size()) + 1 < parts)) {
            found.emplace_back(from, b + 1);
            from = b + 1;
        }
    }
    return found;
}

PackedLayer::Kept PackedLayer::kept(int64_t rows, bool masked) const {
    const Layer& l = layer_;
    const size_t sides = size_t(l.directions) * rows, elem = kernels_->elem;
    Carver carver;
    Kept at;
    at.x = carver.add(l.pair > 1 ? rows * l.ip * elem : 0);
    at.before = carver.add(sides * l.hp * elem);
    at.before_raw = l.cell == Cell::gru && masked ? carver.add(sides * l.hp * elem) : at.before;
    at.gates = carver.add(l.gates > 1 ? sides * l.slots * l.hp * elem : 0);
    at.cells = carver.add(l.cell == Cell::lstm ? sides * l.hp * kernels_->acc : 0);
    at.all = carver.size();
    return at;
}

size_t PackedLayer::kept_bytes(int64_t rows, bool masked) const { return kept(rows, masked).all; }

Run PackedLayer::run_over(const Packed& rows, const Pointers& at, std::vector<int64_t>& first) const {
    first.resize(rows.steps);
    int64_t place = 0;
    for (int64_t t = 0; t < rows.steps; place += rows.sizes[t++]) first[t] = place;
    Run run{};
    run.layer = &layer_;
    run.batch = rows.batch, run.steps = rows.steps, run.rows = rows.rows;
    run.live = rows.sizes, run.first = first.data();
    run.x_given = run.x = at.x;
    run.h0 = at.h0, run.c0 = at.c0, run.mask = at.mask, run.out = at.out, run.hn = at.hn, run.cn = at.cn;
    return run;
}

void PackedLayer::keep_in(Run& run, char* room, bool masked) const {
    const Kept at = kept(run.rows, masked);
    if (layer_.pair > 1) run.x = room + at.x;
    run.before = room + at.before, run.before_raw = room + at.before_raw, run.keep = room + at.gates, run.cells = room + at.cells;
}

void PackedLayer::forward(const Packed& rows, const Pointers& at, void* kept, int threads) const {
    const Layer& l = layer_;
    std::vector<int64_t> first;
    Run run = run_over(rows, at, first);
    const double work = double(run.rows) * l.directions * l.gates * l.hp * (l.ip + l.hp);
    if (work < WORTH_A_THREAD) threads = 1;
    std::unique_ptr<Block> converted;
    if (kept)
        keep_in(run, static_cast<char*>(kept), at.mask);
    else if (l.pair > 1) {
        converted = std::make_unique<Block>(run.rows * l.ip * kernels_->elem);
        run.x = converted->data();
    }
    std::vector<Task> tasks;
    if (l.pair > 1) split(run.rows, threads, [&](int64_t from, int64_t to) { tasks.emplace_back([=, this, &run] { kernels_->convert(run, from, to); }); });
    run_all(tasks, threads);
    tasks.clear();
    for (const auto& [from, to] : tiles(run, threads))
        for (int d = 0; d < l.directions; d++) tasks.emplace_back(with_memory([=, this, &run](char* memory) { return kernels_->forward(run, d, from, to, memory); }));
    run_all(tasks, threads);
}

void PackedLayer::pack_8(bool input_too) {
    Layer& l = layer_;
    if (!kernels_->pack_8 || l.cell == Cell::rnn_relu || kernels_->acc != sizeof(float)) throw std::invalid_argument("No 8-bit products for this cell, type or instruction set.");
    const size_t sums = l.slots * l.hp, panels = l.gates * l.hp * l.hp, input = input_too ? l.gates * l.hp * round_up(l.input, 4) : 0, a_side = panels + 2 * sums * 4 + input;
    eight_ = std::make_unique<Block>(l.directions * a_side);
    for (int d = 0; d < l.directions; d++) {
        char* base = eight_->data() + d * a_side;
        auto& side = l.direction[d];
        side.hid_8 = base, side.scale_8 = base + panels, side.offset_8 = base + panels + sums * 4, side.in_8 = input_too ? base + panels + 2 * sums * 4 : nullptr;
        kernels_->pack_8(l, d);
    }
}

void PackedLayer::fold(const void* embedding, int64_t vocabulary, bool eight_bits, int threads) {
    Layer& l = layer_;
    eight_bits_ = eight_bits;
    if (eight_bits) pack_8(false);
    const size_t bytes = size_t(vocabulary) * l.slots * l.hp * kernels_->elem;
    tables_ = std::make_unique<Block>(l.directions * bytes);
    std::vector<Task> tasks;
    for (int d = 0; d < l.directions; d++) {
        char* table = tables_->data() + d * bytes;
        table_[d] = table;
        split(vocabulary, 4 * threads, [&](int64_t from, int64_t to) { tasks.emplace_back(with_memory([=, this, &l](char* memory) { return kernels_->fold(l, d, embedding, from, to, table, memory); })); });
    }
    run_all(tasks, threads);
}

void PackedLayer::read(const Packed& rows, const int64_t* ids, void* pooled, void* hn, int threads) const {
    const Layer& l = layer_;
    std::vector<int64_t> first;
    Pointers at{};
    at.hn = hn;
    Run run = run_over(rows, at, first);
    run.ids = ids, run.table[0] = table_[0], run.table[1] = table_[1], run.pooled = pooled, run.eight_bits = eight_bits_;
    if (double(run.rows) * l.directions * l.gates * l.hp * l.hp < WORTH_A_THREAD) threads = 1;
    std::vector<Task> tasks;
    for (const auto& [from, to] : tiles(run, threads))
        for (int d = 0; d < l.directions; d++) tasks.emplace_back(with_memory([=, this, &run](char* memory) { return kernels_->read(run, d, from, to, memory); }));
    run_all(tasks, threads);
}

void PackedLayer::backward(const Packed& rows_of, const Pointers& at, const void* kept, const std::vector<Weights>& weights, const Cotangents& to, int threads) const {
    Layer l = layer_;
    std::vector<int64_t> first;
    Run run = run_over(rows_of, at, first);
    keep_in(run, static_cast<char*>(const_cast<void*>(kept)), at.mask);
    run.layer = &l;
    run.d_out = to.d_out, run.d_hn = to.d_hn, run.d_cn = to.d_cn, run.d_x = to.d_x, run.d_h0 = to.d_h0, run.d_c0 = to.d_c0;
    const double work = double(run.rows) * l.directions * l.gates * l.hp * (l.ip + l.hp);
    if (work < WORTH_A_THREAD) threads = 1;
    const auto parts = tiles(run, threads);
    const bool weights_wanted = !to.d_weights.empty();
    run.in_columns = round_up(l.input, l.lanes);
    run.ranges = (threads + l.directions - 1) / l.directions;
    run.units = int(parts.size()) * l.directions;

    const size_t elem = kernels_->elem, acc = kernels_->acc, sums = l.gates * l.hp, rows = size_t(l.directions) * run.rows;
    Carver carver;
    const size_t d_sums = carver.add(rows * sums * elem), d_hidden = l.cell == Cell::gru ? carver.add(rows * sums * elem) : d_sums;
    const size_t d_bias = carver.add(run.units * 2 * sums * acc);
    const size_t d_ih = carver.add(weights_wanted ? run.ranges * l.directions * sums * run.in_columns * acc : 0);
    const size_t d_hh = carver.add(weights_wanted ? run.ranges * l.directions * sums * l.hp * acc : 0);
    size_t in_back[2], hid_back[2];
    for (int d = 0; d < l.directions; d++) {
        in_back[d] = carver.add(run.d_x ? sums * run.in_columns * elem : 0);
        hid_back[d] = carver.add(sums * l.hp * elem);
    }
    const Block block(carver.size());
    char* base = block.data();
    run.d_sums = base + d_sums, run.d_hidden = base + d_hidden, run.d_bias = base + d_bias, run.d_w_ih = base + d_ih, run.d_w_hh = base + d_hh;

    std::vector<Task> tasks;
    for (int d = 0; d < l.directions; d++) {
        const Weights& w = weights[d];
        auto& side = l.direction[d];
        side.w_ih = w.w_ih, side.w_hh = w.w_hh, side.b_ih = w.b_ih, side.b_hh = w.b_hh;
        side.in_back = run.d_x ? base + in_back[d] : nullptr, side.hid_back = base + hid_back[d];
        tasks.emplace_back([&, d] { kernels_->pack_backward(l, d); });
    }
    run_all(tasks, threads);

    tasks.clear();
    std::vector<std::vector<int>> units(l.directions);
    for (size_t i = 0; i < parts.size(); i++)
        for (int d = 0; d < l.directions; d++) {
            const int unit = int(i) * l.directions + d;
            units[d].push_back(unit);
            tasks.emplace_back(with_memory([&, unit, d, i](char* memory) { return kernels_->backward(run, unit, d, parts[i].first, parts[i].second, memory); }));
        }
    run_all(tasks, threads);

    tasks.clear();
    if (weights_wanted)
        for (int d = 0; d < l.directions; d++)
            for (int range = 0; range < run.ranges; range++)
                tasks.emplace_back(with_memory([&, d, range](char* memory) { return kernels_->weight_gradient(run, range, d, run.rows * range / run.ranges, run.rows * (range + 1) / run.ranges, memory); }));
    constexpr int64_t ROWS = 96;  // a multiple of every tile's rows, few enough that their sums stay in the first cache levels
    if (run.d_x) split(run.rows, (run.rows + ROWS - 1) / ROWS, [&](int64_t from, int64_t to_row) { tasks.emplace_back(with_memory([&, from, to_row](char* memory) { return kernels_->input_gradient(run, from, to_row, memory); })); });
    run_all(tasks, threads);

    if (!weights_wanted) return;
    tasks.clear();
    for (int d = 0; d < l.directions; d++) tasks.emplace_back([&, d] {
            const Weights& w = to.d_weights[d];
            kernels_->collect(run, d, units[d].data(), int(units[d].size()), w);
        });
    run_all(tasks, threads);
}

}  // namespace tenor
