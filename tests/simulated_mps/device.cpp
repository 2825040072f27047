// The simulated device itself: memory, generator, guard and hooks. See ops.cpp for what it computes.
#include "simulated.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include <chrono>
#include <map>
#include <mutex>

namespace simulated {

Settings& settings() {
  static Settings the;
  return the;
}

namespace {

std::atomic<size_t> bytes{0};
std::mutex pending_lock;
std::string pending;

// Owns a block of the device: its own memory, or a host tensor whose memory it took over.
struct Block {
  void* own;
  at::Tensor host;
  size_t size;
  ~Block() {
    bytes -= size;
    if (own) c10::GetCPUAllocator()->raw_deallocate(own);
  }
};

void release(void* block) { delete static_cast<Block*>(block); }

// After aten/src/ATen/mps/MPSAllocator.mm, whose words these are.
void count(size_t size) {
  size_t before = bytes.fetch_add(size);
  size_t limit = settings().limit;
  if (limit == 0 || before + size <= limit) return;
  bytes -= size;
  TORCH_CHECK(false, "MPS backend out of memory (MPS allocated: ", c10::CachingAllocator::format_size(before),
              ", other allocations: ", c10::CachingAllocator::format_size(0),
              ", max allowed: ", c10::CachingAllocator::format_size(limit),
              "). Tried to allocate ", c10::CachingAllocator::format_size(size),
              " on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for "
              "memory allocations (may cause system failure).");
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    if (size == 0) return {nullptr, c10::Device(c10::kMPS, 0)};
    count(size);
    void* own = c10::GetCPUAllocator()->raw_allocate(size);
    return {own, new Block{own, {}, size}, &release, c10::Device(c10::kMPS, 0)};
  }
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }
};

Memory memory;

}  // namespace

c10::Allocator* allocator() { return &memory; }
size_t allocated() { return bytes; }

c10::DataPtr adopt(const at::Tensor& on_host) {
  const auto& storage = on_host.storage();
  count(storage.nbytes());
  return {storage.mutable_data(), new Block{nullptr, on_host, storage.nbytes()}, &release,
          c10::Device(c10::kMPS, 0)};
}

void fail_later(std::string message) {
  std::lock_guard<std::mutex> hold(pending_lock);
  if (pending.empty()) pending = std::move(message);
}

void synchronize() {
  std::string message;
  {
    std::lock_guard<std::mutex> hold(pending_lock);
    message.swap(pending);
  }
  if (!message.empty()) throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 1, message);
}

namespace {

// Work is done when it is launched, so every event has happened as soon as it is recorded.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr auto D = c10::kMPS;
  c10::Device here() const { return {D, 0}; }
  c10::Stream stream() const { return c10::Stream(c10::Stream::DEFAULT, here()); }
  c10::DeviceType type() const override { return D; }
  c10::Device exchangeDevice(c10::Device) const override { return here(); }
  c10::Device getDevice() const override { return here(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return stream(); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return settings().available ? 1 : 0; }
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {
    static int mark;
    *event = &mark;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { synchronize(); }
  void synchronizeEvent(void*) const override { synchronize(); }
  void synchronizeDevice(c10::DeviceIndex) const override { synchronize(); }
};

// MPS draws from a generator of its own, which says that it lives on mps.
struct Draws final : at::CPUGeneratorImpl {
  Draws() { device_ = c10::Device(c10::kMPS, 0); }
};

}  // namespace
}  // namespace simulated

namespace at {

struct SimulatedHooks final : MPSHooksInterface {
  void init() const override {}
  bool hasMPS() const override { return simulated::settings().available; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return hasMPS(); }
  DeviceIndex deviceCount() const override { return hasMPS() ? 1 : 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isOnMacOSorNewer(unsigned major, unsigned minor) const override {
    auto& is = simulated::settings();
    return std::pair(is.macos_major, is.macos_minor) >= std::pair(int(major), int(minor));
  }
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    static Generator the = make_generator<simulated::Draws>();
    return the;
  }
  Generator getNewGenerator(DeviceIndex) const override { return make_generator<simulated::Draws>(); }
  Allocator* getMPSDeviceAllocator() const override { return simulated::allocator(); }
  Device getDeviceFromPtr(void*) const override { return {kMPS, 0}; }
  void deviceSynchronize() const override { simulated::synchronize(); }
  void commitStream() const override {}
  void emptyCache() const override {}
  size_t getCurrentAllocatedMemory() const override { return simulated::allocated(); }
  size_t getDriverAllocatedMemory() const override { return simulated::allocated(); }
  size_t getRecommendedMaxMemory() const override { return simulated::settings().recommended; }
  size_t getMaxBufferLength() const override { return simulated::settings().recommended; }
  void setMemoryFraction(double fraction) const override {
    simulated::settings().limit = size_t(fraction * double(getRecommendedMaxMemory()));
  }
  uint32_t acquireEvent(bool) const override {
    std::lock_guard<std::mutex> hold(lock_);
    return ++last_event_;
  }
  void releaseEvent(uint32_t event) const override {
    std::lock_guard<std::mutex> hold(lock_);
    recorded_.erase(event);
  }
  void recordEvent(uint32_t event) const override {
    std::lock_guard<std::mutex> hold(lock_);
    recorded_[event] = std::chrono::steady_clock::now();
  }
  void waitForEvent(uint32_t) const override {}
  void synchronizeEvent(uint32_t) const override { simulated::synchronize(); }
  bool queryEvent(uint32_t) const override { return true; }
  double elapsedTimeOfEvents(uint32_t from, uint32_t to) const override {
    std::lock_guard<std::mutex> hold(lock_);
    return std::chrono::duration<double, std::milli>(recorded_[to] - recorded_[from]).count();
  }

 private:
  mutable std::mutex lock_;
  mutable uint32_t last_event_ = 0;
  mutable std::map<uint32_t, std::chrono::steady_clock::time_point> recorded_;
};

// A Mac's torch has no CUDA; the Linux wheel that this runs in may.
struct NoCuda final : CUDAHooksInterface {
  bool isBuilt() const override { return false; }
  bool hasCUDA() const override { return false; }
};

}  // namespace at

// Called when torch's libraries are loaded and its Python modules are not: torch asks each registry
// once. A higher priority replaces what a CUDA build registered for itself.
extern "C" void simulated_mps_register() {
  static c10::impl::DeviceGuardImplRegistrar guard(c10::kMPS, new simulated::Guard());
  c10::SetAllocator(c10::kMPS, simulated::allocator());
  at::MPSHooksRegistry()->Register("MPSHooks", [] { return std::make_unique<at::SimulatedHooks>(); });
  at::CUDAHooksRegistry()->Register(
      "CUDAHooks", [](at::CUDAHooksArgs) { return std::make_unique<at::NoCuda>(); }, "none",
      c10::REGISTRY_PREFERRED);
}
