// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
#include "model_2d_net/runner.h"

#include <cmath>
#include <limits>
#include <new>

#include "model_2d_net/arena.h"
#include "model_2d_net/ops.h"
#include "model_2d_net/tflm.h"
#include "tensorflow/lite/micro/micro_interpreter.h"  // and the C types and the schema, which move between versions

namespace model_2d_net {
namespace {

constexpr unsigned int kSchema = 3;  // TFLITE_SCHEMA_VERSION, which has moved between headers
constexpr uintptr_t kAlignment = 16;

struct Expected {
  TfLiteType type;
  size_t bytes;
};
constexpr Expected kInputs[] = {
    {kTfLiteInt8, 4},
    {kTfLiteInt32, 4},
};
constexpr Expected kOutputs[] = {
    {kTfLiteInt8, 3},
    {kTfLiteFloat32, 8},
};

alignas(16) MODEL_2D_NET_ARENA_ATTRIBUTE uint8_t arena[MODEL_2D_NET_ARENA_BYTES];
// Not objects with static storage of their own: their constructors would need guards, and run before main().
alignas(Resolver) unsigned char resolver_memory[sizeof(Resolver)];
alignas(tflm::MicroInterpreter) unsigned char interpreter_memory[sizeof(tflm::MicroInterpreter)];
tflm::MicroInterpreter* interpreter = nullptr;

bool Matches(const TfLiteTensor* tensor, const Expected& expected) {
  return tensor != nullptr && tensor->type == expected.type && tensor->bytes == expected.bytes;
}

bool HasTensorsOfFacts() {
  if (interpreter->inputs_size() != MODEL_2D_NET_INPUTS || interpreter->outputs_size() != MODEL_2D_NET_OUTPUTS) return false;
  for (size_t index = 0; index < MODEL_2D_NET_INPUTS; ++index) {
    if (!Matches(interpreter->input(index), kInputs[index])) return false;
  }
  for (size_t index = 0; index < MODEL_2D_NET_OUTPUTS; ++index) {
    if (!Matches(interpreter->output(index), kOutputs[index])) return false;
  }
  return true;
}

void Destroy() {
  if (interpreter != nullptr) interpreter->~MicroInterpreter();
  interpreter = nullptr;
}

Status Fail(Status status) {
  Destroy();
  return status;
}

// Rounds to the nearest step, halves away from zero, and keeps to the range of T.
template <typename T>
T Quantize(float real, float scale, int32_t zero_point) {
  const float value = std::round(real / scale) + static_cast<float>(zero_point);
  if (!(value > static_cast<float>(std::numeric_limits<T>::min()))) return std::numeric_limits<T>::min();
  if (value >= static_cast<float>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(value);
}

}  // namespace

const char* Explain(Status status) {
  switch (status) {
    case Status::kOk: return "no error";
    case Status::kNotInitialized: return "Init() was not called, or failed";
    case Status::kNoModel: return "the model's address is null or not aligned to 16 bytes";
    case Status::kOtherSchema: return "what is there is no model of this version of the TFLite schema";
    case Status::kMissingOp: return "this TFLite Micro cannot register an operator of the model: take a newer one";
    case Status::kNotAllocated:
      return "the arena is too small or an operator is missing: TFLite Micro's log says which";
    case Status::kOtherTensors: return "the model has other inputs or outputs than facts.h says";
    case Status::kFailed: return "an operator failed: TFLite Micro's log says which";
  }
  return "unknown";
}

Status Init(const void* model) {
  Destroy();
  if (model == nullptr || reinterpret_cast<uintptr_t>(model) % kAlignment != 0) return Status::kNoModel;
  const tflm::Model* parsed = tflm::GetModel(model);
  if (parsed->version() != kSchema) return Status::kOtherSchema;
  Resolver* resolver = new (resolver_memory) Resolver();
  if (RegisterOps(*resolver) != kTfLiteOk) return Status::kMissingOp;
  interpreter = new (interpreter_memory) tflm::MicroInterpreter(parsed, *resolver, arena, sizeof(arena));
  if (interpreter->AllocateTensors() != kTfLiteOk) return Fail(Status::kNotAllocated);
  if (!HasTensorsOfFacts()) return Fail(Status::kOtherTensors);
  return Status::kOk;
}

Status Invoke() {
  if (interpreter == nullptr) return Status::kNotInitialized;
  return interpreter->Invoke() == kTfLiteOk ? Status::kOk : Status::kFailed;
}

Status Reset() {
  if (interpreter == nullptr) return Status::kNotInitialized;
  return interpreter->Reset() == kTfLiteOk ? Status::kOk : Status::kFailed;
}

size_t ArenaUsedBytes() { return interpreter == nullptr ? 0 : interpreter->arena_used_bytes(); }

void* Input(size_t index) {
  if (interpreter == nullptr || index >= MODEL_2D_NET_INPUTS) return nullptr;
  return interpreter->input(index)->data.raw;
}

const void* Output(size_t index) {
  if (interpreter == nullptr || index >= MODEL_2D_NET_OUTPUTS) return nullptr;
  return interpreter->output(index)->data.raw;
}

int8_t QuantizeInput0(float real) {
  return Quantize<int8_t>(real, MODEL_2D_NET_INPUT_0_SCALE, MODEL_2D_NET_INPUT_0_ZERO_POINT);
}

}  // namespace model_2d_net
