// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// The tensor arena: activations, scratch and the interpreter's structs.
//
// The estimate comes from a host.
// It can be wrong in both directions (https://github.com/tensorflow/tflite-micro/issues/2474): pointers here have 32
// bits, so structs are about half as large; kernels such as CMSIS-NN's ask for scratch buffers of their own.
// Start with the default, ask ArenaUsedBytes() on the board, define MODEL_2D_NET_ARENA_BYTES with what it says, and run
// the self-test again: memory is planned in the arena itself, which takes a very small model more than it uses. Much less
// crashes: kernels of TFLite Micro write to structs that they did not get.
#ifndef MODEL_2D_NET_ARENA_H_
#define MODEL_2D_NET_ARENA_H_

#define MODEL_2D_NET_ARENA_LEAST_BYTES 64  // the tensors of one operator, which are there at once
#define MODEL_2D_NET_ARENA_ESTIMATE_BYTES 2000

#ifndef MODEL_2D_NET_ARENA_BYTES
#define MODEL_2D_NET_ARENA_BYTES 3072  // the estimate and a quarter
#endif

// Define it to place the arena, such as __attribute__((section(".bss.NoInit.tensor_arena"))).
#ifndef MODEL_2D_NET_ARENA_ATTRIBUTE
#define MODEL_2D_NET_ARENA_ATTRIBUTE
#endif

static_assert(MODEL_2D_NET_ARENA_BYTES >= MODEL_2D_NET_ARENA_LEAST_BYTES,
              "MODEL_2D_NET_ARENA_BYTES has no room for the tensors of one operator");

#endif  // MODEL_2D_NET_ARENA_H_
