// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// Facts of the manifest, for C and C++.
#ifndef MODEL_2D_NET_FACTS_H_
#define MODEL_2D_NET_FACTS_H_

#define MODEL_2D_NET_NAME "2d-Net"
#define MODEL_2D_NET_VERSION "1.2.0-rc.1"
#define MODEL_2D_NET_TARGET "nucleo-f446re"
#define MODEL_2D_NET_PRECISION "int8"
#define MODEL_2D_NET_ARTIFACT_SHA256 "c7c5c1d70c5dec4416ab6158afd0b223ef40c29b1dc1f97ed9428b94d4cadb1c"
#define MODEL_2D_NET_MODEL_SHA256 "7f087f59466b6e2ee2f91d738c487a6e5beab693bb82589c875992fca4b450e6"
#define MODEL_2D_NET_MODEL_BYTES 24
#define MODEL_2D_NET_NEEDS_ETHOS_U 0

#define MODEL_2D_NET_INPUTS 2

#define MODEL_2D_NET_INPUT_0_NAME "x"
#define MODEL_2D_NET_INPUT_0_TYPE int8_t
#define MODEL_2D_NET_INPUT_0_RANK 2
#define MODEL_2D_NET_INPUT_0_DIMS {1, 4}
#define MODEL_2D_NET_INPUT_0_ELEMENTS 4
#define MODEL_2D_NET_INPUT_0_BYTES 4
// real = (quantized - zero point) * scale
#define MODEL_2D_NET_INPUT_0_SCALE 5.0e-01f
#define MODEL_2D_NET_INPUT_0_ZERO_POINT (-3)

#define MODEL_2D_NET_INPUT_1_NAME "count"
#define MODEL_2D_NET_INPUT_1_TYPE int32_t
#define MODEL_2D_NET_INPUT_1_RANK 1
#define MODEL_2D_NET_INPUT_1_DIMS {1}
#define MODEL_2D_NET_INPUT_1_ELEMENTS 1
#define MODEL_2D_NET_INPUT_1_BYTES 4

#define MODEL_2D_NET_OUTPUTS 2

#define MODEL_2D_NET_OUTPUT_0_NAME "probabilities"
#define MODEL_2D_NET_OUTPUT_0_TYPE int8_t
#define MODEL_2D_NET_OUTPUT_0_RANK 2
#define MODEL_2D_NET_OUTPUT_0_DIMS {1, 3}
#define MODEL_2D_NET_OUTPUT_0_ELEMENTS 3
#define MODEL_2D_NET_OUTPUT_0_BYTES 3
// real = (quantized - zero point) * scale
#define MODEL_2D_NET_OUTPUT_0_SCALE 5.0e-01f
#define MODEL_2D_NET_OUTPUT_0_ZERO_POINT (7)

#define MODEL_2D_NET_OUTPUT_1_NAME "features"
#define MODEL_2D_NET_OUTPUT_1_TYPE float
#define MODEL_2D_NET_OUTPUT_1_RANK 2
#define MODEL_2D_NET_OUTPUT_1_DIMS {2, 1}
#define MODEL_2D_NET_OUTPUT_1_ELEMENTS 2
#define MODEL_2D_NET_OUTPUT_1_BYTES 8

#define MODEL_2D_NET_LABELS {"yes", "no \042maybe\042", "\303\244"}
#define MODEL_2D_NET_LABEL_COUNT 3

#endif  // MODEL_2D_NET_FACTS_H_
