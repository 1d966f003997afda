// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// Runs the model in TFLite Micro: Init() once, then fill the inputs, Invoke(), read the outputs.
// No heap, no exceptions, no RTTI. One interpreter, not for several threads at once.
#ifndef MODEL_2D_NET_RUNNER_H_
#define MODEL_2D_NET_RUNNER_H_

#include <cstddef>
#include <cstdint>

#include "model_2d_net/facts.h"
#include "model_2d_net/model.h"

namespace model_2d_net {

enum class Status {
  kOk,
  kNotInitialized,  // Init() was not called, or failed
  kNoModel,         // the pointer is null or not aligned to 16 bytes
  kOtherSchema,     // a model for another version of the TFLite schema, or no model
  kMissingOp,       // an operator could not be registered: an older TFLite Micro
  kNotAllocated,    // the arena is too small, or an operator is missing: TFLite Micro's log says which
  kOtherTensors,    // the model has other inputs or outputs than facts.h says
  kFailed,          // an operator failed
};

// What a status means, for people.
const char* Explain(Status status);

// Allocates all tensors of `model`, which must stay where it is: the array that is linked in, or one of the same inputs,
// outputs and operators elsewhere in flash, such as the image of an MCUboot slot behind its header.
Status Init(const void* model = model_data);

// Runs it once: the outputs are those of the inputs as they are now. TFLite Micro may use the memory of an input for
// something else while it runs, so fill every input before each call.
Status Invoke();

// Empties state that the model keeps in variables of its own.
Status Reset();

// Bytes of the arena in use after Init(); 0 before.
size_t ArenaUsedBytes();

// A tensor's memory; nullptr before Init() and beyond the last one.
void* Input(size_t index);
const void* Output(size_t index);

// "x": 4 elements, shape [1, 4]
inline int8_t* Input0() { return static_cast<int8_t*>(Input(0)); }
int8_t QuantizeInput0(float real);

// "count": 1 elements, shape [1]
inline int32_t* Input1() { return static_cast<int32_t*>(Input(1)); }

// "probabilities": 3 elements, shape [1, 3]
inline const int8_t* Output0() { return static_cast<const int8_t*>(Output(0)); }
inline float DequantizeOutput0(int8_t value) {
  return static_cast<float>(static_cast<int32_t>(value) - MODEL_2D_NET_OUTPUT_0_ZERO_POINT) * MODEL_2D_NET_OUTPUT_0_SCALE;
}

// "features": 2 elements, shape [2, 1]
inline const float* Output1() { return static_cast<const float*>(Output(1)); }

}  // namespace model_2d_net

#endif  // MODEL_2D_NET_RUNNER_H_
