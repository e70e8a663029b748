#include "memory.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "sanitizer.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace tenor {

namespace {

// Free blocks of earlier calls. A caller that finds the pool busy (or forked while it was) allocates: nothing ever waits.
//
// It keeps MOST, or as much as makes its blocks, free and in use, twice of what was in use at once: batches of many lengths need blocks of
// many sizes. What no call has used for IDLE goes back at the next call; of what lies above MOST Linux may take the pages when it needs them.
class Pool {
    using Clock = std::chrono::steady_clock;

  public:
    void* take(size_t bytes) {
        bytes = std::max<size_t>(bytes, 1);
#if defined(TENOR_SANITIZED)
        void* exact = nullptr;  // of just this size, so that a step over its end is seen
        if (posix_memalign(&exact, ALIGN, bytes)) throw std::bad_alloc();
        return exact;
#endif
        std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock.owns_lock()) {
            drop_unused_for(IDLE);
            auto best = free_.end();
            for (auto it = free_.begin(); it != free_.end(); ++it)
                if (size(it->block) >= bytes && size(it->block) <= 2 * bytes + SLACK && (best == free_.end() || size(it->block) < size(best->block))) best = it;
            if (best != free_.end()) {
                void* found = best->block;
                held_ -= size(found);
                free_.erase(best);
                return count(found);
            }
        }
        const size_t rounded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
#if defined(__linux__)
        // A step writes a little to each of many rows, so pages of 4 KB are many: GRU and RNN in bfloat16 gained 5 to 10 %, others nothing that could be seen.
        const size_t align = rounded < LARGE ? ALIGN : PAGE, all = (rounded + ALIGN + align - 1) / align * align;
        void* block = fresh(align, all, lock);
        if (align == PAGE) madvise(block, all, MADV_HUGEPAGE);  // an advice: it may be refused
#else
        void* block = fresh(ALIGN, rounded + ALIGN, lock);
#endif
        *static_cast<size_t*>(block) = rounded;
        return count(static_cast<char*>(block) + ALIGN);
    }

    void give(void* block) {
#if defined(TENOR_SANITIZED)
        return std::free(block);
#endif
        const size_t in_use = used_ -= size(block);
        std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock()) return std::free(static_cast<char*>(block) - ALIGN);
        drop_unused_for(IDLE);
#if defined(__linux__)
        // The first page stays: the block's size stands there.
        if (held_ + size(block) > MOST && size(block) >= LARGE) madvise(static_cast<char*>(block) - ALIGN + PAGE, size(block) / PAGE * PAGE - PAGE, MADV_FREE);
#endif
        free_.push_back({block, Clock::now()});
        held_ += size(block);
        while ((held_ > MOST && held_ + in_use > 2 * greatest_) || free_.size() > COUNT) free_oldest();
    }

    void trim(Clock::duration unused) {
        std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock.owns_lock()) drop_unused_for(unused);
    }

    Pool() { free_.reserve(COUNT + 1); }  // what is given back in a destructor must not need memory

  private:
    // Where there is no more memory, what the pool keeps for later goes first.
    void* fresh(size_t align, size_t bytes, const std::unique_lock<std::mutex>& lock) {
        void* block = std::aligned_alloc(align, bytes);
        if (!block && lock.owns_lock()) {
            while (!free_.empty()) free_oldest();
            block = std::aligned_alloc(align, bytes);
        }
        if (!block) throw std::bad_alloc();
        return block;
    }
    void* count(void* block) {
        const size_t in_use = used_ += size(block);
        for (size_t seen = greatest_; in_use > seen && !greatest_.compare_exchange_weak(seen, in_use);) {
        }
        return block;
    }
    void drop_unused_for(Clock::duration time) {
        if (free_.empty()) return;
        for (const auto now = Clock::now(); !free_.empty() && now - free_.front().since >= time;) free_oldest();
    }
    void free_oldest() {
        void* block = free_.front().block;
        held_ -= size(block);
        std::free(static_cast<char*>(block) - ALIGN);
        free_.erase(free_.begin());
    }
    static constexpr size_t ALIGN = 64, SLACK = 4096, PAGE = size_t(2) << 20, LARGE = 2 * PAGE, MOST = size_t(512) << 20, COUNT = 256;
    static constexpr std::chrono::seconds IDLE{60};  // longer than a training's step
    static size_t size(const void* block) { return *reinterpret_cast<const size_t*>(static_cast<const char*>(block) - ALIGN); }
    std::mutex mutex_;
    struct Free {
        void* block;
        Clock::time_point since;
    };
    std::vector<Free> free_;  // oldest first
    size_t held_ = 0;
    std::atomic<size_t> used_ = 0, greatest_ = 0;  // bytes in use: now, and most at once
};

Pool& pool() {
    static Pool* one = new Pool;  // never destroyed: blocks may be given back while the process ends
    return *one;
}

}  // namespace

Block::Block(size_t bytes) : data_(pool().take(bytes)) {}
Block::~Block() { pool().give(data_); }

void trim_pool(double seconds) { pool().trim(std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds))); }

}  // namespace tenor
