// What the stand-in knows instead of computing it; a test generates `known` from an artifact.
#ifndef STAND_IN_KNOWN_OUTPUTS_H_
#define STAND_IN_KNOWN_OUTPUTS_H_

#include "tensorflow/lite/c/common.h"

struct KnownTensor {
  TfLiteType type;
  size_t bytes;
};

struct Known {
  const KnownTensor* tensors;  // inputs, then outputs
  size_t inputs;
  size_t outputs;
  const unsigned char* const* data;  // of each vector: its inputs, then its outputs
  size_t vectors;
  const char* const* methods;  // of the resolver, that the model needs
  size_t method_count;
};

extern const Known known;

#endif  // STAND_IN_KNOWN_OUTPUTS_H_
