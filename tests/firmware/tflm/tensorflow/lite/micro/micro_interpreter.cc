// Answers inputs that it knows. OFF_BY moves the first byte of the outputs of the second vector.
#include "tensorflow/lite/micro/micro_interpreter.h"

#include <cstring>

#include "tensorflow/lite/micro/known_outputs.h"
#include "tensorflow/lite/micro/system_setup.h"

#ifndef OFF_BY
#define OFF_BY 0
#endif

namespace tflite {

void InitializeTarget() {}

MicroInterpreter::MicroInterpreter(const Model* model, const MicroOpResolver& op_resolver, uint8_t* tensor_arena,
                                   size_t tensor_arena_size, MicroResourceVariables*, MicroProfilerInterface*, bool)
    : model_(model), op_resolver_(op_resolver), arena_(tensor_arena), arena_size_(tensor_arena_size) {}

MicroInterpreter::~MicroInterpreter() = default;

bool MicroInterpreter::Allocate(TfLiteTensor* tensor, TfLiteType type, size_t bytes) {
  const size_t padded = (bytes + 15) / 16 * 16;
  if (used_ + padded > arena_size_) return false;
  *tensor = {{reinterpret_cast<char*>(arena_ + used_)}, bytes, type};
  used_ += padded;
  return true;
}

TfLiteStatus MicroInterpreter::AllocateTensors() {
  used_ = 0;
  for (size_t at = 0; at < known.method_count; ++at) {
    if (!op_resolver_.Has(known.methods[at])) return kTfLiteError;
  }
  for (size_t at = 0; at < known.inputs; ++at) {
    if (!Allocate(&inputs_[at], known.tensors[at].type, known.tensors[at].bytes)) return kTfLiteError;
  }
  for (size_t at = 0; at < known.outputs; ++at) {
    const KnownTensor& tensor = known.tensors[known.inputs + at];
    if (!Allocate(&outputs_[at], tensor.type, tensor.bytes)) return kTfLiteError;
  }
  return kTfLiteOk;
}

TfLiteStatus MicroInterpreter::Invoke() {
  for (size_t vector = 0; vector < known.vectors; ++vector) {
    const unsigned char* const* data = known.data + vector * (known.inputs + known.outputs);
    bool same = true;
    for (size_t at = 0; at < known.inputs; ++at) {
      same = same && std::memcmp(inputs_[at].data.raw, data[at], inputs_[at].bytes) == 0;
    }
    if (!same) continue;
    for (size_t at = 0; at < known.outputs; ++at) {
      std::memcpy(outputs_[at].data.raw, data[known.inputs + at], outputs_[at].bytes);
      if (vector == 1) outputs_[at].data.raw[0] = static_cast<char>(outputs_[at].data.raw[0] + OFF_BY);
    }
    return kTfLiteOk;
  }
  return kTfLiteError;
}

TfLiteStatus MicroInterpreter::Reset() { return kTfLiteOk; }
size_t MicroInterpreter::inputs_size() const { return known.inputs; }
size_t MicroInterpreter::outputs_size() const { return known.outputs; }
TfLiteTensor* MicroInterpreter::input(size_t index) { return index < known.inputs ? &inputs_[index] : nullptr; }
TfLiteTensor* MicroInterpreter::output(size_t index) { return index < known.outputs ? &outputs_[index] : nullptr; }

}  // namespace tflite
