// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
#include "model_2d_net/golden.h"

namespace model_2d_net {
namespace {

alignas(16) const unsigned char input_0_0[] = {
    0x00, 0x01, 0xfe, 0xff,
};

alignas(16) const unsigned char input_0_1[] = {
    0x00, 0x00, 0x00, 0x00,
};

alignas(16) const unsigned char output_0_0[] = {
    0x05, 0x14, 0x00,
};

alignas(16) const unsigned char output_0_1[] = {
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0,
};

alignas(16) const unsigned char input_1_0[] = {
    0x01, 0x01, 0xfe, 0xff,
};

alignas(16) const unsigned char input_1_1[] = {
    0x01, 0x00, 0x00, 0x00,
};

alignas(16) const unsigned char output_1_0[] = {
    0x05, 0x14, 0x01,
};

alignas(16) const unsigned char output_1_1[] = {
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0,
};

}  // namespace

const GoldenVector golden_vectors[kGoldenVectors] = {
    {{input_0_0, input_0_1}, {output_0_0, output_0_1}},
    {{input_1_0, input_1_1}, {output_1_0, output_1_1}},
};

const Tolerance golden_tolerances[MODEL_2D_NET_OUTPUTS] = {
    {4, 2.0e-02f, true},
    {4, 1.0e-03f, false},
};

}  // namespace model_2d_net
