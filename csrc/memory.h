// Memory of calls, 64 bytes aligned, from blocks used before: a fresh block costs a page fault every 4 KB.
#pragma once

#include <cstddef>

namespace tenor {

// A block from the pool, given back at the end.
class Block {
  public:
    explicit Block(size_t bytes);  // throws std::bad_alloc
    ~Block();
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    char* data() const { return static_cast<char*>(data_); }

  private:
    void* data_;
};

// Give back to the system what no call has used for so long.
void trim_pool(double seconds);

// Cuts one block into arrays.
class Carver {
  public:
    size_t add(size_t bytes) {
        const size_t at = size_;
        size_ += (bytes + 63) / 64 * 64;
        return at;
    }
    size_t size() const { return size_; }

  private:
    size_t size_ = 0;
};

}  // namespace tenor
