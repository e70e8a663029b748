// Tasks on threads. Not for the kernels' files: see kernels.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace tenor {

using Task = std::function<void()>;

// Run the tasks, in order, on so many threads. Threads are started for the call and joined: tens of microseconds, against
// milliseconds of work, and there is no pool that a fork could break or that spins between calls.
inline void run_all(const std::vector<Task>& tasks, int threads) {
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    const auto work = [&] {
        for (size_t i; (i = next++) < tasks.size();) try {
                tasks[i]();
            } catch (const std::bad_alloc&) {
                failed = true;
            }
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < std::min(tasks.size(), size_t(std::max(threads, 1))); i++) try {
            others.emplace_back(work);
        } catch (const std::system_error&) {
            break;  // no more threads to be had: those there are do it all
        }
    work();
    for (auto& thread : others) thread.join();
    if (failed) throw std::bad_alloc();
}

// 0..total in `parts` nearly equal ranges.
inline void split(int64_t total, int64_t parts, const std::function<void(int64_t, int64_t)>& each) {
    for (int64_t i = 0; i < parts; i++)
        if (total * i / parts < total * (i + 1) / parts) each(total * i / parts, total * (i + 1) / parts);
}

}  // namespace tenor
