// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// Inputs, and the outputs that the machine computed which built the model. The raw files are in artifact/golden/.
#ifndef MODEL_2D_NET_GOLDEN_H_
#define MODEL_2D_NET_GOLDEN_H_

#include <cstddef>

#include "model_2d_net/facts.h"

namespace model_2d_net {

struct GoldenVector {
  const void* inputs[MODEL_2D_NET_INPUTS];  // raw little-endian tensors, in the model's order
  const void* outputs[MODEL_2D_NET_OUTPUTS];
};

struct Tolerance {
  int max_steps;    // of integers: largest difference, in steps of the output's scale
  float max_error;  // of floats: largest difference relative to the largest expected value
  bool same_top1;   // the largest element is the same, where the expected one leads by more than that
};

constexpr size_t kGoldenVectors = 2;
extern const GoldenVector golden_vectors[kGoldenVectors];
extern const Tolerance golden_tolerances[MODEL_2D_NET_OUTPUTS];

}  // namespace model_2d_net

#endif  // MODEL_2D_NET_GOLDEN_H_
