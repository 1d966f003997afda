// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// The operators of the model, and no others: what is not registered is not linked.
#ifndef MODEL_2D_NET_OPS_H_
#define MODEL_2D_NET_OPS_H_

#include "model_2d_net/tflm.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace model_2d_net {

constexpr unsigned int kOps = 3;
using Resolver = tflm::MicroMutableOpResolver<kOps>;

// kTfLiteOk, or kTfLiteError for the first operator that cannot be registered.
inline TfLiteStatus RegisterOps(Resolver& resolver) {
  if (resolver.AddConv2D() != kTfLiteOk) return kTfLiteError;
  if (resolver.AddFullyConnected() != kTfLiteOk) return kTfLiteError;
  if (resolver.AddSoftmax() != kTfLiteOk) return kTfLiteError;
  return kTfLiteOk;
}

}  // namespace model_2d_net

#endif  // MODEL_2D_NET_OPS_H_
