// Stands in for Gloo's header, which libtorch's packages leave out: c10d's header only points to it.
#pragma once

namespace gloo {
namespace transport {

class Device;

}  // namespace transport
}  // namespace gloo
