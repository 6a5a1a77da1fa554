// Counts the operators that a thread calls, as PyTorch's profiler sees them.

#include <cstring>
#include <map>
#include <string>

#include <ATen/record_function.h>

namespace {

struct Count {
  // By name, of the operators that were not called by another one.
  std::map<std::string, int64_t> direct;
  int64_t nested = 0;
  int64_t depth = 0;
};

// Each thread has its own: libtorch's worker threads compute parts of operators that were counted where they were called.
thread_local Count count;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction &function) {
  if (count.depth++ == 0) {
    ++count.direct[function.name()];
  } else {
    ++count.nested;
  }
  return nullptr;
}

void leave(const at::RecordFunction &, at::ObserverContext *) { --count.depth; }

}  // namespace

extern "C" {

// Starts to count on this thread, from zero; returns what ends it.
uint64_t segtool_start_counting() {
  count = {};
  return at::addThreadLocalCallback(at::RecordFunctionCallback(enter, leave).scopes({at::RecordScope::FUNCTION}));
}

// Ends it. Returns a line for each operator that was called directly, the name, a space and the number of calls; to be
// freed by the caller.
char *segtool_stop_counting(uint64_t handle, int64_t *nested) {
  at::removeCallback(handle);
  std::string lines;
  for (const auto &[name, calls] : count.direct) lines += name + " " + std::to_string(calls) + "\n";
  *nested = count.nested;
  return strdup(lines.c_str());
}

}  // extern "C"
