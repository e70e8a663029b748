// The memory of a task, cut into arrays, 64 bytes aligned. A kernel is called twice: without memory it says how many bytes it
// needs, then it has them. It takes none itself: it is compiled without exceptions, and what it held when memory ran out would be lost.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sanitizer.h"
#if defined(TENOR_SANITIZED)
#include <sanitizer/asan_interface.h>
#endif

namespace tenor::TENOR_ISA {
namespace {

class Scratch {
  public:
    explicit Scratch(char* memory) : start_(reinterpret_cast<uintptr_t>(memory)), end_(start_) {}
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
#if defined(TENOR_SANITIZED)
    ~Scratch() {
        if (start_) __asan_unpoison_memory_region(reinterpret_cast<void*>(start_), end_ - start_);  // whoever has the memory next cuts it anew
    }
#endif

    template <class T>
    T* take(int64_t count) {
        const uintptr_t at = end_, stop = at + count * sizeof(T);
        end_ = (stop + LINE - 1) / LINE * LINE + APART;
#if defined(TENOR_SANITIZED)
        if (start_) __asan_poison_memory_region(reinterpret_cast<void*>(stop), end_ - stop);  // so that a step over an array's end is seen
#endif
        return reinterpret_cast<T*>(at);
    }
    size_t bytes() const { return end_ - start_; }

  private:
    static constexpr uintptr_t LINE = 64, APART = 128;  // else arrays of powers of two had all their rows at the same places of pages
    uintptr_t start_, end_;
};

}  // namespace
}  // namespace tenor::TENOR_ISA
