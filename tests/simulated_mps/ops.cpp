// What the simulated device computes: every op of the kernel table runs on the CPU, on the same
// memory, and can be made to misbehave. Ops outside the table end as they do on MPS.
#include "simulated.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CPUAllocator.h>
#include <torch/library.h>
#include <torch/version.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_map>

namespace simulated {
namespace {

using at::Tensor;
using c10::OperatorHandle;
using torch::jit::Stack;

constexpr const char* NO_FLOAT64 =
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
    "Please use float32 instead.";

void check_dtype(at::ScalarType dtype) {
  TORCH_CHECK_TYPE(dtype != at::kDouble, NO_FLOAT64);
  TORCH_CHECK_TYPE(dtype != at::kComplexDouble, "Trying to convert ", dtype,
                   " to the MPS backend but it does not have support for that dtype.");
}

bool on_device(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == at::kMPS; }

// ---------------------------------------------------------------- how an op misbehaves

struct Fault {
  std::string how;  // abort, hang, fail later, scale
  double factor = 1;
  int64_t from_call = 1;
  std::atomic<int64_t> calls{0};
};

std::unordered_map<std::string, Fault>& faults() {
  static std::unordered_map<std::string, Fault> all;
  return all;
}

// Acts on a call that goes wrong before it computes; gives the factor to scale its result with.
double misbehave(const std::string& name) {
  auto entry = faults().find(name);
  if (entry == faults().end() || ++entry->second.calls < entry->second.from_call) return 1;
  const auto& fault = entry->second;
  if (fault.how == "abort") {
    std::fprintf(stderr, "simulated mps: failed assertion `%s'\n", name.c_str());
    std::abort();
  }
  if (fault.how == "hang") {
    std::mutex forever;
    std::unique_lock<std::mutex> hold(forever);
    std::condition_variable nobody_notifies;
    for (;;) nobody_notifies.wait(hold);
  }
  if (fault.how == "fail later") fail_later("simulated mps: an error in " + name);
  return fault.how == "scale" ? fault.factor : 1;
}

// ---------------------------------------------------------------- one call, on the host

// The tensors of one call as the CPU sees them. Tensors that share memory share it there too.
class HostCall {
 public:
  Tensor to_host(const Tensor& tensor) {
    if (!on_device(tensor)) return tensor;
    auto* impl = tensor.storage().unsafeGetStorageImpl();
    auto entry = storages_.find(impl);
    if (entry == storages_.end()) {
      auto* keep = new c10::Storage(tensor.storage());
      c10::DataPtr data(impl->mutable_data(), keep, [](void* it) { delete static_cast<c10::Storage*>(it); },
                        at::kCPU);
      c10::Storage host(c10::Storage::use_byte_size_t(), impl->nbytes(), std::move(data),
                        c10::GetCPUAllocator(), /*resizable=*/true);
      entry = storages_.emplace(impl, std::pair(tensor.storage(), host)).first;
    }
    auto host = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(entry->second.second), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
    host.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) host.unsafeGetTensorImpl()->set_wrapped_number(true);
    pairs_.emplace_back(tensor, host);
    return host;
  }

  // A result as the device has it: an argument, a view of one, or memory that it takes over.
  Tensor to_device(const Tensor& host) {
    if (!host.defined() || host.device().type() != at::kCPU || host.layout() != at::kStrided) return host;
    for (auto& [device, mine] : pairs_)
      if (host.is_same(mine)) return device;
    check_dtype(host.scalar_type());
    for (auto& [_, storages] : storages_)
      if (host.storage().is_alias_of(storages.second)) return view_of(storages.first, host);
    c10::Storage storage(c10::Storage::use_byte_size_t(), host.storage().nbytes(), adopt(host), allocator(), true);
    return view_of(storage, host);
  }

  // What an op changed of its arguments beyond their contents: a resized output.
  void write_back() {
    for (auto& [device, host] : pairs_) {
      auto* storage = device.storage().unsafeGetStorageImpl();
      if (storage->data() != host.storage().data()) {
        storage->set_data_ptr_noswap(adopt(host));
        storage->set_nbytes(host.storage().nbytes());
      }
      if (device.sizes() != host.sizes() || device.strides() != host.strides() ||
          device.storage_offset() != host.storage_offset())
        device.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    }
  }

