// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
#ifndef MODEL_2D_NET_MODEL_H_
#define MODEL_2D_NET_MODEL_H_

#include "model_2d_net/facts.h"

namespace model_2d_net {

// model.tflite: a flatbuffer, aligned to 16 bytes as its buffers expect it.
// Define MODEL_2D_NET_MODEL_ATTRIBUTE to place it, such as __attribute__((section("network_model_sec"))).
extern const unsigned char model_data[MODEL_2D_NET_MODEL_BYTES];

}  // namespace model_2d_net

#endif  // MODEL_2D_NET_MODEL_H_
