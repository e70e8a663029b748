// Tasks on threads. Not for the kernels' files: see kernels.h.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <new>
#include <exception>
#include <thread>
#include <vector>

namespace tenor {

using Task = std::function<void()>;

// The process that loaded the engine. OpenMP's threads do not survive a fork (GNU's waits for them for ever), so a child
// starts its own. (A child that is the first to load it cannot know: after torch has used its threads in the parent, it waits
// for ever, as torch's own functions do there.)
inline const pid_t LOADED_IN = getpid();

// Run the tasks, in order, on so many threads. They are OpenMP's: torch's pool, if it is the same library, whose threads spin
// for a while after every torch operation, and would take the cores from any others.
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
    const int wanted = int(std::min(tasks.size(), size_t(std::max(threads, 1))));
#if defined(_OPENMP)
    const bool pool = getpid() == LOADED_IN;
#else
    const bool pool = false;
#endif
    if (wanted <= 1)
        work();
    else if (pool) {
#if defined(_OPENMP)
#pragma omp parallel num_threads(wanted)
        work();
#endif
    } else {
        std::vector<std::thread> others;
        others.reserve(wanted - 1);
        for (int i = 1; i < wanted; i++) try {
                others.emplace_back(work);
            } catch (const std::exception&) {
                break;  // no more threads to be had: those there are do it all
            }
        work();
        for (auto& thread : others) thread.join();
    }
    if (failed) throw std::bad_alloc();
}

// 0..total in `parts` nearly equal ranges.
inline void split(int64_t total, int64_t parts, const std::function<void(int64_t, int64_t)>& each) {
    for (int64_t i = 0; i < parts; i++)
        if (total * i / parts < total * (i + 1) / parts) each(total * i / parts, total * (i + 1) / parts);
}

}  // namespace tenor
