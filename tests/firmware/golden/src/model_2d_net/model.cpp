// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
#include "model_2d_net/model.h"

#ifndef MODEL_2D_NET_MODEL_ATTRIBUTE
#define MODEL_2D_NET_MODEL_ATTRIBUTE
#endif

namespace model_2d_net {

alignas(16) MODEL_2D_NET_MODEL_ATTRIBUTE const unsigned char model_data[MODEL_2D_NET_MODEL_BYTES] = {
    0x10, 0x00, 0x00, 0x00, 0x54, 0x46, 0x4c, 0x33, 0x06, 0x00, 0x08, 0x00, 0x04, 0x00, 0x00, 0x00,
    0x08, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,
};

}  // namespace model_2d_net