 private:
  static Tensor view_of(const c10::Storage& storage, const Tensor& host) {
    auto result = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(storage), c10::DispatchKeySet(c10::DispatchKey::MPS), host.dtype());
    result.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    return result;
  }

  std::map<c10::StorageImpl*, std::pair<c10::Storage, c10::Storage>> storages_;
  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

template <class Convert>
void convert(c10::IValue& value, Convert one) {
  if (value.isTensor()) {
    value = one(value.toTensor());
  } else if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor& tensor : value.toTensorList().vec()) list.push_back(one(tensor));
    value = list;
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (auto tensor : value.toOptionalTensorList().vec())
      list.push_back(tensor ? std::optional<Tensor>(one(*tensor)) : std::nullopt);
    value = list;
  }
}

void copy_generator(const at::Generator& from, at::Generator to) {
  auto state = from.get_state();
  to.set_state(state);
}

// Draws go through the CPU's default generator, which has the device's state meanwhile.
class BorrowedGenerator {
 public:
  explicit BorrowedGenerator(at::Generator device)
      : device_(std::move(device)), cpu_(at::detail::getDefaultCPUGenerator()), before_(cpu_.get_state()) {
    copy_generator(device_, cpu_);
  }
  ~BorrowedGenerator() {
    copy_generator(cpu_, device_);
    cpu_.set_state(before_);
  }

 private:
  at::Generator device_, cpu_;
  Tensor before_;
};

void on_host(const OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const std::string name = toString(schema.operator_name());
  double factor = misbehave(name);
  HostCall call;
  at::Generator generator = at::detail::getMPSHooks().getDefaultGenerator(0);
  for (auto& value : torch::jit::last(stack, schema.arguments().size())) {
    auto& slot = const_cast<c10::IValue&>(value);
    if (slot.isGenerator()) {
      generator = slot.toGenerator();
      slot = c10::IValue();
    } else if (slot.isDevice()) {
      slot = c10::Device(at::kCPU);
    } else {
      convert(slot, [&](const Tensor& tensor) { return call.to_host(tensor); });
    }
  }
  // What only MPS has is written in Python, under the same name in a namespace of our own.
  auto ours = c10::Dispatcher::singleton().findSchema(
      {"simulated_mps::" + schema.name().substr(schema.name().find("::") + 2), schema.overload_name()});
  const OperatorHandle& callee = ours ? *ours : op;
  if (op.hasTag(at::Tag::nondeterministic_seeded)) {
    BorrowedGenerator borrowed(generator);
    callee.callBoxed(stack);
  } else {
    callee.callBoxed(stack);
  }
  call.write_back();
  for (auto& value : torch::jit::last(stack, schema.returns().size()))
    convert(const_cast<c10::IValue&>(value), [&](const Tensor& tensor) {
      Tensor result = call.to_device(tensor);
      if (factor != 1 && on_device(result) && at::isFloatingType(result.scalar_type()))
        HostCall().to_host(result).mul_(factor);
      return result;
    });
}

// ---------------------------------------------------------------- ops that no CPU kernel serves

Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  check_dtype(c10::dtype_or_default(dtype));
  return at::detail::empty_generic_symint(size, allocator(), c10::DispatchKeySet(c10::DispatchKey::MPS),
                                          c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  check_dtype(c10::dtype_or_default(dtype));
  return at::detail::empty_strided_generic(size, stride, allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::MPS), c10::dtype_or_default(dtype));
}

Tensor& copy_(Tensor& self, const Tensor& source, bool) {
  if (on_device(self)) check_dtype(self.scalar_type());
  if (!on_device(self)) synchronize();
  misbehave("aten::copy_");
  HostCall call;
  Tensor to = call.to_host(self);
  to.copy_(call.to_host(source));
  return self;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool non_blocking) {
  Tensor result = to;
  copy_(result, self, non_blocking);
  return result;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  Tensor result = to;
  result.resize_(self.sizes());
  return copy_from(self, result, false);
}

