// What the parts of the simulated mps device share.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace simulated {

// How the device is set up. Python writes it before torch is imported; nothing changes it later.
struct Settings {
  bool available = true;
  bool falls_back = false;        // PYTORCH_ENABLE_MPS_FALLBACK, read as torch reads it
  size_t recommended = 8ull << 30;  // bytes, as torch.mps.recommended_max_memory() gives them
  size_t limit = 0;               // bytes after which an allocation fails; 0 for no limit
  int macos_major = 26, macos_minor = 1;
};
Settings& settings();

// The device's memory is host memory that only this allocator hands out.
c10::Allocator* allocator();
size_t allocated();

// Hands a tensor's memory to the device without a copy. Throws torch's out-of-memory error when
// the limit is passed.
c10::DataPtr adopt(const at::Tensor& on_host);

// Waits for the device: an error that an op left behind is raised here, as Metal's are.
void synchronize();
void fail_later(std::string message);

}  // namespace simulated
