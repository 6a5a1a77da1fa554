// Processes that train together: libtorch's store of keys and its Gloo collectives. Each function returns null, or a message
// that the caller frees.

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <streambuf>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "../guarded.h"

namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
}

// Drops what is written to it. It has no buffer, so that threads may write at the same time.
class Nowhere final : public std::streambuf {
 protected:
  int_type overflow(int_type character) override { return traits_type::not_eof(character); }
  std::streamsize xsputn(const char *, std::streamsize count) override { return count; }
};

// Gloo writes a line about its connections to standard output, which is for results.
class OutputAside {
 public:
  OutputAside() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (users++ == 0) before = std::cout.rdbuf(&nowhere);
  }

  ~OutputAside() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (--users == 0) std::cout.rdbuf(before);
  }

 private:
  inline static std::mutex mutex;
  inline static Nowhere nowhere;
  inline static std::streambuf *before = nullptr;
  inline static int users = 0;
};

}  // namespace

struct Link {
  // Of this attempt, and of all attempts where a launcher serves it.
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Store> lasting;
  c10::intrusive_ptr<c10d::Backend> gloo;
  int rank;
  int size;
  double seconds;
};

struct Served {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

struct Exchange {
  // Held until the exchange is over.
  std::vector<at::Tensor> tensors;
  c10::intrusive_ptr<c10d::Work> work;
};

extern "C" {

// Serves a store of keys on a free port.
char *segtool_serve_store(Served **result, uint16_t *port) {
  return guarded([&] {
    FLAGS_caffe2_log_level = 3;
    c10d::TCPStoreOptions options;
    options.timeout = milliseconds(10);
    options.port = 0;
    options.isServer = true;
    options.waitWorkers = false;
    auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
    *port = store->getPort();
    *result = new Served{std::move(store)};
  });
}

void segtool_free_store(Served *store) { delete store; }

// Connects to the store of keys at host and port, which this process serves itself if it is told to.
char *segtool_group_join(Link **result, const char *host, uint16_t port, bool serves, const char *prefix, int64_t rank,
                         int64_t size, double seconds) {
  return guarded([&] {
    // What goes wrong is said once, in the error: c10d would log it, too, with a C++ backtrace.
    FLAGS_caffe2_log_level = 3;
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.timeout = milliseconds(seconds);
    options.waitWorkers = false;
    auto served = c10::make_intrusive<c10d::TCPStore>(host, options);
    auto lasting = c10::make_intrusive<c10d::PrefixStore>("segtool", served);
    auto store = c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(served));
    *result = new Link{std::move(store), std::move(lasting), {}, static_cast<int>(rank), static_cast<int>(size), seconds};
  });
}

// Connects to all other processes from an address or, if there are names, by network interfaces, separated by commas.
char *segtool_group_connect(Link *link, const char *address, const char *interface_names) {
  return guarded([&] {
    OutputAside aside;
    // Processes may come to the same point hours apart, in validation; those that are lost are found otherwise.
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(link->seconds));
    if (interface_names == nullptr) {
      options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(address));
    } else {
      std::istringstream names(interface_names);
      for (std::string name; std::getline(names, name, ',');) {
        options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(name));
      }
    }
    link->gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(link->store, link->rank, link->size, options);
    link->gloo->setTimeout(std::chrono::hours(24));
  });
}

// Sets a key, for this attempt or, where a launcher serves the store, for those to come as well.
char *segtool_group_set(const Link *link, bool lasting, const char *key, const uint8_t *bytes, size_t count) {
  return guarded([&] { (lasting ? link->lasting : link->store)->set(key, std::vector<uint8_t>(bytes, bytes + count)); });
}

// Waits until some process has set the key. The bytes are to be freed.
char *segtool_group_get(const Link *link, bool lasting, const char *key, uint8_t **bytes, size_t *count) {
  return guarded([&] {
    const auto found = (lasting ? link->lasting : link->store)->get(key);
    *bytes = static_cast<uint8_t *>(malloc(found.size() + 1));
    TORCH_CHECK(*bytes != nullptr, "no memory for the value of ", key);
    memcpy(*bytes, found.data(), found.size());
    *count = found.size();
  });
}

// Whether a key was set for this attempt and those to come.
char *segtool_group_has(const Link *link, const char *key, bool *found) {
  return guarded([&] { *found = link->lasting->check({key}); });
}

// Begins to add up a tensor over all processes, in its place; or, from a root that is not negative, to copy that one's.
char *segtool_group_begin(Exchange **result, const Link *link, const at::Tensor *tensor, int64_t root) {
  return guarded([&] {
    auto exchange = std::make_unique<Exchange>();
    exchange->tensors = {*tensor};
    if (root < 0) {
      exchange->work = link->gloo->allreduce(exchange->tensors);
    } else {
      c10d::BroadcastOptions options;
      options.rootRank = root;
      exchange->work = link->gloo->broadcast(exchange->tensors, options);
    }
    *result = exchange.release();
  });
}

// Waits at most this number of seconds; says whether the exchange is over.
char *segtool_exchange_wait(Exchange *exchange, double seconds, bool *over) {
  return guarded([&] {
    *over = true;
    try {
      exchange->work->wait(milliseconds(seconds));
    } catch (...) {
      *over = exchange->work->isCompleted();
      // It may have ended just after the time was up: now only what it ended with is thrown.
      if (*over) exchange->work->wait();
    }
  });
}

void segtool_free_exchange(Exchange *exchange) { delete exchange; }

void segtool_free_link(Link *link) { delete link; }

}  // extern "C"
