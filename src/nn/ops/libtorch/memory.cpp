// libtorch's allocator on the CPU: keeps large blocks that are freed, for the next tensor of about the same size.
//
// Features between layers are tens of megabytes each. The C library gives blocks of that size back to the system when
// they are freed and asks for new, zeroed pages at the next allocation; in training, a third of the time goes into
// that. Used and kept blocks together stay near what tensors have held at once, so that the peak hardly grows.

// Elsewhere than on Linux, libtorch's own allocator stays.
#ifdef __linux__

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>

#include <c10/core/Allocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/Exception.h>

namespace {

// Smaller blocks are the C library's.
constexpr size_t kLarge = size_t{1} << 20;
// Sizes are multiples of this.
constexpr size_t kUnit = size_t{1} << 16;

// A kept block may be larger than asked for by this share.
constexpr size_t fitting(size_t size) { return size + size / 2; }

// Most bytes in blocks, if tensors have held `peak` at once.
constexpr size_t allowed(size_t peak) { return peak + peak / 8; }

class Keeper final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void *block = bytes < kLarge ? c10::alloc_cpu(bytes) : take(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void *to, const void *from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  static Keeper &instance() {
    // Never destroyed: tensors in static variables outlive everything.
    static auto *keeper = new Keeper;
    return *keeper;
  }

 private:
  void *take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t size = (bytes + kUnit - 1) / kUnit * kUnit;
    const auto fit = kept_.lower_bound(size);
    if (fit != kept_.end() && fit->first <= fitting(size)) {
      void *block = fit->second;
      use(block, fit->first);
      kept_bytes_ -= fit->first;
      kept_.erase(fit);
      return block;
    }
    // It only counts as the peak once the block is there.
    const size_t peak = std::max(peak_, used_bytes_ + size);
    while (!kept_.empty() && used_bytes_ + kept_bytes_ + size > allowed(peak)) give_back_largest();
    void *block = map(size);
    while (block == MAP_FAILED && !kept_.empty()) {
      give_back_largest();
      block = map(size);
    }
    TORCH_CHECK(block != MAP_FAILED, "out of memory: the system does not give ", size, " more bytes");
    madvise(block, size, MADV_HUGEPAGE);
    use(block, size);
    return block;
  }

  static void *map(size_t size) {
    return mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  void give_back_largest() {
    const auto largest = std::prev(kept_.end());
    munmap(largest->second, largest->first);
    kept_bytes_ -= largest->first;
    kept_.erase(largest);
  }

  void use(void *block, size_t size) {
    used_.emplace(block, size);
    used_bytes_ += size;
    peak_ = std::max(peak_, used_bytes_);
  }

  static void release(void *block) {
    Keeper &keeper = instance();
    {
      const std::lock_guard<std::mutex> lock(keeper.mutex_);
      const auto found = keeper.used_.find(block);
      if (found != keeper.used_.end()) {
        keeper.kept_.emplace(found->second, block);
        keeper.kept_bytes_ += found->second;
        keeper.used_bytes_ -= found->second;
        keeper.used_.erase(found);
        return;
      }
    }
    c10::free_cpu(block);
  }

  std::mutex mutex_;
  std::unordered_map<void *, size_t> used_;
  std::multimap<size_t, void *> kept_;
  size_t used_bytes_ = 0;
  size_t kept_bytes_ = 0;
  size_t peak_ = 0;
};

}  // namespace

extern "C" void segtool_keep_freed_memory() { c10::SetAllocator(c10::DeviceType::CPU, &Keeper::instance(), /*priority=*/100); }

#else

extern "C" void segtool_keep_freed_memory() {}

#endif
