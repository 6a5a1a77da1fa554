// What the functions that Rust calls have in common.
#pragma once

#include <cstring>
#include <exception>

#include <c10/util/Exception.h>

// Returns null, or a message that the caller frees.
template <typename F>
char *guarded(F run) {
  try {
    run();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown error");
  }
}