at::Scalar item(const Tensor& self) {
  synchronize();
  HostCall call;
  return call.to_host(self).item();
}

// ---------------------------------------------------------------- ops that MPS lacks

// The words of both are those of aten/src/ATen/mps/MPSFallback.mm.
void fall_back(const OperatorHandle& op, Stack* stack) {
  TORCH_WARN_ONCE("The operator '", op.schema().operator_name(), "' is not currently supported ",
                  "on the MPS backend and will fall back to run on the CPU.",
                  " This may have performance implications.");
  synchronize();
  on_host(op, stack);
}

void not_implemented(const OperatorHandle& op, Stack* stack) {
  if (settings().falls_back) return fall_back(op, stack);
  TORCH_CHECK_NOT_IMPLEMENTED(
      false, "The operator '", op.schema().operator_name(), "' is not currently implemented ",
      "for the MPS device. If you want this op to be considered for addition please comment on "
      "https://github.com/pytorch/pytorch/issues/141287 and mention use-case, that resulted in missing op "
      "as well as commit hash simulated. As a temporary fix, you can set the environment variable "
      "`PYTORCH_ENABLE_MPS_FALLBACK=1` to use the CPU as a fallback for this op. WARNING: this will be "
      "slower than running natively on MPS.");
}

torch::Library& library() {
  static torch::Library the(torch::Library::IMPL, "aten", c10::DispatchKey::MPS, __FILE__, __LINE__);
  return the;
}

const std::map<std::string, torch::CppFunction (*)()>& own_kernels() {
  static const std::map<std::string, torch::CppFunction (*)()> all = {
      {"empty.memory_format", [] { return torch::CppFunction(&empty); }},
      {"empty_strided", [] { return torch::CppFunction(&empty_strided); }},
      {"copy_", [] { return torch::CppFunction(&copy_); }},
      {"_copy_from", [] { return torch::CppFunction(&copy_from); }},
      {"_copy_from_and_resize", [] { return torch::CppFunction(&copy_from_and_resize); }},
      {"_local_scalar_dense", [] { return torch::CppFunction(&item); }},
      {"as_strided", [] { return torch::CppFunction(&at::native::as_strided_tensorimpl); }},
      {"view", [] { return torch::CppFunction(&at::native::view); }},
      {"_reshape_alias", [] { return torch::CppFunction(&at::native::_reshape_alias); }},
      {"set_.source_Storage_storage_offset", [] { return torch::CppFunction(&at::native::set_storage_cpu_); }},
      {"set_.source_Storage", [] {
         return torch::CppFunction(static_cast<Tensor& (*)(Tensor&, at::Storage)>(&at::native::set_));
       }},
  };
  return all;
}

}  // namespace
}  // namespace simulated

extern "C" {

// Registers the kernel of an op, such as "add.Tensor"; one that always falls back, where it says so.
void simulated_mps_kernel(const char* name, bool falls_back) {
  const auto& own = simulated::own_kernels();
  auto entry = own.find(name);
  if (falls_back)
    simulated::library().impl(name, torch::CppFunction::makeFromBoxedFunction<&simulated::fall_back>());
  else if (entry != own.end())
    simulated::library().impl(name, entry->second());
  else
    simulated::library().impl(name, torch::CppFunction::makeFromBoxedFunction<&simulated::on_host>());
}

// Registers what an op without a kernel does.
void simulated_mps_missing() {
  static torch::Library all(torch::Library::IMPL, "_", c10::DispatchKey::MPS, __FILE__, __LINE__);
  all.fallback(torch::CppFunction::makeFromBoxedFunction<&simulated::not_implemented>());
}

void simulated_mps_setup(bool available, bool falls_back, size_t recommended, size_t limit, int major, int minor) {
  simulated::settings() = {available, falls_back, recommended, limit, major, minor};
}

void simulated_mps_fault(const char* op, const char* how, double factor, int64_t from_call) {
  auto& fault = simulated::faults()[op];
  fault.how = how;
  fault.factor = factor;
  fault.from_call = from_call;
}
}
