// What the source package uses of TFLite Micro's header of this name.
#ifndef STAND_IN_MICRO_INTERPRETER_H_
#define STAND_IN_MICRO_INTERPRETER_H_

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {

class MicroAllocator;
class MicroResourceVariables;
class MicroProfilerInterface;

class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& op_resolver, uint8_t* tensor_arena,
                   size_t tensor_arena_size, MicroResourceVariables* resource_variables = nullptr,
                   MicroProfilerInterface* profiler = nullptr, bool preserve_all_tensors = false);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteStatus Reset();
  TfLiteTensor* input(size_t index);
  size_t inputs_size() const;
  TfLiteTensor* output(size_t index);
  size_t outputs_size() const;
  size_t arena_used_bytes() const { return used_; }

 private:
  static constexpr size_t kMost = 8;
  bool Allocate(TfLiteTensor* tensor, TfLiteType type, size_t bytes);

  const Model* model_;
  const MicroOpResolver& op_resolver_;
  uint8_t* arena_;
  size_t arena_size_;
  size_t used_ = 0;
  TfLiteTensor inputs_[kMost];
  TfLiteTensor outputs_[kMost];
};

}  // namespace tflite

#endif  // STAND_IN_MICRO_INTERPRETER_H_
